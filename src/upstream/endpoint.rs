//! Token endpoints, which no agent can reach. They share nothing with the pools of the connections,
//! and no socket is used for a second exchange.

use std::sync::Arc;

use http::Response;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::body::UpstreamBody;
use super::client::Client;
use super::failure::Failure;
use super::head::RequestHead;
use super::pool::{ExchangeOptions, SharedUpstream, UpstreamPool};
use crate::domain::{Http2Mode, TokenUrl};
use crate::telemetry::ProblemLog;

/// A token endpoint, with its TLS session tickets and the protocol that it was found to support.
pub struct Endpoint(Arc<SharedUpstream>);

impl Client {
    /// Creates a token endpoint. `allowed_cidrs` are the `allowed_private_cidrs` of its connection,
    /// which hold for the endpoint's addresses as well.
    pub fn endpoint(&self, url: &TokenUrl, allowed_cidrs: &[IpNet]) -> Endpoint {
        let target = self.target(url.host(), url.port(), allowed_cidrs, Http2Mode::Auto);
        Endpoint(Arc::new(SharedUpstream::new(target, url.authority(), 1)))
    }

    /// Resolves the name of an endpoint and checks the addresses. Opens no socket.
    pub async fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        self.dialer.check_addresses(&endpoint.0.target).await
    }

    /// Exchanges one request like [`Client::exchange`], over a socket of its own.
    pub async fn exchange_once<B>(
        &self,
        endpoint: &Endpoint,
        head: &RequestHead<'_>,
        body: B,
        options: ExchangeOptions<'_>,
    ) -> Result<Response<UpstreamBody>, Failure>
    where
        B: http_body::Body<Data = bytes::Bytes, Error = Failure> + Unpin + Send + 'static,
    {
        let pool = Arc::new(UpstreamPool {
            upstream: Arc::clone(&endpoint.0),
            max_idle: 0,
            idle: Mutex::default(),
            session: Mutex::default(),
            // The metrics count the sockets of connections only.
            sockets: Arc::default(),
            problems: ProblemLog::off(),
        });
        self.exchange(&pool, head, &mut Some(body), options).await
    }
}
