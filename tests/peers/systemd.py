"""Checks config/systemd with systemd, and egressd on the files of its unit.

`systemd-analyze` verifies both units and computes their exposure, without a running systemd. Then
egressd starts with the unit's settings and definitions, with credentials in a directory as
LoadCredential= creates it, under the unit's SystemCallFilter=. That filter is stricter here: a call
outside of it ends the process. At last, as root, a systemd of its own is booted (boot.sh) and runs
both units unchanged: egressd with its credentials, a reload, its end, and an agent that tries the
ways out. A second boot adds consent.conf, and logs in with the lines that it documents.
"""

import ctypes
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from loopback import REPOSITORY, World, egressd_binary, read
from peers import Tally

UNITS = REPOSITORY / "config/systemd"
RULES = REPOSITORY / "config/kubernetes/sidecar-lockdown/egress.nft"
EXPOSURE = 2.0  # of 10; systemd 252 computes 1.4 and 1.2, and other versions differ slightly
SLACK = 5  # seconds between egressd's own end and systemd's SIGKILL
CREDENTIALS = "/run/credentials/egressd.service"
DYNAMIC_USER = 61184  # a UID of the range from which DynamicUser= takes one
DROP_IN = "egressd.service.d/consent.conf"
STORED = "/var/lib/egressd/tokens/github.json"

BOOTED = 60  # seconds after which a boot counts as hanging
# The agent's attempts: name, method, and whether it gets through. Everything is open outside the
# unit.
TRIES = [
    ("proxy", "curl -sf -m 3 http://127.0.0.1:8080/", True),
    ("management", "curl -sf -m 3 http://127.0.0.2:8081/readyz", False),
    ("outside", "say tcp 203.0.113.9 80", False),
    ("outside by UDP", "say udp 203.0.113.9 53", False),
    ("systemd's name server", "say udp 127.0.0.53 53", False),
    ("IPv6 loopback", "say tcp ::1 80", False),
    ("a local socket", "curl -sf -m 3 --unix-socket /run/egressd/agent.sock http://localhost/", False),
    ("settings", "cat /etc/egressd/egressd.yaml", False),
    ("credentials", "cat /run/credentials/egressd.service/databricks-token", False),
    ("egressd's process", "cat /proc/$(cat /run/pid-of-egressd)/cmdline", False),
]
# What the agent tries in addition where a person has consented to a connection.
CONSENT_TRIES = [("the tokens", f"cat {STORED}", False), ("the directory of the tokens", "ls /var/lib/egressd/", False)]


def settings_of(*units):
    """Returns every `Name=value` of a unit and its drop-ins. A repeated name has several values."""
    found = {}
    for line in "\n".join(read(UNITS / unit) for unit in units).splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def analysed(tally, world, folder):
    """Replaces programs that do not exist, because systemd-analyze looks for them."""
    names = ["egressd.service", "agent.service"]
    paths = [world.file(f"{folder}/{name}", re.sub(r"/usr/local/bin/\w+", "/bin/true", read(UNITS / name))) for name in names]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
    tally.claim(f"{folder}: systemd-analyze verify reports nothing", done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr)
    for name, path in zip(names, paths):
        argv = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={int(EXPOSURE * 10)}", path]
        done = subprocess.run(argv, capture_output=True, text=True)
        last = [line for line in done.stdout.splitlines() if "Overall exposure" in line]
        tally.claim(f"{folder}: {name}: its exposure is at most {EXPOSURE}: {last[0].split(':')[1].strip() if last else '?'}", done.returncode == 0, done.stdout[-300:] + done.stderr)


def calls(name):
    """Returns the system calls of one word of SystemCallFilter=, with groups expanded."""
    if not name.startswith("@"):
        return {name}
    lines = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True).stdout.split("\n")
    return set().union(*(calls(line.strip()) for line in lines[1:] if line.strip() and not line.strip().startswith("#")))


def allowed(unit):
    """Returns the calls that SystemCallFilter= allows: its first line, without the groups of the
    second."""
    first, second = settings_of(unit)["SystemCallFilter"]
    return set().union(*map(calls, first.split())) - set().union(*map(calls, second.removeprefix("~").split()))


def filtered(user, names, *argv):
    """Becomes this user, blocks every system call except these, and executes that program."""
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
        if number >= 0:  # the system call exists on this architecture
            assert seccomp.seccomp_rule_add(rules, ctypes.c_uint32(allow), number, 0) == 0, name
    assert seccomp.seccomp_load(rules) == 0
    os.execv(argv[0], argv)


