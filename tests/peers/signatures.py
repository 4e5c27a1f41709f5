"""Agents → egressd → a webhook receiver in Python: its own recipe verifies egressd's signatures.

500 random bodies go through egressd in every framing of HTTP/1.1. All must verify, and none that
was changed on the way may. Only the standard library is needed.
"""

import http.client
import json
import os
import random
import select
import socket
import ssl
import sys
import time

from loopback import World, egressd_argv
from peers import HERE, Tally

BODIES = 500
LARGEST = 200 * 1024
FORGED = "sha256=" + "0" * 64


def main():
    tally = Tally()
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    print(f"# SEED={seed}")
    dice = random.Random(seed)
    with World() as world:
        ca, certificate, key = world.certificates()
        secret = dice.randbytes(24).hex()
        port, proxy = world.port(), world.port()
        receiver = [sys.executable, "-B", HERE / "receiver.py", port, certificate, key]
        world.start("receiver", receiver, env={**os.environ, "WEBHOOK_SECRET": secret}).await_port(port)
        egressd = world.start("egressd", signing_argv(world, proxy, port),
                              env={**os.environ, "WEBHOOK_SECRET": secret})
        egressd.await_port(proxy)
        for name, framing in FRAMINGS.items():
            send_all(tally, dice, proxy, name, framing)
        tamper(tally, dice, proxy, port, ca)
        crowd(tally, egressd, proxy)
        code = world.stop(egressd)
        tally.claim("egressd stops with 0", code == 0, f"exit code {code}")
        tally.claim("egressd printed no secret", secret not in egressd.said(), "it did")
        if tally.failures:
            print(egressd.said())
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


def signing_argv(world, port, upstream):
    """Starts egressd with one connection that signs."""
    world.file("connections/hook.yaml", f"""
connection_details:
  http:
    base_url: https://localhost:{upstream}
    allowed_routes: [/]
    no_auth: {{}}
    webhook_signing_secret: {{env: WEBHOOK_SECRET}}
    reflection_guard: false  # the receiver's response contains the signature
    allowed_private_cidrs: [127.0.0.0/8, "::1/128"]
""")
    return egressd_argv(world, port)


def with_length(agent, dice, body):
    agent.putheader("Content-Length", len(body))
    agent.endheaders()
    agent.send(body)


def in_chunks(agent, dice, body, extension=lambda: b""):
    agent.putheader("Transfer-Encoding", "chunked")
    agent.endheaders()
    pieces = []
    while body:
        size = min(len(body), dice.choice([1, 3, 17, 255, 1021, 8191, 16385, 65537]))
        pieces.append(b"%x%s\r\n%s\r\n" % (size, extension(), body[:size]))
        body = body[size:]
    agent.send(b"".join(pieces) + b"0" + extension() + b"\r\n\r\n")


def in_chunks_with_extensions(agent, dice, body):
    # A parser may accept a few of them, but not any number.
    left = iter(range(200))
    names = [b";a", b";a=b", b';a="b;c"', b";long=" + b"x" * 40, b"; spaced = v"]
    in_chunks(agent, dice, body, lambda: dice.choice(names) if next(left, None) is not None else b"")


def when_asked(agent, dice, body):
    agent.putheader("Expect", "100-continue")
    agent.putheader("Content-Length", len(body))
    agent.endheaders()
    said = b""
    while body and not said.endswith(b"\r\n\r\n"):
        said += agent.sock.recv(1) or sys.exit("egressd closed the socket instead of sending 100 Continue")
    assert not body or said.startswith(b"HTTP/1.1 100 "), said
    agent.send(body)


FRAMINGS = {
    "length": with_length, "chunked": in_chunks,
    "chunked with extensions": in_chunks_with_extensions, "100-continue": when_asked,
}


def sent(agent, dice, framing, body, method="POST"):
    """Sends one request on this socket. Returns the receiver's status and its view of the request.
    """
    agent.putrequest(method, "/hook/x")
    agent.putheader("X-Webhook-Signature", FORGED)
    framing(agent, dice, body)
    response = agent.getresponse()
    response.read()
    return response.status, json.loads(response.getheader("X-Seen", "{}"))


def send_all(tally, dice, proxy, name, framing):
    """Sends a share of the bodies, with the empty and the largest one among them, on one socket."""
    agent = http.client.HTTPConnection("127.0.0.1", proxy, timeout=30)
    sizes = [0, 1, LARGEST] + [dice.randint(0, LARGEST) for _ in range(BODIES // len(FRAMINGS) - 3)]
    wrong = []
    for size in sizes:
        method = dice.choice(["POST", "PUT", "PATCH", "DELETE", "GET"])
        status, seen = sent(agent, dice, framing, dice.randbytes(size), method)
        wanted = {"length": str(size), "transfer_encoding": None, "expect": None}
        as_wanted = {**seen, **wanted} == seen and len(seen["signatures"]) == (1 if size else 0)
        if status != (200 if size else 204) or not as_wanted:
            wrong.append((method, size, status, seen))
    agent.close()
    tally.claim(f"{len(sizes)} bodies verify: {name}", not wrong, f"{len(wrong)} do not, the first: {wrong[:1]}")


def tamper(tally, dice, proxy, port, ca):
    """Sends signed requests a second time, directly to the receiver: unchanged, and with one bit
    changed."""
    agent = http.client.HTTPConnection("127.0.0.1", proxy, timeout=30)
    body = bytearray(dice.randbytes(4096))
    _, seen = sent(agent, dice, with_length, bytes(body))
    agent.close()
    attacker = http.client.HTTPSConnection(
        "localhost", port, context=ssl.create_default_context(cafile=str(ca)), timeout=30)

    def status(signature):
        attacker.request("POST", "/x", bytes(body), {"X-Webhook-Signature": signature})
        response = attacker.getresponse()
        response.read()
        return response.status

    genuine = seen["signatures"][0]
    tally.claim("the same bytes also verify without egressd", status(genuine) == 200)
    tally.claim("another signature does not verify", status(FORGED) == 401)
    body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    tally.claim("a tampered body does not verify", status(genuine) == 401)
    attacker.close()


def crowd(tally, egressd, proxy):
    """Sends 256 uploads of 10 MB at once (F-162, F-263). One connection may hold 32 MiB, so some of
    them wait for their last byte. All others are refused, and no more memory is used."""
    agents, refused = [], set()
    for _ in range(256):
        agent = socket.create_connection(("127.0.0.1", proxy), timeout=30)
        agents.append(agent)
        agent.sendall(b"POST /hook/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
        said = agent.recv(65536)
        if said.startswith(b"HTTP/1.1 100 "):
            try:
                agent.sendall(bytes(9_999_999))  # all but the last byte
            except OSError:
                pass  # refused in the middle; the response is read below
        elif is_refusal(said):
            refused.add(agent)
    deadline = time.monotonic() + 10
    while len(refused) < 253 and time.monotonic() < deadline:
        waiting = [agent for agent in agents if agent not in refused]
        for agent in select.select(waiting, [], [], 1)[0]:
            try:
                if is_refusal(agent.recv(65536)):
                    refused.add(agent)
            except OSError:
                pass
    mib = egressd.rss_kib() / 1024
    tally.claim("few of 256 large uploads are held, the others get Retry-After", 253 <= len(refused) < 256, f"{len(refused)} were")
    tally.claim("egressd stays below 160 MiB", mib < 160, f"{mib:.0f} MiB")
    for agent in agents:
        agent.close()


def is_refusal(said):
    """Checks for a 503 with `Retry-After`."""
    return said.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after:" in said.lower()


if __name__ == "__main__":
    sys.exit(main())
