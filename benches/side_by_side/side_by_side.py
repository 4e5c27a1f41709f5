"""Compares egressd with its peers, which do the same job in the same minute.

Rounds are interleaved: each round runs every workload on every target, and a ratio is taken against
the best peer *of that round*, so that other load on the machine affects all alike. The tables
contain medians over the rounds. The figure to trust is CPU per request, because rps and p99 vary
with the machine.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import ssl
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from targets import PEERS, REPOSITORY, SECRET, TARGETS, Job, egressd_binary, upstream
from loopback import World
import flood
import instructions
import loads

PREFIX = "/api-id/v1"
DEBIAN = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "openssl": "openssl", "valgrind": "valgrind"}


@dataclass
class Workload:
    """A row of the table: the load, its parameters, and egressd's goal against the best peer."""

    name: str
    kind: str  # "wrk", "paced", "idle" or "spawn"
    workers: int = 1
    path: str = PREFIX + "/items/1k"
    sockets: int = 32
    post_bytes: int = 0
    bars: dict = field(default_factory=dict)  # metric → ratio not to exceed (rps: not to fall short of)


WORKLOADS = [
    Workload("1k-32", "wrk", bars={"cpu_us": 0.90}),
    Workload("1k-32-2w", "wrk", workers=2, bars={"cpu_us": 0.90, "rps": 1.0}),
    Workload("1k-1", "wrk", sockets=1, bars={"cpu_us": 1.0}),
    Workload("post4k-32", "wrk", path=PREFIX + "/sink", post_bytes=4096, bars={"cpu_us": 0.90}),
    Workload("64k-32", "wrk", path=PREFIX + "/items/64k", bars={"cpu_us": 1.0}),
    Workload("8m-4", "wrk", path=PREFIX + "/items/8m", sockets=4, bars={"cpu_us": 1.0}),
    Workload("2000rps", "paced", sockets=16, bars={"cpu_us": 1.0, "p99_us": 1.0}),
    Workload("idle", "idle"),
    Workload("spawn", "spawn"),
]
# The cost of searching responses and signing bodies: the ratio is taken against egressd without the
# feature.
GUARD_WORKLOADS = [
    Workload("guard-1k-32", "wrk", bars={"cpu_us": 1.05}),
    Workload("guard-1m-8", "wrk", path=PREFIX + "/items/1m", sockets=8, bars={"cpu_us": 1.10}),
]
SIGNING_WORKLOADS = [
    Workload("signed-post4k-32", "wrk", path=PREFIX + "/sink", post_bytes=4096, bars={"cpu_us": 1.15}),
]
COSTS = ["egressd-unguarded", "egressd", "egressd-signed"]
# metric → (printed name, whether more is better, decimals)
METRICS = {
    "cpu_us": ("CPU µs/request", False, 1),
    "rps": ("requests/s", True, 0),
    "p99_us": ("p99 µs", False, 0),
    "idle_mib": ("MiB at rest", False, 1),
    "held_mib": ("MiB with idle sockets", False, 1),
    "socket_kib": ("KiB/idle socket", False, 2),
    "first_byte_ms": ("ms to the first byte", False, 1),
}


@dataclass
class Table:
    """A table: each workload on each target, with ratios against the better of `peers`."""

    workloads: list
    targets: list
    peers: list