def agree(tally):
    """Checks that the units, the settings, the definition and the rules of the other packaging
    agree."""
    unit, agent, consent = map(settings_of, ("egressd.service", "agent.service", "consent.conf"))
    settings = yaml.safe_load(read(UNITS / "egressd.yaml"))
    loaded = {line.split(":")[0]: line.split(":")[1] for line in unit["LoadCredential"]}
    wanted = set(re.findall(rf"{CREDENTIALS}/([a-z-]+)", read(UNITS / "egressd.yaml") + read(UNITS / "databricks.yaml")))
    tally.claim("LoadCredential= has the credentials of settings and definition", loaded.keys() == wanted, f"{loaded} {wanted}")
    loaded = {line.split(":")[0] for line in consent["LoadCredential"]}
    wanted = set(re.findall(rf"{CREDENTIALS}/([a-z-]+)", read(UNITS / "github.yaml")))
    tally.claim("consent.conf has the credentials of its definition", loaded == wanted, f"{loaded} {wanted}")
    store = settings["token_store"]["directory"]
    made = [f"/var/lib/{name}" for name in consent["StateDirectory"][0].split()]
    tally.claim("consent.conf creates the token store for its user, and the agent cannot enter it", store in made and consent["StateDirectoryMode"] == ["0700"]
                and (consent["User"], consent["DynamicUser"]) == (["egressd"], ["no"]) and f"-{made[0]}" in agent["InaccessiblePaths"][0].split(), f"{store} {made}")
    tally.claim("TimeoutStopSec= leaves enough time", settings["shutdown"]["grace_period_seconds"] + SLACK <= int(unit["TimeoutStopSec"][0]))
    denied = set(unit["IPAddressDeny"][0].split())
    sets = re.findall(r"elements = \{ ([^}]*) \}", re.sub(r"#.*", "", read(RULES)))
    tally.claim("the metadata addresses are those of the lock-down", denied == {a for one in sets for a in one.split(", ")}, f"{denied} {sets}")
    proxy, management = (settings[part]["listen"][0].split(":")[0] for part in ("proxy", "management"))
    tally.claim("the agent reaches the proxy's address and no other", agent["IPAddressDeny"] == ["any"] and agent["IPAddressAllow"] == [proxy]
                and management != proxy and management.startswith("127."), f"{agent['IPAddressAllow']} {management}")
    tally.claim("the agent has sockets of IPv4 only, and is not the user of egressd", agent["RestrictAddressFamilies"] == ["AF_INET"]
                and agent["DynamicUser"] == unit["DynamicUser"] == ["yes"] and not {"User", "Group"} & (agent.keys() | unit.keys()))
    for name, one in (("egressd", unit), ("agent", agent)):
        tally.claim(f"{name} has no capability, no new privileges, no core dump",
                    (one["CapabilityBoundingSet"], one["NoNewPrivileges"], one["LimitCORE"]) == ([""], ["yes"], ["0"]))


def starts(tally, world):
    """Runs ExecStart= with its paths moved into this world, as a user that owns no other file."""
    base = world.directory
    credentials = base / "credentials"
    credentials.mkdir()
    for name in ("databricks-token", "management-username", "management-password"):
        path = world.file(f"credentials/{name}", "planted-0123456789abcdef\n")
        path.chmod(0o400)
    if os.geteuid() == 0:
        for path in (credentials, *credentials.iterdir()):
            os.chown(path, DYNAMIC_USER, DYNAMIC_USER)
    names = allowed("egressd.service")
    tally.claim("the filter lets egressd confine itself, but not change its user",
                {"seccomp", "landlock_restrict_self", "prctl"} <= names and not {"setuid", "chown", "ptrace", "mount", "bpf"} & names)
    as_user = [sys.executable, "-B", __file__, "filtered", str(DYNAMIC_USER), ",".join(sorted(names))]
    credentials.chmod(0o500)
    for name, place in (("egressd.yaml", "egressd.yaml"), ("databricks.yaml", "connections/databricks.yaml")):
        world.file(place, read(UNITS / name).replace(CREDENTIALS, str(credentials)))
    (base / "connections").chmod(0o755)
    binary = world.file("egressd", egressd_binary("debug").read_bytes())
    binary.chmod(0o755)
    argv = [part.replace("/etc/egressd", str(base)) for part in settings_of("egressd.service")["ExecStart"][0].split()[1:]]
    config = base / "egressd.yaml"
    done = subprocess.run([*as_user, binary, "check", "--config", config], capture_output=True, text=True)
    tally.claim("egressd check reports nothing", done.returncode == 0 and "no warning, no problem" in done.stdout, done.stdout + done.stderr)
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
    tally.claim("egressd ends with 0", world.stop(process) == 0)


