"""egressd in a real control group with little memory: a shortage ends and freed memory is returned.

A burst of large uploads brings the group near its limit, so that new requests are refused. Once all
agents have left, every request must be served again. Afterwards thousands of agents send half a
head each and leave, and then the process must be about as small as before (F-268, F-274). Needs a
memory controller in which this user may create groups (root has one).
"""

import http.client
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from loopback import World, egressd_argv, read
from peers import Tally

MIB = 1024 * 1024
LIMIT = int(os.environ.get("MEMORY_LIMIT_MIB", 48)) * MIB
UPLOADS = 256
AT_ONCE = 16  # uploads that begin between two readings of the memory
UPLOAD = 4 * MIB
HALF_HEADS = 4000
HALF_HEAD = 63 * 1024
PATIENCE = 60
QUIET = 10  # seconds in which a shortage must end once its cause is gone


class Group:
    """A control group for this test below that of this process. `directory` is None if it cannot be
    created."""

    def __init__(self):
        self.directory = None
        for line in read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
            below = Path(f"{top}{path}/egressd-peers-{os.getpid()}")
            try:
                below.mkdir()
            except OSError:
                continue
            self.limit = below / ("memory.limit_in_bytes" if controllers else "memory.max")
            self.usage = below / ("memory.usage_in_bytes" if controllers else "memory.current")
            if self.limit.exists():
                self.directory = below
                return
            below.rmdir()

    def argv(self, argv):
        """Runs this program inside the group."""
        return ["sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh", self.directory / "cgroup.procs", *argv]

    def remove(self):
        """Removes the group, whose processes have ended before."""
        self.directory.rmdir()


class Upstream:
    """An API that reads no body until it is allowed to, with one thread per socket."""

    def __init__(self, world, certificate, key):
        self.let, self.begun, self.lock = threading.Event(), 0, threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", world.port()), backlog=1024)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            raw, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as agent, agent.makefile("rb") as lines:
                while head := lines.readline():
                    length = 0
                    while (line := lines.readline()) not in (b"\r\n", b""):
                        name, _, value = line.partition(b":")
                        if name.lower() == b"content-length":
                            length = int(value)
                    if length:
                        with self.lock:
                            self.begun += 1
                        self.let.wait()
                        while length:
                            length -= len(lines.read(min(length, MIB)))
                    agent.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        except OSError:
            pass


def upload(port, answers):
    """Runs one agent, which sends a large body. Returns the response."""
    agent = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        agent.request("POST", "/api/up", body=b"x" * UPLOAD)
        reply = agent.getresponse()
        reply.read()
        answers.append(reply.status)
    except OSError:
        answers.append(None)
    finally:
        agent.close()


def ask(port, path):
    """Sends a GET on a socket of its own. Returns status and body."""
    agent = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        agent.request("GET", path)
        reply = agent.getresponse()
        return reply.status, reply.read().decode()
    finally:
        agent.close()


def gauge(management, name):
    """Returns the value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", ask(management, "/metrics")[1], re.MULTILINE)
    return float(found.group(1)) if found else None


def resident(process):
    """Returns the private resident memory of the process, in KiB."""
    return int(re.search(r"^RssAnon:\s+(\d+)", read(f"/proc/{process.pid}/status"), re.MULTILINE).group(1))


def burst(upstream, proxy):
    """Runs all uploads at once. Returns the number of responses by status."""
    answers = []
    upstream.let.clear()
    upstream.begun = 0
    agents = [threading.Thread(target=upload, args=(proxy, answers)) for _ in range(UPLOADS)]
    for number, agent in enumerate(agents, start=1):
        agent.start()
        if number % AT_ONCE == 0:
            deadline = time.monotonic() + PATIENCE
            while upstream.begun + len(answers) < number and time.monotonic() < deadline:
                time.sleep(0.01)
            # egressd reads its memory use five times a second, and refuses new requests when it is
            # short.
            time.sleep(0.25)
    upstream.let.set()
    for agent in agents:
        agent.join()
    return {status: answers.count(status) for status in set(answers)}


def recovers(tally, group, process, proxy, management):
    """Checks that requests are served again within QUIET seconds."""
    deadline = time.monotonic() + QUIET
    while gauge(management, "egressd_memory_short") and time.monotonic() < deadline:
        time.sleep(0.2)
    took = QUIET - (deadline - time.monotonic())
    short, used = gauge(management, "egressd_memory_short"), int(read(group.usage))
    refused = sum(ask(proxy, "/api/x")[0] != 200 for _ in range(64))
    print(f"after {took:.1f} s: short {short}, group {used / MIB:.1f} of {LIMIT / MIB:.0f} MiB, own {resident(process)} KiB, {refused} of 64 refused")
    tally.claim("the shortage ends once its cause is gone", short == 0 and refused == 0, f"short {short}, {refused} of 64 refused, {used / MIB:.1f} MiB")


def half_heads(proxy):
    """Runs thousands of agents that send most of a head and leave."""
    half = b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nX-Fill: " + b"a" * HALF_HEAD
    agents = []
    for _ in range(HALF_HEADS):
        agent = socket.create_connection(("127.0.0.1", proxy), timeout=PATIENCE)
        try:
            agent.sendall(half)
        except OSError:
            pass
        agents.append(agent)
    for agent in agents:
        agent.close()


def main():
    tally, group = Tally(), Group()
    if group.directory is None:
        print("skipped: a control group with little memory (this user may make none)")
        return 0
    with World() as world:
        _, leaf, key = world.certificates()
        upstream = Upstream(world, leaf, key)
        world.file("connections/api.json", json.dumps({"connection_details": {"http": {
            "base_url": f"https://127.0.0.1:{upstream.port}", "allowed_routes": ["/"], "no_auth": {},
            "max_concurrent_requests": 512, "allowed_private_cidrs": ["127.0.0.0/8"],
        }}}))
        proxy, management = world.port(), world.port()
        group.limit.write_text(str(LIMIT))
        began = time.monotonic()
        process = world.start("egressd", group.argv(egressd_argv(world, proxy, management)))
        process.await_port(proxy, pause=0.0005)
        print(f"listens after {(time.monotonic() - began) * 1000:.1f} ms")
        ask(proxy, "/api/x")
        print(f"at rest: own {resident(process)} KiB, group {int(read(group.usage)) / MIB:.1f} MiB")
        for turn in range(3):
            print(f"burst {turn}: {burst(upstream, proxy)}")
            recovers(tally, group, process, proxy, management)
        group.limit.write_text(str(1024 * MIB))
        time.sleep(0.5)
        before = resident(process)
        half_heads(proxy)
        peak, deadline = resident(process), time.monotonic() + QUIET
        while resident(process) > 1.5 * before + 4096 and time.monotonic() < deadline:
            time.sleep(0.2)
        after = resident(process)
        tally.claim(f"half heads: own memory {before} KiB before, {peak} at their height, {after} after", after <= 1.5 * before + 4096)
        world.stop(process)
    group.remove()
    print(f"memory: {tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
