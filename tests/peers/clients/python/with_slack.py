"""slack_sdk."""

from slack_sdk import WebClient

from cases import KEY, run


def client_of(base):
    token = KEY
    # docs
    client = WebClient(token=token, base_url=f"{base}/api/")
    # end
    return client


def request(base):
    return client_of(base).chat_postMessage(channel="C1", text="ping")["message"]["text"]


run(request=request, forbidden=request, large=request, limited=request, unavailable=request, cut=request)
