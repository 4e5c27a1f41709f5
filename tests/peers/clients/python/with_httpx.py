"""httpx."""

import httpx

from cases import SIZE, run


def request(base):
    # docs
    client = httpx.Client(base_url=base)
    response = client.get("/item")
    response.raise_for_status()
    # end
    return response.json()["answer"]


def stream(base):
    with httpx.stream("GET", f"{base}/events") as response:
        response.raise_for_status()
        return " ".join(line[6:] for line in response.iter_lines() if line).removesuffix(" end")


def upload(base):
    return httpx.post(f"{base}/upload", files={"file": ("f", b"x" * SIZE)}).json()["bytes"]


run(request=request, stream=stream, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
