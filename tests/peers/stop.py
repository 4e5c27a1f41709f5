"""egressd's shutdown and start in real time, for facts that no test can show without waiting.

An exchange that takes ten seconds outlives SIGTERM. After a kill during its work, egressd is ready
again in under a second. curl's agent half uses a Unix socket.
"""

import http.client
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

from loopback import World, egressd_argv, read
from peers import Tally

SLOW = 10  # seconds that a response takes
READY = 1.0  # the most seconds until a killed process is ready again
PATIENCE = 30


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers `/slow` after ten seconds, and everything else at once."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(SLOW)
        body = b"whole"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def upstream(world, certificate, key):
    """The API, with TLS, on a thread of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", world.port()), Slow)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def ask(port, path, agent=None):
    """Sends a GET. Returns status, reason to close, and body."""
    agent = agent or http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    agent.request("GET", path)
    reply = agent.getresponse()
    return reply.status, reply.getheader("Connection", ""), reply.read()


def await_ready(management):
    """Returns the seconds until /readyz answers 200."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        try:
            if ask(management, "/readyz")[0] == 200:
                return time.monotonic() - began
        except OSError:
            time.sleep(0.001)
    raise RuntimeError("it is never ready")


def outlives_sigterm(tally, process, proxy, management):
    """Checks a slow exchange in flight, a keep-alive socket and a new one."""
    kept = http.client.HTTPConnection("127.0.0.1", proxy, timeout=PATIENCE)
    ask(proxy, "/api/quick", kept)
    answer = []
    slow = threading.Thread(target=lambda: answer.append(ask(proxy, "/api/slow")))
    began = time.monotonic()
    slow.start()
    while "egressd_in_flight_requests 1\n" not in ask(management, "/metrics")[2].decode():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    while ask(management, "/readyz")[0] == 200:
        time.sleep(0.001)
    status, closes, _ = ask(proxy, "/api/quick", kept)
    tally.claim("a request on a keep-alive socket is refused", (status, closes) == (503, "close"), f"{status} {closes}")
    slow.join()
    took = time.monotonic() - began
    whole = answer == [(200, "close", b"whole")]
    tally.claim(f"an exchange of {SLOW} s outlives SIGTERM", whole and took >= SLOW, f"{answer} after {took:.1f} s")
    code = process.child.wait(timeout=PATIENCE)
    tally.claim("it then ends with 0", code == 0, code)
    try:
        socket.create_connection(("127.0.0.1", proxy), timeout=1).close()
        tally.claim("the listener is closed", False, "it is open")
    except OSError:
        tally.claim("the listener is closed", True)


def comes_back(tally, world, argv, proxy, management):
    """Kills the process with an exchange in flight, at its TCP port and at its Unix socket."""
    path = world.directory / "agents.sock"
    argv = [*argv, "--listen", f"127.0.0.1:{proxy}", "--listen", f"unix:{path}"]
    worst = 0.0
    for turn in range(5):
        process = world.start(f"killed-{turn}", argv)
        took = await_ready(management)
        if turn:
            worst = max(worst, took)
        holding = http.client.HTTPConnection("127.0.0.1", proxy, timeout=PATIENCE)
        holding.request("GET", "/api/slow")
        os.kill(process.pid, signal.SIGKILL)
        process.child.wait(timeout=PATIENCE)
    tally.claim("the socket file of the killed process remains", path.is_socket(), "it is gone")
    tally.claim(f"killed and started again it is ready in {worst * 1000:.0f} ms", worst < READY, "that is too long")
    process = world.start("last", argv)
    await_ready(management)
    done = subprocess.run(
        ["curl", "--silent", "--max-time", str(PATIENCE), "--unix-socket", path, "http://localhost/api/quick"], capture_output=True, text=True)
    tally.claim("curl --unix-socket", done.stdout == "whole", f"{done.returncode} {done.stdout}")
    mode = path.stat().st_mode & 0o777
    tally.claim("the socket's mode is 0660", mode == 0o660, oct(mode))
    code = process.stop()
    tally.claim("a stop removes the socket", code == 0 and not path.exists(), f"exit {code}: {read(process.log)[-300:]}")


def main():
    tally = Tally()
    with World() as world:
        _, certificate, key = world.certificates()
        port = upstream(world, certificate, key)
        world.file("connections/api.json", json.dumps({"connection_details": {"http": {
            "base_url": f"https://127.0.0.1:{port}", "allowed_routes": ["GET /"], "no_auth": {},
            "allowed_private_cidrs": ["127.0.0.0/8"],
        }}}))
        proxy, management = world.port(), world.port()
        argv = egressd_argv(world, proxy, management)
        process = world.start("egressd", argv)
        await_ready(management)
        outlives_sigterm(tally, process, proxy, management)
        comes_back(tally, world, argv, proxy, management)
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
