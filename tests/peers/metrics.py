"""Checks egressd with a real Prometheus: the exposition, the numbers, the rules and the dashboard.

Agents make requests of every outcome that a small world can produce (nginx is the API and the token
endpoint). promtool checks /metrics, and Debian's Prometheus scrapes it, answers queries and
evaluates config/prometheus/egressd.rules.yml. Then come 100,000 requests with random ids, paths,
methods and hosts, after which the series must be the same as before.
"""

import http.client
import json
import os
import random
import re
import string
import subprocess
import sys
import time
import urllib.parse

import dashboard
from pipelines import Pipelines
from loopback import World, egressd_argv, nginx_argv, read
from peers import Tally

SECRET = "planted-0123456789abcdef"
PATIENCE = 30  # seconds after which an expected event counts as missing
FEW, MANY = 3_000, 100_000  # random requests: those that may add series, and those that may not
SEED = 20250704
REFRESH_LIFE = 30 * 86400  # seconds
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
# Connection, number of requests, method, path, and (code, outcome, route) of its series.
TRAFFIC = [
    ("api", 7, "GET", "/v1/ok", ("200", "forwarded", "GET /v1/{name}")),
    ("api", 3, "GET", "/v1/missing", ("404", "forwarded", "GET /v1/{name}")),
    ("api", 2, "HEAD", "/v1/ok", ("200", "forwarded", "GET /v1/{name}")),
    ("api", 5, "GET", "/v2/ok", ("403", "refused", "unmatched")),
    ("api", 4, "DELETE", "/v1/ok", ("405", "refused", "unmatched")),
    ("api", 2, "BREW", "/v1/ok", ("405", "refused", "unmatched")),
    ("tokens", 3, "GET", "/v1/ok", ("200", "forwarded", "GET /v1/{name}")),
    ("refused-tokens", 2, "GET", "/v1/ok", ("502", "refused", "GET /v1/{name}")),
    ("consent", 2, "GET", "/v1/ok", ("200", "forwarded", "GET /v1/{name}")),
    ("no-consent", 4, "GET", "/v1/ok", ("403", "refused", "GET /v1/{name}")),
    ("signs", 2, "POST", "/v1/ok", ("200", "forwarded", "POST /v1/{name}")),
    ("echoes", 1, "GET", "/v1/echo", ("502", "upstream_failed", "GET /v1/{name}")),
    ("dead", 6, "GET", "/v1/ok", ("502", "upstream_failed", "GET /v1/{name}")),
    ("private", 1, "GET", "/v1/ok", ("502", "upstream_failed", "GET /v1/{name}")),
    ("nobody", 3, "GET", "/v1/ok", ("404", "refused", "unmatched")),
]
REFUSALS = {
    ("api", "route_not_allowed"): 5, ("api", "method_not_allowed"): 6, ("refused-tokens", "credential_unavailable"): 2,
    ("no-consent", "consent_required"): 4,
    ("echoes", "credential_reflected"): 1, ("dead", "upstream_unreachable"): 6, ("private", "address_refused"): 1,
    ("unknown", "connection_not_found"): 3,
}


def nginx(world, port, certificate, key):
    """The API and the token endpoint."""
    token = json.dumps({"access_token": "issued-0123456789abcdef", "token_type": "Bearer", "expires_in": 600})
    refreshed = json.dumps({"access_token": "issued-refreshed-0123456789", "token_type": "Bearer", "expires_in": 600,
                            "refresh_token": "issued-next-0123456789", "refresh_token_expires_in": REFRESH_LIFE})
    return nginx_argv(world, "nginx", f"""
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        default_type application/json;
        location = /v1/ok {{ return 200 '{{"ok": true}}'; }}
        location = /v1/echo {{ return 200 "$http_authorization"; }}
        location = /token {{ return 200 '{token}'; }}
        location = /refresh {{ return 200 '{refreshed}'; }}
        location = /refused-token {{ return 401 '{{"error": "invalid_client"}}'; }}
        location / {{ return 404; }}
    }}
}}
""")


