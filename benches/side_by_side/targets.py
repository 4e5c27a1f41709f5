"""The table of targets: the programs that do the job, and their configuration.

The job is the same for all: keep-alive HTTP/1.1 in on loopback; `GET /v1/items/{id}` and `POST
/v1/sink` allowed below `/api-id`, all else refused; the prefix stripped; the agent's own
`Authorization` replaced by the injected one; verified, pooled TLS 1.3 to the upstream. A new peer
is one function here.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "peers"))
from loopback import REPOSITORY, egressd_binary, nginx_argv  # noqa: E402

SECRET = "side-by-side-secret-0123456789abcdef"
SIZES = {"1k": 1024, "64k": 64 * 1024, "1m": 1024 * 1024, "8m": 8 * 1024 * 1024}


@dataclass
class Job:
    """The parameters of every target."""

    world: object
    upstream: int  # port
    ca: Path
    port: int  # where the agent comes in
    workers: int
    single_process: bool = False  # for callgrind, which follows one process


def nginx(job):
    """Debian's nginx: pool, 32k/64k buffers, no temporary files, no access log."""
    tls = f"""proxy_ssl_verify on; proxy_ssl_trusted_certificate {job.ca}; proxy_ssl_name localhost;
        proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on;"""
    return nginx_argv(job.world, f"nginx-{job.port}", f"""
worker_processes {job.workers}; master_process {"off" if job.single_process else "on"};
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; client_max_body_size 10m; client_body_buffer_size 64k;
    keepalive_timeout 75s; keepalive_requests 1000000000; tcp_nodelay on;
    proxy_http_version 1.1; proxy_buffer_size 32k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0; proxy_connect_timeout 5s; proxy_read_timeout 30s; proxy_send_timeout 30s;
    {tls}
    proxy_set_header Connection ""; proxy_set_header Host localhost; proxy_set_header Cookie "";
    proxy_set_header Authorization "Bearer {SECRET}";
    upstream api {{
        server 127.0.0.1:{job.upstream};
        keepalive 64; keepalive_requests 1000000000; keepalive_timeout 60s;
    }}
    server {{
        listen 127.0.0.1:{job.port} reuseport backlog=4096;
        location / {{ return 403; }}
        location /api-id/v1/items/ {{
            limit_except GET {{ deny all; }}
            proxy_pass https://api/v1/items/;
        }}
        location = /api-id/v1/sink {{
            limit_except POST {{ deny all; }}
            proxy_pass https://api/v1/sink;
        }}
    }}
}}
""")


def haproxy(job):
    """Debian's HAProxy 2.6: 32k buffers, no delay, every idle upstream socket reused."""
    configuration = f"""
global
    nbthread {job.workers}
    maxconn 4096
    tune.bufsize 32768
    ssl-server-verify required
defaults
    mode http
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 75s
    timeout server 30s
    timeout http-request 10s
    timeout http-keep-alive 75s
frontend agent
    bind 127.0.0.1:{job.port} shards by-thread backlog 4096
    acl items path_beg /api-id/v1/items/
    acl sink path /api-id/v1/sink
    http-request allow if items METH_GET
    http-request allow if sink {{ method POST }}
    http-request deny deny_status 403
    default_backend api
backend api
    http-request set-path %[path,bytes(7)]
    http-request set-header Host localhost
    http-request set-header Authorization "Bearer {SECRET}"
    http-request del-header Cookie
    server api 127.0.0.1:{job.upstream} ssl verify required verifyhost localhost ca-file {job.ca} sni str(localhost) ssl-min-ver TLSv1.3 alpn http/1.1 pool-max-conn 512
"""
    path = job.world.file(f"haproxy-{job.port}.cfg", configuration)
    return ["haproxy", "-db", "-f", path]


