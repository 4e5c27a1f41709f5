"""One side of the world of lockdown.py, inside a network namespace: `serve`, or `try UID`.

`serve UID PORT…` echoes TCP and UDP on these ports, over IPv4 and IPv6, as that user until it is
ended. It prints `ready` once it listens. `try UID` becomes that user, makes every attempt of the
JSON list on its standard input, and prints the result of each: `open`, `refused` (an error, at
once), `hangs`, `unsupported` (by this kernel), or the name of another error.
"""

import encodings.idna  # noqa: F401  loaded now, because the later user may not be able to read it
import errno
import json
import os
import select
import selectors
import socket
import sys

PATIENCE = 3  # seconds after which an attempt counts as hanging
REFUSALS = {errno.ECONNREFUSED, errno.EPERM, errno.EACCES, errno.EHOSTUNREACH, errno.ECONNRESET}
UNSUPPORTED = {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
MPTCP, UDPLITE, MSG_FASTOPEN = 262, 136, 0x20000000


def serve(ports):
    """Echoes all bytes."""
    ready = selectors.DefaultSelector()
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            door = socket.socket(socket.AF_INET6, kind)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if kind == socket.SOCK_DGRAM:
                # The response must come from the address that was queried.
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            door.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                door.listen(64)
            ready.register(door, selectors.EVENT_READ, kind)
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            if key.data == socket.SOCK_STREAM:
                taken, _ = key.fileobj.accept()
                taken.settimeout(PATIENCE)
                try:
                    taken.sendall(taken.recv(512))
                except OSError:
                    pass
                taken.close()
            else:
                said, info, _, whom = key.fileobj.recvmsg(512, 256)
                try:
                    key.fileobj.sendmsg([said], info, 0, whom)
                except OSError:
                    pass


def become(uid):
    """Becomes that user, with its own group only."""
    if uid != 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def place(address, port):
    """Returns the address for a socket, with the link that a `%` names."""
    return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]


def exchange(made, address, port, local, fast):
    """Connects, sends a word and reads it back."""
    with made:
        made.settimeout(PATIENCE)
        if local:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("", local))
        if fast:
            fast_open(made, place(address, port))
        else:
            made.connect(place(address, port))
            made.send(b"word")
        return "open" if made.recv(512) else "nothing"


def fast_open(made, where):
    """Sends a datagram and waits for the response."""
    try:
        made.sendto(b"", MSG_FASTOPEN, where)
    except BlockingIOError:
        if not select.select([], [made], [], PATIENCE)[1]:
            raise TimeoutError from None
    if error := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))
    made.send(b"word")


def ping(address, _port, _local):
    """Sends an echo request through the socket that needs no rights."""
    v6 = ":" in address
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    with socket.socket(family(address), socket.SOCK_DGRAM, protocol) as made:
        made.settimeout(PATIENCE)
        made.connect(place(address, 0))
        made.send(bytes([128 if v6 else 8, 0, 0, 0, 0, 1, 0, 1]) + b"word")
        return "open" if made.recv(512) else "nothing"


def through(kind, protocol=0, fast=False):
    """Makes an attempt with this kind of socket."""
    return lambda address, port, local: exchange(socket.socket(family(address), kind, protocol), address, port, local, fast)


def http(address, port, _local):
    """Returns whether egressd answers a probe there."""
    with socket.socket(family(address), socket.SOCK_STREAM) as made:
        made.settimeout(PATIENCE)
        made.connect(place(address, port))
        made.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return "open" if made.recv(512).startswith(b"HTTP/1.1 ") else "nothing"


def leave(address, port, _local):
    """Starts to connect without waiting. The kernel may send the packets when no process has the
    socket any more."""
    with socket.socket(family(address), socket.SOCK_STREAM) as made:
        made.setblocking(False)
        made.connect_ex(place(address, port))
    return "refused"  # the counter of packets decides


def raw(address, _port, _local):
    with socket.socket(family(address), socket.SOCK_RAW, socket.IPPROTO_UDP) as made:
        made.sendto(b"\0" * 8, (address, 0))
    return "open"


ATTEMPTS = {
    "tcp": through(socket.SOCK_STREAM),
    "tcp fast open": through(socket.SOCK_STREAM, fast=True),
    "mptcp": through(socket.SOCK_STREAM, MPTCP),
    "udp": through(socket.SOCK_DGRAM),
    "udp-lite": through(socket.SOCK_DGRAM, UDPLITE),
    "sctp": through(socket.SOCK_STREAM, socket.IPPROTO_SCTP),
    "icmp": ping, "http": http, "leave": leave, "raw": raw,
}


def attempt(kind, address, port, local=0):
    try:
        return ATTEMPTS[kind](address, port, local)
    except TimeoutError:
        return "hangs"
    except OSError as error:
        if error.errno in REFUSALS:
            return "refused"
        return "unsupported" if error.errno in UNSUPPORTED else errno.errorcode.get(error.errno, str(error))


def main():
    what, user, *ports = sys.argv[1:]
    if what == "serve":
        become(int(user))
        serve([int(port) for port in ports])
    attempts = json.load(sys.stdin)
    become(int(user))
    json.dump([attempt(*one) for one in attempts], sys.stdout)


if __name__ == "__main__":
    main()
