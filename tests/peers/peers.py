"""The world of these tests: agents (three clients) → egressd → nginx (TLS) → a small application.

Each client prints `ok NAME` or `not ok NAME: why` for every case below. A case that a client leaves
out counts as failed. Afterwards nginx's log shows the requests that reached the upstream.
"""

import hashlib
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from loopback import World, egressd_argv, nginx_argv, read

HERE = Path(__file__).resolve().parent
CASES = ["get", "head", "post_chunked", "post_length", "download", "events", "keep_alive", "forbidden"]
CLIENTS = {
    "curl": ["bash", HERE / "with_curl.sh"],
    "requests": [sys.executable, "-B", HERE / "with_requests.py"],
    "fetch": ["node", HERE / "with_fetch.mjs"],
}
INJECTED = "Bearer injected-0123456789abcdef"
AGENTS_OWN = "Bearer agents-own-fedcba9876543210"
REQUESTS_ON_ONE_SOCKET = 200


class Tally:
    """Counts and prints passed and failed cases."""

    def __init__(self):
        self.passed, self.failures = 0, []

    def claim(self, name, holds, why=""):
        if holds:
            self.passed += 1
            print(f"ok {name}", flush=True)
        else:
            self.failures.append(f"{name}: {why}")
            print(f"not ok {name}: {why}", flush=True)


def nginx_configuration(world, port, application, certificate, key):
    """nginx as the TLS end. Its log has one JSON line for each request that reached it."""
    fields = {
        "method": "$request_method", "target": "$request_uri", "authorization": "$http_authorization",
        "host": "$http_host", "cookie": "$http_cookie", "client": "$http_x_client", "socket": "$connection",
        "tls": "$ssl_protocol", "status": "$status",
    }
    six = f"listen [::1]:{port} ssl;" if ipv6_loopback() else ""
    return nginx_argv(world, "nginx", f"""
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    log_format seen escape=json '{json.dumps(fields)}';
    access_log {world.directory}/seen.log seen;
    keepalive_requests 100000; client_max_body_size 10m;
    server {{
        listen 127.0.0.1:{port} ssl; {six}
        ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
        root {world.directory}/www;
        location /base/v1/files/ {{ }}
        location / {{
            proxy_pass http://127.0.0.1:{application};
            proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header X-Seen-Transfer-Encoding $http_transfer_encoding;
            proxy_set_header X-Seen-Content-Length $http_content_length;
        }}
    }}
}}
""")


def ipv6_loopback():
    """Returns whether this machine has ::1, which containers often lack."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def peer_argv(world, port, upstream, ca):
    """Starts egressd with one connection to that nginx."""
    world.file("connections/peer.yaml", f"""
display_name: nginx on loopback
connection_details:
  http:
    base_url: https://localhost:{upstream}/base
    allowed_routes:
      - GET /v1/echo/{{rest...}}
      - POST /v1/echo/{{rest...}}
      - GET /v1/files/{{name}}
      - GET /v1/events
    bearer_token: {{token: {{env: PEER_TOKEN}}}}
    allowed_private_cidrs: [127.0.0.0/8, "::1/128"]
""")
    return egressd_argv(world, port)


def run_client(tally, name, environment):
    """Runs the cases of one client, and shows its other output as it arrives."""
    done = subprocess.run(
        list(map(str, CLIENTS[name])), env={**os.environ, **environment, "CLIENT": name},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=120,
    )
    told = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(" ") if not line.startswith("not ok ") else ("not ok", "", line[7:])
        case, _, why = rest.partition(": ")
        if verdict in ("ok", "not ok") and case in CASES:
            told[case] = (verdict == "ok", why)
        else:
            print(f"  {name}: {line}")
    for case in CASES:
        tally.claim(f"{name} {case}", *told.get(case, (False, f"never told (exit code {done.returncode})")))


def judge_log(tally, lines):
    """Checks nginx's log: every request has the credential, none is forbidden, and none has the
    agent's own."""
    seen = [json.loads(line) for line in lines]
    for client in CLIENTS:
        mine = [s for s in seen if s["client"] == client]
        tally.claim(f"upstream saw {client}", len(mine) >= REQUESTS_ON_ONE_SOCKET, f"{len(mine)} requests")
        kept = [s["socket"] for s in mine if "/keep_alive" in s["target"]]
        tally.claim(f"upstream sockets of {client} are reused", 0 < len(set(kept)) <= 4,
                    f"{len(kept)} requests came over {len(set(kept))} sockets")
    claims = {
        "upstream saw no forbidden request": lambda s: "forbidden" not in s["target"] and s["method"] != "DELETE",
        "upstream saw only the injected credential": lambda s: s["authorization"] == INJECTED,
        "upstream saw no cookie": lambda s: s["cookie"] in ("", "-"),
        "upstream saw its own Host": lambda s: s["host"].startswith("localhost:"),
        "upstream was spoken to in TLS 1.3": lambda s: s["tls"] == "TLSv1.3",
    }
    for name, holds in claims.items():
        other = next((s for s in seen if not holds(s)), None)
        tally.claim(name, seen and other is None, str(other))


def settle(upstream, ca):
    """Sends a last request directly to nginx. Once it is answered, nginx's only worker has logged
    all earlier ones."""
    last = http.client.HTTPSConnection(
        "localhost", upstream, context=ssl.create_default_context(cafile=str(ca)), timeout=10)
    last.request("GET", "/base/v1/files/none")
    last.getresponse().read()
    last.close()


def main():
    tally = Tally()
    with World() as world:
        ca, certificate, key = world.certificates()
        application, upstream, proxy = world.port(), world.port(), world.port()
        content, download = random.randbytes(100_000), random.randbytes(5 * 1024 * 1024)
        world.file("www/base/v1/files/5m", download)
        for path in (world.directory / "www").rglob("*"):
            path.chmod(0o755)

        app = [sys.executable, "-B", HERE / "upstream.py", application]
        world.start("application", app).await_port(application)
        nginx = world.start("nginx", nginx_configuration(world, upstream, application, certificate, key))
        nginx.await_port(upstream)
        argv = peer_argv(world, proxy, upstream, ca)
        egressd = world.start("egressd", argv, env={**os.environ, "PEER_TOKEN": INJECTED.removeprefix("Bearer ")})
        egressd.await_port(proxy)

        environment = {
            "BASE": f"http://127.0.0.1:{proxy}/peer", "RELEASE": f"http://127.0.0.1:{application}/release",
            "BODY": str(world.file("body", content)), "BODY_SHA256": hashlib.sha256(content).hexdigest(),
            "DOWNLOAD_SHA256": hashlib.sha256(download).hexdigest(), "DOWNLOAD_LENGTH": str(len(download)),
            "AGENTS_OWN": AGENTS_OWN, "REQUESTS": str(REQUESTS_ON_ONE_SOCKET), "SCRATCH": str(world.directory),
            "no_proxy": "*", "NO_PROXY": "*",
        }
        for name in CLIENTS:
            run_client(tally, name, environment)

        settle(upstream, ca)
        lines = read(world.directory / "seen.log").splitlines()
        judge_log(tally, [line for line in lines if "/files/none" not in line])
        code = world.stop(egressd)
        tally.claim("egressd stops with 0", code == 0, f"exit code {code}")
        said = read(egressd.log)
        leaks = [s for s in (INJECTED, AGENTS_OWN) if s.removeprefix("Bearer ") in said]
        tally.claim("egressd printed no credential", not leaks, f"{len(leaks)} in its output")
        if tally.failures:
            print(egressd.said(), read(world.directory / "nginx-error.log")[-2000:], sep="\n")
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
