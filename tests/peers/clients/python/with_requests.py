"""requests."""

import json

import requests

from cases import SIZE, run


def request(base):
    # docs
    response = requests.get(f"{base}/item")
    response.raise_for_status()
    # end
    return response.json()["answer"]


def stream(base):
    response = requests.get(f"{base}/events", stream=True)
    response.raise_for_status()
    return " ".join(line[6:].decode() for line in response.iter_lines() if line).removesuffix(" end")


def upload(base):
    response = requests.post(f"{base}/upload", files={"file": ("f", b"x" * SIZE)})
    return json.loads(response.text)["bytes"]


run(request=request, stream=stream, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
