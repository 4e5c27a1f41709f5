"""A person, an agent and egressd with a certified OpenID provider (npm: oidc-provider): logins by
browser (Chromium), device, paste and import, rotations, a revocation at the provider, and a new
login without a restart.

    login.py NODE [ROTATIONS]

NODE has the `node_modules` of the provider. ROTATIONS is the number of refreshes to wait for, 100 if
it is absent. egressd refreshes a grant at most every 10 seconds, so several grants share them.
"""

import http.client
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from chromium import Chromium, Tab  # noqa: E402
from loopback import World, egressd_argv, egressd_binary, read  # noqa: E402
from peers import Tally  # noqa: E402
from provider import PATIENCE, Browser, Provider, log_in  # noqa: E402

GRANTS = 20
SECONDS = 13  # lifetime of an access token, so that 80 % of it is more than 10 s
START_LINK = re.compile(r"http://\S+/start/\S+")
CONSENT_PAGE = "document.querySelector('input[name=account]') !== null"


def until(what, condition, seconds=PATIENCE):
    """Returns the first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"never came to pass: {what}")
        time.sleep(0.05)
    return value


class Sidecar:
    """The configuration of egressd in a world, and the process that serves it."""

    def __init__(self, world, provider):
        self.world, self.provider, self.logins = world, provider, 0
        self.crowd = [f"crowd-{number}" for number in range(GRANTS)]
        for name in ["browser", "named", "raced", "device", "pasted", "imported", *self.crowd]:
            host = "localhost" if name == "named" else "127.0.0.1"
            self.define(name, redirect_uri=f"http://{host}/callback")
        self.port = world.port()
        argv = egressd_argv(world, self.port)
        self.settings, self.store = argv[-1], world.directory / "tokens"
        # `login` would create it later, but a running egressd expects it at the start.
        self.store.mkdir(mode=0o700)
        self.process = world.start("egressd", argv)
        self.process.await_port(self.port)

    def define(self, name, **changes):
        self.world.file(f"connections/{name}.json", json.dumps({"connection_details": {"http": {
            "base_url": self.provider.issuer, "allowed_routes": ["GET /me"],
            "oauth_user_consent": self.provider.definition(**changes),
            "allowed_private_cidrs": ["127.0.0.0/8", "::1/128"],
        }}}))

    def ask(self, name):
        """Sends a request of the agent. Returns status, refusal code and account."""
        agent = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            agent.request("GET", f"/{name}/me")
            reply = agent.getresponse()
            body = json.loads(reply.read())
            return reply.status, reply.getheader("X-Egressd-Error"), body.get("sub")
        finally:
            agent.close()

    def login_argv(self, name, *flags):
        return [str(egressd_binary("debug")), "login", "--config", str(self.settings), *flags, name]

    def login(self, name, *flags):
        """Starts a login. Its output goes to a log of the world."""
        self.logins += 1
        return self.world.start(f"login-{self.logins}-{name}", self.login_argv(name, *flags))

    def token_file(self, name):
        path = self.store / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None


class Terminal:
    """A login with a terminal of its own, as a person has it."""

    def __init__(self, argv):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(argv[0], argv)
        self.shown = ""

    def read_until(self, pattern):
        """Returns the match once it is shown."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.shown)):
            if not select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"{pattern} was not shown: {self.shown}")
            if not self.read_more():
                raise RuntimeError(f"ended without {pattern}: {self.shown}")
        return found

    def read_more(self):
        """Returns False at the end of the program."""
        try:
            piece = os.read(self.terminal, 1 << 16)
        except OSError:  # EIO: the program has closed the terminal
            piece = b""
        self.shown += piece.decode(errors="replace")
        return piece != b""

    def type(self, text):
        os.write(self.terminal, text.encode() + b"\n")

    def end(self):
        """Reads the rest, and returns the exit code."""
        while self.read_more():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def exit_code(process):
    return process.child.wait(timeout=PATIENCE)


def start_link(login):
    return until("the start link", lambda: START_LINK.search(read(login.log))).group(0)


def open_consent_page(browser, link):
    """Opens the start link in a tab, which trusts the provider."""
    tab = Tab(browser, 800, 600)
    tab.call("Security.setIgnoreCertificateErrors", ignore=True)
    tab.open(link)
    tab.wait("the consent page", CONSENT_PAGE)
    return tab


def judge_served(tally, sidecar, name, account):
    """A running egressd uses a new consent within one second."""
    began = time.monotonic()
    until(f"{name} is served", lambda: sidecar.ask(name)[2] == account)
    took = time.monotonic() - began
    tally.claim(f"{name}: the running egressd adopts the login within 1 s", took < 1, f"{took:.2f} s")


def judge_chromium(tally, sidecar, browser, name):
    """Chromium opens the start link, and the person consents."""
    login = sidecar.login(name, "--yes")
    tab = open_consent_page(browser, start_link(login))
    tab.tell("document.querySelector('button[value=approve]').click()")
    tab.wait("the last page", "location.pathname === '/done' && document.readyState === 'complete'")
    tally.claim(f"{name}: the address bar has no code", tab.tell("location.search") == "")
    tally.claim(f"{name}: login exits with 0", exit_code(login) == 0, login.said())
    judge_served(tally, sidecar, name, "ada")


