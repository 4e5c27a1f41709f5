"""The Claude Agent SDK, which runs the program of Claude Code."""

from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, ResultMessage, TextBlock, query

from cases import KEY, run


def options_of(base, **more):
    api_key = KEY
    # docs
    options = ClaudeAgentOptions(env={"ANTHROPIC_BASE_URL": base, "ANTHROPIC_API_KEY": api_key}, **more)
    # end
    options.env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    # The default, ten retries, takes minutes.
    options.env["CLAUDE_CODE_MAX_RETRIES"] = "2"
    options.model, options.max_turns = "claude-sonnet-4-5", 3
    return options


async def ask(base, prompt="ping", **more):
    texts = []
    async for message in query(prompt=prompt, options=options_of(base, **more)):
        if isinstance(message, AssistantMessage):
            texts += [block.text for block in message.content if isinstance(block, TextBlock)]
        if isinstance(message, ResultMessage) and message.is_error:
            raise RuntimeError(f"{message.result} {message.errors if hasattr(message, 'errors') else ''}")
    return " ".join(texts)


def request(base):
    return ask(base)


run(request=request, stream=request, forbidden=request, large=request, limited=request, unavailable=request, cut=request)
