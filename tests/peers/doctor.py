"""`egressd doctor` in real sandboxes: network namespaces, most of which let exactly one thing
through.

The pod is a network namespace with egressd in it. A second namespace behind a veth pair is the
outside. It has the public addresses, the metadata address, listeners on their ports and a name
server. Routes open and close the path between them. The doctor runs as an agent does: as another
user without capabilities, in a PID namespace of its own. It must report each thing that is open and
nothing else.

Runs as root, or as a user who may create user namespaces. If neither works, it says so and tests
nothing.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

from loopback import World, egressd_binary, read
from peers import Tally

PUBLIC = ["1.1.1.1", "8.8.8.8"]
PUBLIC_6 = ["2606:4700:4700::1111", "2001:4860:4860::8888"]
METADATA, OTHER_METADATA = "169.254.169.254", ["169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42", "100.100.100.200", "100.96.0.96", "168.63.129.16", "192.0.0.192"]
NAME_SERVER = "9.9.9.9"
UPLINK, OUTSIDE = "10.200.0.1", "10.200.0.2"
SECRET = "planted-0123456789abcdef"
EGRESSD_USER, AGENT = 65532, 1000
# The environment of this script is not passed on.
BARE = {"PATH": os.environ["PATH"]}

QUIC = {("direct_egress", f"{address}:443/udp") for address in PUBLIC}
DIRECT = {("direct_egress", f"{address}:{port}") for address in PUBLIC for port in (80, 443)} | QUIC
DIRECT_6 = {("direct_egress", f"[{address}]:443{udp}") for address in PUBLIC_6 for udp in ("", "/udp")} | {("direct_egress", f"[{PUBLIC_6[0]}]:80")}
NAMES = {("public_dns", f"{address}:53") for address in PUBLIC} | {("dns", "example.com")}
NAMES_6 = {("public_dns", f"[{PUBLIC_6[0]}]:53")}
CLOUDS = {("metadata", f"{address}:80") for address in [METADATA, *OTHER_METADATA]} | {("metadata", "metadata.google.internal:80")}
OPERATORS = {("management", "127.0.0.1:8081/v1/connections"), ("metrics", "127.0.0.1:8081/metrics")}


def run(*argv, fails=False):
    """Runs a program to its end. Returns whether it succeeded, if it may fail."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if done.returncode != 0 and not fails:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stderr}")
    return done.returncode == 0


def namespaces():
    """Returns the command that enters new namespaces on this machine, or the reason why it cannot.
    """
    flags = ["--net", "--mount", "--pid", "--fork", "--mount-proc"]
    for who in ([], ["--user", "--map-root-user"]):
        argv = ["unshare", *who, *flags]
        # The network of the pod, and of the agent in it.
        inner = agent_argv(bool(who), AGENT) + ["true"]
        if run(*argv, "sh", "-c", 'ip link add probe type veth && exec "$@"', "sh", *inner, fails=True):
            return argv, bool(who)
    return None, False


