"""A person with Chromium → the management page of `egressd demo`, with traffic behind it.

The page must show the same content with and without JavaScript, in both colour schemes and at the
width of a small phone. It must load nothing from elsewhere, keep its scroll position when it
refreshes, and show when it cannot. Pictures: target/page/*.png. Only the standard library and
Debian's `chromium` are needed.
"""

import http.client
import http.server
import os
import sys
import threading
from pathlib import Path

from chromium import Chromium, Tab
from loopback import REPOSITORY, World, cargo_binary, egressd_binary
from peers import Tally

PICTURES = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "page"
TRAFFIC = [("GET", "/{}/echo")] * 5 + [("GET", "/{}/not/allowed"), ("DELETE", "/{}/echo")]
# WCAG 2.2, 1.4.3: the minimum contrast of any text with its background.
LEAST_CONTRAST = """(() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = color; paint.fillRect(0, 0, 1, 1); return [...paint.getImageData(0, 0, 1, 1).data]; };
  const channel = (c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
  let least = [99, ""];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const e = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "NOSCRIPT"].includes(e.tagName)) continue;
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < least[0]) least = [ratio, node.data.trim()];
  }
  return least;
})()"""


def main():
    tally = Tally()
    with World() as world:
        agents, operators = world.port(), world.port()
        egressd = world.start("egressd", demo_argv(agents, operators))
        egressd.await_port(operators)
        send_traffic(agents)
        origin = f"http://127.0.0.1:{operators}"
        browser = Chromium(world)
        without_scripts(tally, browser, origin)
        in_both_schemes(tally, browser, origin)
        on_a_phone(tally, browser, origin)
        foreign_pages(tally, browser, origin)
        behind_a_password(tally, browser, world)
        renewing(tally, browser, origin, agents, world, egressd)
    print(f"{tally.passed} passed, {len(tally.failures)} failed; pictures in {PICTURES}")
    return 1 if tally.failures else 0


def demo_argv(agents, operators):
    return [cargo_binary("debug"), "demo", "--listen", f"127.0.0.1:{agents}", "--management-listen", f"127.0.0.1:{operators}"]


def send_traffic(agents):
    """Creates the traffic for the page: responses, refusals, and a credential that fails."""
    agent = http.client.HTTPConnection("127.0.0.1", agents)
    for name in ("notes", "crm", "stale", "legacy", "nobody"):
        for method, path in TRAFFIC:
            agent.request(method, path.format(name))
            agent.getresponse().read()


def without_scripts(tally, browser, origin):
    tab = Tab(browser, 1280, 900, scripts=False).open(origin + "/")
    text = tab.tell("document.body.innerText")
    for word in ("egressd", "ready", "notes", "reloaded every 10 s"):
        tally.claim(f"without JavaScript: {word}", word in text, text)
    tally.claim("without JavaScript: reloads itself",
                tab.tell("document.querySelector('meta[http-equiv=refresh]')?.content") == "10")
    tally.claim("without JavaScript: nothing of the script", "live" not in tab.tell("document.getElementById('fresh').innerText"))
    loads_nothing_else(tally, "without JavaScript", tab, origin)


def in_both_schemes(tally, browser, origin):
    for scheme in ("light", "dark"):
        tab = Tab(browser, 1280, 900, scheme).open(origin + "/")
        tab.wait("the script runs", "document.getElementById('fresh').innerText.includes('live')")
        ratio, text = tab.tell(LEAST_CONTRAST)
        tally.claim(f"{scheme}: contrast of all text is 4.5 or more", ratio >= 4.5, f"{ratio:.2f} of {text!r}")
        notes = tab.tell("document.getElementById('c-notes').innerText")
        for word in ("7 exchanges", "5 forwarded", "2 refused", "route_not_allowed", "method_not_allowed"):
            tally.claim(f"{scheme}: traffic of notes: {word}", word in notes, notes)
        tally.claim(f"{scheme}: requests that named no connection",
                    "connection_not_found" in tab.tell("document.querySelector('[aria-labelledby=h-unnamed]').innerText"))
        tally.claim(f"{scheme}: every connection", tab.tell("document.querySelectorAll('article[id^=c-]').length") > 5)
        tab.picture(PICTURES / f"{scheme}.png")
        loads_nothing_else(tally, scheme, tab, origin)


def on_a_phone(tally, browser, origin):
    for width in (320, 360, 390):
        tab = Tab(browser, width, 800, "dark" if width == 390 else "light").open(origin + "/")
        tab.tell("document.querySelectorAll('details').forEach((all) => (all.open = true))")
        wide = tab.tell("document.documentElement.scrollWidth")
        tally.claim(f"{width} px: no horizontal scrolling", wide <= width, f"{wide} px")
        if width > 320:
            tab.picture(PICTURES / f"phone-{width}.png")


