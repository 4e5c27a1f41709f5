"""egressd between agents, a certified OpenID provider (npm: oidc-provider) and nginx as the API.

The provider reports the token requests that arrived and the state of a token (RFC 7662
introspection). nginx's log has the token that reached the API. No test depends on timing: each wait
is for an event, or for the end of a token's life.
"""

import base64
import concurrent.futures
import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse
from pathlib import Path

from loopback import World, egressd_argv, read
from peers import HERE, Tally, ipv6_loopback, nginx_configuration, settle

MODULES = Path(sys.argv[1]) / "node_modules"
SHORT = 4  # lifetime in seconds of a token of the client `short`
PATIENCE = 30  # seconds after which an expected event counts as missing
# A secret of characters that RFC 6749 §2.3.1 encodes. The provider recognises each client by its
# decoded secret.
SECRET = "planted:s e+c%2Fr&e=t\"0123456789"
WRONG = "planted-wrong-0123456789"
REFUSED = (502, "credential_unavailable", "token_refused")
CLIENTS = [
    {"id": "basic client+1", "secret": SECRET, "method": "client_secret_basic", "seconds": 600},
    {"id": "posts", "secret": SECRET, "method": "client_secret_post", "seconds": 600},
    {"id": "falls-back", "secret": SECRET, "method": "client_secret_post", "seconds": 600},
    {"id": "short", "secret": SECRET, "method": "client_secret_basic", "seconds": SHORT},
    {"id": "wrong", "secret": SECRET, "method": "client_secret_basic", "seconds": 600},
    {"id": "crowd", "secret": SECRET, "method": "client_secret_basic", "seconds": 600},
    {"id": "audience", "secret": SECRET, "method": "client_secret_basic", "seconds": 600},
]


def connection(world, name, upstream, provider, **grant):
    """Creates a connection to the API behind nginx, with a token of the provider."""
    grant = {"token_url": f"https://localhost:{provider}/token", "client_id": name,
             "client_secret": {"env": "PEER_SECRET"}, **grant}
    holes = ["127.0.0.0/8"] + (["::1/128"] if ipv6_loopback() else [])
    world.file(f"connections/{name}.json", json.dumps({"connection_details": {"http": {
        "base_url": f"https://localhost:{upstream}/base",
        "allowed_routes": ["GET /v1/echo/{rest...}"],
        "oauth_client_credentials": grant,
        "allowed_private_cidrs": holes,
    }}}))


def ask(proxy, target):
    """Sends one request of an agent. Returns status, refusal code, body and fields."""
    agent = http.client.HTTPConnection("127.0.0.1", proxy, timeout=PATIENCE)
    try:
        agent.request("GET", target)
        reply = agent.getresponse()
        return reply.status, reply.getheader("X-Egressd-Error"), reply.read().decode(), reply.headers
    finally:
        agent.close()


class Provider:
    """The OpenID provider, a process that can be ended and started again with the same address."""

    def __init__(self, world, port, ca, certificate, key):
        self.world, self.port, self.lives, self.process = world, port, 0, None
        self.trust = ssl.create_default_context(cafile=str(ca))
        clients = world.file("clients.json", json.dumps(CLIENTS))
        self.argv = ["node", HERE / "oidc_provider.mjs", MODULES, port, certificate, key, clients]

    def start(self):
        self.lives += 1
        self.process = self.world.start(f"provider-{self.lives}", self.argv)
        self.process.await_port(self.port)

    def kill(self):
        self.world.stop(self.process)

    def calls(self, client=None):
        """Returns the token requests of all its runs, or those of one client, in order."""
        lines = [line for n in range(1, self.lives + 1)
                 for line in read(self.world.directory / f"provider-{n}.log").splitlines()]
        calls = [json.loads(line) for line in lines if line.startswith("{")]
        return [call for call in calls if client is None or call["client"] == client]

    def introspect(self, token):
        """Returns the provider's state of a token."""
        api = http.client.HTTPSConnection("localhost", self.port, context=self.trust, timeout=10)
        pair = ":".join(urllib.parse.quote_plus(part) for part in (CLIENTS[0]["id"], SECRET))
        api.request("POST", "/token/introspection", urllib.parse.urlencode({"token": token}), {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
        })
        known = json.loads(api.getresponse().read())
        api.close()
        return known


