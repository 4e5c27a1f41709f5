"""The side of the agent in attack.py: a process with a UID of its own that attacks a login.

    agent_side.py PLAN

PLAN is JSON: {"uid", "loot", "attack", …}. Becomes that user, runs one attack, and prints its result as
one line of JSON. All that it could read is in the file `loot`, in which attack.py searches for secrets.
"""

import ctypes
import encodings.idna  # noqa: F401  loaded now, because the later user may not be able to read it
import http.client
import json
import os
import queue
import random
import socket
import string
import sys
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from provider import Browser  # noqa: E402

SENDERS = 8  # requests at a time
PORTS = range(1024, 65536)
RANDOM = string.ascii_letters + string.digits + "-_"
PROC = ["auxv", "cmdline", "cwd", "environ", "exe", "fdinfo", "io", "maps", "mem", "mountinfo", "numa_maps", "pagemap", "root",
        "smaps", "stack", "status", "syscall", "wchan"]
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
# The requests that an agent could try at the listeners of `serve`: the flow of a login, and calls
# of a management API that changes something.
PATHS = ["/", "/livez", "/readyz", "/readyz?verbose", "/metrics", "/openapi.json", "/v1/connections", "/v1/connections?show_deleted=true",
         "/v1/connections/{id}", "/v1/connectors", "/v1/connection-types", "/{id}", "/{id}/me", "/{id}/me?access_token=x", "/{id}/token",
         "/callback?code=c&state=s", "/{id}/callback?code=c&state=s", "/start/x", "/{id}/start/x", "/done", "/oauth/callback", "/mcp",
         "/v1/connections/{id}:startConsent", "/v1/connections/{id}:finishConsent", "/v1/connections/{id}:revoke", "/v1/connections/{id}/consent",
         "/v1/connections/{id}/tokens", "/login", "/logout", "/login/{id}", "/tokens", "/tokens/{id}.json", "/../tokens/{id}.json",
         "/%2e%2e/tokens/{id}.json", "/debug/pprof/heap", "/proc/self/environ"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


class Provider:
    """The part of provider.Provider that a browser needs."""

    def __init__(self, port, trust):
        self.port, self.trust, self.issuer = port, trust, f"https://localhost:{port}"

    def request(self, method, path, form=None, headers=None):
        body = None if form is None else urllib.parse.urlencode(form)
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.trust, timeout=30)
        try:
            connection.request(method, path, body, {**kind, **(headers or {})})
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read().decode()
        finally:
            connection.close()


