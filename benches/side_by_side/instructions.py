"""Counts the user-space instructions of one 1 KiB request with valgrind's callgrind.

Each target runs twice on one worker, with two numbers of requests. The difference of the counts
divided by the difference in requests leaves out start-up, handshakes and shutdown. The result
hardly differs between machines, and other load on the machine has no effect.
"""

import re
import socket
import threading

from loads import exactly
from loopback import read
from targets import TARGETS

SOCKETS = 32


def count(bench, targets, path, smoke):
    """Returns rows: target and instructions per request."""
    short, long = (100, 300) if smoke else (2000, 10000)
    rows = []
    for target in targets:
        few, many = (run(bench, target, path, requests) for requests in (short, long))
        rows.append({"target": target, "instructions": round((many - few) / (long - short))})
    return rows


def run(bench, target, path, requests):
    """Returns all instructions of a process that served this many requests."""
    job = bench.job(1, single_process=True)
    out = bench.world.directory / f"callgrind-{target}-{job.port}"
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *TARGETS[target](job)]
    if target.startswith("egressd"):
        # The filter would apply to valgrind too, which runs in the same process and writes a file
        # at its end. The instructions of requests are the same without it.
        argv += ["--hardening", "off"]
    process = bench.world.start(f"callgrind-{target}-{job.port}", argv).await_port(job.port, seconds=120)
    for _ in range(4):  # fills the pool, so that both runs make the same handshakes
        exactly(job.port, path, SOCKETS, SOCKETS * 4)
    got = exactly(job.port, path, SOCKETS, requests)
    stop(bench, process, job.port)
    found = re.search(r"^(?:totals|summary): (\d+)", read(out), re.MULTILINE)
    if got["errors"] or not found:
        raise RuntimeError(f"{target} under callgrind: {got}\n{process.said()}")
    return int(found.group(1))


def stop(bench, process, port):
    """Ends a process that writes its counts at its end. nginx under valgrind can miss its signal
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
    print("| target | instructions of a 1 KiB request |\n|---|---:|")
    for row in rows:
        print(f"| {row['target']} | {row['instructions']:,} |")
