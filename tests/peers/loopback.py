"""A temporary world on loopback: a directory, certificates, ports, and processes that end with it.

Used by `tests/peers` and by `benches/side_by_side`. This module is independent of its use, and
nothing outlives the `with` block: every process is ended by its own PID, also after an error.
"""

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def egressd_binary(profile):
    """Returns the binary under test: $EGRESSD, or the one that cargo built for this profile."""
    return Path(os.environ.get("EGRESSD", cargo_binary(profile))).absolute()


def cargo_binary(profile):
    """Returns the binary that cargo built for this profile with the default features. It has the
    demo, which the released one does not."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return (target / profile / "egressd").absolute()


def egressd_argv(world, port, management=None, login=None, name="egressd"):
    """Returns the command that runs egressd on this port with the world's connections. It trusts
    the world's ca.pem. A login is (username, password)."""
    account = f", basic_auth: {{username: {login[0]}, password: {login[1]}}}" if login else ""
    settings = world.file(f"{name}.yaml", f"""
proxy: {{listen: ["127.0.0.1:{port}"]}}
management: {{listen: ["127.0.0.1:{management or world.port()}"]{account}}}
egress: {{ca_files: [ca.pem]}}
connections: [connections]
log: {{format: json}}
""")
    return [egressd_binary("debug"), "serve", "--config", settings]


class Process:
    """A started program with all its children (nginx forks workers)."""

    def __init__(self, name, argv, log, env=None):
        self.name, self.log, self.argv = name, log, [str(a) for a in argv]
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
            )
        self.pid = self.child.pid

    def tree(self):
        """Returns the PIDs of the program and its children."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in read(task).split()]
        return found

    def cpu_ns(self):
        """Returns the CPU time so far of every thread of every process, as the scheduler counts it.
        """
        total = 0
        for pid in self.tree():
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                total += int((read(task).split() or ["0"])[0])
        return total

    def rss_kib(self):
        """Returns the resident memory of the whole tree. Pages that two processes share count
        twice."""
        lines = [line for pid in self.tree() for line in read(f"/proc/{pid}/status").splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def await_port(self, port, seconds=10.0, pause=0.005):
        """Waits until the port accepts sockets. If it never does, the error contains the program's
        output."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return self
            except OSError:
                if self.child.poll() is not None:
                    break
                time.sleep(pause)
        raise RuntimeError(f"{self.name} does not listen on {port}:\n{self.said()}")

    def said(self):
        """Returns the end of the program's output."""
        return f"$ {' '.join(self.argv)}\n{read(self.log)[-3000:]}"

    def stop(self):
        """Ends the program and its children, gently first; returns the exit code."""
        pids = self.tree()
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    end(pid)
                self.child.wait()
        return self.child.returncode


class World:
    """Owns everything that must be removed afterwards."""

    def __init__(self):
        self.processes, self.ports, self.directory = [], set(), None

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="egressd-peers-"))
        self.directory.chmod(0o755)  # nginx's workers may run as another user
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return self

    def __exit__(self, kind, *_):
        for process in reversed(self.processes):
            process.stop()
        if kind is None or not os.environ.get("KEEP_WORLD"):
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            print(f"left for inspection: {self.directory}", file=sys.stderr)

    def file(self, name, content):
        """Writes a file of this world and returns its path."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def port(self):
        """A free port below the ephemeral range, so that no outgoing socket can take it meanwhile."""
        while True:
            port = random.randrange(20000, 32000)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port not in self.ports:
                self.ports.add(port)
                return port

    def start(self, name, argv, env=None):
        """Starts a program whose output goes to a log of this world."""
        process = Process(name, argv, self.directory / f"{name}.log", env)
        self.processes.append(process)
        return process

    def stop(self, process):
        """Ends one process before the world ends."""
        self.processes.remove(process)
        return process.stop()

    def certificates(self):
        """A CA and a leaf for localhost and 127.0.0.1, both ECDSA P-256: (ca, leaf, key) paths."""
        ca, ca_key, leaf, key, request = (
            self.directory / f"{name}.pem" for name in ("ca", "ca-key", "leaf", "key", "request")
        )
        names = self.file("names.cnf", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nbasicConstraints=CA:FALSE\n")
        new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split()
        openssl("req", "-x509", *new_key, "-subj", "/CN=throw-away CA", "-days", "2",
                "-addext", "keyUsage=critical,keyCertSign", "-keyout", ca_key, "-out", ca)
        openssl("req", *new_key, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-set_serial", "2",
                "-days", "2", "-extfile", names, "-out", leaf)
        return ca, leaf, key


def nginx_argv(world, name, configuration):
    """Returns the command that runs Debian's nginx inside the world's directory."""
    paths = "".join(
        f"{kind}_temp_path {world.directory}/{name}-{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = configuration.replace("http {", f"http {{\n{paths}", 1)
    head = f"daemon off;\npid {world.directory}/{name}.pid;\n"
    path = world.file(f"{name}.conf", head + text)
    return ["nginx", "-e", world.directory / f"{name}-error.log", "-c", path]


def openssl(*arguments):
    """Runs openssl. Its output is shown only if it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


def end(pid):
    """Kills a process that this world started."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read(path):
    """Returns the text of a file that may vanish at any moment (/proc), or an empty text."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
