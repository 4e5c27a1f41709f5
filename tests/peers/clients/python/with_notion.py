"""notion-client for Python."""

from notion_client import Client

from cases import KEY, SIZE, run


def client_of(base):
    token = KEY
    # docs
    client = Client(auth=token, base_url=base)
    # end
    return client


def request(base):
    return client_of(base).users.me()["name"]


def upload(base):
    return client_of(base).file_uploads.send("1", file=("f", b"x" * SIZE, "text/plain"))["content_length"]


run(request=request, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=request)