def documented(name, word):
    """Returns the command in the comments of a file of config/systemd that contains this word."""
    lines = [line.removeprefix("#").strip() for line in read(UNITS / name).splitlines() if line.startswith("#   ")]
    return next(command for command in "\n".join(lines).replace("\\\n", "").splitlines() if word in command)


def consented():
    """Returns the part of /conduct in which a person logs in, with the documented lines: as the
    user of the service, while it runs. A restart keeps the grant."""
    login = documented("consent.conf", "egressd login").replace("sudo -u egressd", "setpriv --reuid=egressd --regid=egressd --clear-groups")
    login = login.replace("--device github", "--yes --import - github")
    return f"""ask() {{ curl -s -m 10 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:8080/github/user; }}
export PATH=$PATH:/usr/local/bin
ask >/out/before
echo '{{"access_token":"planted-access","token_type":"bearer","refresh_token":"planted-refresh"}}' | {login} >/out/consent 2>&1
echo $? >/out/consent-code
while [ "$(ask)" = 403 ]; do sleep 0.05; done
stat -c '%U %a' /var/lib/egressd /var/lib/egressd/tokens {STORED} >/out/stored
systemctl restart egressd
until curl -sf http://127.0.0.2:8081/readyz; do sleep 0.05; done
ask >/out/after
id -u egressd >/out/user
"""