class Agent:
    def __init__(self, plan, loot):
        self.plan, self.loot, self.lock = plan, loot, threading.Lock()

    def keep(self, data):
        with self.lock:
            self.loot.write(data if isinstance(data, bytes) else str(data).encode())

    def ask(self, port, path, headers=None, method="GET", body=None):
        """Sends one request. Returns status and headers, or None if the socket ended without an
        answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            fields = "\n".join(f"{name}: {text}" for name, text in reply.getheaders())
            self.keep(f"{reply.status}\n{fields}\n\n".encode() + reply.read())
            return reply.status, reply.headers
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def scan(self):
        """Finds the port of a login: the one that answers a wrong start link as a login does."""
        open_ports = []
        for port in PORTS:
            with socket.socket() as probe:
                probe.settimeout(2)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    open_ports.append(port)
        found = []
        for port in open_ports:
            answer = self.ask(port, "/start/x", {"Host": f"127.0.0.1:{port}"})
            if answer and answer[1].get("Referrer-Policy") == "no-referrer" and port not in self.plan["known"]:
                found.append(port)
        return {"scanned": len(PORTS), "open": len(open_ports), "found": found}

    def many(self, count, send):
        """Calls `send` this often, from some threads. Returns how often each status came."""
        numbers, seen = queue.SimpleQueue(), {}
        for number in range(count):
            numbers.put(number)

        def work():
            while True:
                try:
                    numbers.get_nowait()
                except queue.Empty:
                    return
                answer = send()
                status = str(answer[0]) if answer else "none"
                with self.lock:
                    seen[status] = seen.get(status, 0) + 1

        threads = [threading.Thread(target=work) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return seen

    def guess(self):
        """Guesses start values, and values of `state` and the cookie, with a code of the agent's
        own account."""
        port, count = self.plan["port"], self.plan["count"]
        host = {"Host": f"127.0.0.1:{port}", "Sec-Fetch-Mode": "navigate"}
        code = self.own_code(port)
        starts = self.many(count, lambda: self.ask(port, f"/start/{value()}", host))
        states = self.many(count, lambda: self.ask(port, f"/callback?code={code}&state={value()}&iss={self.issuer()}",
                                                   {**host, "Cookie": f"egressd-login={value()}"}))
        return {"starts": starts, "states": states}

    def issuer(self):
        return urllib.parse.quote(f"https://localhost:{self.plan['provider']}", safe="")

    def own_code(self, port):
        """Consents with the agent's account for the same client and redirect URI."""
        url = f"https://localhost:{self.plan['provider']}/auth?" + urllib.parse.urlencode({
            "response_type": "code", "client_id": self.plan["client"], "redirect_uri": f"http://127.0.0.1:{port}/callback",
            "scope": "openid offline_access", "state": value(), "prompt": "consent",
            "code_challenge": value(), "code_challenge_method": "S256",
        })
        callback = Browser(self.plan["browser"]).consent(url, "mallory")
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(callback).query))["code"]

    def find_link(self):
        """Waits for a start link on the command line of any process."""
        deadline = time.monotonic() + self.plan["seconds"]
        while time.monotonic() < deadline:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes().split(b"\0")
                except OSError:
                    continue
                for word in words:
                    if word.startswith(b"http://127.0.0.1:") and b"/start/" in word:
                        return word.decode()
            time.sleep(0.002)
        return None

    def open_link(self):
        """Takes the start link from the command line of the opener, and opens it. `complete` goes
        on with the agent's own account, and sends the callback several times."""
        link = self.plan.get("link") or self.find_link()
        if link is None:
            return {"link": False}
        parts = urllib.parse.urlsplit(link)
        answer = self.ask(parts.port, parts.path, {"Host": parts.netloc, "Sec-Fetch-Mode": "navigate"})
        result = {"link": True, "status": answer and answer[0], "callbacks": []}
        if self.plan.get("complete") and answer and answer[0] == 302:
            cookie = answer[1]["Set-Cookie"].partition(";")[0]
            callback = urllib.parse.urlsplit(Browser(self.plan["browser"]).consent(answer[1]["Location"], "mallory"))
            for _ in range(3):
                sent = self.ask(parts.port, f"{callback.path}?{callback.query}", {"Host": parts.netloc, "Sec-Fetch-Mode": "navigate", "Cookie": cookie})
                result["callbacks"].append(sent and sent[0])
        return result

    def replay(self):
        """Sends the callback of a person until the listener is closed. Prints a line after the
        first answer."""
        port, path, seen = self.plan["port"], self.plan["path"], {}
        deadline = time.monotonic() + self.plan["seconds"]
        while time.monotonic() < deadline:
            answer = self.ask(port, path, {"Host": f"127.0.0.1:{port}", "Sec-Fetch-Mode": "navigate"})
            if answer is None:
                break
            if not seen:
                print("begun", flush=True)
            seen[str(answer[0])] = seen.get(str(answer[0]), 0) + 1
        return seen

    def hold(self):
        """Holds as many sockets as the listener and its queue accept, and opens new ones as they end.
        Prints a line once it has all, or the queue is full."""
        port, held, opened, told = self.plan["port"], [], 0, False
        deadline = time.monotonic() + self.plan["seconds"]
        while time.monotonic() < deadline:
            for one in list(held):
                try:
                    if one.recv(1) == b"":
                        raise OSError
                except BlockingIOError:
                    pass
                except OSError:
                    one.close()
                    held.remove(one)
            is_full = False
            while len(held) < self.plan["count"] and not is_full:
                one = socket.socket()
                one.settimeout(0.2)
                try:
                    one.connect(("127.0.0.1", port))
                    one.send(b"GET /")
                except TimeoutError:
                    one.close()
                    is_full = True
                    continue
                except OSError:  # the login has ended
                    one.close()
                    return {"opened": opened}
                one.setblocking(False)
                held.append(one)
                opened += 1
            if not told:
                print("held", flush=True)
                told = True
            time.sleep(0.005)
        return {"opened": opened}

    def read_processes(self):
        """Reads what /proc shows of processes, and tries to trace them."""
        libc, read, traced = ctypes.CDLL(None, use_errno=True), [], 0
        for pid in self.plan["pids"]:
            paths = [Path(f"/proc/{pid}/{name}") for name in PROC]
            for folder in ("fd", "map_files", "task"):
                try:
                    paths += [path / "environ" if folder == "task" else path for path in Path(f"/proc/{pid}/{folder}").iterdir()]
                except OSError:
                    pass
            for path in paths:
                try:
                    self.keep(os.readlink(path) if path.is_symlink() else path.read_bytes()[:1 << 20])
                    read.append(path.name)
                except OSError:
                    pass
            for request in (PTRACE_SEIZE, PTRACE_ATTACH):
                traced += libc.ptrace(request, pid, None, None) == 0
            try:
                os.kill(pid, 15)
                traced += 1
            except OSError:
                pass
        return {"read": sorted(set(read)), "traced": traced}

    def read_files(self):
        """Reads files, lists directories, and tries to put a file of its own into them."""
        read, written = [], 0
        for name in self.plan["paths"]:
            path = Path(name)
            try:
                self.keep(str(list(path.iterdir())) if path.is_dir() else path.read_bytes())
                read.append(name)
            except OSError:
                pass
            try:
                (path / "mallory.json" if path.is_dir() else path).open("ab").close()
                written += 1
            except OSError:
                pass
        return {"read": read, "written": written}

    def call_listeners(self):
        """Calls everything at the listeners of `serve`, also as MCP messages."""
        statuses = {}
        for port in self.plan["ports"]:
            for name in self.plan["ids"]:
                for path in PATHS:
                    for method in METHODS:
                        answer = self.ask(port, path.replace("{id}", name), {"Host": "localhost"}, method, b"{}" if method[0] == "P" else None)
                        statuses[str(answer and answer[0])] = statuses.get(str(answer and answer[0]), 0) + 1
            for method, params in [("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "agent", "version": "1"}}),
                                   ("tools/list", {}), *[("tools/call", {"name": f"{name}_get_me", "arguments": {}}) for name in self.plan["ids"]]]:
                message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
                headers = {"Host": "localhost", "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
                self.ask(port, "/mcp", headers, "POST", message.encode())
        return statuses


def value():
    return "".join(random.choices(RANDOM, k=43))


def main():
    import ssl
    plan = json.loads(sys.argv[1])
    trust = ssl.create_default_context(cafile=plan["ca"])
    os.setgroups([])
    os.setresgid(plan["uid"], plan["uid"], plan["uid"])
    os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    plan["browser"] = Provider(plan["provider"], trust)
    with open(plan["loot"], "ab") as loot:
        print(json.dumps(getattr(Agent(plan, loot), plan["attack"])()), flush=True)


if __name__ == "__main__":
    main()
