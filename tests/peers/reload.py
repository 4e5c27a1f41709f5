"""10,000 reloads while agents send requests: the volumes change as the kubelet changes them.

Every generation is visible in the path, in a header and in the credential of each request. nginx
returns the three, so an agent notices at once if they are of different generations. A ConfigMap has
the definition, and a Secret beside it the token of another connection. $RELOADS sets another number
of reloads.
"""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from loopback import World, egressd_argv, nginx_argv, read
from peers import Tally

RELOADS = int(os.environ.get("RELOADS", 10_000))
WARM = 500  # reloads before memory is measured
UNASKED = 5  # updates that egressd has to notice by itself
AGENTS = 4
PATIENCE = 30  # seconds after which an expected event counts as missing


def nginx(world, port, certificate, key):
    """Answers with the path, the header and the credential of the request."""
    return nginx_argv(world, "nginx", f"""
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{ return 200 "$request_uri $http_x_gen $http_authorization"; }}
    }}
}}
""")


class Volume:
    """A ConfigMap or Secret, updated like pkg/volume/util/atomic_writer.go does."""

    def __init__(self, at, files):
        self.at, self.updates = at, 0
        at.mkdir(parents=True)
        self.update(files)
        for name in files:
            (at / name).symlink_to(f"..data/{name}")

    def update(self, files):
        self.updates += 1
        data = self.at / f"..2026_{self.updates}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
        current, following = self.at / "..data", self.at / "..data_tmp"
        before = os.readlink(current) if current.is_symlink() else None
        following.symlink_to(data.name)
        following.rename(current)
        if before:
            shutil.rmtree(self.at / before)


def definition(upstream, generation):
    """Creates a connection whose generation is visible three times, and one whose secret is in
    another volume."""
    def http_of(**fields):
        return {"connection_details": {"http": {
            "allowed_routes": ["GET /a"], "allowed_private_cidrs": ["127.0.0.0/8"], "reflection_guard": False, **fields}}}

    return {
        "crm.json": json.dumps(http_of(
            base_url=f"https://127.0.0.1:{upstream}/g{generation}", headers={"X-Gen": str(generation)},
            bearer_token={"token": {"file": "token"}})),
        "token": f"token-{generation:06d}\n",
        "erp.json": json.dumps(http_of(
            base_url=f"https://127.0.0.1:{upstream}", bearer_token={"token": {"file": "../secret/token"}})),
    }


class Agent(threading.Thread):
    """Sends requests over one keep-alive socket until it is stopped, and records every unexpected
    response."""

    def __init__(self, port, stop):
        super().__init__(daemon=True)
        self.port, self.stop, self.asked, self.seen, self.wrong = port, stop, 0, set(), []

    def run(self):
        socket = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        last = 0
        while not self.stop.is_set():
            try:
                socket.request("GET", "/crm/a")
                reply = socket.getresponse()
                said = reply.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                return
            self.asked += 1
            found = re.fullmatch(r"/g(\d+)/a (\d+) Bearer token-(\d+)", said)
            generations = {int(number) for number in found.groups()} if found else set()
            if reply.status != 200 or len(generations) != 1 or min(generations) < last:
                self.wrong.append(f"{reply.status} {said[:200]} after {last}")
            else:
                last = generations.pop()
                self.seen.add(last)


class Log:
    """egressd's log, read as it arrives."""

    def __init__(self, process):
        self.process, self.file, self.failed = process, open(process.log), 0

    def await_event(self, wanted):
        """Returns the next matching event."""
        deadline, rest = time.monotonic() + PATIENCE, ""
        while time.monotonic() < deadline:
            line = rest + self.file.readline()
            if not line.endswith("\n"):
                rest = line
                time.sleep(0.0005)
                continue
            rest = ""
            event = json.loads(line) if line.startswith("{") else {}
            self.failed += event.get("event") == "reload_failed"
            if wanted(event):
                return event
        raise RuntimeError(f"the event did not arrive:\n{self.process.said()}")


def kept(process):
    """Returns the numbers of open files and threads."""
    return tuple(len(os.listdir(f"/proc/{process.pid}/{what}")) for what in ("fd", "task"))


def settled(process, wanted):
    """Returns these numbers once the sockets of earlier generations are closed, or the last ones if
    they never are."""
    deadline, now = time.monotonic() + PATIENCE, kept(process)
    while now[0] > wanted[0] and time.monotonic() < deadline:
        time.sleep(0.1)
        now = kept(process)
    return now


def rss(process):
    """Returns the private resident memory, in KiB."""
    found = re.search(r"^RssAnon:\s+(\d+)", read(f"/proc/{process.pid}/status"), re.MULTILINE)
    return int(found.group(1))


