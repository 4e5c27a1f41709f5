"""A certified OpenID provider (npm: oidc-provider) to which a person consents, and the check that it
behaves as tests of `oauth_user_consent` need: it rotates refresh tokens, ends a grant whose refresh
token is used twice, has the device flow and revocation, and names itself in callbacks.

`Provider` starts it in a world of `loopback.py`, and `Browser` is a person's browser.
"""

import base64
import hashlib
import html.parser
import http.client
import http.cookies
import json
import ssl
import sys
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from loopback import World, read  # noqa: E402
from peers import Tally  # noqa: E402

PATIENCE = 30  # seconds after which an expected event counts as missing
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Provider:
    """The provider, a process that ends with its world. Its access tokens live `seconds`."""

    def __init__(self, world, modules, seconds):
        ca, certificate, key = world.certificates()
        self.port, self.ca = world.port(), ca
        self.issuer = f"https://localhost:{self.port}"
        self.trust = ssl.create_default_context(cafile=str(ca))
        argv = ["node", HERE / "provider.mjs", modules, self.port, certificate, key, seconds]
        self.process = world.start("provider", argv)
        self.process.await_port(self.port)

    def definition(self, **changes):
        """Returns the block `oauth_user_consent` of a definition."""
        return {
            "client_id": "egressd", "scopes": "openid offline_access", "issuer": self.issuer,
            "authorization_url": f"{self.issuer}/auth", "token_url": f"{self.issuer}/token",
            "device_authorization_url": f"{self.issuer}/device/auth",
            "revocation_url": f"{self.issuer}/token/revocation",
            "authorization_params": {"prompt": "consent"},
            "identity": {"url": f"{self.issuer}/me", "pointer": "/sub"}, **changes,
        }

    def request(self, method, path, form=None, headers=None):
        """Sends one request. Returns status, headers and body."""
        socket = http.client.HTTPSConnection("localhost", self.port, context=self.trust, timeout=PATIENCE)
        try:
            body = None if form is None else urllib.parse.urlencode(form)
            kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
            socket.request(method, path, body, {**kind, **(headers or {})})
            reply = socket.getresponse()
            return reply.status, reply.headers, reply.read().decode()
        finally:
            socket.close()

    def post(self, path, **form):
        """Sends a request of the public client. Returns status and body as JSON."""
        status, _, text = self.request("POST", path, {"client_id": "egressd", **form})
        return status, json.loads(text or "{}")

    def refresh(self, token):
        return self.post("/token", grant_type="refresh_token", refresh_token=token)

    def account(self, access_token):
        """Returns the account of a token, or None if the API refuses it."""
        bearer = {"Authorization": f"Bearer {access_token}"}
        status, _, text = self.request("GET", "/me", headers=bearer)
        return json.loads(text)["sub"] if status == 200 else None

    def revoke(self, refresh_token):
        """Ends a grant, as a person does in the settings of an account."""
        return self.post("/token/revocation", token=refresh_token)[0]

    def token_requests(self, grant=None):
        """Returns the token requests so far, in order, or those of one grant type."""
        lines = [line for line in read(self.process.log).splitlines() if line.startswith("{")]
        seen = [json.loads(line) for line in lines]
        return [call for call in seen if grant is None or call["grant"] == grant]


class Form(html.parser.HTMLParser):
    """The first form of a page."""

    def __init__(self, text):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = attributes.get("action", "")
        elif tag == "input" and attributes.get("name"):
            self.fields[attributes["name"]] = attributes.get("value", "")


class Browser:
    """The browser of a person: keeps cookies, and follows redirects that stay at the provider."""

    def __init__(self, provider):
        self.provider, self.cookies = provider, {}

    def open(self, url, form=None):
        """Opens a URL. Returns the first URL outside the provider, or the last one, and the page."""
        for _ in range(10):
            parts = urllib.parse.urlsplit(url)
            if f"{parts.scheme}://{parts.netloc}" != self.provider.issuer:
                return url, ""
            path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
            cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            method = "GET" if form is None else "POST"
            status, headers, page = self.provider.request(method, path, form, cookie)
            for line in headers.get_all("Set-Cookie") or []:
                for name, morsel in http.cookies.SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if morsel.value == "":
                        del self.cookies[name]
            if status not in (302, 303):
                return url, page
            url, form = urllib.parse.urljoin(url, headers["Location"]), None
        raise RuntimeError(f"too many redirects, at {url}")

    def submit(self, at, page, **changes):
        """Sends the form of a page."""
        form = Form(page)
        if form.action is None:
            raise RuntimeError(f"no form at {at}: {page}")
        return self.open(urllib.parse.urljoin(at, form.action), {**form.fields, **changes})

    def consent(self, url, account="ada", decision="approve"):
        """Opens an authorization URL and decides. Returns the URL of the callback."""
        at, page = self.open(url)
        return self.submit(at, page, account=account, decision=decision)[0]

    def approve_device(self, url, account="ada"):
        """Opens the address of a device with its code, confirms the code, and consents. Returns the
        last page."""
        at, page = self.open(url)
        at, page = self.submit(at, page)
        if 'name="confirm"' in page:
            at, page = self.submit(at, page)
        return self.submit(at, page, account=account, decision="approve")[1]


