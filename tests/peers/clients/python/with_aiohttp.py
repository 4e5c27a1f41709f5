"""aiohttp."""

import aiohttp

from cases import SIZE, run


async def request(base):
    # docs
    async with aiohttp.ClientSession() as session, session.get(f"{base}/item") as response:
        response.raise_for_status()
        # end
        return (await response.json())["answer"]


async def stream(base):
    async with aiohttp.ClientSession() as session, session.get(f"{base}/events") as response:
        response.raise_for_status()
        return " ".join([line[6:].decode().strip() async for line in response.content if line.strip()]).removesuffix(" end")


async def upload(base):
    form = aiohttp.FormData()
    form.add_field("file", b"x" * SIZE, filename="f")
    async with aiohttp.ClientSession() as session, session.post(f"{base}/upload", data=form) as response:
        return (await response.json())["bytes"]


run(request=request, stream=stream, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=stream)
