"""The rows of the comparison: workloads, goals, rounds, medians and ratios."""

import statistics
import sys
from dataclasses import dataclass, field

PREFIX = "/api-id/v1"


@dataclass
class Goal:
    """The column `goal` of a metric: a ratio to the best peer, or an absolute value."""

    value: float
    is_absolute: bool = False

    def is_met(self, ratio, median, more_is_better):
        found = median if self.is_absolute else ratio
        return found >= self.value if more_is_better else found <= self.value

    def text(self, more_is_better):
        sign = "≥" if more_is_better else "≤"
        return f"{sign} {self.value:g} absolute" if self.is_absolute else f"{sign} {self.value:.2f}"


@dataclass
class Workload:
    """A row of the table: the load, its parameters, and egressd's goals."""

    name: str
    kind: str  # "wrk", "paced", "idle" or "spawn"
    workers: int = 1
    path: str = PREFIX + "/items/1k"
    sockets: int = 32
    post_bytes: int = 0
    goals: dict = field(default_factory=dict)  # metric → `Goal`


WORKLOADS = [
    Workload("1k-32", "wrk", goals={"cpu_us": Goal(0.85)}),
    Workload("1k-32-2w", "wrk", workers=2, goals={"cpu_us": Goal(0.85), "rps": Goal(1.0)}),
    Workload("1k-1", "wrk", sockets=1, goals={"cpu_us": Goal(0.85)}),
    Workload("post4k-32", "wrk", path=PREFIX + "/sink", post_bytes=4096, goals={"cpu_us": Goal(0.85)}),
    Workload("64k-32", "wrk", path=PREFIX + "/items/64k", goals={"cpu_us": Goal(0.92)}),
    Workload("8m-4", "wrk", path=PREFIX + "/items/8m", sockets=4, goals={"cpu_us": Goal(0.80)}),
    Workload("2000rps", "paced", sockets=16, goals={"cpu_us": Goal(1.0), "p99_us": Goal(1.0)}),
    Workload("idle", "idle", goals={"socket_kib": Goal(2, is_absolute=True)}),
    Workload("spawn", "spawn", goals={"first_byte_ms": Goal(10, is_absolute=True)}),
]
# The cost of searching responses and signing bodies: the ratio is taken against egressd without the
# feature.
GUARD_WORKLOADS = [
    Workload("guard-1k-32", "wrk", goals={"cpu_us": Goal(1.05)}),
    Workload("guard-1m-8", "wrk", path=PREFIX + "/items/1m", sockets=8, goals={"cpu_us": Goal(1.10)}),
]
SIGNING_WORKLOADS = [
    Workload("signed-post4k-32", "wrk", path=PREFIX + "/sink", post_bytes=4096, goals={"cpu_us": Goal(1.15)}),
]
# metric → (printed name, whether more is better, decimals)
METRICS = {
    "cpu_us": ("CPU µs/request", False, 1),
    "rps": ("requests/s", True, 0),
    "p99_us": ("p99 µs", False, 0),
    "idle_mib": ("MiB at rest", False, 1),
    "held_mib": ("MiB with idle sockets", False, 1),
    "socket_kib": ("KiB for each idle socket", False, 2),
    "first_byte_ms": ("ms to the first byte", False, 1),
}


@dataclass
class Table:
    """A table: each workload on each target, with ratios against the better of `peers`."""

    workloads: list
    targets: list
    peers: list


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
    peer, goal."""
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
                         "median": medians, "ratio": ratios, "goal": workload.goals.get(metric)})
    return rows


def print_table(rows, table):
    """Prints the table of docs/performance.md, in Markdown."""
    targets = table.targets
    own = [t for t in targets if t not in table.peers]
    best = table.peers[0] if len(table.peers) == 1 else "best peer"
    print("| workload | | " + " | ".join(targets) + "".join(f" | {t} / {best}" for t in own) + " | goal |")
    print("|---|---|" + "---:|" * (len(targets) + len(own) + 1))
    for row in rows:
        name, more_is_better, decimals = METRICS[row["metric"]]
        cells = [f"{row['median'][t]:,.{decimals}f}" for t in targets]
        cells += [f"**{row['ratio'][t]:.2f}**" if t in row["ratio"] else "–" for t in own]
        goal = row["goal"].text(more_is_better) if row["goal"] else ""
        print(f"| {row['workload']} | {name} | " + " | ".join(cells) + f" | {goal} |")


def print_goals(runs, target):
    """Prints each goal of a target with what it reached in each run, and whether all runs met it."""
    print(f"\n| {target} | | " + " | ".join(f"run {n + 1}" for n in range(len(runs))) + " | goal | met |")
    print("|---|---|" + "---:|" * (len(runs) + 1) + "---|")
    for position, row in enumerate(runs[0]):
        goal = row["goal"]
        if goal is None or target not in row["ratio"] and not goal.is_absolute:
            continue
        name, more_is_better, _ = METRICS[row["metric"]]
        found = [(rows[position]["ratio"].get(target), rows[position]["median"][target]) for rows in runs]
        met = sum(goal.is_met(ratio, median, more_is_better) for ratio, median in found)
        cells = [f"{median if goal.is_absolute else ratio:.2f}" for ratio, median in found]
        state = "yes" if met == len(runs) else "no" if met == 0 else f"{met} of {len(runs)}"
        print(f"| {row['workload']} | {name} | " + " | ".join(cells) + f" | {goal.text(more_is_better)} | {state} |")
