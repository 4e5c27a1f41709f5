"""The Anthropic SDK for Python."""

from anthropic import Anthropic

from cases import KEY, SIZE, run

ASKED = {"model": "imitation", "max_tokens": 10, "messages": [{"role": "user", "content": "ping"}]}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def client_of(base):
    api_key = KEY
    # docs
    client = Anthropic(base_url=base, api_key=api_key)
    # end
    return client


def request(base):
    return client_of(base).messages.create(**ASKED).content[0].text


def stream(base):
    with client_of(base).messages.stream(**ASKED) as events:
        return "".join(events.text_stream)


def upload(base):
    return client_of(base).beta.files.upload(file=("f", b"x" * SIZE, "text/plain")).size_bytes


def tools(base):
    client = client_of(base)
    asked = {**ASKED, "tools": [TOOL], "messages": [{"role": "user", "content": 'call weather {"city": "Paris"}'}]}
    answer = client.messages.create(**asked)
    result = {"type": "tool_result", "tool_use_id": answer.content[0].id, "content": "rain"}
    asked["messages"] += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    return client.messages.create(**asked).content[0].text


run(request=request, stream=stream, upload=upload, tools=tools,
    forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
