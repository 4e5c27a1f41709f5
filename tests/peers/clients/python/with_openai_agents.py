"""The OpenAI Agents SDK."""

from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from cases import KEY, run

set_tracing_disabled(True)  # traces would go to OpenAI


@function_tool
def weather(city: str) -> str:
    """Returns the weather."""
    return "rain"


def agent_of(base):
    api_key = KEY
    # docs
    client = AsyncOpenAI(base_url=f"{base}/v1", api_key=api_key)
    agent = Agent(name="agent", model=OpenAIResponsesModel("imitation", client), tools=[weather])
    # end
    return agent


async def request(base):
    return (await Runner.run(agent_of(base), "ping")).final_output


async def stream(base):
    result = Runner.run_streamed(agent_of(base), "ping")
    return "".join([event.data.delta async for event in result.stream_events()
                    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"])


async def tools(base):
    return (await Runner.run(agent_of(base), 'call weather {"city": "Paris"}')).final_output


run(request=request, stream=stream, tools=tools, forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
