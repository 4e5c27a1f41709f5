"""User-space instructions of one 1 KiB request, counted by valgrind's callgrind.

Two run lengths on one worker; their difference divided by the difference in requests leaves start-up,
handshakes and shutdown out. It hardly differs between machines, and not at all with the neighbours.
"""

import re
import socket
import threading

from loads import exactly
from loopback import read
from targets import TARGETS

SOCKETS = 32


def count(bench, targets, path, smoke):
    """Rows: target and instructions a request."""
    short, long = (100, 300) if smoke else (2000, 10000)
    rows = []
    for target in targets:
        few, many = (run(bench, target, path, requests) for requests in (short, long))
        rows.append({"target": target, "instructions": round((many - few) / (long - short))})
    return rows


def run(bench, target, path, requests):
    """All instructions of a process that served so many requests."""
    job = bench.job(1, single_process=True)
    out = bench.world.directory / f"callgrind-{target}-{job.port}"
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *TARGETS[target](job)]
    if target.startswith("egressd"):
        # The filter would hold for valgrind too, which lives in the same process and writes a file at its end. What is counted is no different.
        argv += ["--hardening", "off"]
    process = bench.world.start(f"callgrind-{target}-{job.port}", argv).await_port(job.port, seconds=120)
    for _ in range(4):  # the pool is filled, so that both run lengths make the same handshakes
        exactly(job.port, path, SOCKETS, SOCKETS * 4)
    got = exactly(job.port, path, SOCKETS, requests)
    stop(bench, process, job.port)
    found = re.search(r"^(?:totals|summary): (\d+)", read(out), re.MULTILINE)
    if got["errors"] or not found:
        raise RuntimeError(f"{target} under callgrind: {got}\n{process.said()}")
    return int(found.group(1))


def stop(bench, process, port):
    """Ends a process that writes its counts as it ends. nginx under valgrind can sleep through its signal until a socket wakes it."""
    timers = [threading.Timer(seconds, wake, (port,)) for seconds in (1, 2, 3)]
    for timer in timers:
        timer.start()
    bench.world.stop(process)
    for timer in timers:
        timer.cancel()


def wake(port):
    """Knocks; a process that listens no more needs no waking."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        pass


def print_table(rows):
    """Markdown, as the other table."""
    print("| target | instructions of a 1 KiB request |\n|---|---:|")
    for row in rows:
        print(f"| {row['target']} | {row['instructions']:,} |")
