"""The plain HTTP application behind nginx: describes requests, and streams events when allowed.

`/base/v1/echo…`      the request as JSON, but never a credential, so no agent can read one here
`/base/v1/events?run` event one at once, event two after `POST /release?run` (not over the proxy):
                      a proxy that holds events back never sees the second one
"""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

GATES = {}
LOCK = threading.Lock()
PATIENCE = 10  # seconds after which event two counts as missing


def gate(run):
    """Returns the gate that lets this run's second event out."""
    with LOCK:
        return GATES.setdefault(run, threading.Event())


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        target = urlsplit(self.path)
        run = parse_qs(target.query).get("run", [""])[0]
        content = self.content()
        if target.path == "/release":
            gate(run).set()
            self.answer({})
        elif target.path == "/base/v1/events":
            self.events(run)
        else:
            self.answer({
                "method": self.command,
                "target": self.path,
                "length": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "transfer_encoding": self.headers.get("X-Seen-Transfer-Encoding", ""),
                "content_length": self.headers.get("X-Seen-Content-Length", ""),
                "note": self.headers.get("X-Note", ""),
            })

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def content(self):
        """Returns the request's body, in either framing."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def answer(self, document):
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def events(self, run):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b"data: one\n\n")
        self.chunk(b"data: two\n\n" if gate(run).wait(PATIENCE) else b"data: nobody saw one\n\n")
        self.chunk(b"")

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Application).serve_forever()