def authorization_url(provider, verifier, port=4000):
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return f"{provider.issuer}/auth?" + urllib.parse.urlencode({
        "response_type": "code", "client_id": "egressd", "redirect_uri": f"http://127.0.0.1:{port}/callback",
        "scope": "openid offline_access", "state": "of-the-test", "prompt": "consent",
        "code_challenge": challenge, "code_challenge_method": "S256",
    })


def log_in(provider, account="ada"):
    """Consents as a person, and exchanges the code. Returns the callback's parameters and the token
    answer."""
    verifier = "v" * 43
    url = Browser(provider).consent(authorization_url(provider, verifier), account)
    callback = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    status, answer = provider.post("/token", grant_type="authorization_code", code=callback.get("code", ""),
                                   redirect_uri="http://127.0.0.1:4000/callback", code_verifier=verifier)
    return callback, answer if status == 200 else {}


def judge_browser(tally, provider):
    callback, answer = log_in(provider)
    named = (callback.get("state"), callback.get("iss"))
    tally.claim("the callback has state and iss", named == ("of-the-test", provider.issuer), callback)
    tally.claim("the code becomes tokens", {"access_token", "refresh_token", "expires_in"} <= answer.keys(), answer.keys())
    tally.claim("the access token is that of the account", provider.account(answer.get("access_token")) == "ada")
    url = Browser(provider).consent(authorization_url(provider, "v" * 43), decision="deny")
    tally.claim("a denial reaches the callback", "error=access_denied" in url, url)
    plain = authorization_url(provider, "v" * 43).replace("code_challenge", "other")
    url, _ = Browser(provider).open(plain)
    tally.claim("PKCE is required", "error=invalid_request" in url, url)


def judge_rotation(tally, provider):
    _, answer = log_in(provider)
    used = []
    for _ in range(10):
        used.append(answer["refresh_token"])
        status, answer = provider.refresh(used[-1])
        if status != 200:
            break
    tally.claim("ten refreshes rotate the token", status == 200 and len({*used, answer["refresh_token"]}) == 11, answer)
    access, newest = answer["access_token"], answer["refresh_token"]
    tally.claim("the newest access token works", provider.account(access) == "ada")
    again = provider.refresh(used[3])
    tally.claim("an old refresh token is refused", again[1].get("error") == "invalid_grant", again)
    after = provider.refresh(newest)
    tally.claim("its use ends the grant", after[1].get("error") == "invalid_grant", after)
    tally.claim("and its access tokens", provider.account(access) is None)


def judge_device(tally, provider):
    _, device = provider.post("/device/auth", scope="openid offline_access")
    poll = {"grant_type": DEVICE_GRANT, "device_code": device["device_code"]}
    waiting = provider.post("/token", **poll)
    tally.claim("a device waits", waiting[1].get("error") == "authorization_pending", waiting)
    page = Browser(provider).approve_device(device["verification_uri_complete"], "grace")
    tally.claim("the device page reports success", "success" in page.lower(), page[-300:])
    deadline, answer = time.monotonic() + PATIENCE, {}
    while "access_token" not in answer and time.monotonic() < deadline:
        _, answer = provider.post("/token", **poll)
        time.sleep(0.1)
    tally.claim("the device gets tokens", provider.account(answer.get("access_token")) == "grace", answer.get("error"))
    tally.claim("with a refresh token", provider.refresh(answer.get("refresh_token", ""))[0] == 200)


def judge_revocation(tally, provider):
    _, answer = log_in(provider)
    tally.claim("a revocation is accepted", provider.revoke(answer["refresh_token"]) == 200)
    after = provider.refresh(answer["refresh_token"])
    tally.claim("a revoked grant is over", after[1].get("error") == "invalid_grant", after)
    tally.claim("and its access token", provider.account(answer["access_token"]) is None)


def judge_expiry(tally, world, modules):
    short = Provider(world, modules, 1)
    _, answer = log_in(short)
    deadline = time.monotonic() + PATIENCE
    while short.account(answer["access_token"]) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    tally.claim("an access token expires", short.account(answer["access_token"]) is None)
    tally.claim("the refresh token does not", short.refresh(answer["refresh_token"])[0] == 200)


def main():
    tally, modules = Tally(), Path(sys.argv[1]) / "node_modules"
    with World() as world:
        provider = Provider(world, modules, 600)
        judge_browser(tally, provider)
        judge_rotation(tally, provider)
        judge_device(tally, provider)
        judge_revocation(tally, provider)
        spent = [call["spent"] for call in provider.token_requests("refresh_token") if call["status"] == 200]
        tally.claim("no refresh token was accepted twice", len(spent) == len(set(spent)) > 10, spent)
        if tally.failures:
            print(provider.process.said())
    with World() as world:
        judge_expiry(tally, world, modules)
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
