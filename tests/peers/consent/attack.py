"""An agent attacks the logins of a person, and the egressd that it is behind.

    attack.py NODE [GUESSES]

The agent is a process with a UID of its own (agent_side.py) on the same loopback interface. It scans
for the port of a login, takes start links from command lines and opens them first and second, guesses
start values and `state` (10,000 of each if GUESSES is absent), consents with its own account, replays
callbacks, holds all sockets, reads /proc, files and every listener of `serve`. The test answers the
question of a login as a person who reads the account.

No account of the agent may be stored, and none of the secrets may be in what the agent could read.
Each login ends with the person's grant or with exit code 1. Needs root, which starts both users; runs
in a network namespace of its own.
"""

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from login import Terminal, until  # noqa: E402
from loopback import World, egressd_argv, egressd_binary, read  # noqa: E402
from peers import Tally  # noqa: E402
from provider import PATIENCE, Browser, Provider  # noqa: E402

PERSON, AGENT = 61186, 61187
SECRET = "planted-client-secret-0123456789"
START_LINK = re.compile(r"http://127\.0\.0\.1:\d+/start/[\w-]+")
QUESTION = r"Store this grant\?.*\[y/N\]"
# The moment at which the agent opens the start link, and what it does then: three logins of each.
ROUNDS = [f"{what}-{number}" for what in ("first", "first-then-both", "second", "second-at-the-question") for number in range(3)]
HELD_SECONDS = 60  # the timeout of a login whose sockets are held, the shortest one
# What Linux shows of the processes of other users.
PUBLIC = {"cmdline", "status", "mountinfo", "wchan"}
LISTENER = {"Sec-Fetch-Mode": "navigate"}


