//! A proxy with the `pingora` crates that does the job of `benches/side_by_side/targets.py`: two
//! routes allowed below `/api-id`, everything else refused, the prefix removed, `Authorization`
//! replaced, and verified, pooled TLS 1.3 to the upstream.
//!
//! Arguments: the port for agents, the port of the upstream, the file of the CA, the token, and the
//! number of workers.

use std::env;
use std::time::Duration;

use async_trait::async_trait;
use mimalloc::MiMalloc;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PREFIX: &str = "/api-id";

/// The proxy of one upstream.
struct Peer {
    upstream: HttpPeer,
    authorization: String,
}

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Refuses what the two routes do not allow.
    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> Result<bool> {
        let request = session.req_header();
        let path = request.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let is_allowed = match request.method.as_str() {
            "GET" => path
                .strip_prefix("/v1/items/")
                .is_some_and(|item| !item.is_empty() && !item.contains('/')),
            "POST" => path == "/v1/sink",
            _ => false,
        };
        if !is_allowed {
            // `respond_error` would also close the agent's socket.
            let mut refusal = ResponseHeader::build(403, Some(1))?;
            refusal.insert_header("Content-Length", "0")?;
            session
                .write_response_header(Box::new(refusal), true)
                .await?;
        }
        Ok(!is_allowed)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.upstream.clone()))
    }

    /// Removes the prefix and the agent's credentials, and adds the injected one.
    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let target = request.uri.path_and_query().map(|target| target.as_str());
        let target = target
            .and_then(|target| target.strip_prefix(PREFIX))
            .ok_or_else(|| Error::new(ErrorType::InvalidHTTPHeader))?
            .to_owned();
        request.set_raw_path(target.as_bytes())?;
        request.remove_header("Cookie");
        request.insert_header("Host", "localhost")?;
        request.insert_header("Authorization", self.authorization.as_str())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, upstream_port, ca_file, token, workers] = arguments.as_slice() else {
        eprintln!("usage: pingora-peer PORT UPSTREAM_PORT CA_FILE TOKEN WORKERS");
        std::process::exit(64);
    };
    let configuration = ServerConf {
        // A runtime for each worker was cheaper than a shared one.
        work_stealing: false,
        threads: workers.parse().expect("WORKERS is a number"),
        ca_file: Some(ca_file.clone()),
        upstream_keepalive_pool_size: 512,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();

    // With a name for SNI, pingora verifies the certificate and its name.
    let mut upstream = HttpPeer::new(
        format!("127.0.0.1:{upstream_port}"),
        true,
        "localhost".to_owned(),
    );
    upstream.options.connection_timeout = Some(Duration::from_secs(5));
    upstream.options.read_timeout = Some(Duration::from_secs(30));
    upstream.options.write_timeout = Some(Duration::from_secs(30));
    upstream.options.idle_timeout = Some(Duration::from_secs(60));

    let peer = Peer {
        upstream,
        authorization: format!("Bearer {token}"),
    };
    let mut service = http_proxy_service(&server.configuration, peer);
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever()
}
