"""The OpenAI SDK for Python."""

from openai import OpenAI

from cases import KEY, SIZE, run

PING = [{"role": "user", "content": "ping"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


def client_of(base):
    api_key = KEY
    # docs
    client = OpenAI(base_url=f"{base}/v1", api_key=api_key)
    # end
    return client


def request(base):
    return client_of(base).chat.completions.create(model="imitation", messages=PING).choices[0].message.content


def stream(base):
    chunks = client_of(base).chat.completions.create(model="imitation", messages=PING, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def upload(base):
    return client_of(base).files.create(file=("f", b"x" * SIZE), purpose="assistants").bytes


def tools(base):
    client = client_of(base)
    messages = [{"role": "user", "content": 'call weather {"city": "Paris"}'}]
    answer = client.chat.completions.create(model="imitation", messages=messages, tools=[TOOL]).choices[0].message
    messages += [answer, {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "rain"}]
    return client.chat.completions.create(model="imitation", messages=messages, tools=[TOOL]).choices[0].message.content


run(request=request, stream=stream, upload=upload, tools=tools,
    forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