def booted(tally, world, name, with_consent):
    """Runs both units under a real systemd, with BPF and cgroups of its own."""
    tries = TRIES + (CONSENT_TRIES if with_consent else [])
    here, files = world.directory / name, world.directory / name / "files"
    put = lambda path, content, mode=0o644: world.file(f"{name}/files/{path}", content).chmod(mode)
    put("usr/local/bin/egressd", egressd_binary("debug").read_bytes(), 0o755)
    for unit in ("egressd.service", "agent.service"):
        put(f"etc/systemd/system/{unit}", read(UNITS / unit))
        put(f"etc/systemd/system/{unit}.d/out.conf", f"[Service]\nStandardOutput=append:/out/{unit}\nStandardError=append:/out/{unit}\nRestart=no\n")
    put("etc/systemd/system/empty.target", "[Unit]\nDefaultDependencies=no\n")
    put("etc/egressd/egressd.yaml", read(UNITS / "egressd.yaml").replace("[127.0.0.1:8080]", "[127.0.0.1:8080, 'unix:/run/egressd/agent.sock']"))
    put("etc/egressd/connections/databricks.yaml", read(UNITS / "databricks.yaml"))
    secrets = ["databricks-token", "management-username", "management-password"]
    if with_consent:
        put(f"etc/systemd/system/{DROP_IN}", read(UNITS / "consent.conf"))
        put("etc/egressd/connections/github.yaml", read(UNITS / "github.yaml"))
        secrets += ["github-client-id", "github-client-secret"]
    for secret in secrets:
        put(f"etc/egressd/secrets/{secret}", "planted-0123456789abcdef\n", 0o600)
    (files / "etc/egressd/secrets").chmod(0o700)
    put("usr/local/bin/agent", "\n".join([
        "#!/bin/bash", "exec 2>/dev/null",
        'say() { timeout 3 bash -c \'exec 3<>"/dev/$0/$1/$2" && echo word >&3 && [ "$(timeout 2 dd bs=64 count=1 <&3)" = word ]\' "$@"; }',
        *(f'if {how} >/dev/null; then echo "{what}: open"; else echo "{what}: closed"; fi' for what, how, _ in tries), ""]), 0o755)
    shutil.copy(REPOSITORY / "tests/peers/lockdown_side.py", here)
    shutil.copy(REPOSITORY / "tests/peers/lockdown_side.py", files / "side.py")
    put("conduct", f"""#!/bin/bash
until systemctl show -p Version; do sleep 0.05; done
ip address add 203.0.113.9/32 dev lo
{os.path.realpath(sys.executable)} -B /side.py serve 0 53 80 &
{documented("consent.conf", "useradd") if with_consent else ""}
systemctl start egressd
until curl -sf http://127.0.0.2:8081/readyz && echo >/dev/tcp/127.0.0.1/80; do sleep 0.05; done
{consented() if with_consent else ""}
pidof egressd >/run/pid-of-egressd
/usr/local/bin/agent >/out/other
systemctl start agent
while systemctl is-active -q agent; do sleep 0.05; done
grep -E '^(Uid|CapBnd|NoNewPrivs|Seccomp):' /proc/$(pidof egressd)/status >/out/status
curl -s -u planted-0123456789abcdef:planted-0123456789abcdef -o /dev/null -w '%{{http_code}}' http://127.0.0.2:8081/v1/connections >/out/login
curl -s 'http://127.0.0.2:8081/readyz?verbose' >/out/ready
systemctl reload egressd
until grep -q '"event":"reload' /out/egressd.service; do sleep 0.05; done
systemctl stop egressd
systemctl show egressd -p Result -p ExecMainStatus >/out/end
touch /out/done
""", 0o755)
    machine = world.start(name, ["unshare", "-m", "-p", "-C", "-n", "-u", "-i", "--fork", "--kill-child", "bash", REPOSITORY / "tests/peers/boot.sh", here])
    out = here / "out"
    deadline = time.monotonic() + BOOTED
    while not (out / "done").exists() and machine.child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    world.stop(machine)
    if not (out / "built").exists():
        print(f"skipped: no systemd can be booted here: {read(machine.log)[-300:]}")
        return
    story = read(out / "conduct")[-1500:] + read(out / "egressd.service")[-1500:]
    claim = lambda what, held, more="": tally.claim(f"{name}: {what}", held, more)
    claim("both units ran to their end", (out / "done").exists(), story)
    for who, log in (("another service", "other"), ("the agent's unit", "agent.service")):
        found = dict(line.rsplit(": ", 1) for line in read(out / log).splitlines())
        for what, _, through in tries:
            wanted = "open" if through or log == "other" else "closed"
            claim(f"to {who} {what} is {wanted}", found.get(what) == wanted, str(found))
    status = dict(line.split(":\t", 1) for line in read(out / "status").splitlines())
    claim("egressd has a user of its own, no capability, no new privileges, a filter", status.get("Uid", "0").split()[0] not in ("0", "65534")
          and (status.get("CapBnd"), status.get("NoNewPrivs"), status.get("Seccomp")) == ("0" * 16, "1", "2"), str(status))
    held = read(out / "ready")
    claim("the unit lets egressd confine itself", all(f"{measure} held" in held for measure in ("memory", "privileges", "files", "system_calls")), held)
    claim("the credentials are the loaded ones", read(out / "login") == "200", read(out / "login"))
    claim("a reload takes effect", '"event":"reloaded"' in read(out / "egressd.service"), story)
    claim("it ends with 0", set(read(out / "end").split()) == {"Result=success", "ExecMainStatus=0"}, read(out / "end"))
    if with_consent:
        judge_consent(claim, out, status)


def judge_consent(claim, out, status):
    """Checks the login, and that the running service and the restarted one use its grant."""
    claim("without a consent, requests are refused", read(out / "before") == "403", read(out / "before"))
    claim("the documented login stores the grant", read(out / "consent-code") == "0\n", read(out / "consent"))
    claim("only the service's user can read the tokens", read(out / "stored").splitlines() == ["egressd 700", "egressd 700", "egressd 600"], read(out / "stored"))
    claim("the service runs as that user", status.get("Uid", "").split() == read(out / "user").split() * 4, str(status))
    # There is no network, so the API itself cannot be reached.
    claim("the service uses the grant, also after a restart", read(out / "after") == "502", read(out / "after"))


def main():
    if sys.argv[1:2] == ["filtered"]:
        filtered(int(sys.argv[2]), *sys.argv[3:])
    tally = Tally()
    with World() as world:
        analysed(tally, world, "the units")
        world.file(f"with a consent/{DROP_IN}", read(UNITS / "consent.conf"))
        analysed(tally, world, "with a consent")
        starts(tally, world)
        if os.geteuid() == 0:
            booted(tally, world, "under systemd", False)
            booted(tally, world, "under systemd with a consent", True)
        else:
            print("skipped: the units under a systemd of their own (needs root)")
    agree(tally)
    print(f"\n{tally.passed} passed, {len(tally.failures)} failed")
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