def reload_often(process, log, volume, upstream):
    """Repeats an update and a SIGHUP. Returns (files and threads, KiB) after the warm-up and at the
    end, and the seconds."""
    began = time.monotonic()
    for generation in range(1, RELOADS + 1):
        volume.update(definition(upstream, generation))
        os.kill(process.pid, signal.SIGHUP)
        log.await_event(lambda event: any(change.startswith("crm:") for change in event.get("changed", [])))
        if generation == min(WARM, RELOADS):
            warm = kept(process), rss(process)
    return warm, (kept(process), rss(process)), time.monotonic() - began


def unasked(tally, process, log, volumes, upstream, proxy):
    """Updates both volumes without a signal, so that egressd has to notice by itself."""
    config, secret = volumes
    took = []
    for number in range(UNASKED):
        began = time.monotonic()
        config.update(definition(upstream, RELOADS + 1 + number))
        log.await_event(lambda event: any(change.startswith("crm:") for change in event.get("changed", [])))
        secret.update({"token": f"rotated-{number}\n"})
        event = log.await_event(lambda event: event.get("event") == "reloaded")
        took.append((time.monotonic() - began) / 2)
        asks = http.client.HTTPConnection("127.0.0.1", proxy, timeout=PATIENCE)
        asks.request("GET", "/erp/a")
        said = asks.getresponse().read().decode()
        asks.close()
        tally.claim(f"rotated secret {number} is sent, and logged without its value",
                    said.endswith(f"Bearer rotated-{number}") and event["changed"] == ["erp: bearer_token"], f"{said} {event}")
    tally.claim(f"{2 * UNASKED} updates without a signal are found: {max(took):.2f} s at most", max(took) < PATIENCE)


def mounted_alone(tally, world):
    """Checks the warning at start about a file that is a mount of its own. Needs a mount namespace.
    """
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        print("skipped: a file that is a mount of its own (this machine gives no mount namespace)")
        return
    world.file("alone/other.yaml", "{}")
    settings = egressd_argv(world, world.port(), name="alone/egressd")
    world.file("alone/connections/one.json", json.dumps({"connection_details": {"http": {
        "base_url": "https://one.example", "allowed_routes": ["GET /"], "no_auth": {}}}}))
    world.file("alone/ca.pem", (world.directory / "ca.pem").read_bytes())
    inside = 'mount --bind "$1" "$1" && shift && exec "$@"'
    process = world.start("alone", ["unshare", "-rm", "sh", "-c", inside, "sh", settings[-1], *settings])
    event = Log(process).await_event(lambda event: event.get("event") == "mounted_alone")
    tally.claim("a file that is a mount of its own causes a warning", event.get("file") == str(settings[-1]), event)
    world.stop(process)


def main():
    tally = Tally()
    with World() as world:
        _, leaf, key = world.certificates()
        upstream, proxy = world.port(), world.port()
        world.start("nginx", nginx(world, upstream, leaf, key)).await_port(upstream)
        secret = Volume(world.directory / "secret", {"token": "rotated\n"})
        config = Volume(world.directory / "connections", definition(upstream, 0))
        process = world.start("egressd", egressd_argv(world, proxy)).await_port(proxy)
        log = Log(process)
        log.await_event(lambda event: event.get("event") == "ready")
        stop = threading.Event()
        agents = [Agent(proxy, stop) for _ in range(AGENTS)]
        for agent in agents:
            agent.start()
        warm, last, seconds = reload_often(process, log, config, upstream)
        unasked(tally, process, log, (config, secret), upstream, proxy)
        stop.set()
        for agent in agents:
            agent.join()
        asked, wrong = sum(agent.asked for agent in agents), [one for agent in agents for one in agent.wrong]
        seen = len(set.union(*(agent.seen for agent in agents)))
        print(f"{RELOADS} reloads in {seconds:.1f} s ({RELOADS / seconds:.0f} a second), {asked} requests meanwhile, {seen} generations seen by agents")
        tally.claim("no request failed, none saw two generations, none an older one than before", not wrong, wrong[:5])
        tally.claim("the agents sent enough requests", asked > RELOADS and seen > UNASKED, f"{asked} {seen}")
        tally.claim("no reload failed", log.failed == 0, log.failed)
        now = settled(process, warm[0])
        tally.claim(f"files and threads: {warm[0]} when warm, {now} at the end", now[0] <= warm[0][0] + 2 * AGENTS and now[1] == warm[0][1])
        # F-271
        tally.claim(f"memory: {warm[1]} KiB when warm, {last[1]} KiB at the end", last[1] <= warm[1] * 1.2 + 2048)
        mounted_alone(tally, world)
    print(f"reload: {tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
