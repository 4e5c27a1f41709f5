"""A headless Chromium, driven over its DevTools pipe: a person's view of a page, without a package.

The pipe is a pair of FIFOs in the world's directory. Messages are JSON, each followed by a NUL.
"""

import base64
import json
import os
import select
import time

PATIENCE = 30.0


class Chromium:
    """A browser, which ends with its world."""

    def __init__(self, world):
        told, says = world.directory / "chromium-in", world.directory / "chromium-out"
        for fifo in (told, says):
            os.mkfifo(fifo)
        argv = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                f"--user-data-dir={world.directory}/chromium", "--remote-debugging-pipe", "about:blank"]
        shell = ["bash", "-c", 'exec 3<"$1" 4>"$2"; shift 2; exec "$@"', "bash", told, says, *argv]
        self.process = world.start("chromium", shell)
        self.told, self.says = open(told, "wb", buffering=0), open(says, "rb", buffering=0)
        self.read, self.number, self.events = b"", 0, []

    def call(self, method, session=None, **parameters):
        """Sends a command and returns its result. Events that arrive meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self.told.write(json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.message(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def message(self, deadline):
        while b"\0" not in self.read:
            if not select.select([self.says], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"Chromium does not respond:\n{self.process.said()}")
            piece = os.read(self.says.fileno(), 1 << 16)
            if not piece:
                raise RuntimeError(f"Chromium has ended:\n{self.process.said()}")
            self.read += piece
        message, self.read = self.read.split(b"\0", 1)
        return json.loads(message)


class Tab:
    """A page at one width, in one colour scheme, with or without JavaScript."""

    def __init__(self, browser, width, height, scheme="light", scripts=True):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.size(width, height)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def size(self, width, height):
        self.width = width
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url):
        """Opens an address and returns once it is loaded."""
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            raise RuntimeError(f"{url}: {failed}")
        self.wait("the page is loaded", "document.readyState === 'complete' && location.href !== 'about:blank'")
        return self

    def tell(self, expression):
        """Returns the value of a JavaScript expression, or of its promise."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, what, expression):
        """Waits until the expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.tell(expression):
            if time.monotonic() > deadline:
                raise RuntimeError(f"never came to pass: {what}")
            time.sleep(0.05)

    def seen(self, method):
        """Returns the parameters of all events of this kind so far."""
        self.tell("0")
        return [event["params"] for event in self.browser.events
                if event.get("method") == method and event.get("sessionId") == self.session]

    def picture(self, path):
        """Stores the whole page as a PNG, in a window as high as the page."""
        self.size(self.width, self.tell("document.documentElement.scrollHeight"))
        path.parent.mkdir(parents=True, exist_ok=True)
        data = self.call("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(data))
