"""config/systemd as systemd reads it, and egressd on the files of its unit.

`systemd-analyze` verifies both units and reckons their exposure, without a running systemd. Then egressd starts on the unit's
settings and definitions, with credentials in a directory as LoadCredential= makes it, under the unit's SystemCallFilter=: as strict,
and stricter in that a call outside of it ends the process. That systemd enforces the other lines is not shown here.
"""

import ctypes
import http.client
import os
import re
import signal
import subprocess
import sys

import yaml

from loopback import REPOSITORY, World, egressd_binary, read
from peers import Tally

UNITS = REPOSITORY / "config/systemd"
RULES = REPOSITORY / "config/kubernetes/sidecar-lockdown/egress.nft"
EXPOSURE = 2.0  # of 10; systemd 252 says 1.4 and 1.2, other versions weigh a little differently
SLACK = 5  # seconds between egressd's own end and systemd's SIGKILL
CREDENTIALS = "/run/credentials/egressd.service"
SOMEBODY = 61184  # a UID of the range from which DynamicUser= takes one


def settings_of(unit):
    """Every `Name=value` of a unit; a name that stands more than once has more than one value."""
    found = {}
    for line in read(UNITS / unit).splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def analysed(tally, world):
    """With programs that exist in place of those that do not: systemd-analyze looks for them."""
    names = ["egressd.service", "agent.service"]
    paths = [world.file(f"units/{name}", re.sub(r"/usr/local/bin/\w+", "/bin/true", read(UNITS / name))) for name in names]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
    tally.claim("systemd-analyze verify has nothing to say", done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr)
    for name, path in zip(names, paths):
        argv = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={int(EXPOSURE * 10)}", path]
        done = subprocess.run(argv, capture_output=True, text=True)
        last = [line for line in done.stdout.splitlines() if "Overall exposure" in line]
        tally.claim(f"{name}: its exposure is at most {EXPOSURE}: {last[0].split(':')[1].strip() if last else '?'}", done.returncode == 0, done.stdout[-300:] + done.stderr)


def calls(name):
    """The system calls of one word of SystemCallFilter=, groups spelt out."""
    if not name.startswith("@"):
        return {name}
    lines = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True).stdout.split("\n")
    return set().union(*(calls(line.strip()) for line in lines[1:] if line.strip() and not line.strip().startswith("#")))


def allowed(unit):
    """What SystemCallFilter= allows: its first line, without the groups of the second."""
    first, second = settings_of(unit)["SystemCallFilter"]
    return set().union(*map(calls, first.split())) - set().union(*map(calls, second.removeprefix("~").split()))


