"""A webhook receiver as its owner would write it: HTTPS with the recipe of docs/credentials.md.

Run as `receiver.py PORT CERTIFICATE KEY`, with the shared secret in $WEBHOOK_SECRET. It answers 200
to a body with a valid signature, 204 to a request without a body, and 401 to everything else. The
response has its view of the request as JSON. Only the standard library is needed.
"""

import hashlib
import hmac
import json
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["WEBHOOK_SECRET"].encode()


def is_genuine(raw_body, received):
    """Returns whether only the owner of the secret can have made this field value for these bytes.
    """
    wanted = "sha256=" + hmac.new(SECRET, raw_body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), received.encode())


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def handle_any(self):
        length = self.headers.get("Content-Length")
        raw_body = self.rfile.read(int(length or 0))
        signatures = self.headers.get_all("X-Webhook-Signature", [])
        if raw_body:
            status = 200 if len(signatures) == 1 and is_genuine(raw_body, signatures[0]) else 401
        else:
            status = 401 if signatures else 204
        told = json.dumps({
            "length": length,
            "transfer_encoding": self.headers.get("Transfer-Encoding"),
            "expect": self.headers.get("Expect"),
            "signatures": signatures,
        }).encode()
        self.send_response(status)
        self.send_header("X-Seen", told.decode())
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Performs the handshake on the socket's own thread, so that a stalled one does not delay the
    others."""

    def __init__(self, address, context):
        super().__init__(address, Receiver)
        self.context = context

    def finish_request(self, request, client_address):
        with self.context.wrap_socket(request, server_side=True) as session:
            super().finish_request(session, client_address)

    def handle_error(self, *_):
        pass  # a client only checked if the port is open


if __name__ == "__main__":
    port, certificate, key = sys.argv[1:]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.set_alpn_protocols(["http/1.1"])
    Server(("127.0.0.1", int(port)), tls).serve_forever()
