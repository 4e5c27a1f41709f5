"""LangChain, with an agent that LangGraph runs."""

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from cases import KEY, run


def model_of(base):
    api_key = KEY
    # docs
    model = ChatOpenAI(model="imitation", base_url=f"{base}/v1", api_key=api_key)
    # end
    return model


def request(base):
    return model_of(base).invoke("ping").content


def stream(base):
    return "".join(chunk.content for chunk in model_of(base).stream("ping"))


def tools(base):
    def weather(city: str) -> str:
        """Returns the weather."""
        return "rain"

    agent = create_agent(model_of(base), [weather])
    messages = [{"role": "user", "content": 'call weather {"city": "Paris"}'}]
    return agent.invoke({"messages": messages})["messages"][-1].content


run(request=request, stream=stream, tools=tools, forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
