"""LiteLLM."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise the import fetches a file

import litellm  # noqa: E402

from cases import KEY, run  # noqa: E402

litellm.suppress_debug_info = True


def complete(base, **more):
    api_key = KEY
    messages = [{"role": "user", "content": "ping"}]
    # docs
    answer = litellm.completion(model="openai/imitation", api_base=f"{base}/v1", api_key=api_key, messages=messages, **more)
    # end
    return answer


def request(base):
    return complete(base).choices[0].message.content


def stream(base):
    return "".join(chunk.choices[0].delta.content or "" for chunk in complete(base, stream=True))


run(request=request, stream=stream, forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
