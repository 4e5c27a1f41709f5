"""An agent → egressd in its image → an HTTPS API, all in one network namespace with only loopback.

`image` creates the namespace. The argument is a directory with `image.tar`, the files of the image
(`.ci/archive-image`), for which the last stage of the Dockerfile is built, or an archive of a whole
image. Every container has the
flags that docs/kubernetes.md recommends to operators.
"""

import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from resource import RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit

from loopback import REPOSITORY, World, read
from peers import Tally

LARGEST = 25_000_000
USER = 65532
TOKEN = "token-of-the-image-0123456789"
PROXY, MANAGEMENT = "http://127.0.0.1:8080", "http://127.0.0.1:8081"
FILES = {"egressd", "etc/egressd/egressd.yaml", "etc/egressd/connections/example.yaml", "licenses/LICENSE-APACHE",
         "licenses/LICENSE-MIT", "licenses/THIRD-PARTY", "share/bash-completion/completions/egressd", "share/elvish/lib/egressd.elv",
         "share/fish/vendor_completions.d/egressd.fish", "share/nushell/vendor/autoload/egressd.nu", "share/pwsh/completions/_egressd.ps1",
         "share/zsh/site-functions/_egressd"}
COMMANDS = ["", "-check", "-connections", "-connectors", "-doctor", "-explain", "-generate", "-generate-completions", "-generate-man",
            "-healthcheck", "-login", "-logout", "-probe", "-schema", "-serve"]
FILES |= {f"share/man/man1/egressd{command}.1" for command in COMMANDS}
STATE = "var/lib/egressd"
# The functions that open shared objects of the same glibc: NSS, for names of hosts and users.
ABSENT = [b"getaddrinfo", b"gethostbyname_r", b"getpwnam_r", b"getpwuid_r", b"getgrnam_r"]
HELD = "memory held, privileges held, files held, system_calls held"
NO_LANDLOCK = "the kernel does not support Landlock, or Landlock is disabled"
# Files that podman itself adds to the image, so that the user has a name.
RUNTIME = {"C /etc", "A /etc/passwd", "A /etc/group"}
SANDBOX = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host"]


class Podman:
    """podman with a storage of its own, which ends with the world."""

    def __init__(self, world):
        self.world = world
        self.home = world.directory / "podman"
        runtime = shutil.which("runc") or shutil.which("crun")
        self.argv = ["podman", f"--root={self.home}/storage", f"--runroot={self.home}/run", f"--tmpdir={self.home}/tmp",
                     f"--runtime={runtime}", "--cgroup-manager=cgroupfs", "--events-backend=none"]
        # There is no systemd here that could run the health check every few seconds, so the test
        # runs it.
        self.environment = {**os.environ, "DISABLE_HC_SYSTEMD": "true"}
        # podman would raise these limits, which root cannot do on every machine.
        self.limits = [f"--ulimit={name}={getrlimit(what)[0]}:{getrlimit(what)[1]}"
                       for name, what in (("nofile", RLIMIT_NOFILE), ("nproc", RLIMIT_NPROC))]

    def ask(self, *arguments, typed=""):
        """Runs a command. Returns its exit code and output."""
        done = subprocess.run([*self.argv, *map(str, arguments)], input=typed, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, env=self.environment)
        return done.returncode, done.stdout.strip()

    def must(self, *arguments):
        """Runs a command that must succeed. Returns its output."""
        code, said = self.ask(*arguments)
        if code != 0:
            raise RuntimeError(f"podman {arguments[0]} ended with {code}: {said}")
        return said

    def once(self, image, *arguments, mounts=(), flags=(), typed=""):
        """Runs a container that ends by itself."""
        return self.ask("run", "--rm", "--interactive", *SANDBOX, *self.limits, *volumes(mounts), *flags, image, *arguments, typed=typed)

    def serve(self, name, image, mounts=(), flags=()):
        """Starts a container with the image's own command. The returned process is podman's."""
        argv = [*self.argv, "run", "--name", name, *SANDBOX, *self.limits, *volumes(mounts), *flags, image]
        process = self.world.start(name, argv, env=self.environment)
        return process.await_port(8080, 30).await_port(8081, 30)

    def stop(self, process):
        """Ends a container by SIGTERM and returns its exit code. podman itself forwards no signal
        in the first moments of a container."""
        self.must("kill", "--signal=TERM", process.name)
        process.child.wait(timeout=30)
        return self.world.stop(process)

    def pid(self, name):
        """Returns the PID of the container's first process in this namespace."""
        return int(self.must("inspect", "--format", "{{.State.Pid}}", name))

    def end(self):
        """Removes every container, so that no mount is left in the world's directory."""
        self.ask("rm", "--all", "--force", "--time=0")
        self.ask("image", "umount", "--all", "--force")
        subprocess.run(["umount", f"{self.home}/storage/overlay"], stderr=subprocess.DEVNULL)


