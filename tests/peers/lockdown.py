"""Installs and tests the rules of config/kubernetes/sidecar-lockdown/egress.nft.

Two network namespaces stand for a pod and for everything outside it (public addresses, name
servers, instance metadata, a neighbour). The real egressd runs in the pod as UID 65532 with the
sidecar's own settings. Then three users try every way out: the agent, root without rights, and
egressd's UID. The first run has no rules, to show that each way is open without them. A counter of
packets in the other namespace decides if something left the pod, not the error that an agent saw.

Needs root, for the namespaces.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

from loopback import REPOSITORY, World, egressd_binary, read
from peers import Tally

RULES = REPOSITORY / "config/kubernetes/sidecar-lockdown/egress.nft"
SETTINGS = REPOSITORY / "config/kubernetes/sidecar/egressd.yaml"
SIDE = "lockdown_side.py"
EGRESSD, AGENT, ROOT = 65532, 10001, 0
POD4, POD6, LINK6 = "10.55.0.2", "fd55::2", "fe80::55:1%pod0"
NEAR4, NEAR6, FAR4, FAR6 = "10.55.0.1", "fd55::1", "203.0.113.9", "2001:db8::9"
METADATA = ["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"]
SERVED = 3000  # the port on which the agent itself serves
OPEN, REFUSED = "open", "refused"
# Description, method, address, port; the result for the agent, the result for egressd's UID (None:
# nothing answers there, so only the agent tries).
WAYS = [
    *[(f"TCP to {a}, port {p}", "tcp", a, p, REFUSED, OPEN) for a in (FAR4, FAR6, NEAR4, NEAR6) for p in (80, 443)],
    *[(f"UDP to {a}, port 443", "udp", a, 443, REFUSED, OPEN) for a in (FAR4, FAR6)],
    *[(f"DNS by {k} to {a}", k, a, 53, REFUSED, OPEN) for k in ("udp", "tcp") for a in (NEAR4, NEAR6)],
    *[(f"ICMP to {a}", "icmp", a, 0, REFUSED, OPEN) for a in (FAR4, FAR6)],
    *[(f"metadata at {a}", "tcp", a, 80, REFUSED, REFUSED) for a in METADATA],
    *[(f"DNS by {k} to 169.254.169.254", k, "169.254.169.254", 53, REFUSED, OPEN) for k in ("udp", "tcp")],
    ("TCP to a neighbour's link-local address", "tcp", LINK6, 443, REFUSED, OPEN),
    ("TCP fast open", "tcp fast open", FAR4, 443, REFUSED, OPEN),
    ("MPTCP", "mptcp", FAR4, 443, REFUSED, OPEN),
    ("multicast", "udp", "ff02::1%pod0", 443, REFUSED, None),
    ("UDP-Lite", "udp-lite", FAR4, 443, REFUSED, None),
    ("SCTP", "sctp", FAR4, 443, REFUSED, None),
    ("a raw socket", "raw", FAR4, 0, REFUSED, None),
    ("a connect without a waiting caller", "leave", FAR4, 443, REFUSED, None),
    *[(f"management at {a}", "http", a, 8081, REFUSED, OPEN) for a in ("127.0.0.1", "127.9.9.9", "::1", POD4, POD6)],
]
# Nothing answers these, so only the counter can show that they left, or this kernel does not
# support them.
UNANSWERED = {"multicast", "UDP-Lite", "SCTP", "a connect without a waiting caller"}
LOCAL = [
    ("the proxy port", "http", "127.0.0.1", 8080),
    *[(f"a local service at {a}", "tcp", a, SERVED) for a in ("127.0.0.1", "::1", POD4)],
]


def run(*argv, **options):
    """Runs a command that must succeed. Returns its output."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"$ {' '.join(map(str, argv))}\n{done.stderr}")
    return done.stdout