def judge_race(tally, sidecar, browser):
    """A second browser opens the start link before the person has decided."""
    login = sidecar.login("raced", "--yes")
    link = start_link(login)
    open_consent_page(browser, link)
    parts = urllib.parse.urlsplit(link)
    other = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    other.request("GET", parts.path)
    status = other.getresponse().status
    other.close()
    tally.claim("raced: the second browser gets 409", status == 409, status)
    tally.claim("raced: login exits with 1", exit_code(login) == 1, login.said())
    tally.claim("raced: nothing is stored", sidecar.token_file("raced") is None)


def judge_device(tally, sidecar):
    login = sidecar.login("device", "--device", "--yes")
    shown = r"open (\S+) on any device, and enter the code (\S+)"
    page, code = until("the user code", lambda: re.search(shown, read(login.log))).groups()
    Browser(sidecar.provider).approve_device(f"{page}?user_code={urllib.parse.quote(code)}", "grace")
    tally.claim("device: login exits with 0", exit_code(login) == 0, login.said())
    judge_served(tally, sidecar, "device", "grace")


def judge_paste(tally, sidecar):
    terminal = Terminal(sidecar.login_argv("pasted", "--paste"))
    url = terminal.read_until(r"(https://\S+/auth\?\S+)\s").group(1)
    callback = Browser(sidecar.provider).consent(url)
    terminal.type(callback)
    terminal.read_until(r"\[y/N\]")
    tally.claim("pasted: the address is not shown", callback not in terminal.shown, terminal.shown)
    terminal.type("y")
    tally.claim("pasted: login exits with 0", terminal.end() == 0, terminal.shown)
    judge_served(tally, sidecar, "pasted", "ada")


def import_grant(sidecar, name, account, *flags):
    """Imports a token answer of the provider. Returns an error message, or None."""
    _, answer = log_in(sidecar.provider, account)
    argv = sidecar.login_argv(name, "--import", "-", "--yes", *flags)
    done = subprocess.run(argv, input=json.dumps(answer), capture_output=True, text=True, timeout=PATIENCE)
    return done.stderr if done.returncode != 0 else None


def judge_import(tally, sidecar):
    failed = import_grant(sidecar, "imported", "grace")
    tally.claim("imported: login exits with 0", failed is None, failed)
    judge_served(tally, sidecar, "imported", "grace")


def judge_rotations(tally, sidecar, wanted):
    """Many grants are refreshed under requests: no refresh token is sent twice, and no request
    fails."""
    failed = [failure for name in sidecar.crowd if (failure := import_grant(sidecar, name, name))]
    tally.claim("crowd: every import exits with 0", not failed, failed[:1])
    for name in sidecar.crowd:
        until(f"{name} is served", lambda name=name: sidecar.ask(name)[2] == name)

    def refreshes():
        return sidecar.provider.token_requests("refresh_token")[before:]

    before, sent, failed = len(sidecar.provider.token_requests("refresh_token")), 0, []
    deadline = time.monotonic() + PATIENCE + wanted
    while len(refreshes()) < wanted and time.monotonic() < deadline:
        for name in sidecar.crowd:
            seen = sidecar.ask(name)
            sent += 1
            if seen != (200, None, name):
                failed.append((name, seen))
        time.sleep(0.1)
    calls = refreshes()
    spent = [call["spent"] for call in calls]
    refused = [call for call in calls if call["status"] != 200]
    tally.claim(f"crowd: {wanted} rotations", len(calls) >= wanted, len(calls))
    tally.claim("crowd: every refresh is accepted", not refused, refused[:3])
    tally.claim("crowd: each refresh token is sent once", len(set(spent)) == len(spent), len(spent))
    tally.claim("crowd: every request is served", not failed, f"{len(failed)} of {sent}: {failed[:3]}")
    print(f"{len(calls)} rotations of {len(sidecar.crowd)} grants, {sent} requests")


def judge_revocation(tally, sidecar):
    """The grant ends at the provider. Requests are refused until the person logs in again."""
    name = sidecar.crowd[0]
    sidecar.provider.revoke(sidecar.token_file(name)["refresh_token"])
    until("the refusal", lambda: sidecar.ask(name)[:2] == (403, "consent_required"), 60)
    seen = [sidecar.ask(name)[:2] for _ in range(20)]
    tally.claim("revoked: 403 consent_required", set(seen) == {(403, "consent_required")}, seen)
    refused = [c for c in sidecar.provider.token_requests("refresh_token") if c["status"] != 200]
    tally.claim("revoked: two refreshes were refused, and no more", len(refused) == 2, refused)
    failed = import_grant(sidecar, name, "grace", "--replace")
    tally.claim("revoked: a new login exits with 0", failed is None, failed)
    judge_served(tally, sidecar, name, "grace")


def main():
    tally, modules = Tally(), Path(sys.argv[1]) / "node_modules"
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with World() as world:
        sidecar = Sidecar(world, Provider(world, modules, SECONDS))
        first = sidecar.ask("browser")
        tally.claim("before: 403 consent_required", first[:2] == (403, "consent_required"), first)
        browser = Chromium(world)
        judge_chromium(tally, sidecar, browser, "browser")
        judge_chromium(tally, sidecar, browser, "named")
        judge_race(tally, sidecar, browser)
        judge_device(tally, sidecar)
        judge_paste(tally, sidecar)
        judge_import(tally, sidecar)
        judge_rotations(tally, sidecar, wanted)
        judge_revocation(tally, sidecar)
        code = world.stop(sidecar.process)
        tally.claim("egressd stops with 0", code == 0, f"exit code {code}")
        if tally.failures:
            print(sidecar.process.said())
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