class Attacked:
    """The person's machine: egressd as one user, the agent as another."""

    def __init__(self, world, modules):
        self.world, self.provider = world, Provider(world, modules, 600)
        names = [*ROUNDS, "guessed", "held", "flooded", "replayed", "device", "pasted"]
        for name in names:
            definition = self.provider.definition(client_id="egressd-secret", client_secret={"file": "../secrets/client-secret"})
            world.file(f"connections/{name}.json", json.dumps({"connection_details": {"http": {
                "base_url": self.provider.issuer, "allowed_routes": ["GET /me"], "oauth_user_consent": definition,
                "allowed_private_cidrs": ["127.0.0.0/8", "::1/128"],
            }}}))
        self.names, self.secrets, self.exits, self.foreign = names, {"the client secret": SECRET}, [], 0
        self.port, self.management = world.port(), world.port()
        self.binary = world.file("bin/egressd", egressd_binary("debug").read_bytes())
        self.binary.chmod(0o755)
        argv = egressd_argv(world, self.port, self.management, ("operator", "planted-password-0123456789"))
        self.settings, self.store = argv[-1], world.directory / "tokens"
        self.secrets["the management password"] = "planted-password-0123456789"
        self.settings.chmod(0o600)
        self.store.mkdir(mode=0o700)
        secret = world.file("secrets/client-secret", SECRET)
        secret.chmod(0o600)
        secret.parent.chmod(0o700)
        for path in (self.settings, self.store, secret, secret.parent):
            os.chown(path, PERSON, PERSON)
        self.loot = world.file("loot/loot", "")
        os.chown(self.loot, AGENT, AGENT)
        # The opener that a desktop would start: its command line has the start link as long as the
        # login runs.
        self.opener = world.file("bin/opener", f'#!/bin/sh\nprintf %s "$1" >{world.directory}/opened/link.part\n'
                                               f'mv {world.directory}/opened/link.part {world.directory}/opened/link\n'
                                               "while kill -0 $PPID 2>/dev/null; do sleep 0.1; done\n")
        self.opener.chmod(0o755)
        self.opened = world.file("opened/none", "").parent
        self.opened.chmod(0o700)
        os.chown(self.opened, PERSON, PERSON)
        self.serve = world.start("egressd", [*self.as_person(), self.binary, *argv[1:]])
        self.serve.await_port(self.port)

    def as_person(self):
        return ["setpriv", f"--reuid={PERSON}", f"--regid={PERSON}", "--clear-groups", "env", f"BROWSER={self.world.directory}/bin/opener"]

    def login(self, name, *flags):
        # The openers of earlier logins end soon after them.
        opener = str(self.opener).encode()
        until("no opener runs", lambda: not any(opener in command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")))
        argv = [*self.as_person(), str(self.binary), "login", "--config", str(self.settings), *flags, name]
        terminal = Terminal(["/usr/bin/env", *argv])
        terminal.name = name
        return terminal

    def agent(self, attack, **plan):
        """Starts an attack."""
        plan |= {"uid": AGENT, "loot": str(self.loot), "attack": attack, "provider": self.provider.port,
                 "ca": str(self.provider.ca), "client": "egressd-secret", "known": [self.port, self.management, self.provider.port]}
        argv = [sys.executable, "-B", HERE / "agent_side.py", json.dumps(plan)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def attack(self, attack, **plan):
        """Runs an attack to its end, and returns its result."""
        return result(self.agent(attack, **plan))

    def grant(self, name):
        """Returns the file of a grant, and counts it if it is not the person's. Its tokens, and
        those of all others, are secrets of the test."""
        path = self.store / f"{name}.json"
        if not path.exists():
            return None
        stored = json.loads(path.read_text())
        for token in ("access_token", "refresh_token"):
            self.secrets[f"{token} {len(self.secrets)}"] = stored[token]
        if (stored["account"], self.provider.account(stored["access_token"])) != ("ada", "ada"):
            self.foreign += 1
        return stored

    def link(self, login):
        """Returns the start link, from the terminal or from the opener."""
        if link := START_LINK.search(login.shown):
            return link[0]
        path = self.opened / "link"
        link = until("the opener has the link", lambda: read(path))
        path.unlink()
        return link


def command_line(path):
    """Returns the arguments of a process, or none if it has ended. The variable BROWSER of a login
    is not an argument."""
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


def result(agent):
    """Returns the last line of an attack, as JSON."""
    said, _ = agent.communicate(timeout=300)
    return json.loads(said.strip().splitlines()[-1])


class PersonsBrowser:
    """The person's browser: the start link, the provider, the callback."""

    def __init__(self, attacked, link):
        self.attacked, self.netloc, self.link = attacked, urllib.parse.urlsplit(link).netloc, link
        self.cookie = None

    def send(self, target):
        """Sends a navigation, and is patient. Returns status and headers, or None without an answer.
        """
        connection = http.client.HTTPConnection(self.netloc, timeout=120)
        try:
            connection.request("GET", target, headers={**LISTENER, **({"Cookie": self.cookie} if self.cookie else {})})
            reply = connection.getresponse()
            reply.read()
            return reply.status, reply.headers
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def open(self):
        """Opens the start link. Returns the status, or None without an answer."""
        answer = self.send(urllib.parse.urlsplit(self.link).path)
        if answer and answer[0] == 302:
            self.cookie, self.url = answer[1]["Set-Cookie"].partition(";")[0], answer[1]["Location"]
            parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.url).query))
            # What the browser was given, and the agent was not.
            self.attacked.secrets[f"the cookie of {self.netloc}"] = self.cookie.partition("=")[2]
            self.attacked.secrets[f"the state of {self.netloc}"] = parameters["state"]
        return answer and answer[0]

    def consent(self):
        """Consents as the person. Returns the target of the callback."""
        parts = urllib.parse.urlsplit(Browser(self.attacked.provider).consent(self.url, "ada"))
        self.attacked.secrets[f"the code of {self.netloc}"] = dict(urllib.parse.parse_qsl(parts.query))["code"]
        return f"{parts.path}?{parts.query}"


def decide(attacked, login):
    """Answers the question as a person who reads the account, and records the exit code. If no
    question comes, interrupts the login."""
    try:
        found = login.read_until(rf"{QUESTION}")
        account = re.search(r"account:\s+(\S+)", login.shown[:found.start()])[1]
        login.type("y" if account == "ada" else "n")
    except RuntimeError:
        os.kill(login.pid, signal.SIGINT)  # a process that has ended, too, has its PID until `end`
    code = login.end()
    attacked.exits.append((login.name, code))
    return code


def claim_end(tally, attacked, login, wanted):
    """A login ends as required, and stores the grant of the person or nothing."""
    code = decide(attacked, login)
    stored = attacked.grant(login.name)
    held = code in wanted and (stored is not None) == (code == 0)
    tally.claim(f"{login.name}: login ends with {' or '.join(map(str, wanted))}", held, f"{code}, {stored and stored['account']}: {login.shown}")