class Namespaces:
    """Creates the pod and the outside, connected by one veth pair, and removes both afterwards."""

    def __init__(self):
        self.pod, self.outside = (f"egressd-{os.getpid()}-{end}" for end in ("pod", "out"))

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.pod, self.outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def build(self):
        for name in (self.pod, self.outside):
            run("ip", "netns", "add", name)
            # Duplicate address detection is not needed between two ends.
            run(*self.within(name), "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
                "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0", "net.ipv4.ping_group_range=0 2147483647")
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "pod0", "netns", self.pod, "type", "veth", "peer", "name", "out0", "netns", self.outside)
        for name, device, addresses in (
            (self.pod, "pod0", [f"{POD4}/24", f"{POD6}/64"]),
            (self.outside, "out0", [f"{NEAR4}/24", f"{NEAR6}/64", f"{LINK6.split('%')[0]}/64"]),
            (self.outside, "lo", [FAR4, FAR6, *METADATA]),
        ):
            for address in addresses:
                run("ip", "-n", name, "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", self.pod, "route", "add", "default", "via", NEAR4)
        run("ip", "-n", self.pod, "-6", "route", "add", "default", "via", NEAR6)
        # Counts all packets that arrive, except those that keep an IPv6 link up.
        run(*self.within(self.outside), "nft", "-f", "-", input="""
            table inet seen {
              counter arrived { }
              chain input {
                type filter hook prerouting priority raw;
                icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
                iifname "out0" counter name "arrived"
              }
            }""")

    @staticmethod
    def within(name):
        return ["ip", "netns", "exec", name]

    def arrived(self):
        """Returns the number of packets that have left the pod."""
        return int(re.search(r"packets (\d+) bytes", run(*self.within(self.outside), "nft", "list", "counters", "table", "inet", "seen"))[1])


class Pod:
    """The processes in both namespaces, and the attempts of each user."""

    def __init__(self, world, namespaces):
        self.world, self.namespaces = world, namespaces
        self.python = os.path.realpath(sys.executable)
        self.side = world.file(SIDE, read(REPOSITORY / "tests/peers" / SIDE))

    def serve(self, name, namespace, user, *ports):
        """Starts an echo server on these ports, as this user."""
        self.started(name, namespace, [self.python, "-B", self.side, "serve", user, *ports], "ready")

    def egressd(self):
        """Starts the real egressd with the sidecar's settings. Their paths lead into this world,
        and management listens on IPv6 too."""
        directory = self.world.directory
        binary = directory / "egressd"
        shutil.copy(egressd_binary("debug"), binary)
        binary.chmod(0o755)
        for key in ("management-username", "management-password"):
            self.world.file(f"secrets/{key}", "planted-0123456789abcdef\n")
        self.world.file("connections/one.yaml", "{id: one, connection_details: {http: {base_url: 'https://example.com', allowed_routes: [/], no_auth: {}}}}")
        settings = self.world.file("egressd.yaml", read(SETTINGS).replace("/etc/egressd", str(directory)))
        for part in ("secrets", "connections"):
            (directory / part).chmod(0o755)
        self.started("egressd", self.namespaces.pod, [
            "setpriv", f"--reuid={EGRESSD}", f"--regid={EGRESSD}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
            "--no-new-privs", binary, "serve", "--config", settings, "--management-listen", "[::]:8081"], '"event":"ready"')

    def started(self, name, namespace, argv, word):
        process = self.world.start(name, [*self.namespaces.within(namespace), *argv])
        deadline = time.monotonic() + 20
        while word not in read(process.log):
            if process.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not start:\n{process.said()}")
            time.sleep(0.01)

    def attempts(self, user, tries, namespace=None):
        """Returns the results of these attempts by this user. Root has no rights, because the
        containers drop all."""
        without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if user == ROOT else []
        said = run(*self.namespaces.within(namespace or self.namespaces.pod), *without, self.python, "-B", self.side, "try", user,
                   input=json.dumps(tries))
        return json.loads(said)

    def install(self, rules):
        """Runs a command with the only right of the init container."""
        run(*self.namespaces.within(self.namespaces.pod), "setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs",
            "nft", "-f", rules)


def without_rules(tally, pod):
    """Checks that each way is open without rules, because otherwise the test shows nothing."""
    counted = pod.namespaces.arrived
    for name, kind, address, port, _, _ in WAYS:
        before = counted()
        came = pod.attempts(AGENT, [(kind, address, port)])[0]
        if kind == "raw":
            holds = came == REFUSED
        elif came == "unsupported":
            print(f"-- this kernel has no {name}")
            continue
        else:
            holds = counted() > before if name in UNANSWERED else came == OPEN
        tally.claim(f"without rules: {name} is {'closed by the missing capability' if kind == 'raw' else 'open'}", holds, came)