class Bench:
    """The world with its upstream, which runs one measurement at a time."""

    def __init__(self, world, options):
        self.world, self.options = world, options
        self.ca, leaf, key = world.certificates()
        self.upstream_port = world.port()
        self.upstream = world.start("upstream", upstream(world, self.upstream_port, leaf, key))
        self.upstream.await_port(self.upstream_port)

    def job(self, workers, single_process=False):
        return Job(self.world, self.upstream_port, self.ca, self.world.port(), workers, single_process)

    def start(self, target, workers):
        """Returns a fresh, listening target and its port."""
        job = self.job(workers)
        return self.world.start(f"{target}-{job.port}", TARGETS[target](job)).await_port(job.port), job.port

    def upstream_sockets(self):
        """Returns the number of sockets that the upstream has accepted so far, without the one of
        this query."""
        tls = ssl.create_default_context(cafile=str(self.ca))
        asks = http.client.HTTPSConnection("127.0.0.1", self.upstream_port, context=tls, timeout=10)
        asks.request("GET", "/sockets", headers={"Authorization": f"Bearer {SECRET}"})
        accepted = int(asks.getresponse().read().split(b"\n")[2].split()[0])
        asks.close()
        self.asked = getattr(self, "asked", 0) + 1
        return accepted - self.asked

    def verify(self, target):
        """Checks that the target does the whole job before anything is measured."""
        process, port = self.start(target, 1)
        try:
            loads.verify(target, port)
        except Exception as error:
            raise RuntimeError(f"{error}\n{process.said()}") from error
        self.world.stop(process)

    def measure(self, workload, target):
        """Runs one workload on one fresh process. Returns metric → value."""
        if workload.kind == "spawn":
            return {"first_byte_ms": statistics.median(self.spawn(target, workload) for _ in range(3))}
        process, port = self.start(target, workload.workers)
        if workload.kind == "idle":
            result = self.idle(process, port, workload)
        else:
            if self.options.warm_up:
                self.drive(workload, port, self.options.warm_up)
            # wrk ends in the middle of responses, which closes upstream sockets. Complete responses
            # fill the pool again.
            loads.exactly(port, PREFIX + "/items/1k", workload.sockets, workload.sockets * 4)
            before, cpu = self.upstream_sockets(), process.cpu_ns()
            got = self.drive(workload, port, self.options.seconds)
            cpu = process.cpu_ns() - cpu
            if got["errors"] or not got["requests"]:
                raise RuntimeError(f"{target}, {workload.name}: {got}\n{process.said()}")
            result = {
                "cpu_us": cpu / got["requests"] / 1000,
                "rps": got["requests"] / got["seconds"],
                "p99_us": got["p99_us"],
                "requests": got["requests"],
                "new_upstream_sockets": self.upstream_sockets() - before,
            }
        self.world.stop(process)
        return result

    def drive(self, workload, port, seconds):
        if workload.kind == "paced":
            return loads.paced(port, workload.path, workload.sockets, seconds, 2000)
        return loads.wrk(port, workload.path, workload.sockets, seconds, workload.post_bytes)

    def spawn(self, target, workload):
        job = self.job(1)
        argv = TARGETS[target](job)
        started = time.perf_counter()
        process = self.world.start(f"{target}-{job.port}", argv)
        taken = loads.first_byte(process, job.port, workload.path, started)
        self.world.stop(process)
        return taken * 1000

    def idle(self, process, port, workload):
        for one in loads.idle_sockets(port, workload.path, 1):
            one.socket.close()
        time.sleep(self.options.settle)
        rest = process.rss_kib()
        held = loads.idle_sockets(port, workload.path, self.options.idle_sockets)
        time.sleep(self.options.settle)
        full = process.rss_kib()
        for one in held:
            one.socket.close()
        return {"idle_mib": rest / 1024, "held_mib": full / 1024, "socket_kib": (full - rest) / len(held)}


def run_rounds(bench, table, rounds):
    """Returns results[workload][target] = one dict per round. The order of the targets rotates with
    the round."""
    workloads, targets = table.workloads, table.targets
    results = {w.name: {t: [] for t in targets} for w in workloads}
    for number in range(rounds):
        for workload in workloads:
            turn = number % len(targets)
            for target in targets[turn:] + targets[:turn]:
                got = bench.measure(workload, target)
                results[workload.name][target].append(got)
                shown = ", ".join(f"{k} {v:.4g}" for k, v in got.items())
                print(f"round {number + 1}/{rounds} {workload.name} {target}: {shown}", file=sys.stderr)
    return results


def summarise(results, table):
    """Returns rows of medians: workload, metric, value per target, ratio of each target to the best
    peer, bar."""
    workloads, targets, peers = table.workloads, table.targets, table.peers
    rows = []
    for workload in workloads:
        rounds = results[workload.name]
        for metric, (_, more_is_better, _) in METRICS.items():
            if not all(rounds[t] and metric in rounds[t][0] for t in targets):
                continue
            best = max if more_is_better else min
            of_round = list(zip(*([r[metric] for r in rounds[t]] for t in targets)))
            ratios = {}
            for position, target in enumerate(targets if peers else []):
                pairs = [(row[position], best(row[targets.index(p)] for p in peers)) for row in of_round]
                if all(peer for _, peer in pairs):
                    ratios[target] = statistics.median(own / peer for own, peer in pairs)
            medians = {t: statistics.median(r[metric] for r in rounds[t]) for t in targets}
            rows.append({"workload": workload.name, "workers": workload.workers, "metric": metric,
                         "median": medians, "ratio": ratios, "bar": workload.bars.get(metric)})
    return rows


def print_table(rows, table):
    """Prints Markdown that can be pasted into benches/README.md unchanged."""
    targets = table.targets
    own = [t for t in targets if t not in table.peers]
    best = table.peers[0] if len(table.peers) == 1 else "best peer"
    print("| workload | | " + " | ".join(targets) + "".join(f" | {t} / {best}" for t in own) + " | bar |")
    print("|---|---|" + "---:|" * (len(targets) + len(own) + 1))
    for row in rows:
        name, more_is_better, decimals = METRICS[row["metric"]]
        cells = [f"{row['median'][t]:,.{decimals}f}" for t in targets]
        cells += [f"**{row['ratio'][t]:.2f}**" if t in row["ratio"] else "–" for t in own]
        bar = "" if row["bar"] is None else f"{'≥' if more_is_better else '≤'} {row['bar']:.2f}"
        print(f"| {row['workload']} | {name} | " + " | ".join(cells) + f" | {bar} |")


