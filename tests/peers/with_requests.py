"""The cases of peers.py with Python `requests`, as an agent's tool would be written."""

import hashlib
import os

import requests

BASE, CLIENT = os.environ["BASE"], os.environ["CLIENT"]
with open(os.environ["BODY"], "rb") as file:
    BODY = file.read()


def session():
    """Sends a credential and a cookie of the agent's own, neither of which may arrive."""
    agent = requests.Session()
    agent.trust_env = False
    agent.headers.update({"Authorization": os.environ["AGENTS_OWN"], "X-Client": CLIENT, "Cookie": "session=agents-own"})
    return agent


def get():
    answer = session().get(f"{BASE}/v1/echo/a%20b?x=1&y=%2F", headers={"X-Note": "kept"}, timeout=20)
    told = answer.json()
    assert answer.status_code == 200, answer.status_code
    assert told["target"] == "/base/v1/echo/a%20b?x=1&y=%2F", told
    assert told["note"] == "kept" and told["length"] == 0, told
    assert told["transfer_encoding"] == "" and told["content_length"] == "", told
    assert answer.headers["X-Request-Id"], answer.headers


def head():
    answer = session().head(f"{BASE}/v1/files/5m", timeout=20)
    assert answer.status_code == 200, answer.status_code
    assert answer.headers["Content-Length"] == os.environ["DOWNLOAD_LENGTH"], answer.headers
    assert answer.content == b""


def post_chunked():
    pieces = (BODY[at:at + 7001] for at in range(0, len(BODY), 7001))
    told = session().post(f"{BASE}/v1/echo/", data=pieces, timeout=20).json()
    assert told["sha256"] == os.environ["BODY_SHA256"], told
    assert (told["transfer_encoding"], told["content_length"]) == ("chunked", ""), told


def post_length():
    told = session().post(f"{BASE}/v1/echo/", data=BODY, timeout=20).json()
    assert told["sha256"] == os.environ["BODY_SHA256"], told
    assert (told["transfer_encoding"], told["content_length"]) == ("", str(len(BODY))), told


def download():
    answer = session().get(f"{BASE}/v1/files/5m", timeout=60)
    assert answer.status_code == 200, answer.status_code
    assert hashlib.sha256(answer.content).hexdigest() == os.environ["DOWNLOAD_SHA256"]


def events():
    answer = session().get(f"{BASE}/v1/events", params={"run": CLIENT}, stream=True, timeout=30)
    assert answer.headers["Content-Type"] == "text/event-stream", answer.headers
    lines = (line for line in answer.iter_lines(chunk_size=1) if line)
    assert next(lines) == b"data: one"
    session().post(os.environ["RELEASE"], params={"run": CLIENT}, timeout=20).raise_for_status()
    assert list(lines) == [b"data: two"]


def keep_alive():
    agent, count = session(), int(os.environ["REQUESTS"])
    for number in range(count):
        answer = agent.get(f"{BASE}/v1/echo/keep_alive", params={"n": number}, timeout=20)
        assert answer.status_code == 200, (number, answer.status_code, answer.text)
        assert answer.json()["target"].endswith(f"?n={number}"), answer.text
    pools = agent.get_adapter(BASE).poolmanager.pools
    used = [(pools[key].num_connections, pools[key].num_requests) for key in pools.keys()]
    assert used == [(1, count)], f"(sockets, requests) of each pool: {used}"


def forbidden():
    answer = session().get(f"{BASE}/v1/forbidden", timeout=20)
    told = answer.json()
    assert answer.status_code == told["status"] == 403, (answer.status_code, told)
    assert answer.headers["Content-Type"] == "application/problem+json", answer.headers
    assert answer.headers["X-Egressd-Error"] == told["code"] == "route_not_allowed", told
    assert answer.headers["X-Request-Id"] == told["request_id"], told
    assert answer.headers["Proxy-Status"].startswith("egressd; error="), answer.headers
    assert (told["connection"], told["blame"], told["retryable"]) == ("peer", "agent", False), told
    assert all(isinstance(told[field], str) and told[field] for field in ("type", "title", "detail")), told
    assert "GET /v1/files/{name}" in told["allowed_routes"], told
    assert session().delete(f"{BASE}/v1/echo/x", timeout=20).status_code == 405


for case in (get, head, post_chunked, post_length, download, events, keep_alive, forbidden):
    try:
        case()
        print(f"ok {case.__name__}", flush=True)
    except Exception as error:  # any exception is a failure of this case
        print(f"not ok {case.__name__}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