def volumes(mounts):
    return [f"--volume={here}:{there}:ro" for there, here in dict(mounts).items()]


def last_stage(world):
    """Returns the Dockerfile from its last FROM on. The archive of the files that it copies from the
    stage before is the context of the build. ADD keeps the owners of the archive."""
    text = (REPOSITORY / "Dockerfile").read_text()
    stage = text[text.rindex("\nFROM ") + 1:]
    copied = stage.replace("COPY --from=build /image/ /", "ADD image.tar /")
    if copied == stage or "--from" in copied or "RUN" in copied:
        raise RuntimeError(f"not a stage that only copies /image:\n{stage}")
    return world.file("Dockerfile", copied)


def build(tally, podman, source):
    """Returns the id of the image, from the archive of its files or from that of a whole image."""
    if source.is_file():
        loaded = podman.must("load", "--quiet", "--input", source).split()[-1]
        return podman.must("image", "inspect", "--format", "{{.Id}}", loaded)
    def once():
        return podman.must("build", "--quiet", "--format=docker", "--layers=false", "--timestamp=0", "--network=none",
                           "--file", last_stage(podman.world), source)
    image, again = once(), once()
    layers = [podman.must("image", "inspect", "--format", "{{.RootFS.Layers}}", each) for each in (image, again)]
    tally.claim("the same files give the same layer", layers[0] == layers[1], str(layers))
    return image


def judge_contents(tally, podman, image):
    """Checks the image's files, their owners, and its configuration for a runtime."""
    inspected = json.loads(podman.must("image", "inspect", image))[0]
    config = inspected["Config"]
    print(f"# {inspected['Size']} bytes, {inspected['Architecture']}")
    tally.claim("image is smaller than 25 MB", inspected["Size"] < LARGEST, str(inspected["Size"]))
    root = Path(podman.must("image", "mount", image))
    found = {path.relative_to(root).as_posix(): path.lstat() for path in root.rglob("*")}
    files = {name for name, its in found.items() if not stat.S_ISDIR(its.st_mode)}
    tally.claim("image holds the expected files and no other", files == FILES, str(sorted(files ^ FILES)))
    loose = [name for name, its in found.items() if its.st_uid or its.st_gid or its.st_mode & 0o7022 or not its.st_mode & 0o004]
    tally.claim("all files belong to root, are readable by all and writable by root only, except one", loose == [STATE], str(loose))
    its = found.get(STATE)
    tally.claim("the directory of the token store belongs to the user alone", its and (its.st_uid, its.st_gid, its.st_mode & 0o7777) == (USER, USER, 0o700), str(its))
    tally.claim("the directory of the token store is empty", not any(name.startswith(f"{STATE}/") for name in found))
    notices = read(root / "licenses/THIRD-PARTY")
    silent = [name for name in linked() if f"\n{name} v" not in notices]
    tally.claim("every linked crate is among the licences", len(notices) > 100_000 and not silent, str(silent))
    symbols = (root / "egressd").read_bytes()
    lacking = [name for name in ABSENT if b"\0" + name + b"\0" in symbols]
    tally.claim("the program uses no function of glibc that needs dynamic linking", b"\0__libc_start_main\0" in symbols and not lacking, str(lacking))
    podman.must("image", "umount", image)
    expected = {"User": "65532:65532", "Entrypoint": ["/egressd"], "Cmd": ["serve", "--config", "/etc/egressd/egressd.yaml"]}
    told = {key: config.get(key) for key in expected}
    tally.claim("the image names user, program and arguments", told == expected, str(told))
    label = (config.get("Labels") or {}).get("org.opencontainers.image.version")
    code, said = podman.once(image, "--version")
    tally.claim("the label has the program's version", (code, said) == (0, f"egressd {label}"), f"{label}, {said}")


def linked():
    """Returns the crates that Cargo.toml requires without features. An optional crate is not in the
    released binary."""
    section = (REPOSITORY / "Cargo.toml").read_text().split("[dependencies]")[1].split("\n[")[0]
    required = (line for line in section.splitlines() if "optional = true" not in line)
    return [found[1] for line in required if (found := re.match(r"([a-z0-9_-]+) =", line))]