def machine():
    """Returns the machine and the versions behind the figures."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    versions = {}
    for program, flag in (("nginx", "-v"), ("haproxy", "-v")):
        if shutil.which(program):
            done = subprocess.run([program, flag], capture_output=True, text=True)
            versions[program] = (done.stdout + done.stderr).strip().splitlines()[0]
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg(), "peers": versions, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def require(targets, callgrind):
    """Reports everything that is missing at once. Builds egressd if only that is missing."""
    needed = ["nginx", "openssl", "valgrind" if callgrind else "wrk"] + [t for t in targets if t in DEBIAN]
    missing = sorted({DEBIAN[n] for n in needed if not shutil.which(n)})
    if missing:
        sys.exit(f"programs are missing; install them as root: apt-get install --no-install-recommends {' '.join(missing)}")
    if any(t.startswith("egressd") for t in targets) and not egressd_binary("release").exists():
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "egressd"], cwd=REPOSITORY, check=True)


def arguments():
    names = [w.name for w in WORKLOADS]
    parser = argparse.ArgumentParser(prog="benches/side_by_side/run", description=__doc__.split("\n")[0])
    parser.add_argument("mode", nargs="?", choices=["rounds", "callgrind"], default="rounds",
                        help="rounds (default), or callgrind: user-space instructions of a 1 KiB request")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s runs")
    parser.add_argument("--costs", action="store_true",
                        help="measure the cost of the reflection guard and of signing: egressd with each against egressd without it")
    parser.add_argument("--flood", action="store_true", help="measure whether agents notice that the management port is flooded")
    parser.add_argument("--smoke", action="store_true", help="run everything once, as briefly as possible; the figures mean nothing")
    parser.add_argument("--rounds", type=int, help="number of rounds (default 7)")
    parser.add_argument("--only", default=",".join(names), help=f"workloads, a comma-separated selection of {','.join(names)}")
    parser.add_argument("--targets", default="nginx,haproxy,egressd", help=f"targets, a comma-separated selection of {','.join(TARGETS)}")
    parser.add_argument("--json", metavar="FILE", help="write the machine, medians, ratios and every round to this file")
    options = parser.parse_args()
    options.seconds, options.warm_up = (1, 0) if options.smoke else (1, 1) if options.quick else (2, 1)
    options.rounds = options.rounds or (1 if options.smoke else 2 if options.quick else 7)
    options.settle, options.idle_sockets = (0.2, 100) if options.smoke else (2.5, 1000)
    options.targets = COSTS if options.costs else ["egressd"] if options.flood else options.targets.split(",")
    options.only = options.only.split(",")
    unknown = set(options.only) - set(names) | set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def tables(options):
    """Returns the tables to run: the selected one, or all of them for a smoke test."""
    costs = [
        Table(GUARD_WORKLOADS, ["egressd-unguarded", "egressd"], ["egressd-unguarded"]),
        Table(SIGNING_WORKLOADS, ["egressd", "egressd-signed"], ["egressd"]),
    ]
    if options.costs:
        return costs
    if options.flood:
        return []
    peers = [p for p in PEERS if p in options.targets]
    chosen = Table([w for w in WORKLOADS if w.name in options.only], options.targets, peers)
    return [chosen, *costs] if options.smoke and "egressd" in options.targets else [chosen]


def main():
    options = arguments()
    require(options.targets, options.mode == "callgrind")
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, load {about['load_average'][0]:.2f}; "
          + "; ".join(about["peers"].values()))
    with World() as world:
        bench = Bench(world, options)
        for target in options.targets:
            bench.verify(target)
        if options.mode == "callgrind":
            rounds = {}
            rows = instructions.count(bench, options.targets, PREFIX + "/items/1k", options.smoke)
            instructions.print_table(rows)
        else:
            rounds, rows = {}, []
            for table in tables(options):
                rounds |= (got := run_rounds(bench, table, options.rounds))
                rows += (of_table := summarise(got, table))
                print_table(of_table, table)
            if options.flood or options.smoke and "egressd" in options.targets:
                rounds["flood"] = flood.rounds(bench, options)
                flood.print_table(rounds["flood"])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump({"machine": about, "options": vars(options), "rows": rows, "rounds": rounds}, out, indent=1)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"side_by_side: {error}")