def only_egressd_gets_out(tally, pod, user, who):
    """Checks that every way is refused at once, and that no packet has left."""
    before = pod.namespaces.arrived()
    came = pod.attempts(user, [way[1:4] for way in WAYS])
    for (name, *_, expected, _), result in zip(WAYS, came):
        tally.claim(f"{who}: {name} is {expected}", result in (expected, "unsupported"), result)
    tally.claim(f"{who}: nothing has left the pod", pod.namespaces.arrived() == before, f"{pod.namespaces.arrived() - before} packets")


def egressd_gets_out(tally, pod):
    ways = [way for way in WAYS if way[5]]
    came = pod.attempts(EGRESSD, [way[1:4] for way in ways])
    for (name, *_, expected), result in zip(ways, came):
        tally.claim(f"egressd's UID: {name} is {expected}", result in (expected, "unsupported"), result)


def loopback_stays(tally, pod):
    for user, who in ((AGENT, "agent"), (EGRESSD, "egressd's UID")):
        for (name, *_), came in zip(LOCAL, pod.attempts(user, [way[1:] for way in LOCAL])):
            tally.claim(f"{who}: {name} is open", came == OPEN, came)


def remembered_flows(tally, pod):
    """Checks that a user who binds egressd's closed UDP port next cannot use the flow that the
    kernel still remembers."""
    for address in (NEAR4, NEAR6):
        own = pod.attempts(EGRESSD, [("udp", address, 53, 40053)])[0]
        before = pod.namespaces.arrived()
        agents = pod.attempts(AGENT, [("udp", address, 53, 40053)])[0]
        tally.claim(f"port 40053 to {address}: open for egressd, then refused for the agent",
                    (own, agents, pod.namespaces.arrived() - before) == (OPEN, REFUSED, 0), f"{own}, {agents}")


def from_outside(tally, pod, served):
    """Checks that Prometheus and the kubelet can connect, and that the agent's own port answers
    only where the rules name it."""
    outside = pod.namespaces.outside
    for address in (POD4, POD6):
        came = pod.attempts(ROOT, [("http", address, 8081)], outside)[0]
        tally.claim(f"from outside: management at {address} is open", came == OPEN, came)
        came = pod.attempts(ROOT, [("tcp", address, SERVED)], outside)[0]
        tally.claim(f"from outside: the agent's port {SERVED} at {address} is {'open' if served else 'closed'}", (came == OPEN) == served, came)


def with_an_agents_port(tally, pod):
    """Adds the line that the file contains for the agent's port. Responses then leave by it, and
    nothing else does."""
    text = read(RULES)
    opened = text.replace("# elements = { 3000 }", f"elements = {{ {SERVED} }}")
    tally.claim("the rules have a line for the agent's own ports", opened != text)
    pod.install(pod.world.file("opened.nft", opened))
    from_outside(tally, pod, served=True)
    before = pod.namespaces.arrived()
    came = pod.attempts(AGENT, [("tcp", address, 443, SERVED + 1) for address in (FAR4, FAR6)] + [("udp", NEAR4, 53, SERVED)])
    tally.claim("the agent gets out by none of its own ports", set(came) == {REFUSED} and pod.namespaces.arrived() == before, str(came))


def main():
    if os.geteuid() != 0:
        print("skipped: the lock-down rules (network namespaces need root)")
        return
    tally = Tally()
    with World() as world, Namespaces() as namespaces:
        pod = Pod(world, namespaces)
        pod.serve("outside", namespaces.outside, ROOT, 53, 80, 443)
        pod.serve("agent", namespaces.pod, AGENT, SERVED)
        pod.egressd()
        without_rules(tally, pod)
        pod.install(RULES)
        pod.install(RULES)  # a second time, as a restarted pod does
        only_egressd_gets_out(tally, pod, AGENT, "agent")
        only_egressd_gets_out(tally, pod, ROOT, "root without rights")
        egressd_gets_out(tally, pod)
        loopback_stays(tally, pod)
        remembered_flows(tally, pod)
        from_outside(tally, pod, served=False)
        with_an_agents_port(tally, pod)
    print(f"\n{tally.passed} passed, {len(tally.failures)} failed")
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
