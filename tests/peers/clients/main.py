"""Runs clients through egressd against an upstream that imitates their APIs, and compares what each
showed, and how many requests it sent, with the table of docs/clients.md."""

import concurrent.futures
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import apis  # noqa: E402
import table  # noqa: E402
from loopback import REPOSITORY, World, cargo_binary, egressd_binary, read  # noqa: E402
from rows import OWN, ROWS  # noqa: E402
from server import AGENTS_KEY, CASES, CREDENTIAL, Upstream  # noqa: E402

CLIENTS = Path(os.environ["CLIENTS"])
PAGE = REPOSITORY / "docs/clients.md"
EXPECTED = {
    "request": "pong", "stream": "one two three", "upload": "100000", "tools": "the tool returned rain", "pages": "one two three",
}
MANY_ROUTES = 10_000
# The models answer every request with these words.
ALSO_EXPECTED = {"request": "one two three"}
JOBS = 2


class Fault(Exception):
    """A client did not do what every client must do."""


def definition(row, upstream_port):
    """Returns the definition of a client's connection. No route allows the case `forbidden`."""
    cases = [case for case in CASES if case != "forbidden"]
    routes = [f"/{case}/{{rest...}}" for case in cases] + list(row.routes)
    credential = "static_headers: {headers: {X-Api-Key: {value: {env: UPSTREAM_CREDENTIAL}}}}"
    if row.api != "anthropic":
        credential = "bearer_token: {token: {env: UPSTREAM_CREDENTIAL}}"
    return f"""
display_name: {row.title}
connection_details:
  http:
    base_url: https://localhost:{upstream_port}
    allowed_private_cidrs: [127.0.0.0/8]
    allowed_routes: {json.dumps(routes)}
    headers: {{X-Client: {row.name}, X-Api: {row.api}}}
    max_response_size_bytes: 1048576
    {credential}
"""


def command(directory, row):
    """Returns the command that runs a client's script, which is in this directory."""
    script = directory / row.script
    programs = {
        ".py": [CLIENTS / row.venv / "bin/python", "-B"], ".mjs": ["node"], ".sh": ["bash"], ".java": ["java"], ".go": ["go", "run"],
        ".rb": ["ruby"], ".php": ["php"],
    }
    return [*map(str, programs[script.suffix]), str(script)]


def version(row):
    """Returns the version of a client."""
    folder = Path(row.script).parts[0]
    if row.package and folder == "python":
        lock = HERE / "python" / ("crewai.txt" if row.venv == "crewai" else "full.txt")
        return re.search(rf"(?im)^{re.escape(row.package)}==(\S+)", lock.read_text())[1]
    if row.package:
        return json.loads((CLIENTS / "node/node_modules" / row.package / "package.json").read_text())["version"]
    words = [word.format(clients=CLIENTS) for word in row.version]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    return re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)[0]