class Api:
    """nginx's log of the requests that reached the API."""

    def __init__(self, world, port, ca):
        self.world, self.port, self.ca = world, port, ca

    def tokens(self, path):
        """Returns the bearer tokens of the requests for that path, in order."""
        settle(self.port, self.ca)
        seen = [json.loads(line) for line in read(self.world.directory / "seen.log").splitlines()]
        fields = [s["authorization"] for s in seen if s["target"] == f"/base/v1/echo/{path}"]
        return [field.removeprefix("Bearer ") for field in fields]


def judge_clients(tally, proxy, provider, api):
    """Uses each client once, and checks the token that the API received with the provider."""
    for name, client, basics in [
        ("basic", CLIENTS[0]["id"], [True]), ("posts", "posts", [False]),
        ("falls-back", "falls-back", [False]), ("audience", "audience", [True]),
    ]:
        status, code, _, _ = ask(proxy, f"/{name}/v1/echo/{name}")
        tally.claim(f"{name} is served", status == 200, f"{status} {code}")
        got = provider.calls(client)
        tally.claim(f"{name} sent one token request", [call["basic"] for call in got] == basics, got)
        tokens = api.tokens(name)
        tally.claim(f"{name} sent one request", len(tokens) == 1, tokens)
        known = provider.introspect(tokens[0]) if tokens else {}
        tally.claim(f"{name} sent the token that the provider issued",
                    known.get("active") and known.get("client_id") == client, known)
        if name == "audience":
            wanted = ("urn:items", "items:read")
            tally.claim("audience has its scope and resource", (known.get("aud"), known.get("scope")) == wanted, known)
    refused = [call for call in provider.calls() if call["client"] is None]
    tally.claim("falls-back tried basic once", len(refused) == 1 and refused[0]["basic"], refused)


def judge_crowd(tally, proxy, provider, api):
    """Sends fifty requests at once over a connection whose provider has not been used."""
    with concurrent.futures.ThreadPoolExecutor(50) as crowd:
        replies = list(crowd.map(lambda _: ask(proxy, "/crowd/v1/echo/crowd")[0], range(50)))
    tally.claim("50 requests at once are served", replies == [200] * 50, replies)
    calls = provider.calls("crowd")
    tally.claim("50 requests at once make one token call",
                [call["scope"] for call in calls] == ["items:read items:write"], calls)
    tokens = api.tokens("crowd")
    tally.claim("50 requests at once send one token", len(tokens) == 50 and len(set(tokens)) == 1, len(set(tokens)))


def judge_wrong(tally, proxy, provider):
    """Checks a client with a wrong secret: requests are refused at once, and the provider is not
    asked again and again."""
    said = ""
    for _ in range(20):
        status, code, body, headers = ask(proxy, "/wrong/v1/echo/wrong")
        said += body + str(headers)
        verdict = (status, code, json.loads(body).get("cause"))
        if verdict != REFUSED:
            break
    tally.claim("a wrong secret is credential_unavailable", verdict == REFUSED, verdict)
    tally.claim("a wrong secret waits 30 s", int(headers.get("Retry-After", "0")) > 20, headers.get("Retry-After"))
    calls = provider.calls("wrong")
    tally.claim("a wrong secret is tried once each way", [call["basic"] for call in calls] == [True, False], calls)
    planted = [text for text in ("planted", "client authentication failed") if text in said]
    tally.claim("a wrong secret is not shown", not planted, planted)


def until(proxy, target, status):
    """Repeats a request until it gets that status. Returns the statuses, or None if it never came.
    """
    deadline, seen = time.monotonic() + PATIENCE, []
    while time.monotonic() < deadline:
        seen.append(ask(proxy, target)[0])
        if seen[-1] == status:
            return seen
        time.sleep(0.02)
    return None


