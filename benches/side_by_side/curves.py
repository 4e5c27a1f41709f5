"""Measures how the cost of a request depends on what surrounds it: agent sockets, connections,
patterns, body size, handshakes and workers. `chart.py` draws the curves.

CPU per request is taken from a window inside a longer load: the CPU time of the target, and the
requests that the upstream has counted. Requests before and after the window, and those that the
load breaks off at its end, do not count. Rounds are interleaved as for the table.
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass

import chart
import instructions
import loads
from targets import SIZES, UNLIMITED, egressd, nginx

ITEMS = "/api-id/v1/items"
SOCKETS = 32
INSTRUCTIONS = "instructions per request"
LONGEST_SECONDS = 60  # of a load, which is usually ended earlier


@dataclass
class Curve:
    """A panel of the picture. `targets` are measured at each of `points` with `measure(run, target,
    point)`."""

    key: str
    title: str
    x_label: str
    measure: object
    points: list
    quick: list
    targets: tuple = ("nginx", "egressd")
    y_label: str = "CPU µs per request"
    is_log: bool = False
    labels: dict | None = None


@dataclass
class Run:
    """The bench, and the durations of a measurement in seconds."""

    bench: object
    warm_up: int
    seconds: int
    first_requests: int = 0  # that the upstream had served before this load

    def cpu_us(self, job, argv, path=f"{ITEMS}/1k", sockets=SOCKETS, seconds=None):
        """Returns the CPU time of a request at a target that runs with this command."""
        bench = self.bench
        process = bench.world.start(f"curve-{job.port}", argv).await_port(job.port, seconds=60)
        self.first_requests = bench.upstream_counts(job.upstream)[1]
        load = loads.start_wrk(job.port, path, sockets, LONGEST_SECONDS)
        try:
            time.sleep(self.warm_up)
            before = self.await_pool(job, sockets, load)
            cpu = process.cpu_ns()
            time.sleep(seconds or self.seconds)
            cpu, after = process.cpu_ns() - cpu, bench.upstream_counts(job.upstream)[1]
        finally:
            result = loads.stop_wrk(load)
        if result["errors"] or after == before:
            raise RuntimeError(f"{after - before} requests in the window, {result}\n{process.said()}")
        bench.world.stop(process)
        return cpu / (after - before) / 1000

    def await_pool(self, job, sockets, load):
        """Waits until the sockets have sent requests and the target opens no more sockets to an
        upstream that keeps them, because a handshake costs as much as many requests. Returns the
        requests so far."""
        opened = None
        while load.poll() is None:
            before, (opened, requests) = opened, self.bench.upstream_counts(job.upstream)
            is_settled = opened == before or job.upstream != self.bench.upstream_port
            if is_settled and requests - self.first_requests >= sockets * 8:
                break
            time.sleep(0.5)
        else:
            raise RuntimeError("wrk ended before the window began")
        return requests


def over_sockets(run, target, sockets):
    job = run.bench.job(1)
    argv = egressd(job, sockets=max(sockets, 64)) if target == "egressd" else nginx(job, pool=max(sockets, 64))
    return run.cpu_us(job, argv, sockets=sockets)


def over_connections(run, _, connections):
    job = run.bench.job(1)
    # egressd reads all files again every 5 seconds, so that each window has this in it once.
    return run.cpu_us(job, egressd(job, others=connections - 1), seconds=5)


def over_patterns(run, _, patterns):
    job = run.bench.job(1)
    return run.cpu_us(job, egressd(job, patterns=patterns))


def over_body(run, target, size):
    job = run.bench.job(1)
    name = next(name for name, length in SIZES.items() if length == size)
    argv = egressd(job) if target == "egressd" else nginx(job)
    return run.cpu_us(job, argv, path=f"{ITEMS}/{name}", sockets=SOCKETS if size < 1 << 20 else 4)


def over_handshakes(run, target, requests):
    port = run.bench.closing_upstream(requests)
    job = run.bench.job(1, upstream_port=port)
    return run.cpu_us(job, egressd(job) if target == "egressd" else nginx(job))


def over_workers(run, target, workers):
    job = run.bench.job(workers)
    return run.cpu_us(job, egressd(job) if target == "egressd" else nginx(job))


def instructions_of(run, busy=SOCKETS, **parameters):
    """Returns the instructions of a 1 KiB request over this many busy sockets, with these parameters
    of `egressd`."""
    kinds = [(instructions.KINDS[0], max(busy, 1000) * 2 * run.seconds)]
    return instructions.run(run.bench, "egressd", lambda job: egressd(job, **parameters), kinds, busy)[0]


def instructions_over_sockets(run, _, sockets):
    return instructions_of(run, sockets, sockets=max(sockets, 64))


def instructions_over_patterns(run, _, patterns):
    return instructions_of(run, patterns=patterns)


TENS, FEW_TENS = [1, 10, 100, 1000, 10_000], [1, 10_000]
OWN = ("egressd",)
SIZE_LABELS = {length: name.upper() for name, length in SIZES.items()}
CURVES = [
    Curve("sockets", "Busy agent sockets", "sockets", over_sockets, [1, 4, 16, 64, 256, 1024, 4096], [1, 64, 4096]),
    Curve("body", "Body size", "bytes of the response", over_body, list(SIZES.values()), [0, 64 << 10, 8 << 20],
          is_log=True, labels=SIZE_LABELS),
    Curve("connections", "Connections defined", "connections", over_connections, TENS, FEW_TENS, OWN),
    Curve("patterns", "Patterns of a connection", "patterns", over_patterns, [2, *TENS[1:]], [2, 10_000], OWN),
    Curve("handshakes", "New TLS handshakes", "requests until the upstream closes a socket", over_handshakes,
          [1, 2, 4, 16, 64, 256, UNLIMITED], [1, 16, UNLIMITED], labels={UNLIMITED: "never"}),
    Curve("workers", "Workers", "workers", over_workers, [1, 2], [1, 2]),
]
# In tables only, to separate what a request executes from what its surroundings cost. The number of
# connections is not among them: the repeated reading of their files would be counted as well.
COUNTS = [
    Curve("sockets_counted", "Busy agent sockets", "sockets", instructions_over_sockets, [1, 32, 1024, 4096], [1, 1024], OWN, INSTRUCTIONS),
    Curve("patterns_counted", "Patterns of a connection", "patterns", instructions_over_patterns, [2, 100, 10_000], [2, 10_000], OWN, INSTRUCTIONS),
]


def measure(bench, options):
    """Returns, for each curve, the figures of all rounds of each target at each point."""
    run = Run(bench, max(1, options.warm_up), options.seconds)
    curves = [curve for curve in CURVES + COUNTS if not options.curves or curve.key in options.curves]
    measured = {curve.key: {target: {} for target in curve.targets if target in options.targets} for curve in curves}
    for number in range(options.rounds):
        for curve in curves:
            if curve in COUNTS and number:
                continue  # counts do not vary
            for point in curve.quick if options.quick else curve.points:
                for target, figures in measured[curve.key].items():
                    figure = curve.measure(run, target, point)
                    figures.setdefault(point, []).append(figure)
                    print(f"round {number + 1}/{options.rounds} {curve.key} {point} {target}: {figure:.5g}", file=sys.stderr)
    return measured


def print_table(measured):
    """Prints the medians as Markdown."""
    for curve in CURVES + COUNTS:
        series = measured.get(curve.key)
        if not series:
            continue
        points = list(next(iter(series.values())))
        print(f"\n| {curve.title}: {curve.y_label} | " + " | ".join(label(curve, point) for point in points) + " |")
        print("|---|" + "---:|" * len(points))
        for target, figures in series.items():
            print(f"| {target} | " + " | ".join(f"{statistics.median(figures[point]):,.{0 if curve.is_log or curve in COUNTS else 1}f}" for point in points) + " |")


def label(curve, point):
    """Returns the text of a point: 64, 1k, 10k."""
    point = int(point)
    if curve.labels and point in curve.labels:
        return curve.labels[point]
    return f"{point // 1000}k" if point >= 1000 and point % 1000 == 0 else str(point)


def draw(result, path):
    """Writes the picture of measured curves, which may come from a JSON file."""
    print_table(result["curves"])
    if not path:
        return
    panels = []
    for curve in CURVES:
        series = result["curves"].get(curve.key)
        if series:
            points = list(next(iter(series.values())))
            panels.append(chart.Panel(
                curve.title, curve.x_label, curve.y_label, [label(curve, point) for point in points],
                {target: list(figures.values()) for target, figures in series.items()}, curve.is_log))
    machine = result["machine"]
    caption = f"{machine['cpu']}, {machine['cores']} cores, {machine['time'][:10]}; {SOCKETS} sockets, 1 KiB and one worker where nothing else is stated"
    with open(path, "w", encoding="utf-8") as out:
        out.write(chart.svg(panels, caption))


def draw_again(options):
    """Draws the curves of an earlier run."""
    with open(options.drawn_from, encoding="utf-8") as file:
        draw(json.load(file), options.svg)