def first_words(port, path):
    """Returns the first words of the `detail` with which egressd refuses this request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    detail = json.loads(connection.getresponse().read())["detail"]
    connection.close()
    return " ".join(re.split(r"[.;:] | \(", detail)[0].split())


class Run:
    """One run: the world, the upstream, egressd, and the results."""

    def __init__(self, world, rows):
        self.world, self.rows = world, rows
        _, leaf, key = world.certificates()
        self.upstream = Upstream(world.port(), leaf, key)
        self.proxy = world.port()
        self.start_demo(world)
        for folder in ("python", "node", "shell", "java", "go", "ruby", "php"):
            shutil.copytree(HERE / folder, world.directory / folder)
        if any(row.api == "git" for row in rows):
            apis.create_repository(world.directory / "git")
        # Node searches the packages of a module in its directory.
        (world.directory / "node/node_modules").symlink_to(CLIENTS / "node/node_modules")
        for row in rows:
            world.file(f"connections/{row.name}.yaml", definition(row, self.upstream.port))
        self.environment = {**os.environ, "AGENTS_KEY": AGENTS_KEY, "no_proxy": "*", "NO_PROXY": "*", "CLIENTS": str(CLIENTS)}
        self.mounted = {row: world.port() for row in rows if row.mounted}
        settings = world.file("egressd.yaml", self.settings())
        argv = [egressd_binary("debug"), "serve", "--config", settings]
        self.egressd = world.start("egressd", argv, env={**os.environ, "UPSTREAM_CREDENTIAL": CREDENTIAL}).await_port(self.proxy)
        self.details = {
            case: first_words(self.proxy, f"/{rows[0].name}/{case}/probe") for case in ("forbidden", "large")
        }
        if self.demo:
            self.details["refused"] = first_words(self.demo, "/notes/reflect")
            self.environment |= {"DEMO": f"http://127.0.0.1:{self.demo}", "MANY": f"http://127.0.0.1:{self.many}"}
        self.upstream.counts.clear()

    def start_demo(self, world):
        """Starts `egressd demo`, and defines a connection with many routes, for clients of egressd's
        own MCP server."""
        self.demo = self.many = None
        if not any(row.group is OWN for row in self.rows):
            return
        self.demo, self.many = world.port(), world.port()
        argv = [cargo_binary("debug"), "demo", "--listen", f"127.0.0.1:{self.demo}", "--management-listen", f"127.0.0.1:{world.port()}"]
        world.start("demo", argv).await_port(self.demo)
        routes = json.dumps([f"GET /tools/{number}" for number in range(MANY_ROUTES)])
        world.file("connections/many.yaml", f"""
connection_details:
  http: {{base_url: "https://localhost:{self.upstream.port}", allowed_private_cidrs: [127.0.0.0/8], no_auth: {{}}, allowed_routes: {routes}}}
""")

    def settings(self):
        """Returns the settings of egressd: a listener for all connections, and one for each mounted
        connection."""
        listeners = [{"listen": [f"127.0.0.1:{port}"], "connection": row.name} for row, port in self.mounted.items()]
        if self.many:
            listeners.append({"listen": [f"127.0.0.1:{self.many}"], "connections": ["many"]})
        more = f", listeners: {json.dumps(listeners)}" if listeners else ""
        return f"""
proxy: {{listen: ["127.0.0.1:{self.proxy}"]{more}}}
management: {{listen: ["127.0.0.1:{self.world.port()}"]}}
egress: {{ca_files: [ca.pem]}}
connections: [connections]
log: {{format: json}}
"""

    def client(self, row):
        """Runs a client. Returns its cases: name -> (how it ended, text)."""
        home = self.world.directory / f"home-{row.name}"
        home.mkdir()
        base = f"http://127.0.0.1:{self.mounted[row]}" if row.mounted else f"http://127.0.0.1:{self.proxy}/{row.name}"
        environment = {**self.environment, "HOME": str(home), "BASE": base}
        done = subprocess.run(command(self.world.directory, row), env=environment, cwd=home, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=row.seconds)
        lines = [line.split("\t", 3) for line in done.stdout.splitlines() if line.startswith("case\t")]
        if not lines:
            raise Fault(f"printed no case: {(done.stdout + done.stderr)[-2000:]}")
        return {case: (how, text) for _, case, how, text in lines}

    def refused(self, row, code):
        """Returns how many requests of a client egressd refused with a code. Requests of this run,
        and those with which a client looks for a description of the server, do not count."""
        lines = [json.loads(line) for line in read(self.egressd.log).splitlines() if line.startswith('{"time"')]
        lines = [line for line in lines if line.get("connection") == row.name and line["event"] == "exchange" and line["code"] == code]
        return sum(not re.search(r"/probe$|/\.well-known/", line["path"]) for line in lines)

    def shown(self, cases):
        """Returns what a client's error shows of a refusal."""
        refusals = {
            "forbidden": ("403", "route_not_allowed"), "large": ("502", "response_too_large"),
            "refused": ("502", "credential_reflected"),
        }
        found = {}
        for case, (status, code) in refusals.items():
            text = cases.get(case, ("", None))[1]
            if text is not None:
                parts = {"message": self.details[case], "code": code, "status": status}
                found[status] = next((part for part, words in parts.items() if words in text), "nothing")
        if len(set(found.values())) == 1:
            return next(iter(found.values()))
        return ", ".join(f"{status}: {part}" for status, part in found.items())

    def cells(self, row, cases):
        """Returns the cells of a client's row."""
        if os.environ.get("VERBOSE"):
            for case, result in cases.items():
                print(f"  {row.name} {case}:", *result)
        if row.group is OWN:
            return self.own_cells(row, cases)
        sent = {case: self.upstream.counts[row.name, case] for case in CASES}
        for case in ("tools", "pages"):
            if case in cases:
                check(cases, case)
        works = [check(cases, case) for case in ("request", "stream", "upload")]
        for case in ("forbidden", "large"):
            if row.sdk and cases.get(case, ("raised", ""))[0] == "returned":
                raise Fault(f"takes a refusal for success: {cases[case][1]}")
        return [
            row.title, version(row), *works, self.shown(cases),
            f"{self.refused(row, 'route_not_allowed')} / {sent['large'] if 'large' in cases else '–'}",
            "–" if "limited" not in cases else f"{sent['limited']}, {'succeeds' if cases['limited'][0] == 'returned' else 'fails'}",
            str(sent["unavailable"]) if "unavailable" in cases else "–",
            cell_of_cut(cases.get("cut")),
        ]

    def own_cells(self, row, cases):
        """Returns the cells of a client of egressd's own MCP server."""
        if "water the plants" not in cases["request"][1]:
            raise Fault(f"request: {cases['request']}")
        listed = cases["pages"][1] if "pages" in cases else "–"
        if listed not in ("–", f"{MANY_ROUTES} tools on several pages"):
            raise Fault(f"pages: {listed}")
        return [row.title, version(row), "yes", self.shown(cases), listed]