def judge_links(tally, attacked):
    """The agent reads the start link from the command line of the opener."""
    # F-336
    for name in ROUNDS:
        login = attacked.login(name)
        if name.startswith("first"):
            completes = not name.startswith("first-then-both")
            agent = attacked.agent("open_link", seconds=PATIENCE, complete=completes)
            link = attacked.link(login)
            done = result(agent)
            tally.claim(f"{name}: the agent was first", (done["link"], done["status"]) == (True, 302), done)
            if completes:
                tally.claim(f"{name}: its callback is accepted once", done["callbacks"] == [303, 410, 410], done)
            else:
                status = PersonsBrowser(attacked, link).open()
                tally.claim(f"{name}: the person's browser is told", status == 409, status)
        else:
            browser = PersonsBrowser(attacked, attacked.link(login))
            tally.claim(f"{name}: the person was first", browser.open() == 302)
            if name.startswith("second-at-the-question"):
                browser.send(browser.consent())
                login.read_until(QUESTION)
            done = attacked.attack("open_link", seconds=PATIENCE, link=browser.link)
            tally.claim(f"{name}: the agent gets 409", done["status"] == 409, done)
        claim_end(tally, attacked, login, [1])


def judge_guesses(tally, attacked, count):
    """The link is on no command line. The agent finds the port and guesses."""
    # F-334
    login = attacked.login("guessed", "--no-browser")
    login.read_until(START_LINK.pattern)
    link = attacked.link(login)
    attacked.secrets["the start value"] = link.rpartition("/")[2]
    port = urllib.parse.urlsplit(link).port
    found = attacked.attack("scan")
    tally.claim("guessed: the agent finds the port", found["found"] == [port], found)
    unseen = attacked.attack("open_link", seconds=2)
    tally.claim("guessed: no command line has the link", unseen == {"link": False}, unseen)
    guesses = attacked.attack("guess", port=port, count=count)
    tally.claim(f"guessed: {count} start values are wrong", guesses["starts"] == {"404": count}, guesses)
    tally.claim(f"guessed: {count} values of state are wrong", guesses["states"] == {"400": count}, guesses)
    seen = attacked.attack("read_processes", pids=[login.pid])
    tally.claim("guessed: /proc shows nothing but names and numbers", set(seen["read"]) <= PUBLIC and seen["traced"] == 0, seen)
    browser = PersonsBrowser(attacked, link)
    tally.claim("guessed: the person's browser gets in", browser.open() == 302)
    browser.send(browser.consent())
    claim_end(tally, attacked, login, [0])
    print(f"{found['scanned']} ports scanned, {found['open']} open; {sum(guesses['starts'].values())} start values and "
          f"{sum(guesses['states'].values())} values of state guessed")


def judge_held(tally, attacked, name, sockets, wanted):
    """The agent holds all sockets while the person logs in. Some more than a login accepts make the
    browser wait; so many that its time is over end the login."""
    # F-337
    login = attacked.login(name, "--no-browser", "--timeout", str(HELD_SECONDS))
    login.read_until(START_LINK.pattern)
    browser = PersonsBrowser(attacked, attacked.link(login))
    port = int(browser.netloc.rpartition(":")[2])
    agent = attacked.agent("hold", port=port, seconds=4 * HELD_SECONDS, count=sockets)
    agent.stdout.readline()
    began = time.monotonic()
    if browser.open() == 302:
        browser.send(browser.consent())
    took = time.monotonic() - began
    claim_end(tally, attacked, login, [wanted])
    tally.claim(f"{name}: a login that fails suggests --paste", wanted == 0 or "--paste" in login.shown, login.shown)
    print(f"{name}: the login ended with {wanted}, the browser waited for {took:.1f} s; the agent opened {result(agent)['opened']} sockets")


def judge_replay(tally, attacked):
    """The agent knows the callback of the person, and sends it before, with and after the person."""
    # F-335
    login = attacked.login("replayed", "--no-browser")
    login.read_until(START_LINK.pattern)
    browser = PersonsBrowser(attacked, attacked.link(login))
    browser.open()
    callback = browser.consent()
    # It is given to the agent, so that it is not a secret here.
    known = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(callback).query)).values()
    attacked.secrets = {name: secret for name, secret in attacked.secrets.items() if secret not in known}
    port = int(browser.netloc.rpartition(":")[2])
    before = attacked.attack("replay", port=port, path=callback, seconds=1)
    tally.claim("replayed: without the cookie, the callback is refused", before.keys() == {"400"}, before)
    agent = attacked.agent("replay", port=port, path=callback, seconds=PATIENCE)
    agent.stdout.readline()
    tally.claim("replayed: the callback of the person is accepted", browser.send(callback)[0] == 303)
    claim_end(tally, attacked, login, [0])
    after = result(agent)
    tally.claim("replayed: later, it is gone", after.keys() <= {"400", "410"} and "410" in after, after)


