"""A token endpoint with many grants whose refresh tokens are accepted once, and egressd with one
connection for each grant. Used by `crashes.py` and `sharing.py`.

The endpoint knows every refresh token that it has issued, so it can state which of them was spent,
how often, and whether its successor is in the token store.
"""

import hashlib
import http.client
import http.server
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loopback import Process, egressd_binary, read  # noqa: E402

PATIENCE = 30  # seconds after which an expected event counts as missing
GRACE = 60  # seconds for which a lenient provider accepts a spent refresh token
AGENTS = 16  # requests at a time


class Family:
    """The refresh tokens of one consent."""

    def __init__(self, grant):
        self.grant, self.spent, self.newest = grant, {}, None
        self.is_revoked, self.calls, self.rotations = False, 0, 0


class Provider:
    """The token endpoint and the API, on a thread for each socket. If it is `strict`, the second use
    of a refresh token ends the consent at once, else after `GRACE` seconds."""

    def __init__(self, world, strict, life=3600):
        self.strict, self.life = strict, life
        self.lock = threading.Lock()
        self.families, self.by_refresh, self.by_access = {}, {}, {}
        self.repeated = self.refused = self.unknown = 0
        self.trap, self.sockets = None, 0
        self.ca, certificate, key = world.certificates()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = Server(("127.0.0.1", world.port()), Handler)
        server.provider, server.context = self, context
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def consent(self, grant):
        """Starts a new consent. Returns its first tokens."""
        with self.lock:
            family = self.families[grant] = Family(grant)
            return self.issue(family)

    def issue(self, family):
        access, family.newest = (f"{kind}-{family.grant}-{secrets.token_hex(12)}" for kind in ("access", "refresh"))
        self.by_access[access] = self.by_refresh[family.newest] = family
        life = self.life(family.grant) if callable(self.life) else self.life
        return {"access_token": access, "token_type": "Bearer", "expires_in": life, "refresh_token": family.newest}

    def refresh(self, token):
        """Accepts or refuses a refresh token. Returns status and answer."""
        with self.lock:
            family = self.by_refresh.get(token)
            if family is None:
                self.unknown += 1
                return 400, {"error": "invalid_grant"}
            family.calls += 1
            now = time.monotonic()
            if token in family.spent:
                self.repeated += 1
                if self.strict or now - family.spent[token] > GRACE:
                    family.is_revoked = True
            if family.is_revoked:
                self.refused += 1
                return 400, {"error": "invalid_grant"}
            family.spent.setdefault(token, now)
            family.rotations += 1
            return 200, self.issue(family)

    def kill_at(self, stage, countdown, pid, delay=0.0):
        """Kills a process when a refresh has reached this stage for the n-th time: `request` (it has
        arrived and does not count), `commit` (before the answer), or `answer` (`delay` seconds
        after it was sent)."""
        self.trap = [stage, countdown, pid, delay]

    def reach(self, stage):
        """Returns whether the trap was sprung here."""
        with self.lock:
            if self.trap is None or self.trap[0] != stage:
                return False
            self.trap[1] -= 1
            if self.trap[1] > 0:
                return False
            _, _, pid, delay = self.trap
            self.trap = None
        if delay:
            time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        return True

    def settle(self):
        """Waits until every socket has ended, so that no request is still to be answered."""
        self.trap = None
        until(lambda: self.sockets == 0, "the sockets of a killed process end")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def process_request(self, request, address):
        with self.provider.lock:
            self.provider.sockets += 1
        super().process_request(request, address)

    def finish_request(self, request, address):
        try:
            # Here, on the thread of the socket: a handshake must not delay other sockets.
            self.RequestHandlerClass(self.context.wrap_socket(request, server_side=True), address, self)
        finally:
            with self.provider.lock:
                self.provider.sockets -= 1

    def handle_error(self, request, address):
        kind = sys.exc_info()[0]
        if not issubclass(kind, (OSError, ValueError)):  # sockets of processes that were killed
            super().handle_error(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = PATIENCE

    def do_POST(self):
        provider = self.server.provider
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if provider.reach("request"):
            self.close_connection = True
            return
        status, answer = provider.refresh(form["refresh_token"][0])
        provider.reach("commit")
        self.answer(status, answer)
        provider.reach("answer")

    def do_GET(self):
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        family = self.server.provider.by_access.get(token)
        self.answer(200 if family else 401, {"grant": family and family.grant})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Store:
    """The token store, read and written while no egressd runs."""

    def __init__(self, world, provider, grants):
        self.directory, self.provider, self.grants = world.directory / "tokens", provider, grants
        self.directory.mkdir(mode=0o700)
        authority = f"127.0.0.1:{provider.port}\negressd"
        self.client = "sha256:" + hashlib.sha256(authority.encode()).hexdigest()

    def path(self, grant, suffix=".json"):
        return self.directory / f"{grant}{suffix}"

    def log_in(self, grant, life=None):
        """Stores a new consent, as `egressd login` does. Its access token is over, or lives for
        `life` seconds."""
        tokens, now = self.provider.consent(grant), datetime.now(timezone.utc)
        self.write(grant, {
            "format": "egressd-token/1", "grant": grant, "client": self.client, "sequence": 1,
            "connected_at": stamp(now), "access_token": tokens["access_token"],
            "expires_at": stamp(now + timedelta(seconds=-60 if life is None else life)),
            "refresh_token": tokens["refresh_token"]})
        self.path(grant, ".json.pending").unlink(missing_ok=True)

    def write(self, grant, document):
        new = self.path(grant, ".new")
        new.write_text(json.dumps(document))
        new.chmod(0o600)
        new.rename(self.path(grant))

    def document(self, grant):
        return json.loads(self.path(grant).read_text())

    def pending(self, grant):
        """Returns the document in the pending file; None without one, and {} if it is incomplete."""
        try:
            return json.loads(self.path(grant, ".json.pending").read_bytes().rstrip(b"\0") or b"{}")
        except FileNotFoundError:
            return None
        except ValueError:
            return {}

    def newest_refresh_token(self, grant):
        """Returns the refresh token that the next process will use."""
        document, pending = self.document(grant), self.pending(grant)
        if pending and pending["sequence"] > document["sequence"]:
            return pending.get("refresh_token")
        return document.get("refresh_token")

    def is_behind(self, grant):
        """Returns whether the provider has issued a refresh token that is not in the store."""
        return self.newest_refresh_token(grant) != self.provider.families[grant].newest

    def age(self):
        """Lets an hour pass for every access token, so that the next request refreshes it."""
        now = datetime.now(timezone.utc)
        for grant in self.grants:
            document = self.document(grant)
            if "expires_at" in document:
                document |= {"expires_at": stamp(now - timedelta(minutes=1)),
                             "refreshed_at": stamp(now - timedelta(hours=1))}
                self.write(grant, document)


class Holder:
    """`egressd serve` on the store, with one connection for each grant. `auth` replaces the consent of
    the connections."""

    def __init__(self, world, provider, grants, name="egressd", flags=(), via=(), auth=None):
        self.world, self.port, self.management = world, world.port(), world.port()
        consent = {"oauth_user_consent": {
            "client_id": "egressd", "authorization_url": f"https://127.0.0.1:{provider.port}/authorize",
            "token_url": f"https://127.0.0.1:{provider.port}/token"}}
        (world.directory / "connections").mkdir(exist_ok=True)
        for grant in grants:
            world.file(f"connections/{grant}.json", json.dumps({"connection_details": {"http": {
                "base_url": f"https://127.0.0.1:{provider.port}", "allowed_routes": ["GET /x"],
                "allowed_private_cidrs": ["127.0.0.0/8"], **(auth or consent)}}}))
        settings = world.file(f"{name}.yaml", json.dumps({
            "proxy": {"listen": [f"127.0.0.1:{self.port}"]}, "management": {"listen": [f"127.0.0.1:{self.management}"]},
            "egress": {"ca_files": ["ca.pem"]}, "connections": ["connections"],
            "token_store": {"directory": "tokens"}, "log": {"format": "json", "access": "off"},
            "shutdown": {"grace_period_seconds": 0}}))
        argv = [*via, egressd_binary("debug"), "serve", "--config", settings, *flags]
        self.started = time.monotonic()
        self.process = Process(name, argv, world.directory / f"{name}.log")
        world.processes.append(self.process)
        self.process.await_port(self.port, PATIENCE)
        self.ready_after = time.monotonic() - self.started
        self.pid = self.process.tree()[-1]

    def get(self, grant, timeout=PATIENCE):
        """Sends an agent's request. Returns its status, and the refusal code if there is one; None
        if the process was killed meanwhile."""
        agent = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            agent.request("GET", f"/{grant}/x")
            reply = agent.getresponse()
            reply.read()
            return reply.status, reply.getheader("X-Egressd-Error")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            agent.close()

    def get_all(self, grants):
        """Sends a request for each grant, some at a time. Returns the results by grant."""
        with ThreadPoolExecutor(AGENTS) as agents:
            return dict(zip(grants, agents.map(self.get, grants)))

    def kill(self):
        if self.process.child.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def has_ended(self, seconds):
        """Returns whether the process ends within this time."""
        try:
            return self.process.child.wait(seconds) is not None
        except subprocess.TimeoutExpired:
            return False

    def await_end(self):
        """Waits for the end of a process that was killed."""
        self.process.child.wait(PATIENCE)
        self.world.processes.remove(self.process)

    def stop(self):
        self.world.stop(self.process)


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def until(is_so, what, patience=PATIENCE):
    """Waits until a predicate holds."""
    deadline = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"in vain, until {what}")
        time.sleep(0.01)