def connections(world, upstream, dead):
    """Creates one connection for each outcome."""
    def add(name, auth, port=upstream, holes=("127.0.0.0/8",)):
        world.file(f"connections/{name}.json", json.dumps({"connection_details": {"http": {
            "base_url": f"https://127.0.0.1:{port}" if holes else f"https://localhost:{port}",
            "allowed_routes": ["GET /v1/{name}", "POST /v1/{name}"],
            "allowed_private_cidrs": list(holes), **auth,
        }}}))

    def grant(path):
        return {"oauth_client_credentials": {
            "token_url": f"https://127.0.0.1:{upstream}/{path}", "client_id": "metrics", "client_secret": {"env": "PEER_SECRET"}}}

    def consent(**fields):
        return {"oauth_user_consent": {
            "client_id": {"env": "PEER_SECRET"}, "token_url": f"https://127.0.0.1:{upstream}/refresh", **fields}}

    (world.directory / "tokens").mkdir(mode=0o700)
    add("consent", consent(refresh_token={"env": "PEER_SECRET"}))
    add("no-consent", consent(authorization_url=f"https://127.0.0.1:{upstream}/authorize"))
    bearer = {"bearer_token": {"token": {"env": "PEER_SECRET"}}}
    for name in ("api", "echoes"):
        add(name, bearer)
    add("dead", bearer, port=dead)
    add("private", bearer, holes=())
    add("tokens", grant("token"))
    add("refused-tokens", grant("refused-token"))
    add("signs", {"no_auth": {}, "webhook_signing_secret": {"env": "PEER_SECRET"}})


def make_traffic(tally, proxy):
    """Runs every row of the table. The statuses are checked here, the series later."""
    for name, times, method, path, (code, _, _) in TRAFFIC:
        for _ in range(times):
            agent = http.client.HTTPConnection("127.0.0.1", proxy, timeout=PATIENCE)
            agent.request(method, f"/{name}{path}", body=b"four" if method == "POST" else None)
            reply = agent.getresponse()
            reply.read()
            agent.close()
            if str(reply.status) != code:
                tally.claim(f"{method} /{name}{path} is {code}", False, f"{reply.status} {reply.getheader('X-Egressd-Error')}")


def fetch(port, path):
    """Sends a GET. Returns status, content type and text."""
    asks = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        asks.request("GET", path)
        reply = asks.getresponse()
        return reply.status, reply.getheader("Content-Type", ""), reply.read().decode()
    finally:
        asks.close()


def series(management):
    """Returns the current series of /metrics without their values. A text is served for a second.
    """
    time.sleep(1.1)
    lines = fetch(management, "/metrics")[2].splitlines()
    return {line.rpartition(" ")[0] for line in lines if line and not line.startswith("#")}


def judge_exposition(tally, management):
    """Checks the text with promtool, the series that must be there, and those that must not."""
    status, kind, text = fetch(management, "/metrics")
    tally.claim("/metrics answers 200", status == 200 and kind.startswith("text/plain"), f"{status} {kind}")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip()
    tally.claim("promtool check metrics reports nothing", done.returncode == 0 and not said, f"exit {done.returncode}: {said}")
    told = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    missing = sorted(dashboard.all_names() - told)
    tally.claim("every metric of the rules and the dashboard exists", not missing, missing)
    tally.claim("/metrics holds no secret", SECRET not in text and "issued-" not in text, "it does")