def judge_other_flows(tally, attacked):
    """Flows without a listener: the agent can only read."""
    login = attacked.login("device", "--device")
    page, code = login.read_until(r"open (\S+) on any device, and enter the code (\S+)").groups()
    attacked.secrets["the user code"] = code
    seen = attacked.attack("read_processes", pids=[login.pid])
    tally.claim("device: /proc shows nothing but names and numbers", set(seen["read"]) <= PUBLIC and seen["traced"] == 0, seen)
    found = attacked.attack("scan")
    tally.claim("device: there is no port", found["found"] == [], found)
    Browser(attacked.provider).approve_device(f"{page}?user_code={urllib.parse.quote(code)}", "ada")
    claim_end(tally, attacked, login, [0])
    login = attacked.login("pasted", "--paste")
    url = login.read_until(r"(https://\S+/auth\?\S+)\s").group(1)
    attacked.secrets["the pasted state"] = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))["state"]
    callback = Browser(attacked.provider).consent(url, "ada")
    attacked.secrets["the pasted code"] = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(callback).query))["code"]
    login.type(callback)
    seen = attacked.attack("read_processes", pids=[login.pid])
    tally.claim("pasted: /proc shows nothing but names and numbers", set(seen["read"]) <= PUBLIC and seen["traced"] == 0, seen)
    claim_end(tally, attacked, login, [0])


def judge_serve(tally, attacked):
    """The agent calls every listener of `serve`, and reads its process and files."""
    # F-354
    before = sorted((path.name, path.read_bytes()) for path in attacked.store.iterdir())
    statuses = attacked.attack("call_listeners", ports=[attacked.port, attacked.management], ids=attacked.names)
    after = sorted((path.name, path.read_bytes()) for path in attacked.store.iterdir())
    tally.claim("serve: no call changes the store", before == after)
    tally.claim("serve: every call is answered", "None" not in statuses and "500" not in statuses, statuses)
    seen = attacked.attack("read_processes", pids=[attacked.serve.pid])
    tally.claim("serve: /proc shows nothing but names and numbers", set(seen["read"]) <= PUBLIC and seen["traced"] == 0, seen)
    paths = [attacked.store, *attacked.store.iterdir(), attacked.settings, attacked.world.directory / "secrets", attacked.world.directory / "secrets/client-secret",
             attacked.opened]
    files = attacked.attack("read_files", paths=[str(path) for path in paths])
    tally.claim("serve: its files are closed", files == {"read": [], "written": 0}, files)
    print(f"{sum(statuses.values())} calls of the listeners of serve: {dict(sorted(statuses.items()))}")




def forms(secret):
    """Returns the encodings in which a secret is searched for."""
    data = secret.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        core = encoded[[0, 2, 3][before]:len(encoded) - ((before + len(data)) % 3 != 0)]
        yield from (core.encode(), core.replace("+", "-").replace("/", "_").encode())
    yield from (data, urllib.parse.quote(secret, safe="").encode(), data.hex().encode(), data.hex().upper().encode())


def judge_loot(tally, attacked):
    """Searches what the agent could read, in any attack, for every secret of the test."""
    loot = attacked.loot.read_bytes()
    found = [name for name, secret in attacked.secrets.items() if any(form in loot for form in forms(secret))]
    tally.claim(f"none of {len(attacked.secrets)} secrets is in {len(loot)} bytes that the agent could read", not found, found)
    tally.claim("the search finds what is there", any(form in loot for form in forms("no-referrer")))
    tally.claim("no foreign grant is stored", attacked.foreign == 0, attacked.foreign)
    ends = {code: sum(one == code for _, one in attacked.exits) for code in {code for _, code in attacked.exits}}
    tally.claim("each login ends with 0 or 1", ends.keys() <= {0, 1}, attacked.exits)
    print(f"{len(attacked.exits)} logins: {ends.get(0, 0)} grants of the person, {ends.get(1, 0)} with exit code 1; "
          f"{attacked.foreign} foreign grants, {len(found)} secrets read")


def main():
    if os.geteuid() != 0:
        print("skipped: an attacking agent (needs root, to start a process with another UID)")
        return 0
    if "inside" not in sys.argv:
        argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-B", *sys.argv, "inside"]
        done = subprocess.run(argv)
        return done.returncode
    tally, modules = Tally(), Path(sys.argv[1]) / "node_modules"
    count = int(sys.argv[2]) if len(sys.argv) > 3 else 10_000
    with World() as world:
        attacked = Attacked(world, modules)
        judge_links(tally, attacked)
        judge_guesses(tally, attacked, count)
        judge_held(tally, attacked, "held", 32, 0)
        judge_held(tally, attacked, "flooded", 500, 1)
        judge_replay(tally, attacked)
        judge_other_flows(tally, attacked)
        judge_serve(tally, attacked)
        judge_loot(tally, attacked)
        if tally.failures:
            print(attacked.serve.said())
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
