"""The MCP SDK for Python, as a client of the MCP server of egressd."""

import os

from mcp import Client

from cases import run


async def call(tool):
    base = os.environ["DEMO"]
    # docs
    async with Client(f"{base}/mcp") as client:
        result = await client.call_tool(tool, {})
        # end
        return result.content[0].text


def request(_):
    return call("notes_get_items")


def refused(_):
    return call("notes_get_reflect")


async def pages(_):
    found, cursor, count = set(), None, 0
    async with Client(f"{os.environ['MANY']}/mcp") as client:
        while cursor or not count:
            page = await client.list_tools(cursor=cursor)
            found, cursor, count = found | {tool.name for tool in page.tools}, page.next_cursor, count + 1
    return f"{len(found)} tools on {'several pages' if count > 1 else 'one page'}"


run(request=request, refused=refused, pages=pages)
