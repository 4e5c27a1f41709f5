"""Checks `GET /openapi.json` of a live egressd, and the management listener against the document.

The document must be an OpenAPI document (PyPI: openapi-spec-validator) and the same as the file in
the repository. Then schemathesis (PyPI) generates valid and invalid requests from it with a fixed
seed, sends them to a listener with a password and to one without, and checks every response.
"""

import base64
import http.client
import json
import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import openapi_spec_validator

from loopback import REPOSITORY, World, egressd_argv, read
from peers import Tally

GOLDEN = REPOSITORY / "config/openapi.json"
LOGIN = ("operator", "planted-password-0123456789")
SECRET = "planted-0123456789abcdef"
SEED = 20250704
EXAMPLES = 60  # the most cases per operation and phase
SECONDS = 45  # the longest time of a run
UNFIT = {
    "positive_data_acceptance": "a filter is a string to JSON Schema, but not every string is a filter",
    "use_after_free": "nothing can be deleted",
    "ensure_resource_availability": "nothing can be made",
    "object_level_authorization": "there is one account",
}
OPEN = {"ignored_auth": "no password is set"}
# Parameters of existing resources, which random values would never hit.
SAMPLES = {
    "connection_id": ["bearer", "basic", "static", "tokens", "person", "none", "disabled", "deleted"],
    "slug": ["github", "stripe"],
    "filter": ['connection_type="http"', 'connection_type=HTTP OR NOT display_name:"one"', "name:*", "-name=x (display_name:The OR delete_time:*)",
               "status=needs_consent OR connector:git"],
    "order_by": ["name", "display_name desc", "display_name desc, name", "status, tools_synced_time desc"],
    "page_size": [0, 1, 3, 1000, 5000],
    "verbose": [""],
}
CONNECTIONS = {
    "bearer": {"bearer_token": {"token": {"env": "PEER_SECRET"}}},
    "basic": {"basic_auth": {"username": "user", "password": {"env": "PEER_SECRET"}}},
    "static": {"static_headers": {"headers": {"X-API-Key": {"env": "PEER_SECRET"}}}},
    "tokens": {"oauth_client_credentials": {"token_url": "https://localhost:9/token", "client_id": "peer",
                                            "client_secret": {"env": "PEER_SECRET"}, "scopes": "a b"}},
    "person": {"oauth_user_consent": {"client_id": "peer", "client_secret": {"env": "PEER_SECRET"}, "scopes": "a"}},
    "none": {"no_auth": {}, "webhook_signing_secret": {"env": "PEER_SECRET"}},
}


def connections(world):
    """Creates one connection for each kind of credential, one that is disabled, and one that was
    deleted."""
    def add(name, auth, **more):
        world.file(f"connections/{name}.json", json.dumps({
            "display_name": f"The {name} one", "description": "# For *agents*\n\n`<b>` & \u00e4", **more,
            "connection_details": {"http": {
                "base_url": "https://api.example.com/base",
                "allowed_routes": ["GET /v1/items/{id}", "POST /v1/items", "/v1/any/{rest...}"], **auth,
            }}}))

    for name, auth in CONNECTIONS.items():
        add(name, auth, **({"connector": "github"} if name == "person" else {}))
    add("disabled", CONNECTIONS["none"], tool_configurations=[{"tool": "TOOL_HTTP_REQUEST", "enabled": False}])
    add("deleted", CONNECTIONS["none"], delete_time="2026-01-02T03:04:05Z")


def fetch(port, path, login=None):
    """Sends a GET. Returns status, content type and content."""
    asks = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    pair = {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()} if login else {}
    asks.request("GET", path, headers=pair)
    reply = asks.getresponse()
    content = reply.read()
    asks.close()
    return reply.status, reply.getheader("Content-Type", ""), content