def foreign_pages(tally, browser, origin):
    """Checks that a page of another origin on this machine gets nothing, neither by fetching nor by
    framing."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tab = Tab(browser, 800, 600).open(f"http://127.0.0.1:{server.server_port}/")
    tab.tell(f"fetch('{origin}/', {{mode: 'no-cors'}}).then(() => 0, () => 0)")
    tab.tell("new Promise((done) => { const frame = document.createElement('iframe'); frame.onload = frame.onerror = () => done(0); "
             f"frame.src = '{origin}/'; document.body.append(frame); }})")
    answers = [seen["response"]["status"] for seen in tab.seen("Network.responseReceived") if seen["response"]["url"].startswith(origin)]
    # F-197
    tally.claim("a foreign page is refused", answers and set(answers) == {403}, f"{answers}")
    server.shutdown()


class Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

    def log_message(self, *_):
        pass


def behind_a_password(tally, browser, world):
    """Checks that the page refreshes itself even if a person has put the password into the address.
    """
    agents, operators = world.port(), world.port()
    world.file("locked/connections/crm.yaml", """
connection_details:
  http: {base_url: "https://crm.example", allowed_routes: [/], no_auth: {}}
""")
    world.file("locked/connections/failing.yaml", f"""
connection_details:
  http:
    base_url: https://failing.example
    allowed_routes: [/]
    oauth_client_credentials: {{token_url: "https://127.0.0.1:{world.port()}/", client_id: a, client_secret: a-secret-of-this-test}}
    allowed_private_cidrs: [127.0.0.0/8]
""")
    settings = world.file("locked/egressd.yaml", f"""
proxy: {{listen: ["127.0.0.1:{agents}"]}}
management: {{listen: ["127.0.0.1:{operators}"], basic_auth: {{username: ops, password: a-password-of-this-test}}}}
connections: [connections]
""")
    locked = world.start("locked", [egressd_binary("debug"), "serve", "--config", settings]).await_port(operators)
    tab = Tab(browser, 800, 600).open(f"http://ops:a-password-of-this-test@127.0.0.1:{operators}/")
    tab.tell("(document.getElementById('main').was = true)")
    tab.wait("the page behind a password is renewed", "!document.getElementById('main').was")
    tally.claim("behind a password: refreshed", tab.tell("document.getElementById('alarm').hidden"))
    tab.wait("the failing credential is told of", "document.body.innerText.includes('credential failing')")
    for scheme in ("light", "dark"):
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        ratio, text = tab.tell(LEAST_CONTRAST)
        tally.claim(f"failing, {scheme}: contrast of all text is 4.5 or more", ratio >= 4.5, f"{ratio:.2f} of {text!r}")
        tab.picture(PICTURES / f"failing-{scheme}.png")
    tally.claim("no secret on the page", "of-this-test" not in tab.tell("document.documentElement.outerHTML"))
    world.stop(locked)


def renewing(tally, browser, origin, agents, world, egressd):
    tab = Tab(browser, 1000, 500).open(origin + "/")
    tab.tell("document.getElementById('d-notes').open = true")
    tab.tell("document.getElementById('s-notes').focus()")
    tab.tell("window.scrollTo(0, 180)")
    tab.tell("(document.getElementById('main').was = true)")
    send_traffic(agents)
    tab.wait("the page is renewed", "!document.getElementById('main').was")
    tally.claim("refreshed: open parts stay open", tab.tell("document.getElementById('d-notes').open"))
    tally.claim("refreshed: the focus is kept", tab.tell("document.activeElement.id") == "s-notes")
    tally.claim("refreshed: the scroll position is kept", tab.tell("Math.round(window.scrollY)") == 180, tab.tell("window.scrollY"))
    loads_nothing_else(tally, "renewed", tab, origin)
    world.stop(egressd)
    tab.wait("it shows that egressd does not respond", "!document.getElementById('alarm').hidden")
    tally.claim("stopped: the page is marked as stale", "No response since" in tab.tell("document.getElementById('alarm').innerText"))
    tally.claim("stopped: the page still shows the last state", "notes" in tab.tell("document.getElementById('main').innerText"))
    tab.picture(PICTURES / "stopped.png")


def loads_nothing_else(tally, name, tab, origin):
    asked = [seen["request"]["url"] for seen in tab.seen("Network.requestWillBeSent")]
    elsewhere = [url for url in asked if url != origin + "/" and not url.startswith("data:")]
    tally.claim(f"{name}: nothing is loaded from elsewhere", asked and not elsewhere, f"{elsewhere} of {asked}")
    said = [seen["entry"]["text"] for seen in tab.seen("Log.entryAdded")]
    thrown = tab.seen("Runtime.exceptionThrown")
    tally.claim(f"{name}: the browser reports no error", not said and not thrown, f"{said} {thrown}")


if __name__ == "__main__":
    sys.exit(main())