def cell_of_cut(result):
    """Returns the cell of a response that broke off."""
    if result is None:
        return "–"
    how, text = result
    if how == "returned":
        return "not noticed"
    # The message of the event with which egressd ends a stream.
    return "error, message" if re.search(r"upstream_protocol_error|upstream closed the connection", text) else "error"


def check(cases, case):
    """Returns the cell of a case that must succeed."""
    if case not in cases:
        return "–"
    how, text = cases[case]
    if how == "returned" and text in (EXPECTED[case], ALSO_EXPECTED.get(case)):
        return "yes"
    raise Fault(f"{case} {how}: {text}")


def selected(arguments):
    """Returns the rows that the arguments select."""
    names = [argument for argument in arguments if not argument.startswith("--")]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        sys.exit(f"error: no client has one of these names: {' '.join(unknown)}")
    if names:
        return [row for row in ROWS if row.name in names]
    return [row for row in ROWS if row.fast or "--fast" not in arguments]


def run_all(world, rows):
    """Runs clients, two at a time. Returns (the cells of each row, the failures)."""
    run, results, failures = Run(world, rows), {}, []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        running = {pool.submit(run.client, row): row for row in rows}
        shown = {}
        for future in concurrent.futures.as_completed(running):
            row = running[future]
            try:
                shown[row] = future.result()
            except (Fault, subprocess.TimeoutExpired) as error:
                failures.append(f"{row.title}: {error}")
    world.stop(run.egressd)
    for row in rows:
        if row not in shown:
            continue
        try:
            results[row] = run.cells(row, shown[row])
        except (Fault, KeyError) as error:
            failures.append(f"{row.title}: {error!r}")
    return results, failures + run.upstream.faults


def main():
    is_writing = "--write" in sys.argv[1:]
    rows = ROWS if is_writing else selected(sys.argv[1:])
    with World() as world:
        results, failures = run_all(world, rows)
    if is_writing and not failures:
        PAGE.write_text(table.markdown(results))
    failures += table.differences(read(PAGE), results)
    for row, cells in results.items():
        is_different = any(failure.startswith(f"{row.title}: ") for failure in failures)
        print("not ok" if is_different else "ok", "clients:", " | ".join(cells))
    for failure in failures:
        print(f"FAILED {failure}")
    failed = len({failure.split(": ")[0] for failure in failures})
    print(f"clients: {len(rows) - failed} passed, {failed} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