def filtered(user, names, *argv):
    """Becomes this user, shuts out every call but these, and turns into that program."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    kill_process, allow = 0x80000000, 0x7FFF0000
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(kill_process)))
    for name in names.split(","):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # a name of another machine's
            assert seccomp.seccomp_rule_add(rules, ctypes.c_uint32(allow), number, 0) == 0, name
    assert seccomp.seccomp_load(rules) == 0
    os.execv(argv[0], argv)


def agree(tally):
    """What the units, the settings, the definition and the rules of the other packaging say of one another."""
    unit, agent = settings_of("egressd.service"), settings_of("agent.service")
    settings = yaml.safe_load(read(UNITS / "egressd.yaml"))
    loaded = {line.split(":")[0]: line.split(":")[1] for line in unit["LoadCredential"]}
    wanted = set(re.findall(rf"{CREDENTIALS}/([a-z-]+)", read(UNITS / "egressd.yaml") + read(UNITS / "databricks.yaml")))
    tally.claim("LoadCredential= has what settings and definition ask for", loaded.keys() == wanted, f"{loaded} {wanted}")
    tally.claim("TimeoutStopSec= leaves time", settings["shutdown"]["grace_period_seconds"] + SLACK <= int(unit["TimeoutStopSec"][0]))
    denied = set(unit["IPAddressDeny"][0].split())
    sets = re.findall(r"elements = \{ ([^}]*) \}", re.sub(r"#.*", "", read(RULES)))
    tally.claim("the metadata addresses are those of the lock-down", denied == {a for one in sets for a in one.split(", ")}, f"{denied} {sets}")
    proxy, management = (settings[part]["listen"][0].split(":")[0] for part in ("proxy", "management"))
    tally.claim("the agent reaches the proxy's address and no other", agent["IPAddressDeny"] == ["any"] and agent["IPAddressAllow"] == [proxy]
                and management != proxy and management.startswith("127."), f"{agent['IPAddressAllow']} {management}")
    tally.claim("the agent has sockets of IPv4 only, and is nobody that egressd is", agent["RestrictAddressFamilies"] == ["AF_INET"]
                and agent["DynamicUser"] == unit["DynamicUser"] == ["yes"] and not {"User", "Group"} & (agent.keys() | unit.keys()))
    for name, one in (("egressd", unit), ("agent", agent)):
        tally.claim(f"{name} has no capability, no new privileges, no core dump",
                    (one["CapabilityBoundingSet"], one["NoNewPrivileges"], one["LimitCORE"]) == ([""], ["yes"], ["0"]))


def starts(tally, world):
    """ExecStart= with its paths moved into this world, as a user that no other file belongs to."""
    base = world.directory
    credentials = base / "credentials"
    credentials.mkdir()
    for name in ("databricks-token", "management-username", "management-password"):
        path = world.file(f"credentials/{name}", "planted-0123456789abcdef\n")
        path.chmod(0o400)
    if os.geteuid() == 0:
        for path in (credentials, *credentials.iterdir()):
            os.chown(path, SOMEBODY, SOMEBODY)
    names = allowed("egressd.service")
    tally.claim("the filter lets egressd close itself in, and become nobody else",
                {"seccomp", "landlock_restrict_self", "prctl"} <= names and not {"setuid", "chown", "ptrace", "mount", "bpf"} & names)
    as_user = [sys.executable, "-B", __file__, "filtered", str(SOMEBODY), ",".join(sorted(names))]
    credentials.chmod(0o500)
    for name, place in (("egressd.yaml", "egressd.yaml"), ("databricks.yaml", "connections/databricks.yaml")):
        world.file(place, read(UNITS / name).replace(CREDENTIALS, str(credentials)))
    (base / "connections").chmod(0o755)
    binary = world.file("egressd", egressd_binary("debug").read_bytes())
    binary.chmod(0o755)
    argv = [part.replace("/etc/egressd", str(base)) for part in settings_of("egressd.service")["ExecStart"][0].split()[1:]]
    config = base / "egressd.yaml"
    done = subprocess.run([*as_user, binary, "check", "--config", config], capture_output=True, text=True)
    tally.claim("egressd check has nothing to say", done.returncode == 0 and "no warning, no problem" in done.stdout, done.stdout + done.stderr)
    proxy, management = world.port(), world.port()
    process = world.start("egressd", [*as_user, binary, *argv, "--listen", f"127.0.0.1:{proxy}", "--management-listen", f"127.0.0.2:{management}"])
    process.await_port(proxy)
    asks = http.client.HTTPConnection("127.0.0.2", management, timeout=10)
    answers = []
    process.child.send_signal(signal.SIGHUP)
    for path in ("/readyz", "/v1/connections"):
        asks.request("GET", path)
        reply = asks.getresponse()
        reply.read()
        answers.append(reply.status)
    asks.close()
    tally.claim("egressd is ready on the unit's files, and its management is locked", answers == [200, 401], str(answers))
    tally.claim("egressd ends well", world.stop(process) == 0)


def main():
    if sys.argv[1:2] == ["filtered"]:
        filtered(int(sys.argv[2]), *sys.argv[3:])
    tally = Tally()
    with World() as world:
        analysed(tally, world)
        starts(tally, world)
    agree(tally)
    print(f"\n{tally.passed} passed, {len(tally.failures)} failed")
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