def agent_argv(nested, user, own_processes=True):
    """Returns the command that starts an agent's process in the pod: a plain user without
    capabilities who sees only its own processes."""
    alone = ["--pid", "--fork", "--mount-proc"] if own_processes else []
    if nested:
        inner = ["--user", f"--map-user={user}", f"--map-group={user}", "--mount", *alone]
        return ["unshare", *inner, "setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    who = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    return (["unshare", "--mount", *alone] if alone else []) + ["setpriv", *who]


def answer(question):
    """Returns a DNS response: 93.184.215.14 for every A query (the metadata address for its name),
    and no record of another type."""
    end = question.index(0, 12) + 5
    kind = struct.unpack("!H", question[end - 4:end - 2])[0]
    address = METADATA if b"metadata" in question[:end] else "93.184.215.14"
    head = question[:2] + struct.pack("!5H", 0x8180, 1, int(kind == 1), 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
    return head + question[12:end] + (record if kind == 1 else b"")


def answer_anything(server):
    while True:
        question, who = server.recvfrom(2048)
        if len(question) >= 1200:
            server.sendto(question[:1] + bytes(4), who)


def answer_over_tcp(server):
    """Answers one query per connection, whose length is in its first two bytes."""
    while True:
        with server.accept()[0] as peer, peer.makefile("rb") as asked:
            size = asked.read(2)
            if len(size) == 2 and (question := asked.read(int.from_bytes(size, "big"))):
                said = answer(question)
                peer.sendall(len(said).to_bytes(2, "big") + said)


def answer_names(server):
    while True:
        question, who = server.recvfrom(512)
        server.sendto(answer(question), who)


def outside():
    """Serves the internet and a cloud, in a network namespace of its own, until standard input
    ends."""
    print("here", flush=True)
    sys.stdin.readline()
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "out")
    run("ip", "link", "set", "out", "up")
    addresses = [*PUBLIC, METADATA, *OTHER_METADATA, NAME_SERVER]
    for address in addresses:
        run("ip", "addr", "add", f"{address}/32", "dev", "out")
    six = run("ip", "addr", "add", "fd00::2/64", "dev", "out", "nodad", fails=True)
    for address in PUBLIC_6 if six else []:
        run("ip", "addr", "add", f"{address}/128", "dev", "out", "nodad")
    listeners = []
    for port in (80, 443):
        if six:
            listeners.append(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64))
        else:
            listeners.append(socket.create_server(("0.0.0.0", port), backlog=64))
    for address in addresses + (PUBLIC_6 if six else []):
        server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((address, 53))
        threading.Thread(target=answer_names, args=(server,), daemon=True).start()
    for address in [NAME_SERVER, *PUBLIC] + (PUBLIC_6 if six else []):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((address, 443))
        threading.Thread(target=answer_anything, args=(server,), daemon=True).start()
        server = socket.create_server((address, 53), family=family)
        threading.Thread(target=answer_over_tcp, args=(server,), daemon=True).start()
    print("six" if six else "four", flush=True)
    sys.stdin.read()


class Pod:
    """Sets up the namespace of this process, and the path out of it."""

    def __init__(self, world):
        run("ip", "link", "set", "lo", "up")
        # The secrets, sockets and name servers of this machine take no part.
        run("mount", "-t", "tmpfs", "none", "/run")
        if os.path.isdir("/etc/egressd"):
            run("mount", "-t", "tmpfs", "none", "/etc/egressd")
        servers = world.file("resolv.conf", f"nameserver {NAME_SERVER}\noptions timeout:1\n")
        run("mount", "--bind", servers, "/etc/resolv.conf")
        argv = ["unshare", "--net", sys.executable, "-B", __file__, "outside"]
        self.outside = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.outside.stdout.readline()
        run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "out")
        run("ip", "link", "set", "out", "netns", self.outside.pid)
        run("ip", "addr", "add", f"{UPLINK}/24", "dev", "up0")
        run("ip", "addr", "add", "fd00::1/64", "dev", "up0", "nodad", fails=True)
        run("ip", "link", "set", "up0", "up")
        self.outside.stdin.write("go\n")
        self.outside.stdin.flush()
        self.six = self.outside.stdout.readline() == "six\n"

    def routes(self, *routes):
        """Opens these routes to the outside and closes all others."""
        run("ip", "route", "flush", "root", "0/0", "table", "main", fails=True)
        run("ip", "-6", "route", "flush", "dev", "up0", fails=True)
        for route in routes:
            run("ip", *route.split())

    def open(self):
        self.routes(f"route add {OUTSIDE} dev up0", f"route add default via {OUTSIDE}")
        if self.six:
            run("ip", "-6", "route", "add", "fd00::2", "dev", "up0")
            run("ip", "-6", "route", "add", "default", "via", "fd00::2")

    def end(self):
        self.outside.stdin.close()
        self.outside.wait()


