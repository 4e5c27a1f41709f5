"""The MCP SDK for Python, as a client of an MCP server behind egressd."""

from mcp import Client

from cases import SIZE, run


async def call(base, text):
    # docs
    async with Client(f"{base}/mcp") as client:
        result = await client.call_tool("ping", {"text": text})
        # end
        return result.content[0].text


def request(base):
    return call(base, "ping")


def upload(base):
    return call(base, "x" * SIZE)


run(request=request, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=request)