def judge_document(tally, port, login):
    """Checks that the document is JSON and valid OpenAPI, and equals the file in the repository.
    Returns whether it could be read."""
    status, kind, content = fetch(port, "/openapi.json", login)
    served = status == 200 and kind.startswith("application/json")
    tally.claim("/openapi.json is served", served, f"{status} {kind}")
    if not served:
        return False
    document = json.loads(content)
    try:
        openapi_spec_validator.validate(document)
        why = ""
    except Exception as error:  # its errors have no common base class
        why = f"{type(error).__name__}: {str(error)[:500]}"
    tally.claim("openapi-spec-validator reports nothing", not why, why)
    golden = json.loads(read(GOLDEN) or "null")
    tally.claim("it equals the file in the repository", document == golden, f"{GOLDEN.relative_to(REPOSITORY)} differs")
    return True


def judge_samples(tally, port, login):
    """Checks that every sample gets a 200, so that schemathesis has valid requests."""
    paths = [f"/v1/connections/{one}" for one in SAMPLES["connection_id"]]
    paths += [f"/v1/connectors/{one}" for one in SAMPLES["slug"]]
    paths += [f"/v1/connections?show_deleted=true&{urllib.parse.urlencode({name: value})}"
              for name in ("filter", "order_by", "page_size") for value in SAMPLES[name]]
    others = [(path, status) for path in paths if (status := fetch(port, path, login)[0]) != 200]
    tally.claim("every sample is answered", not others, others)


def made_concrete(document, login):
    """Returns the document with values of this world: parameters that exist, and a required
    password.

    The served document states that a password *may* be required, so a listener that lets every
    client in would be correct.
    """
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in SAMPLES:
                    values = SAMPLES[parameter["name"]]
                    parameter["examples"] = {f"sample{n}": {"value": value} for n, value in enumerate(values)}
            if login and "security" in operation:
                operation["security"] = [way for way in operation["security"] if way]
    return document


def judge_behaviour(tally, world, port, login):
    """Runs schemathesis, and shows its report if it finds anything."""
    document = json.loads(fetch(port, "/openapi.json", login)[2])
    schema = world.file("openapi.json", json.dumps(made_concrete(document, login)))
    name = "with a password" if login else "without a password"
    unfit = {**UNFIT, **({} if login else OPEN)}
    account = [f"--auth={login[0]}:{login[1]}"] if login else []
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", schema, f"--url=http://127.0.0.1:{port}",
         *account, "--checks=all", f"--exclude-checks={','.join(unfit)}", "--phases=examples,coverage,fuzzing",
         f"--max-examples={EXAMPLES}", f"--seed={SEED}", "--generation-database=none", "--request-timeout=10",
         "--continue-on-failure", "--warnings=off", "--workers=1", "--no-color"],
        cwd=world.directory, env={**os.environ, "NO_PROXY": "*", "no_proxy": "*", "COLUMNS": "160"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS + 60,
    )
    cases, tested = (re.search(found, done.stdout) for found in (r"(\d+) generated", r"Tested: (\d+)"))
    cases, tested = (int(found.group(1)) if found else 0 for found in (cases, tested))
    print(f"  {name}: {cases} requests to {tested} operations")
    tally.claim(f"schemathesis sends requests {name}", cases > 300 and tested == len(document["paths"]), f"{cases} requests, {tested} operations")
    if done.returncode != 0:
        print(done.stdout[-12_000:], done.stderr[-2_000:], sep="\n")
    tally.claim(f"schemathesis finds no error {name}", done.returncode == 0, f"exit code {done.returncode}, see above")


def main():
    tally = Tally()
    with World() as world:
        connections(world)
        world.certificates()
        for login in (LOGIN, None):
            proxy, management = world.port(), world.port()
            argv = egressd_argv(world, proxy, management, login, name="closed" if login else "open")
            egressd = world.start("closed" if login else "open", argv, env={**os.environ, "PEER_SECRET": SECRET})
            egressd.await_port(management)
            if judge_document(tally, management, login):
                judge_samples(tally, management, login)
                judge_behaviour(tally, world, management, login)
            code = world.stop(egressd)
            tally.claim("egressd stops with 0", code == 0, f"exit code {code}")
            said = read(egressd.log)
            leaks = [secret for secret in (SECRET, LOGIN[1]) if secret in said]
            tally.claim("egressd printed no secret", not leaks, f"{len(leaks)} in its output")
            panics = [line for line in said.splitlines() if "panic" in line]
            tally.claim("egressd did not panic", not panics, panics[:1])
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
