"""The Claude Agent SDK, whose agent uses the tools of egressd's MCP server."""

import os

from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, TextBlock, query

from cases import BASE, KEY, run


async def ask(prompt):
    base = os.environ["DEMO"]
    environment = {"ANTHROPIC_BASE_URL": f"{BASE}/request", "ANTHROPIC_API_KEY": KEY, "ENABLE_TOOL_SEARCH": "false",
                   "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    # docs
    servers = {"egressd": {"type": "http", "url": f"{base}/mcp"}}
    options = ClaudeAgentOptions(mcp_servers=servers, allowed_tools=["mcp__egressd"], env=environment)
    # end
    options.model, options.max_turns = "claude-sonnet-4-5", 4
    texts = []
    async for message in query(prompt=prompt, options=options):
        if isinstance(message, AssistantMessage):
            texts += [block.text for block in message.content if isinstance(block, TextBlock)]
    return " ".join(texts)


def request(_):
    return ask("call mcp__egressd__notes_get_items {}")


def refused(_):
    return ask("call mcp__egressd__notes_get_reflect {}")


run(request=request, refused=refused)
