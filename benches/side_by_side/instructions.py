"""Counts the user-space instructions of single requests with valgrind's callgrind.

Each target runs once on one worker. Its counters are read and reset before and after a number of
requests of each kind, so that start-up, handshakes and shutdown do not count. Counts vary by less
than 1 % on an idle machine, and by up to 8 % on a busy one, because more of the work that is done
every 50 ms falls into a longer run. valgrind presents the same processor on every machine with
AVX2, so that the crypto libraries choose the same code. The count is therefore the figure for
comparing commits, and `.ci/run` compares it with the committed one.
"""

import os
import platform
import re
import socket
import subprocess
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

from loads import exactly
from loopback import read
from targets import TARGETS

# glibc copies large blocks with `rep movsb`, of which valgrind counts every byte as an instruction.
# With these thresholds, glibc uses its vector loops, and a copy counts about what it costs.
ENVIRONMENT = {"GLIBC_TUNABLES": f"glibc.cpu.x86_rep_movsb_threshold={1 << 30}:glibc.cpu.x86_rep_stosb_threshold={1 << 30}"}
COMMITTED = Path(__file__).with_name("instructions.toml")
SOCKETS = 32
# The gate fails above the committed count times this. The commands of `.ci/run` run one after the
# other, so the machine is nearly idle.
CEILING = 1.05


@dataclass
class Kind:
    """A kind of request: its key in the committed file, and how often it is sent."""

    key: str
    name: str
    path: str
    requests: int
    status: int = 200
    goal: int | None = None
    has_gate: bool = False


ITEMS = "/api-id/v1/items"
KINDS = [
    Kind("get_1k", "GET of 1 KiB", f"{ITEMS}/1k", 8000, goal=30_000, has_gate=True),
    Kind("refused", "request that no pattern allows", "/api-id/v1/forbidden", 8000, status=403, has_gate=True),
    Kind("get_64k", "GET of 64 KiB", f"{ITEMS}/64k", 1000),
]


def count(bench, targets, smoke):
    """Returns rows: a target, and the instructions of one request by kind."""
    kinds = [(kind, kind.requests // 40 if smoke else kind.requests) for kind in KINDS]
    rows = []
    for target in targets:
        counts = run(bench, target, TARGETS[target], kinds)
        rows.append({"target": target} | {kind.key: round(found) for (kind, _), found in zip(kinds, counts)})
    return rows


def run(bench, target, configure, kinds, sockets=SOCKETS):
    """Returns the instructions of one request for each pair of a kind and a number of requests.
    `configure` returns the command of the target for a job."""
    job = bench.job(1, single_process=True)
    out = bench.world.directory / f"callgrind-{target}-{job.port}"
    pipes = bench.world.directory / "vgdb"  # the prefix of the pipes through which counts are requested
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--vgdb-prefix={pipes}", *configure(job)]
    if target.startswith("egressd"):
        # The filter would apply to valgrind too, which runs in the same process and writes files.
        # The instructions of requests are the same without it.
        argv += ["--hardening", "off"]
    process = bench.world.start(f"callgrind-{target}-{job.port}", argv, os.environ | ENVIRONMENT).await_port(job.port, seconds=300)

    def take_count(number):
        """Returns the instructions since the last count. callgrind writes and resets them."""
        asked = subprocess.run(["vgdb", f"--pid={process.pid}", f"--vgdb-prefix={pipes}", "dump"], capture_output=True, text=True, timeout=60)
        found = re.search(r"^totals: (\d+)", read(f"{out}.{number}"), re.MULTILINE)
        if not found:
            raise RuntimeError(f"callgrind wrote no count: {asked.stdout}{asked.stderr}\n{process.said()}")
        return int(found.group(1))

    for _ in range(4):  # fills the pool
        exactly(job.port, KINDS[0].path, sockets, sockets * 4)
    counts = []
    for position, (kind, requests) in enumerate(kinds):
        take_count(2 * position + 1)
        got = exactly(job.port, kind.path, sockets, requests, kind.status)
        if got["errors"]:
            raise RuntimeError(f"{target} under callgrind, {kind.name}: {got}\n{process.said()}")
        counts.append(take_count(2 * position + 2) / requests)
    stop(bench, process, job.port)
    return counts


def stop(bench, process, port):
    """Ends a process. nginx under valgrind can miss its signal
    until a socket wakes it."""
    timers = [threading.Timer(seconds, wake, (port,)) for seconds in (1, 2, 3)]
    for timer in timers:
        timer.start()
    bench.world.stop(process)
    for timer in timers:
        timer.cancel()


def wake(port):
    """Connects once. A process that no longer listens needs no waking."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        pass


def print_table(rows):
    """Prints Markdown like the other table."""
    print("| instructions | " + " | ".join(row["target"] for row in rows) + " | goal |")
    print("|---|" + "---:|" * (len(rows) + 1))
    for kind in KINDS:
        goal = f"≤ {kind.goal:,}" if kind.goal else ""
        print(f"| {kind.name} | " + " | ".join(f"{row[kind.key]:,}" for row in rows) + f" | {goal} |")


def renew(row):
    """Writes the counts of a row to the committed file."""
    lines = [line for line in read(COMMITTED).splitlines() if line.startswith("#")]
    lines += ["", f"[{platform.machine()}]"] + [f"{kind.key} = {row[kind.key]:_}" for kind in KINDS]
    COMMITTED.write_text("\n".join(lines) + "\n")


def gate(row):
    """Compares a row with the committed counts. Returns the reasons to fail."""
    committed = tomllib.loads(COMMITTED.read_text()).get(platform.machine())
    if committed is None:
        print(f"no count is committed for {platform.machine()}, so nothing is compared")
        return []
    failures = []
    for kind in KINDS:
        now, before = row[kind.key], committed[kind.key]
        print(f"{kind.name}: {now:,} instructions, committed {before:,} ({now / before - 1:+.1%})")
        if kind.has_gate and now > before * CEILING:
            failures.append(f"a {kind.name} takes {now:,} instructions, more than {CEILING - 1:.0%} above {before:,}; "
                            "count again on an idle machine, with the binary of .ci/build-release; after a change of code, "
                            "dependencies or version, run .ci/renew-profile first; an intended cost is committed with --renew")
        if kind.has_gate and now < before / CEILING:
            print(f"the {kind.name} became cheaper; commit the new count, see {COMMITTED.name}")
    return failures