class Doctor:
    """Runs the command as the agent and compares its findings."""

    def __init__(self, tally, binary, nested):
        self.tally, self.binary, self.nested = tally, binary, nested

    def run(self, flags=(), env=None, user=AGENT, own_processes=True):
        argv = [*agent_argv(self.nested, user, own_processes), self.binary, "doctor", *flags]
        return subprocess.run([str(a) for a in argv], capture_output=True, text=True, env={**BARE, **(env or {})})

    def finds(self, name, expected, flags=(), **how):
        """Checks that exactly these findings are open, and that the exit code reports whether there
        are any."""
        done = self.run(["--format", "json", *flags], **how)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            self.tally.claim(name, False, done.stdout + done.stderr)
            return
        found = {state: {(f["check"], f["target"]) for f in report["findings"] if f["state"] == state} for state in ("open", "unknown")}
        self.tally.claim(f"{name}: open ways are reported", found["open"] == expected, found["open"] ^ expected)
        self.tally.claim(f"{name}: nothing is unknown", not found["unknown"], found["unknown"])
        self.tally.claim(f"{name}: each finding has a remedy", all(f["remedy"] for f in report["findings"] if f["state"] == "open"), report)
        code = 1 if expected else 0
        self.tally.claim(f"{name}: exit code {code}", (done.returncode, report["closed"]) == (code, code == 0), done.returncode)
        self.tally.claim(f"{name}: no value is shown", SECRET not in done.stdout + done.stderr, done.stdout)


def start_egressd(world, binary, nested, management, login=""):
    """Runs egressd as a user of its own. `management` is the address of its management listener."""
    world.file("connections/crm.json", json.dumps({"connection_details": {"http": {
        "base_url": "https://crm.example", "allowed_routes": ["GET /users"], "bearer_token": {"token": {"env": "PEER_SECRET"}},
    }}}))
    settings = world.file("egressd.yaml", f"""
proxy: {{listen: ["127.0.0.1:8080"]}}
management: {{listen: ["{management}"]{", " if login else ""}{login}}}
connections: [connections]
""")
    argv = [binary, "serve", "--config", settings]
    if not nested:
        argv = ["setpriv", f"--reuid={EGRESSD_USER}", f"--regid={EGRESSD_USER}", "--clear-groups", "--no-new-privs", *argv]
    return world.start("egressd", argv, env={**BARE, "PEER_SECRET": SECRET}).await_port(8080)


def ways_of_one_kind(doctor, pod):
    """Rules that omit one address family, or one protocol."""
    if pod.six:
        pod.routes("-6 route add fd00::2 dev up0", "-6 route add default via fd00::2")
        doctor.finds("only IPv6", DIRECT_6 | NAMES_6)
    for name, rule, expected in [
        ("only UDP", "meta l4proto tcp", QUIC | NAMES),
        # Programs resolve names over UDP first, but data can leave over TCP as well.
        ("only TCP, names included", "meta l4proto udp", (DIRECT | NAMES | CLOUDS) - QUIC - {("metadata", "metadata.google.internal:80")}),
    ]:
        pod.routes(f"route add {OUTSIDE} dev up0", f"route add default via {OUTSIDE}")
        run("nft", "add table inet rules; add chain inet rules out { type filter hook output priority 0; }; "
            f"add rule inet rules out oifname up0 {rule} reject")
        doctor.finds(name, expected)
        run("nft", "delete table inet rules")


