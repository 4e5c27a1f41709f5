"""The TLS upstream of these tests. It imitates every API of `apis.py`, misbehaves where a case needs
that, and counts the requests of each client and case.

egressd sets three header fields on each connection: `X-Client`, `X-Api`, and the credential. A case
is named by a segment of the path: most clients send it as the first one, in front of the path of
the API. Clients that take no base path send it as an identifier, such as `/v1/customers/limited`.
"""

import collections
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apis  # noqa: E402

CASES = ["request", "stream", "upload", "tools", "pages", "forbidden", "large", "limited", "unavailable", "cut"]
# An announced length above `max_response_size_bytes` of the connections.
ANNOUNCED_BYTES = 2 * 1024 * 1024
CREDENTIAL = "credential-of-the-connection-0123456789"
AGENTS_KEY = "agents-own-key"


class Upstream:
    """The server, in threads of this process."""

    def __init__(self, port, leaf, key):
        self.port = port
        self.counts = collections.Counter()  # (client, case) -> requests
        self.faults = []  # what reached the upstream although it must not
        self.lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf, key)
        upstream = self

        class Handler(Exchange):
            """An exchange of this upstream."""

            state = upstream

        class Server(ThreadingHTTPServer):
            """A server with one thread for each socket."""

            daemon_threads = True
            request_queue_size = 128

            def finish_request(self, request, client_address):
                with context.wrap_socket(request, server_side=True) as session:
                    super().finish_request(session, client_address)

            def handle_error(self, *_):
                pass  # egressd closes sockets that it does not need

        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, client, case):
        """Counts a request and returns its number, starting from 1."""
        with self.lock:
            self.counts[client, case] += 1
            return self.counts[client, case]


class Exchange(BaseHTTPRequestHandler):
    """One socket from egressd."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    state = None

    def answer(self):
        """Receives a request and answers it as its case requires."""
        body = self.receive()
        client, api = self.headers.get("X-Client", ""), self.headers.get("X-Api", "")
        url = urlsplit(self.path)
        case, path = case_and_path(url)
        number = self.state.count(client, case)
        credentials = (self.headers.get("Authorization"), self.headers.get("X-Api-Key"))
        if not any(f"Bearer {CREDENTIAL}" == c or CREDENTIAL == c for c in credentials) or AGENTS_KEY in str(self.headers):
            self.state.faults.append(f"{client}: {self.command} {self.path} came with other credentials")
            return self.send(401, {}, b"not the credential of the connection")
        if case == "large":
            self.close_connection = True
            return self.send(200, {"Content-Length": str(ANNOUNCED_BYTES)}, b"x")
        if case == "unavailable":
            return self.send(503, {}, apis.failure(api, "the upstream is busy"))
        if case == "limited" and number == 1:
            return self.send(429, {"Retry-After": "0", "Retry-After-Ms": "1"}, apis.failure(api, "too many requests"))
        prefix = f"https://localhost:{self.state.port}" + self.path.removesuffix(f"?{url.query}").removesuffix(path)
        request = apis.Request(self.command, path, dict(parse_qsl(url.query)), self.headers, body, prefix)
        status, fields, content = apis.APIS[api](request)
        return self.send(status, fields, content, is_cut=case == "cut")

    def send(self, status, fields, content, is_cut=False):
        """Sends a response. Content that is a list is sent in pieces. `is_cut` ends it half way,
        by closing the socket."""
        self.send_response(status)
        pieces = content if isinstance(content, list) else None
        fields = {"Content-Type": "application/json", **fields}
        if pieces is not None:
            fields["Transfer-Encoding"] = "chunked"
        else:
            fields.setdefault("Content-Length", str(len(content)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if pieces is None:
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        for piece in (pieces or [])[: len(pieces or []) // 2 if is_cut else None]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if pieces is not None and not is_cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection |= is_cut

    def receive(self):
        """Returns the request's body."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


def case_and_path(url):
    """Returns the case that a URL names, and the path of the API in it."""
    first, _, rest = url.path.removeprefix("/").partition("/")
    if first in CASES:
        return first, "/" + rest
    names = [*url.path.split("/"), *(value for _, value in parse_qsl(url.query))]
    return next((name for name in names if name in CASES), "request"), url.path
