"""The loads: each drives one target for a bounded time and returns counts of the responses.

A load returns `requests`, `errors`, `seconds`, and `p99_us` if it can measure it.
"""

import http.client
import json
import select
import selectors
import signal
import socket
import subprocess
import time
from pathlib import Path

from targets import SIZES, body

LUA = Path(__file__).with_name("wrk.lua")
AGENTS_OWN = "Bearer the-agents-own-which-must-not-pass"


def wrk(port, path, sockets, seconds, post_bytes=0):
    """Sends requests as fast as possible over this many keep-alive sockets, with wrk."""
    return wrk_result(start_wrk(port, path, sockets, seconds, post_bytes), seconds)


def start_wrk(port, path, sockets, seconds, post_bytes=0):
    """Starts wrk, which ends by itself."""
    return subprocess.Popen(
        ["wrk", "-t1", f"-c{sockets}", f"-d{seconds}s", "--timeout", "30s", "-s", LUA,
         "-H", f"Authorization: {AGENTS_OWN}", f"http://127.0.0.1:{port}{path}", "--", str(post_bytes)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def stop_wrk(load):
    """Ends wrk before its time and returns its counts."""
    load.send_signal(signal.SIGINT)
    return wrk_result(load, 0)


def wrk_result(load, seconds):
    """Waits for the end of wrk and returns its counts."""
    try:
        said = load.communicate(timeout=seconds + 30)[0]
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    for line in said.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[len("RESULT "):])
    raise RuntimeError(f"wrk: {said}")


class Socket:
    """A keep-alive socket that can have one request in flight. Responses must carry a length."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {AGENTS_OWN}\r\n\r\n"
        ).encode()
        self.due = self.wanted = 0
        self.got = b""

    def fileno(self):
        return self.socket.fileno()

    def send(self, due):
        self.due, self.got, self.wanted = due, b"", 0
        self.socket.sendall(self.request)

    def take(self, status=200):
        """Reads the available bytes. Returns None while the response is incomplete, else whether it
        has this status."""
        piece = self.socket.recv(65536)
        if not piece:
            raise RuntimeError("the socket was closed in the middle of a response")
        self.got += piece
        head_end = self.got.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        if not self.wanted:
            head = self.got[:head_end].lower()
            length = head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0]
            self.wanted = head_end + 4 + int(length)
        if len(self.got) < self.wanted:
            return None
        return self.got.startswith(b"HTTP/1.1 %d" % status)


def paced(port, path, sockets, seconds, rate):
    """Sends a fixed rate, whatever the target does. Delays count from the time when a request was
    due."""
    idle = [Socket(port, path) for _ in range(sockets)]
    busy, delays, errors = set(), [], 0
    start = time.perf_counter()
    total, sent = int(rate * seconds), 0
    while len(delays) < total:
        now = time.perf_counter()
        while sent < total and idle and now >= start + sent / rate:
            one = idle.pop()
            one.send(start + sent / rate)
            busy.add(one)
            sent += 1
        wait = start + sent / rate - time.perf_counter() if sent < total and idle else 1.0
        for one in select.select(busy, [], [], max(0.0, wait))[0]:
            good = one.take()
            if good is not None:
                delays.append(time.perf_counter() - one.due)
                errors += not good
                busy.remove(one)
                idle.append(one)
        if time.perf_counter() > start + seconds + 20:
            raise RuntimeError(f"{total - len(delays)} responses are missing")
    taken = time.perf_counter() - start
    for one in idle:
        one.socket.close()
    delays.sort()
    return {"requests": total, "errors": errors, "seconds": taken,
            "p50_us": delays[total // 2] * 1e6, "p99_us": delays[int(total * 0.99)] * 1e6}


def exactly(port, path, sockets, requests, status=200):
    """Sends exactly this many requests as fast as possible (for counting instructions). Each must
    have this status."""
    with selectors.DefaultSelector() as selector:
        idle = [Socket(port, path) for _ in range(sockets)]
        for one in idle:
            selector.register(one, selectors.EVENT_READ)
        sent, done, errors = 0, 0, 0
        while done < requests:
            while idle and sent < requests:
                one = idle.pop()
                one.send(0)
                sent += 1
            if not (ready := selector.select(60)):
                raise RuntimeError(f"{requests - done} responses are missing")
            for key, _ in ready:
                good = key.fileobj.take(status)
                if good is not None:
                    done, errors = done + 1, errors + (not good)
                    idle.append(key.fileobj)
    for one in idle:
        one.socket.close()
    return {"requests": done, "errors": errors}


def idle_sockets(port, path, count):
    """Opens this many sockets, sends one request on each, and returns them open."""
    held = []
    for _ in range(count):
        one = Socket(port, path)
        one.send(0)
        while (good := one.take()) is None:
            pass
        if not good:
            raise RuntimeError(f"an idle socket's request was refused: {one.got[:200]}")
        held.append(one)
    return held


def first_byte(process, port, path, started):
    """Returns the seconds from `started` until the first byte of a proxied response."""
    while True:
        try:
            one = Socket(port, path)
            break
        except OSError:
            if process.child.poll() is not None or time.perf_counter() > started + 10:
                raise RuntimeError(f"the target does not listen:\n{process.said()}") from None
            time.sleep(0.0002)
    one.send(0)
    while (good := one.take()) is None:
        pass
    taken = time.perf_counter() - started
    one.socket.close()
    if not good:
        raise RuntimeError(f"the first response is not a 200: {one.got[:300]}\n{process.said()}")
    return taken


def verify(name, port):
    """Checks that the target does the whole job: it forwards, injects, strips and refuses. Raises
    with the response otherwise."""
    def ask(method, path, content=None):
        agent = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        agent.request(method, path, body=content, headers={"Authorization": AGENTS_OWN})
        answer = agent.getresponse()
        status, data = answer.status, answer.read()
        agent.close()
        return status, data

    wanted = [("GET", f"/api-id/v1/items/{size}", None, (200,), body(length)) for size, length in SIZES.items()]
    wanted += [
        ("POST", "/api-id/v1/sink", b"x" * 4096, (200,), b"taken"),
        ("GET", "/api-id/v1/forbidden", None, (403,), None),
        ("GET", "/api-id/v1/sink", None, (403, 405), None),
        ("DELETE", "/api-id/v1/items/1k", None, (403, 405), None),
        ("GET", "/v1/items/1k", None, (403, 404), None),
    ]
    for method, path, content, statuses, data in wanted:
        status, got = ask(method, path, content)
        if status not in statuses or (data is not None and got != data):
            raise RuntimeError(f"{name}: {method} {path} gave {status}, {len(got)} bytes: {got[:300]}")