class Prometheus:
    """Debian's Prometheus with the shipped rules."""

    def __init__(self, world, management):
        self.port = world.port()
        configuration = world.file("prometheus.json", json.dumps({  # JSON is valid YAML
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(dashboard.RULES)],
            "scrape_configs": [{"job_name": "sidecars", "static_configs": [{"targets": [f"127.0.0.1:{management}"]}]}],
        }))
        self.process = world.start("prometheus", [
            "prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={world.directory}/prometheus",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]).await_port(self.port, seconds=PATIENCE)

    def ask(self, path, **parameters):
        """Returns the `data` of a response of the HTTP API. Raises with the text of a refusal."""
        _, _, text = fetch(self.port, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(text)
        if answer["status"] != "success":
            raise RuntimeError(f"{parameters}: {answer.get('error')}")
        return answer["data"]

    def query(self, expression):
        """Returns an instant vector as {sorted labels: value}."""
        found = self.ask("query", query=expression)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def await_query(self, expression, wanted):
        """Repeats a query until the result is as expected. Returns the last result."""
        deadline, got = time.monotonic() + PATIENCE, None
        while got != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                got = self.query(expression)
            except (OSError, http.client.HTTPException, ValueError):
                pass  # it is still starting
        return got

    def await_rules(self):
        """Returns every rule, once each has been evaluated."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
            if found and all(rule["health"] != "unknown" for rule in found):
                return found
            time.sleep(0.1)
        return found


def labels(**wanted):
    return tuple(sorted(wanted.items()))


def judge_numbers(tally, prometheus):
    """Checks that Prometheus counts the requests of the agents."""
    wanted = {}
    for name, times, method, _, (code, outcome, route) in TRAFFIC:
        key = labels(connection="unknown" if name == "nobody" else name, route=route, code=code, outcome=outcome,
                     method=method if method in METHODS else "other")
        wanted[key] = wanted.get(key, 0) + times
    got = prometheus.await_query("sum by (connection, route, method, code, outcome) (egressd_requests_total)", wanted)
    tally.claim("Prometheus counts the requests", got == wanted, difference(wanted, got))
    refusals = {labels(connection=name, code=code): times for (name, code), times in REFUSALS.items()}
    got = prometheus.await_query("sum by (connection, code) (egressd_refusals_total)", refusals)
    tally.claim("Prometheus counts the refusals", got == refusals, difference(refusals, got))
    for expression, value in [
        ('sum(egressd_signed_requests_total{connection="signs"})', 2),
        ('sum(egressd_oauth_token_requests_total{connection="tokens", result="ok"})', 1),
        ('sum(egressd_oauth_token_requests_total{connection="refused-tokens", result="error"}) > bool 0', 1),
        ('sum(egressd_oauth_token_expiry_timestamp_seconds{connection="tokens"}) - time() < bool 601', 1),
        ('sum(egressd_oauth_token_expiry_timestamp_seconds{connection="tokens"}) - time() > bool 300', 1),
        ('egressd_grant_status{connection="consent", status="connected"}', 1),
        ('egressd_grant_status{connection="no-consent", status="needs_consent"}', 1),
        ('sum(egressd_token_store_writes_total{connection="consent", result="ok"})', 1),
        ('sum(egressd_token_store_writes_total{result="error"})', 0),
        (f'sum(egressd_oauth_refresh_token_expiry_timestamp_seconds{{connection="consent"}}) - time() < bool {REFRESH_LIFE + 1}', 1),
        (f'sum(egressd_oauth_refresh_token_expiry_timestamp_seconds{{connection="consent"}}) - time() > bool {REFRESH_LIFE - 300}', 1),
        ("egressd_connections", 9), ("egressd_config_reload_success", 1), ("egressd_panics_total", 0),
        ("egressd_in_flight_requests", 0), ("count(egressd_build_info)", 1),
        ("time() - egressd_config_reload_timestamp_seconds < bool 120", 1),
        ('sum(egressd_request_duration_seconds_count{connection="api"})', 23),
        ('sum(egressd_upstream_duration_seconds_count{connection="api"})', 12),
        ("sum(egressd_request_bytes_total)", 8),
    ]:
        got = prometheus.await_query(f"sum({expression})", {(): value})
        tally.claim(f"Prometheus answers {expression}", got == {(): value}, got)


def difference(wanted, got):
    """Returns a short description of missing and different series."""
    got = got or {}
    return {"missing": sorted(wanted.items() - got.items())[:3], "other": sorted(got.items() - wanted.items())[:3]}


def judge_rules(tally, prometheus):
    """Checks that every rule is evaluated, that the expected alerts fire, and that no text has a
    missing value."""
    found = prometheus.await_rules()
    ill = [(rule["name"], rule["health"], rule.get("lastError")) for rule in found if rule["health"] != "ok"]
    tally.claim(f"the {len(dashboard.rules())} rules are evaluated", not ill and len(found) == len(dashboard.rules()), ill)
    wanted = {labels(alertname="EgressdCredentialReflected", connection="echoes"): 1.0,
              labels(alertname="EgressdAddressRefused", connection="private"): 1.0}
    got = prometheus.await_query('sum by (alertname, connection) (ALERTS{alertstate="firing"})', wanted)
    tally.claim("two alerts fire", got == wanted, got)
    said = [text for rule in prometheus.await_rules() for alert in rule["alerts"] for text in alert["annotations"].values()]
    holes = [text for text in said if "no value" in text or "<error" in text or "  " in text]
    tally.claim("the texts of alerts have no missing value", said and not holes, holes)


def random_request(chance):
    """Yields requests of a confused or hostile agent: (method, head)."""
    def word(letters=string.ascii_letters + string.digits + "-_~"):
        return "".join(chance.choices(letters, k=chance.randint(1, 24)))

    method, host, target = chance.choice(METHODS), "localhost", f"/{word()}/{word()}?{word()}"
    kind = chance.randrange(7)
    if kind == 0:
        target = "/api/v0/" + "/".join(word() for _ in range(chance.randint(1, 6)))
    elif kind == 1:
        target, method = f"/api/v1/{word()}", "X" + word(string.ascii_uppercase)
    elif kind == 2:
        target, method = f"/signs/v1/{word()}", chance.choice(["PUT", "PATCH", "DELETE", "OPTIONS"])
    elif kind == 3:
        host = f"{word(string.ascii_lowercase)}.example"
    elif kind == 4:
        target = f"/{word()}/%2e%2e/{word()}"
    elif kind == 5:
        target = f"/tokens/%C3%A4%22{word()}{{}}" if chance.random() < 0.5 else f"/tokens/%C3%A4%22{word()}"
    length = "Content-Length: 0\r\n" if method in ("POST", "PUT", "PATCH") else ""
    return method, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {word()}\r\n{length}\r\n".encode()


def judge_series(tally, proxy, management, prometheus):
    """Checks that random requests add no series, once each label value of the closed sets has been
    seen."""
    chance = random.Random(SEED)
    before = series(management)
    first = Pipelines(proxy, lambda: random_request(chance)).run(FEW)
    after_few = series(management)
    began = time.monotonic()
    statuses = Pipelines(proxy, lambda: random_request(chance)).run(MANY)
    took = time.monotonic() - began
    after_many = series(management)
    print(f"  {len(before)} series, {len(after_few)} after {FEW:,} random requests, {len(after_many)} after {MANY:,} more"
          f" ({took:.1f} s); answers: {dict(sorted(statuses.items()))}")
    tally.claim("random requests are refused", set(first) | set(statuses) <= {400, 403, 404, 405, 421}, statuses)
    tally.claim(f"all {MANY:,} are answered", sum(statuses.values()) == MANY, statuses)
    tally.claim("the first random requests add few series", len(after_few - before) <= 80, len(after_few - before))
    tally.claim(f"{MANY:,} random requests add no series", after_many == after_few, sorted(after_many - after_few)[:5])
    scraped = {(): float(len(after_many))}
    got = prometheus.await_query("sum(scrape_samples_scraped)", scraped)
    tally.claim("Prometheus has as many series", got == scraped, f"{got}, not {scraped}")
    made = sum(row[1] for row in TRAFFIC) + FEW + MANY
    got = prometheus.await_query("sum(egressd_requests_total)", {(): float(made)})
    tally.claim("Prometheus counts all of them", got == {(): float(made)}, f"{got}, not {made}")


def judge_dashboard(tally, prometheus):
    """Checks that Prometheus answers every query of the dashboard, and most of them with data."""
    empty = []
    for where, expression in dashboard.queries(dashboard.dashboard()):
        try:
            if not prometheus.query(expression):
                empty.append(where)
        except RuntimeError as error:
            tally.claim(f"Prometheus answers the dashboard's {where}", False, error)
    # The annotation of restarts stays empty.
    tally.claim("most panels of the dashboard have data", set(empty) <= {"Starts"}, empty)


def main():
    tally = Tally()
    with World() as world:
        _, certificate, key = world.certificates()
        upstream, dead, proxy, management = (world.port() for _ in range(4))
        world.start("nginx", nginx(world, upstream, certificate, key)).await_port(upstream)
        connections(world, upstream, dead)
        egressd = world.start("egressd", egressd_argv(world, proxy, management), env={**os.environ, "PEER_SECRET": SECRET})
        egressd.await_port(proxy)
        egressd.await_port(management)
        make_traffic(tally, proxy)
        judge_exposition(tally, management)
        prometheus = Prometheus(world, management)
        judge_numbers(tally, prometheus)
        judge_rules(tally, prometheus)
        judge_series(tally, proxy, management, prometheus)
        judge_dashboard(tally, prometheus)
        code = world.stop(egressd)
        tally.claim("egressd stops with 0", code == 0, f"exit code {code}")
        tally.claim("egressd printed no credential", SECRET not in read(egressd.log), "it did")
        if tally.failures:
            print(egressd.said()[-1500:], prometheus.process.said()[-1500:], sep="\n")
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
