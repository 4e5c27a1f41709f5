"""Runs the commands of README.md and docs/, in the order in which a reader meets them, in bash and with curl.

Each page gets a directory of its own with a copy of `config/`, and links to `src` and `tests`. A
configuration block that is introduced with a file name (`Write this file to …`, or a first line such as `# egressd.yaml`) is
written to that file first. `egressd serve` and `egressd demo` run until the page ends or starts
another one. The ports 8080, 8081 and 8443 are replaced by free ones, and https://api.github.com by a server
of this file, because tests have no network.

The comment behind a command states its result: `# 403 …` is the status that curl must get,
`# … exit code 1 …` the exit code. Without one, curl must get a 2xx, and other commands must exit with 0.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loopback import REPOSITORY, World, cargo_binary
from peers import Tally

PAGES = ["README.md", *sorted(str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").glob("*.md"))]
# Shell blocks that are not run here, by the word behind `sh,`, with the reason.
NOT_RUN = {
    "ci": "steps of .ci/run",
    "clients": "lines of a script that tests/peers/clients/run runs",
    "kubernetes": "needs a cluster; tests/peers/kubernetes.py checks the manifests and these commands",
    "docker": "needs an image; tests/peers/image.py runs it",
    "install": "needs programs that no check installs",
    "root": "changes the machine; tests/peers/systemd.py checks the units",
    "bench": "the step `side-by-side` of .ci/run runs it",
    "person": "needs a person at a browser; tests/peers/demo runs the same commands as the demo prints them",
    "network": "sends requests to public addresses",
    "fragment": "not a whole command",
}
TIMEOUT_SECONDS = 60


@dataclass
class Block:
    """A fenced code block of a page."""

    line: int
    language: str
    flag: str
    text: str
    introduction: str


def blocks(page):
    """The fenced blocks of a page, in order."""
    lines, found, start = (REPOSITORY / page).read_text().split("\n"), [], None
    for number, line in enumerate(lines):
        if not line.strip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        language, _, flag = lines[start].strip().removeprefix("```").partition(",")
        text = "\n".join(line[indent:] for line in lines[start + 1:number]) + "\n"
        before = [line for line in lines[:start] if line.strip()]
        found.append(Block(start + 1, language, flag, text, before[-1] if before else ""))
        start = None
    return found


def file_name(block):
    """The file that the page asks the reader to write, or None."""
    comment = re.match(r"# (\S+\.(?:yaml|json))\n", block.text)
    introduction = re.search(r"[Ww]rite this (?:file )?to `([^`]+)`", block.introduction)
    found = comment or introduction
    return found and found[1]


def commands(text):
    """The commands of a block, each whole: continued lines and here-documents belong to their command."""
    found, here, rest = [], None, iter(text.split("\n"))
    for line in rest:
        if not line.strip() or line.startswith("#"):
            continue
        command = line
        while command.endswith("\\"):
            command += "\n" + next(rest)
        here = re.search(r"<<'(\w+)'", command)
        if here:
            for line in rest:
                command += "\n" + line
                if line == here[1]:
                    break
        found.append(command)
    return found


class Api(BaseHTTPRequestHandler):
    """The part of an API that the pages call; a request without the credential is refused."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        is_github = self.path.startswith("/repos/")
        is_known = not is_github or self.headers.get("Authorization") == "Bearer github_pat_…".encode().decode("latin-1")
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def serve_api(world, ca_files):
    """Starts the HTTPS API on a free port and returns the port."""
    _, leaf, key = ca_files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf, key)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request, client_address):
            with context.wrap_socket(request, server_side=True) as session:
                super().finish_request(session, client_address)

        def handle_error(self, *_):
            pass  # egressd closes sockets that it does not need

    server = Server(("127.0.0.1", world.port()), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Page:
    """A page's directory, its ports, and the egressd that runs there."""

    def __init__(self, world, page, ca_files, api_port):
        self.world, self.page, self.process = world, page, None
        self.home = world.directory / page.replace("/", "-").removesuffix(".md")
        self.home.mkdir()
        self.ports = {"8080": str(world.port()), "8081": str(world.port()), "8443": str(api_port)}
        shutil.copytree(REPOSITORY / "config", self.home / "config")
        for path in (self.home / "config").rglob("*.yaml"):
            path.write_text(self.local(path.read_text()))
        for name in ("src", "tests"):
            (self.home / name).symlink_to(REPOSITORY / name)
        release = self.home / "target/release"
        release.mkdir(parents=True)
        (release / "egressd").symlink_to(cargo_binary("debug"))
        shutil.copy(ca_files[0], self.home / "ca.pem")
        self.environment = {
            "PATH": f"{release}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "EGRESSD_PROXY_LISTEN": f"127.0.0.1:{self.ports['8080']}",
            "EGRESSD_MANAGEMENT_LISTEN": f"127.0.0.1:{self.ports['8081']}",
            "EGRESSD_EGRESS_CA_FILES": str(ca_files[0]),
        }

    def local(self, text):
        """The text with this page's ports and with a local API instead of GitHub's."""
        text = text.replace(
            "base_url: https://api.github.com",
            f"base_url: https://localhost:{self.ports['8443']}\n    allowed_private_cidrs: [127.0.0.0/8]",
        )
        return re.sub(r"\b(127\.0\.0\.1|localhost):(8080|8081|8443)\b", lambda found: f"{found[1]}:{self.ports[found[2]]}", text)

    def write(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.local(text))

    def stop(self):
        if self.process:
            self.world.stop(self.process)
            self.process = None

    def start(self, command):
        """Starts `egressd serve` or `egressd demo` and waits until both ports take sockets."""
        self.stop()
        words = command.removesuffix("&").split()
        if words[1] == "demo":
            words += ["--listen", self.environment["EGRESSD_PROXY_LISTEN"], "--management-listen", self.environment["EGRESSD_MANAGEMENT_LISTEN"]]
        # The program of the build, so that a relative path of the page means the page's directory.
        words = ["env", "-C", str(self.home), *words]
        self.process = self.world.start(f"{self.home.name}-{words[4]}", words, {**self.environment})
        for port in ("8080", "8081"):
            self.process.await_port(int(self.ports[port]))
        self.environment["PID"] = str(self.process.pid)

    def run(self, command):
        """Runs a command; returns why its result is not the documented one, or None."""
        head, _, comment = command.split("\n")[0].partition("  #")
        if head.strip() == "kill %1":
            self.stop()  # the job of the shell that the page started
            return None
        if re.match(r"egressd (serve|demo)\b", command):
            self.start(head.strip())
            return None
        if head.startswith("cargo build"):
            return None  # the binary of this build is used
        if head.startswith("export "):
            return self.export(command)
        text = self.local(command)
        is_curl = text.startswith("curl ")
        if is_curl:
            text = f"{re.sub(r'  #.*', '', text)} -sS -o body -D head -w '%{{http_code}}'"
        done = subprocess.run(["bash", "-c", text], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        shown = (done.stdout + done.stderr)[-1500:]
        if is_curl:
            status = re.match(r" (\d{3})\b", comment)
            wanted = status[1] if status else "2.."
            return None if re.fullmatch(wanted, done.stdout) else f"expected {wanted}, got {shown}"
        wanted = int((re.search(r"exit code (\d+)", comment) or [0, 0])[1])
        return None if done.returncode == wanted else f"expected exit code {wanted}, got {done.returncode}: {shown}"

    def export(self, command):
        """Keeps a variable for the commands that follow."""
        name = re.match(r"export (\w+)=", command)[1]
        script = f'{command}\nprintf %s "${name}"'
        done = subprocess.run(["bash", "-c", script], cwd=self.home, env=self.environment, capture_output=True, text=True, check=True)
        self.environment[name] = done.stdout
        return None


def run_page(world, tally, page, ca_files, api_port):
    """Runs the blocks of one page and counts each command."""
    here, found = Page(world, page, ca_files, api_port), blocks(page)
    if any(block.language == "sh" and block.flag == "demo" for block in found):
        here.start("egressd demo")
    for block in found:
        if block.language in ("yaml", "json") and file_name(block):
            here.write(file_name(block), block.text)
        if block.language != "sh":
            continue
        if block.flag not in ("", "demo"):
            tally.claim(f"{page}:{block.line}: a reason for not running it", block.flag in NOT_RUN, block.flag)
            continue
        for command in commands(block.text):
            why = here.run(command)
            tally.claim(f"{page}:{block.line}: {command.splitlines()[0]}", why is None, why or "")
    here.stop()


def main():
    tally = Tally()
    with World() as world:
        ca_files = world.certificates()
        api_port = serve_api(world, ca_files)
        for page in PAGES:
            run_page(world, tally, page, ca_files, api_port)
    print(f"documentation: {tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
