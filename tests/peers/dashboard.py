"""The Grafana dashboard and the alert rules, judged without Grafana.

Every query of the dashboard must parse, and every metric that a query or a rule names must be one that egressd has.
Run alone, Prometheus' own parser (promtool) judges the queries; `metrics.py` asks a running Prometheus and a live /metrics as well.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from loopback import REPOSITORY

DASHBOARD = REPOSITORY / "config/grafana/egressd.json"
PROMETHEUS = REPOSITORY / "config/prometheus"
RULES = PROMETHEUS / "egressd.rules.yml"
# What Grafana puts in, and what stands for it here.
GRAFANA = {"$__rate_interval": "1m", "$__range": "3h", "$__interval": "15s"}
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
COLUMNS = 24
# Of Prometheus itself.
NOT_OURS = {"up", "ALERTS"}
NAME = re.compile(r"\b(?:egressd|process)_[a-z0-9_]+|\bup\b|\bALERTS\b")


def dashboard():
    """The dashboard as Grafana would import it."""
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def variables(board):
    """The names that a query may use as `$name`."""
    return [one["name"] for one in board["templating"]["list"] if one["type"] == "query"]


def queries(board):
    """(where, expression) of every panel, annotation and variable, with all that Grafana would put in."""
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    found += [(one["name"], one["expr"]) for one in board["annotations"]["list"] if "expr" in one]
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            selector = re.fullmatch(r"label_values\((.+), \w+\)", one["query"]["query"])
            found.append((f"${one['name']}", selector.group(1)))
    return [(where, filled(expression, variables(board))) for where, expression in found]


def filled(expression, names):
    """The expression as Prometheus gets it when everything is selected."""
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    for name in names:
        expression = re.sub(rf"\${name}\b", ".*", expression)
    return expression


def rules():
    """The expressions of the rules, read line by line: `expr:` and what is indented below it. YAML is no part of Python."""
    found, indent = [], None
    for line in RULES.read_text(encoding="utf-8").splitlines():
        depth = len(line) - len(line.lstrip())
        if line.lstrip().startswith("expr:"):
            indent = depth
            found.append(line.split("expr:", 1)[1].removeprefix(" |-"))
        elif indent is not None and depth > indent:
            found[-1] += "\n" + line
        else:
            indent = None
    return found


def names(expression):
    """The metrics that an expression names; a histogram's series by the histogram's name."""
    quoted = re.sub(r'"[^"]*"', '""', expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(quoted)} - NOT_OURS


def all_names():
    """Every metric that the dashboard or a rule names."""
    return set().union(*(names(expression) for _, expression in queries(dashboard())), *map(names, rules()))


def faults(board):
    """What Grafana would show wrongly, or not at all."""
    found, ids, taken = [], set(), set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        if place["x"] + place["w"] > COLUMNS or cells & taken:
            found.append(f"{panel['title']}: lies over another, or over the border")
        if panel["id"] in ids:
            found.append(f"{panel['title']}: its id is taken")
        sources = [panel["datasource"], *(t["datasource"] for t in panel["targets"])] if "targets" in panel else []
        if any(source != SOURCE for source in sources):
            found.append(f"{panel['title']}: not from the chosen data source")
        letters = [target["refId"] for target in panel.get("targets", [])]
        if len(set(letters)) != len(letters) or panel["type"] != "row" and not letters:
            found.append(f"{panel['title']}: no query, or two of one refId")
        ids.add(panel["id"])
        taken |= cells
    left = [f"{where}: {expression}" for where, expression in queries(board) if "$" in expression]
    return found + left


def parsed_by_promtool(board):
    """What promtool says against the queries; nothing where they are all PromQL."""
    recorded = [{"record": f"dashboard:{number}", "expr": expression}
                for number, (_, expression) in enumerate(queries(board))]
    with tempfile.TemporaryDirectory(prefix="egressd-dashboard-") as directory:
        # JSON is YAML.
        path = Path(directory) / "queries.yml"
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
        done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main():
    board = dashboard()
    wrong = faults(board)
    said = parsed_by_promtool(board)
    if said:
        wrong.append(said)
    for fault in wrong:
        print(f"FAILED dashboard: {fault}")
    print(f"dashboard: {len(queries(board))} queries, {len(rules())} rules, {len(all_names())} metrics, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
