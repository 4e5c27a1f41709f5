"""Checks the Grafana dashboard and the alert rules without Grafana.

Every query of the dashboard must parse, and every metric that a query or a rule names must be one
that egressd has. If this file is run alone, Prometheus' own parser (promtool) checks the queries.
`metrics.py` also sends them to a running Prometheus and compares them with a live /metrics.
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
# Grafana's variables, and the values that replace them here.
GRAFANA = {"$__rate_interval": "1m", "$__range": "3h", "$__interval": "15s"}
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
COLUMNS = 24
# Metrics of Prometheus itself.
NOT_OURS = {"up", "ALERTS"}
NAME = re.compile(r"\b(?:egressd|process)_[a-z0-9_]+|\bup\b|\bALERTS\b")


def dashboard():
    """Returns the dashboard as Grafana would import it."""
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def variables(board):
    """Returns the names that a query may use as `$name`."""
    return [one["name"] for one in board["templating"]["list"] if one["type"] == "query"]


def queries(board):
    """Returns (where, expression) of every panel, annotation and variable, with Grafana's
    substitutions."""
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    found += [(one["name"], one["expr"]) for one in board["annotations"]["list"] if "expr" in one]
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            selector = re.fullmatch(r"label_values\((.+), \w+\)", one["query"]["query"])
            found.append((f"${one['name']}", selector.group(1)))
    return [(where, filled(expression, variables(board))) for where, expression in found]


def filled(expression, names):
    """Returns the expression that Prometheus receives when every variable selects everything."""
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    for name in names:
        expression = re.sub(rf"\${name}\b", ".*", expression)
    return expression


def rules():
    """Returns the expressions of the rules, read line by line: `expr:` and the indented lines below
    it. Python has no YAML parser."""
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
    """Returns the metrics that an expression names, and a histogram's series by the histogram's
    name."""
    quoted = re.sub(r'"[^"]*"', '""', expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(quoted)} - NOT_OURS


def all_names():
    """Returns every metric that the dashboard or a rule names."""
    return set().union(*(names(expression) for _, expression in queries(dashboard())), *map(names, rules()))


def faults(board):
    """Returns the errors that Grafana would show, and the panels that would be empty."""
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
    """Returns promtool's errors, which are empty if all queries are valid PromQL."""
    recorded = [{"record": f"dashboard:{number}", "expr": expression}
                for number, (_, expression) in enumerate(queries(board))]
    with tempfile.TemporaryDirectory(prefix="egressd-dashboard-") as directory:
        # JSON is valid YAML.
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
