"""Pipelines many requests over a few keep-alive sockets: thousands per second, from Python."""

import collections
import socket

BATCH = 50  # requests that are sent before their responses are read


class Pipelines:
    """Sends requests of a source, `() -> (method, head)`, over one socket at a time, for as long as
    egressd keeps it."""

    def __init__(self, port, source):
        self.port, self.source, self.socket, self.got = port, source, None, b""

    def run(self, count):
        """Sends this many requests. Returns the number of responses by status."""
        statuses, waiting = collections.Counter(), []
        while count or waiting:
            if self.socket is None:
                self.socket, self.got = socket.create_connection(("127.0.0.1", self.port), timeout=30), b""
            while count and len(waiting) < BATCH:
                waiting.append(self.source())
                count -= 1
            waiting = self.exchange(waiting, statuses)
        self.socket.close()
        self.socket = None
        return statuses

    def exchange(self, batch, statuses):
        """Sends a batch. Returns the requests without a response, because the socket was closed
        after an earlier one."""
        answered = 0
        try:
            self.socket.sendall(b"".join(head for _, head in batch))
            for method, _ in batch:
                statuses[self.answer(method)] += 1
                answered += 1
        except ConnectionError:
            if not answered:
                raise
            self.socket.close()
            self.socket = None
        return batch[answered:]

    def answer(self, method):
        """Returns the status of the next response, whose body must have a length."""
        while (end := self.got.find(b"\r\n\r\n")) < 0:
            self.more()
        head = self.got[:end].lower()
        length = 0 if method == "HEAD" else int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(self.got) < end + 4 + length:
            self.more()
        self.got = self.got[end + 4 + length:]
        return int(head[9:12])

    def more(self):
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("closed")
        self.got += piece
