"""CrewAI."""

import os

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["OTEL_SDK_DISABLED"] = os.environ["CREWAI_TRACING_ENABLED"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai import LLM, Agent, Crew, Task  # noqa: E402

from cases import KEY, run  # noqa: E402


def model_of(base, **more):
    api_key = KEY
    # docs
    model = LLM(model="openai/imitation", base_url=f"{base}/v1", api_key=api_key, **more)
    # end
    return model


def request(base):
    agent = Agent(role="agent", goal="answer", backstory="none", llm=model_of(base))
    task = Task(description="ping", expected_output="words", agent=agent)
    return Crew(agents=[agent], tasks=[task]).kickoff().raw


def call(base):
    return model_of(base).call("ping")


def stream(base):
    return model_of(base, stream=True).call("ping")


run(request=request, stream=stream, forbidden=call, large=call, limited=call, unavailable=call, cut=stream)