def egressd(job, access="refused", patterns=2, guard=True, more="", management=None, login=None, others=0):
    """Configures the release build with every safety feature on. Patterns beyond the two that are
    requested are added to the table, and other connections are added beside the requested one. A
    login is (username, password)."""
    routes = ["GET /v1/items/{id}", "POST /v1/sink"]
    routes += [f"GET /v1/things{n}/{{id}}/parts" for n in range(patterns - len(routes))]
    home = f"egressd-{job.port}"
    job.world.file(f"{home}/connections/api-id.yaml", f"""
connection_details:
  http:
    base_url: https://127.0.0.1:{job.upstream}
    allowed_routes: {json.dumps(routes)}
    bearer_token: {{token: {SECRET}}}
    max_response_size_bytes: 10485760
    timeout_seconds: 30
    allowed_private_cidrs: [127.0.0.0/8]
    reflection_guard: {str(guard).lower()}
    {more}
""")
    for n in range(others):
        job.world.file(f"{home}/connections/other-{n}.yaml", f"""
display_name: Item {n}
connection_details:
  http:
    base_url: https://127.0.0.1:{job.upstream}/other/{n}
    allowed_routes: ["GET /v1/items/{{id}}", "POST /v1/items", "/v1/any/{{rest...}}"]
    bearer_token: {{token: {SECRET}}}
    allowed_private_cidrs: [127.0.0.0/8]
""")
    account = f", basic_auth: {{username: {login[0]}, password: {login[1]}}}" if login else ""
    settings = job.world.file(f"{home}/egressd.yaml", f"""
proxy: {{listen: ["127.0.0.1:{job.port}"], workers: {job.workers}}}
management: {{listen: ["127.0.0.1:{management or job.world.port()}"]{account}}}
egress: {{ca_files: ["{job.ca}"]}}
connections: [connections]
log: {{format: json, level: info, access: {access}}}
""")
    return [egressd_binary("release"), "serve", "--config", settings]


def egressd_log_all(job):
    """Configures egressd with an access line for every exchange."""
    return egressd(job, access="all")


def egressd_unhardened(job):
    """Configures egressd without Landlock and seccomp, for comparison with the default."""
    return [*egressd(job), "--hardening", "off"]


def egressd_unguarded(job):
    """Configures egressd without the search of responses for the credential, for comparison with
    the default."""
    return egressd(job, guard=False)


def egressd_signed(job):
    """Configures egressd to sign every body."""
    return egressd(job, more="webhook_signing_secret: a-signing-secret-of-32-characters")


def egressd_10_patterns(job):
    """Configures egressd with 10 patterns in the connection, for comparison with the next."""
    return egressd(job, patterns=10)


def egressd_10k_patterns(job):
    """Configures egressd with 10,000 patterns in the connection. A request must not cost more."""
    return egressd(job, patterns=10_000)


TARGETS = {
    "nginx": nginx,
    "haproxy": haproxy,
    "egressd": egressd,
    "egressd-log-all": egressd_log_all,
    "egressd-unguarded": egressd_unguarded,
    "egressd-unhardened": egressd_unhardened,
    "egressd-signed": egressd_signed,
    "egressd-10": egressd_10_patterns,
    "egressd-10k": egressd_10k_patterns,
}
PEERS = ("nginx", "haproxy")  # what a ratio is taken against: the better of these in the same round


def upstream(world, port, leaf, key):
    """The TLS 1.3 nginx behind all targets. It answers 401 without the injected header, and 200 to
    every other request."""
    for name, size in SIZES.items():
        world.file(f"www/v1/items/{name}", body(size))
    for path in (world.directory / "www").rglob("*"):
        path.chmod(0o755)
    small = body(SIZES["1k"]).decode()
    return nginx_argv(world, "upstream", f"""
worker_processes 1; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_timeout 600s; keepalive_requests 1000000000; tcp_nodelay on;
    client_body_buffer_size 64k; client_max_body_size 10m; default_type application/octet-stream;
    output_buffers 4 128k; open_file_cache max=16 inactive=600s; open_file_cache_valid 600s;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {leaf}; ssl_certificate_key {key};
        ssl_protocols TLSv1.3; ssl_session_cache shared:s:1m;
        root {world.directory}/www;
        if ($http_authorization != "Bearer {SECRET}") {{ return 401 "not injected"; }}
        location / {{ return 200 "this request should have been refused"; }}
        location = /v1/items/1k {{ return 200 "{small}"; }}
        location /v1/items/ {{ }}
        location = /v1/sink {{ return 200 "taken"; }}
        location = /sockets {{ stub_status; }}
    }}
}}
""")


def body(size):
    """Returns the bytes that the upstream serves for a size: letters only, so that nginx can quote
    them."""
    line = bytes(range(ord("a"), ord("z") + 1))
    return (line * (size // len(line) + 1))[:size]