def judge_outage(tally, proxy, provider, api):
    """Ends the provider: cached tokens serve, expired ones do not, and requests succeed again after
    its restart."""
    # A token early in its life, because background refreshes replace it in time.
    deadline, ends = time.monotonic() + PATIENCE, 0
    while ends - time.time() < SHORT - 1.5 and time.monotonic() < deadline:
        status = ask(proxy, "/short/v1/echo/short")[0]
        ends = provider.introspect(api.tokens("short")[-1]).get("exp", 0)
    tally.claim("short is served", status == 200 and ends > time.time(), f"{status}, ends at {ends}")
    provider.kill()
    seen = until(proxy, "/short/v1/echo/short", 502)
    over = time.time()
    cached = seen is not None and len(seen) > 1 and seen[:-1] == [200] * (len(seen) - 1)
    tally.claim("short serves its cached token without the provider", cached, seen)
    # The provider counts whole seconds.
    tally.claim("short serves to the end of its token", over > ends - 1, f"{ends - over:.1f} s before")
    _, code, body, _ = ask(proxy, "/short/v1/echo/short")
    why = (code, json.loads(body).get("cause"))
    tally.claim("short: the refusal has the reason", why == ("credential_unavailable", "token_endpoint_unreachable"), why)
    others = [ask(proxy, f"/{name}/v1/echo/others")[0] for name in ("basic", "posts", "falls-back", "audience", "crowd")]
    tally.claim("the other tokens stay valid", others == [200] * 5, others)
    provider.start()
    seen = until(proxy, "/short/v1/echo/recovered", 200)
    tally.claim("short recovers without a restart", seen is not None, "never")
    tokens = api.tokens("recovered")
    known = provider.introspect(tokens[-1]) if tokens else {}
    tally.claim("short has a token of the new provider", known.get("active") and known.get("client_id") == "short", known)


def main():
    tally = Tally()
    with World() as world:
        ca, certificate, key = world.certificates()
        application, upstream, proxy = world.port(), world.port(), world.port()
        app = [sys.executable, "-B", HERE / "upstream.py", application]
        world.start("application", app).await_port(application)
        nginx = world.start("nginx", nginx_configuration(world, upstream, application, certificate, key))
        nginx.await_port(upstream)
        provider, api = Provider(world, world.port(), ca, certificate, key), Api(world, upstream, ca)
        provider.start()

        def add(name, **grant):
            connection(world, name, upstream, provider.port, **grant)

        add("basic", client_id=CLIENTS[0]["id"])
        add("posts", client_auth="body")
        add("falls-back", token_url=f"https://localhost:{provider.port}/refuses-basic/token")
        add("audience", scopes="items:read", extra_params={"resource": "urn:items"})
        add("crowd", scopes="items:read items:write")
        add("wrong", client_secret={"env": "PEER_WRONG"})
        add("short")
        egressd = world.start("egressd", egressd_argv(world, proxy),
                              env={**os.environ, "PEER_SECRET": SECRET, "PEER_WRONG": WRONG})
        egressd.await_port(proxy)

        judge_crowd(tally, proxy, provider, api)
        judge_clients(tally, proxy, provider, api)
        judge_wrong(tally, proxy, provider)
        judge_outage(tally, proxy, provider, api)

        tokens = {token for path in ("basic", "posts", "crowd", "short", "recovered") for token in api.tokens(path)}
        code = world.stop(egressd)
        tally.claim("egressd stops with 0", code == 0, f"exit code {code}")
        said = read(egressd.log)
        leaks = [secret for secret in (SECRET, WRONG, *tokens) if secret in said]
        tally.claim("egressd printed no credential", tokens and not leaks, f"{len(leaks)} in its output")
        if tally.failures:
            print(egressd.said(), provider.process.said(), sep="\n")
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
