"""Measures whether agents notice that the management port is flooded.

Two egressd with 500 connections each run side by side, and agents send 2,000 requests a second to
the first. A round has three arms: no flood, a flood of the *other* egressd's management port, and a
flood of this one's. The flood costs the machine as much in the second arm as in the third, so the
ratio of these two is the effect within one process. The first arm shows the effect of the machine
on both.
"""

import base64
import http.client
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import loads
from targets import egressd

LUA = Path(__file__).with_name("flood.lua")
LOGIN = ("operator", "flood-password-0123456789")
CONNECTIONS = 500
FLOODERS = 8  # sockets that always have a request under way
RATE, SOCKETS, ITEM = 2000, 16, "/api-id/v1/items/1k"  # the agents
# The requests of the flood, with the password and with a wrong one.
ASKED = [
    '/v1/connections?page_size=1000&filter=display_name:"item"%20OR%20name:"api-id"'.replace('"', "%22"), "/metrics",
    "/v1/connections?page_size=1000&order_by=display_name%20desc",
]
REFUSED = ["/v1/connections", "/v1/connections/other-1", "/"]
ARMS = ["quiet", "other flooded", "flooded"]
GOAL = 1.10  # p99 of a flooded egressd against that beside a flooded one


def authorization():
    return "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


class Sidecar:
    """A running egressd: its process, and its addresses for agents and operators."""

    def __init__(self, bench):
        job = bench.job(workers=1)
        self.port, self.management = job.port, bench.world.port()
        argv = egressd(job, management=self.management, login=LOGIN, others=CONNECTIONS - 1)
        self.process = bench.world.start(f"egressd-{job.port}", argv).await_port(job.port).await_port(self.management)
        loads.verify("egressd", self.port)
        self.verify()

    def verify(self):
        """Checks the responses to the flood: all connections, metrics, and 401."""
        for path in ASKED + REFUSED:
            asks = http.client.HTTPConnection("127.0.0.1", self.management, timeout=10)
            asks.request("GET", path, headers={"Authorization": authorization()} if path in ASKED else {})
            answer = asks.getresponse()
            content = answer.read()
            asks.close()
            listed = len(json.loads(content)["connections"]) if "page_size" in path and answer.status == 200 else CONNECTIONS
            if answer.status != (200 if path in ASKED else 401) or listed != CONNECTIONS:
                raise RuntimeError(f"management: {path} gave {answer.status}, {listed} connections: {content[:300]}")


def flood(port, seconds):
    """Starts the flood, which ends by itself."""
    paths = [sign + path for pair in zip(ASKED, REFUSED) for sign, path in zip("+-", pair)]
    return subprocess.Popen(
        ["wrk", "-t1", f"-c{FLOODERS}", f"-d{seconds}s", "--timeout", "10s", "-s", LUA, f"http://127.0.0.1:{port}", "--", authorization(), *paths],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def measure(arm, own, other, seconds):
    """Runs one arm. Returns the agents' view, the cost of the process, and the responses to the
    flood."""
    target = {"quiet": None, "other flooded": other, "flooded": own}[arm]
    # The flood starts before the agents and outlasts them.
    flooding = flood(target.management, seconds + 2) if target else None
    try:
        time.sleep(1 if target else 0)
        cpu, began = own.process.cpu_ns(), time.perf_counter()
        got = loads.paced(own.port, ITEM, SOCKETS, seconds, RATE)
        cores = (own.process.cpu_ns() - cpu) / 1e9 / (time.perf_counter() - began)
        said = flooding.communicate(timeout=seconds + 30)[0] if target else ""
    finally:
        if flooding and flooding.poll() is None:
            flooding.kill()
            flooding.wait()
    told = [json.loads(line[len("RESULT "):]) for line in said.splitlines() if line.startswith("RESULT ")]
    if got["errors"] or target and (not told or told[0]["errors"] or not 0 < told[0]["refused"] < told[0]["requests"]):
        raise RuntimeError(f"{arm}: {got}\n{said}\n{own.process.said()}")
    return {"p50_us": got["p50_us"], "p99_us": got["p99_us"], "cores": cores, "flood_rps": told[0]["requests"] / (seconds + 2) if target else 0}


def rounds(bench, options):
    """Returns results[arm] = one dict per round. The order of the arms rotates with the round."""
    own, other = Sidecar(bench), Sidecar(bench)
    seconds = 1 if options.smoke else 2 if options.quick else 5
    results = {arm: [] for arm in ARMS}
    loads.paced(own.port, ITEM, SOCKETS, 1, RATE)  # sockets to the upstream, and everything else that comes first
    for number in range(options.rounds):
        turn = number % len(ARMS)
        for arm in ARMS[turn:] + ARMS[:turn]:
            got = measure(arm, own, other, seconds)
            results[arm].append(got)
            shown = ", ".join(f"{k} {v:.4g}" for k, v in got.items())
            print(f"round {number + 1}/{options.rounds} {arm}: {shown}", file=sys.stderr)
    return results


def print_table(results):
    """Prints Markdown. The ratios are medians of those within a round."""
    def ratio(metric, arm, against):
        return statistics.median(a[metric] / b[metric] for a, b in zip(results[arm], results[against]))

    print(f"| {RATE:,} requests/s of agents | p50 µs | p99 µs | p99 / quiet | cores of this egressd | answers to the flood/s |\n|---|---:|---:|---:|---:|---:|")
    for arm in ARMS:
        median = {key: statistics.median(got[key] for got in results[arm]) for key in results[arm][0]}
        print(f"| {arm} | {median['p50_us']:,.0f} | {median['p99_us']:,.0f} | {ratio('p99_us', arm, 'quiet'):.2f} "
              f"| {median['cores']:.2f} | {median['flood_rps']:,.0f} |")
    p50, p99 = (ratio(metric, "flooded", "other flooded") for metric in ("p50_us", "p99_us"))
    print(f"\nflooded against the other flooded: p50 {p50:.2f}, p99 **{p99:.2f}** (goal ≤ {GOAL:.2f})")