def get(url):
    """Returns the status and text of a response with any status."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def judge_process(tally, podman, name):
    """Checks the user and the rights of the process, and that it has written nothing."""
    pid = podman.pid(name)
    status = dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
    tally.claim("it is PID 1", status["NSpid"].split()[-1] == "1", status["NSpid"])
    ids = {*status["Uid"].split(), *status["Gid"].split()}
    tally.claim("user and group are 65532", ids == {str(USER)}, str(ids))
    rights = {key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    tally.claim("it has no capability", not any(int(bits, 16) for bits in rights.values()), str(rights))
    tally.claim("it can gain no privilege", status["NoNewPrivs"] == "1", status["NoNewPrivs"])
    tally.claim("its root is read-only", " / / ro," in read(f"/proc/{pid}/mountinfo") or " / ro," in read(f"/proc/{pid}/mountinfo"),
                read(f"/proc/{pid}/mountinfo")[:200])
    tally.claim("no file is open for writing", not (wrote := written(pid)), str(wrote))
    changes = {line for line in podman.must("diff", name).splitlines() if line not in RUNTIME}
    tally.claim("it changed no file", not changes, str(changes))


def written(pid):
    """Returns the regular files that the process has open for writing."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        flags = re.search(r"^flags:\s+(\d+)", read(f"/proc/{pid}/fdinfo/{number}"), re.M)
        path = Path(f"/proc/{pid}/fd/{number}")
        if flags and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY and path.is_file():
            found.append(os.readlink(path))
    return found


def judge_default(tally, podman, image):
    """Checks that the image without mounts serves the example, which needs no secret, and the
    result of the health command before, during and after."""
    health = json.loads(podman.must("image", "inspect", image))[0]["Healthcheck"]["Test"]
    tally.claim("the health check needs no shell", health == ["CMD", "/egressd", "healthcheck", "--config", "/etc/egressd/egressd.yaml"], str(health))
    code, said = podman.once(image, *health[2:])
    tally.claim("the health check ends with 1 without a listener", code == 1, f"{code}: {said}")
    code, said = podman.once(image, "check", "--config", "/etc/egressd/egressd.yaml")
    tally.claim("the shipped configuration has no problem", code == 0, said)
    process = podman.serve("default", image)
    status, said = get(f"{MANAGEMENT}/readyz")
    tally.claim("it is ready without mounts", status == 200, said)
    _, said = get(f"{MANAGEMENT}/readyz?verbose")
    hardening = said.partition("[i]hardening: ")[2].partition("\n")[0]
    print(f"# hardening: {hardening}")
    # The container does not use it, but a kernel may.
    tally.claim("every measure of hardening holds", hardening.replace(f"failed ({NO_LANDLOCK})", "held") == HELD, hardening)
    status, said = get(f"{MANAGEMENT}/v1/connections")
    names = [connection["name"] for connection in json.loads(said)["connections"]]
    tally.claim("it serves the example", names == ["connections/example"], str(names))
    status, said = get(f"{PROXY}/example/elsewhere")
    tally.claim("it refuses what the example does not allow", status == 403 and "route_not_allowed" in said, said)
    code, said = podman.ask("healthcheck", "run", "default")
    tally.claim("the health check ends with 0 while it serves", code == 0, f"{code}: {said}")
    judge_process(tally, podman, "default")
    code = podman.stop(process)
    tally.claim("SIGTERM ends PID 1 with 0", code == 0, f"{code}\n{process.said()}")
    lines = [json.loads(line) for line in read(process.log).splitlines() if line.startswith("{")]
    tally.claim("the refusal has its access line", any(line.get("code") == "route_not_allowed" for line in lines), process.said())


class Upstream(BaseHTTPRequestHandler):
    """Answers whether the injected credential arrived."""

    def do_GET(self):
        content = b"authorized" if self.headers["Authorization"] == f"Bearer {TOKEN}" else b"anybody"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def upstream(world):
    """Starts a TLS server on loopback. Returns its port and the certificate of its CA."""
    ca, certificate, key = world.certificates()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], ca


def definitions(world, port, name, more=""):
    """Creates an operator's mount for /etc/egressd: settings, one connection, and its secret, which
    only egressd's user can read."""
    world.file(f"{name}/egressd.yaml", f"connections: [connections]\nlog: {{format: json}}\n{more}")
    world.file(f"{name}/connections/api.yaml", f"""
connection_details:
  http:
    base_url: https://localhost:{port}
    allowed_routes: ["GET /v1/{{name}}"]
    bearer_token: {{token: {{file: /run/secrets/token}}}}
    allowed_private_cidrs: [127.0.0.0/8, "::1/128"]
""")
    secret = world.file("secrets/token", TOKEN)
    os.chown(secret, USER, USER)
    secret.chmod(0o400)
    return {"/etc/egressd": world.directory / name, "/run/secrets": world.directory / "secrets"}