def judge(tally, world, pod, doctor):
    """Runs the doctor in one sandbox after another."""
    private = world.directory / "operators"
    private.mkdir(mode=0o700)
    if not doctor.nested:
        os.chown(private, EGRESSD_USER, EGRESSD_USER)
    egressd = start_egressd(world, doctor.binary, doctor.nested, f"unix:{private}/management.sock")
    pod.open()
    everything = DIRECT | NAMES | CLOUDS | (DIRECT_6 | NAMES_6 if pod.six else set())
    doctor.finds("an open sandbox", everything)
    pod.routes()
    doctor.finds("a closed sandbox", set())
    doctor.finds("a closed sandbox, strictly", set(), ["--strict"])
    shown = doctor.run()
    tally.claim("a closed sandbox is reported as closed", shown.stdout.endswith("closed: 0 open, 0 unknown\n"), shown.stdout)
    for kind in ("blackhole", "prohibit", "unreachable"):
        pod.routes(f"route add {kind} default")
        doctor.finds(f"a route of type {kind}", set())
    pod.routes(f"route add {METADATA} dev up0")
    doctor.finds("only metadata", {("metadata", f"{METADATA}:80")})
    pod.routes(f"route add {NAME_SERVER} dev up0")
    doctor.finds("only names", {("dns", "example.com")})
    accepted = doctor.run(["--accept", "dns"])
    tally.claim("accepted findings do not count", accepted.returncode == 0, accepted.stdout)
    ways_of_one_kind(doctor, pod)
    pod.routes()
    doctor.finds("only a variable", {("environment", "GITHUB_TOKEN")}, env={"GITHUB_TOKEN": SECRET})
    elsewhere = {"HTTPS_PROXY": "http://proxy.example:3128", "HTTP_PROXY": "http://127.0.0.1:8080"}
    doctor.finds("only a proxy variable", {("proxy_variables", "HTTPS_PROXY")}, env=elsewhere)
    token = "/run/secrets/kubernetes.io/serviceaccount/token"
    os.makedirs(os.path.dirname(token))
    with open(token, "w", encoding="ascii") as file:
        file.write(SECRET)
    doctor.finds("only a mounted secret", {("secret_files", "/run/secrets")})
    os.chmod(token, 0o600)
    if not doctor.nested:
        doctor.finds("a mounted secret of another program", set())
        socket_file = f"unix:{private}/management.sock"
        within = {("same_user", f"process {egressd.pid}"), ("management", f"{socket_file}/v1/connections"), ("metrics", f"{socket_file}/metrics")}
        doctor.finds("only egressd's user", within, user=EGRESSD_USER, own_processes=False)
        doctor.finds("processes are shared", set(), own_processes=False)
    os.remove(token)
    world.stop(egressd)
    gone = doctor.run(["--format", "json"])
    states = {f["check"]: f["state"] for f in json.loads(gone.stdout)["findings"]}
    tally.claim("without egressd the result is unknown", (gone.returncode, states["proxy"]) == (0, "unknown"), gone.stdout)
    tally.claim("an unknown result is not closed with --strict", doctor.run(["--strict"]).returncode == 1)
    egressd = start_egressd(world, doctor.binary, doctor.nested, "127.0.0.1:8081")
    egressd.await_port(8081)
    doctor.finds("only management", OPERATORS)
    for elsewhere in ("127.0.0.2:8081", "[::1]:9000"):
        world.stop(egressd)
        egressd = start_egressd(world, doctor.binary, doctor.nested, elsewhere)
        doctor.finds(f"only management, at {elsewhere}", {("management", f"{elsewhere}/v1/connections"), ("metrics", f"{elsewhere}/metrics")})
    world.stop(egressd)
    login = f"basic_auth: {{username: operator, password: {SECRET}}}"
    egressd = start_egressd(world, doctor.binary, doctor.nested, f"{UPLINK}:8081", login)
    doctor.finds("only metrics, at the pod's own address", {("metrics", f"{UPLINK}:8081/metrics")})
    tally.claim("egressd printed no credential", SECRET not in read(egressd.log), "it did")


def inside(nested):
    """Runs a command in the pod."""
    tally = Tally()
    with World() as world:
        # Another user may not be able to enter the folder of the binary.
        binary = world.file("bin/egressd", b"")
        shutil.copy(egressd_binary("debug"), binary)
        pod = Pod(world)
        try:
            judge(tally, world, pod, Doctor(tally, binary, nested))
        finally:
            pod.end()
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


def main():
    missing = [program for program in ("unshare", "setpriv", "ip", "nft", "mount") if not shutil.which(program)]
    if missing:
        print(f"skipped: the doctor's sandboxes need {', '.join(missing)} (apt-get install util-linux mount iproute2 nftables)")
        return 0
    argv, nested = namespaces()
    if argv is None:
        print("skipped: the doctor's sandboxes need namespaces, and this machine gives none (run as root, or allow user namespaces)")
        return 0
    return subprocess.run([*argv, sys.executable, "-B", __file__, "nested" if nested else "inside"]).returncode


if __name__ == "__main__":
    if sys.argv[1:] == ["outside"]:
        outside()
    elif sys.argv[1:]:
        sys.exit(inside(sys.argv[1] == "nested"))
    else:
        sys.exit(main())
