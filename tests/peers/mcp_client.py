"""The official Python client of the Model Context Protocol → `/mcp` of `egressd demo` → its API.

The client speaks the newest revision by default, and an older one with `mode="legacy"`. PyPI: mcp.
The file is not called `mcp.py`, because Python would then import it instead of the package.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost

from loopback import World
from page import demo_argv
from peers import Tally

NEWEST = "2026-07-28"
NOTE = {"text": "buy milk"}


async def lists_and_calls(tally, url, mode):
    async with Client(url, mode=mode, read_timeout_seconds=20) as client:
        is_newest = client.protocol_version == NEWEST
        tally.claim(f"{mode}: revision {client.protocol_version}", is_newest == (mode == "auto"))
        tally.claim(f"{mode}: the server's name", client.server_info.name == "egressd", client.server_info)
        tally.claim(f"{mode}: instructions name the connections", "- notes: Notes\n" in client.instructions, client.instructions)
        names, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        tally.claim(f"{mode}: the tools have an order", names == sorted(names) and "notes_get_items" in names, names)

        made = await client.call_tool("notes_post_items", {"body": NOTE})
        tally.claim(f"{mode}: a call that creates", not made.is_error and made.structured_content, made)
        listed = await client.call_tool("notes_get_items", {})
        texts = [block.text for block in listed.content]
        tally.claim(f"{mode}: the first block is the body", NOTE["text"] in json.dumps(json.loads(texts[0])), texts)
        tally.claim(f"{mode}: the last block is the status", texts[-1].startswith("HTTP 200 OK, content-type: application/json"), texts)

        wrong = await client.call_tool("notes_get_items_id", {"id": "a/b"})
        tally.claim(f"{mode}: wrong arguments", wrong.is_error and wrong.content[0].text.startswith("`id` does not match"), wrong)
        refused = await client.call_tool("notes_get_reflect", {})
        code = (refused.structured_content or {}).get("code")
        tally.claim(f"{mode}: a refusal", refused.is_error and code == "credential_reflected", refused)
        try:
            await client.call_tool("notes_get_nothing", {})
            tally.claim(f"{mode}: an unknown tool", False, "it was called")
        except MCPError as error:
            tally.claim(f"{mode}: an unknown tool", error.error.code == -32602, error)


async def subscription_until_the_stop(tally, url, egressd):
    async with Client(url, read_timeout_seconds=20) as client:
        async with client.listen(tools_list_changed=True) as subscription:
            tally.claim("the subscription is accepted", subscription.honored.tools_list_changed is True)
            stopping = asyncio.create_task(asyncio.to_thread(egressd.stop))
            try:
                events = [event async for event in subscription]
                tally.claim("a stop ends the subscription without an event", events == [], events)
            except SubscriptionLost as error:
                tally.claim("a stop ends the subscription without an event", False, error)
            await stopping


async def run(tally, world):
    agents, operators = world.port(), world.port()
    egressd = world.start("egressd", demo_argv(agents, operators))
    egressd.await_port(operators)
    url = f"http://127.0.0.1:{agents}/mcp"
    for mode in ("auto", "legacy"):
        await lists_and_calls(tally, url, mode)
    await subscription_until_the_stop(tally, url, egressd)


def main():
    tally = Tally()
    with World() as world:
        asyncio.run(run(tally, world))
    print(f"\n{tally.passed} passed, {len(tally.failures)} failed", flush=True)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