def judge_mounted(tally, podman, image):
    """Checks an operator's own settings, with a CA that is trusted in each of the two ways, or not
    at all."""
    world = podman.world
    port, ca = upstream(world)
    world.file("named/ca.pem", ca.read_bytes())
    world.file("platform/ca-certificates.crt", ca.read_bytes())
    named = definitions(world, port, "named", "egress: {ca_files: [ca.pem]}\n")
    plain = definitions(world, port, "plain")
    cases = {
        "ca_files": (named, 200, "authorized"),
        "a mounted /etc/ssl/certs": ({**plain, "/etc/ssl/certs": world.directory / "platform"}, 200, "authorized"),
        "no CA but the bundled roots": (plain, 502, "unknown issuer"),
    }
    for name, (mounts, status, word) in cases.items():
        container = name.replace(" ", "-").replace("/", "-")
        process = podman.serve(container, image, mounts)
        answer = get(f"{PROXY}/api/v1/status")
        tally.claim(f"request with {name}: {status}", answer[0] == status and word in answer[1], f"{answer}\n{process.said()}")
        tally.claim(f"SIGTERM with {name}: 0", (code := podman.stop(process)) == 0, f"{code}\n{process.said()}")
        tally.claim(f"no secret in the log with {name}", TOKEN not in process.said(), process.said())
    world.file("plain/connections/api.yaml", "connection_details: {http: {base_url: 'http://localhost'}}\n")
    code, said = podman.once(image, "check", "--config", "/etc/egressd/egressd.yaml", mounts=plain)
    tally.claim("check finds the problem and its place", code == 1 and "connections/api.yaml:1" in said, f"{code}: {said}")
    code, said = podman.once(image, mounts=plain)
    tally.claim("it does not start with a bad definition", code == 64 and "api.yaml" in said, f"{code}: {said}")


def judge_consent(tally, podman, image):
    """Checks the documented commands for connections that a person consents to: a volume for the
    tokens, a login before the start, and a login in the running container. The root file system
    stays read-only."""
    world = podman.world
    port, ca = upstream(world)
    world.file("consent/ca.pem", ca.read_bytes())
    mounts = definitions(world, port, "consent", "egress: {ca_files: [ca.pem]}\ntoken_store: {directory: /var/lib/egressd/tokens}\n")
    world.file("consent/connections/person.yaml", f"""
connection_details:
  http:
    base_url: https://localhost:{port}
    allowed_routes: ["GET /v1/{{name}}"]
    oauth_user_consent:
      client_id: {{file: /run/secrets/token}}
      token_url: https://localhost:{port}/token
      device_authorization_url: https://localhost:{port}/device
    allowed_private_cidrs: [127.0.0.0/8, "::1/128"]
""")
    volume = ["--volume=egressd-state:/var/lib/egressd"]
    login = ["login", "--config", "/etc/egressd/egressd.yaml", "--yes", "--import", "-"]
    grant = json.dumps({"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600, "refresh_token": "refresh-token"})
    code, said = podman.once(image, *login, "person", mounts=mounts, typed=grant)
    tally.claim("without a volume, login finds that the store cannot be written", code == 69 and TOKEN not in said, f"{code}: {said}")
    code, said = podman.once(image, *login, "person", mounts=mounts, flags=volume, typed=grant)
    tally.claim("login stores the grant in the volume", code == 0 and TOKEN not in said, f"{code}: {said}")
    process = podman.serve("consent", image, mounts, volume)
    answer = get(f"{PROXY}/person/v1/status")
    tally.claim("the container uses the grant of the volume", answer == (200, "authorized"), f"{answer}\n{process.said()}")
    again = grant.replace(TOKEN, "of-another-login")
    code, said = podman.ask("exec", "--interactive", "consent", "/egressd", *login, "--replace", "person", typed=again)
    tally.claim("login works in the running container", code == 0, f"{code}: {said}")
    deadline = time.monotonic() + 10
    while (answer := get(f"{PROXY}/person/v1/status")) != (200, "anybody") and time.monotonic() < deadline:
        time.sleep(0.02)
    tally.claim("and the container uses it without a restart", answer == (200, "anybody"), f"{answer}\n{process.said()}")
    tally.claim("SIGTERM with a token store: 0", (code := podman.stop(process)) == 0, f"{code}\n{process.said()}")
    tally.claim("no token in the log", TOKEN not in process.said() and "of-another-login" not in process.said(), process.said())


def main():
    tally = Tally()
    with World() as world:
        podman = Podman(world)
        try:
            image = build(tally, podman, Path(sys.argv[1]).absolute())
            judge_contents(tally, podman, image)
            judge_default(tally, podman, image)
            judge_mounted(tally, podman, image)
            judge_consent(tally, podman, image)
        finally:
            podman.end()
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
