"""The OpenAI Agents SDK, whose agent uses the tools of egressd's MCP server."""

import os

from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from agents.mcp import MCPServerStreamableHttp
from openai import AsyncOpenAI

from cases import BASE, KEY, run

set_tracing_disabled(True)  # traces would go to OpenAI


async def ask(prompt):
    base = os.environ["DEMO"]
    model = OpenAIResponsesModel("imitation", AsyncOpenAI(base_url=f"{BASE}/request/v1", api_key=KEY))
    # docs
    async with MCPServerStreamableHttp(params={"url": f"{base}/mcp"}) as egressd:
        agent = Agent(name="agent", model=model, mcp_servers=[egressd])
        # end
        return (await Runner.run(agent, prompt)).final_output


def request(_):
    return ask("call notes_get_items {}")


def refused(_):
    return ask("call notes_get_reflect {}")


run(request=request, refused=refused)
