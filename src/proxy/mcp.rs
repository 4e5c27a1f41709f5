//! The Model Context Protocol at `/mcp`: the routes of connections as tools.
//!
//! The SDK, rmcp, parses and answers the messages. Nothing is kept between two requests: each of
//! them is complete in itself, also those of clients that begin with `initialize`.
//!
//! rmcp answers each message in a task of its own. The request of a call needs the exchange and the
//! timers of the agent's socket, so it is sent by the task of the socket, which runs the stages of
//! every other request for it. It ends when the agent disconnects, or when its deadline passes.
//!
//! ```text
//! task of the socket (mcp_exchange)                   task of rmcp (mcp::handler)
//! ---------------------------------                   ---------------------------
//! stage address, body               -- message ------> arguments to a request
//! stages address to forward, body   <- PendingCall ---
//!                                   -- ToolResponse -> response to a result
//! response to the agent             <- message -------
//! ```

mod calls;
mod changes;
mod handler;
mod instructions;
mod listing;
mod message;
mod result;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use rmcp::model::{ErrorData, JsonRpcError};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::de::IgnoredAny;
use tokio::sync::Mutex;

use super::body_budget::{BodyBudget, BudgetShare};
use super::exchange::Exchange;
use super::refusal::Refusal;
use crate::server::{RequestBody, SocketTimers};
use crate::snapshot::Snapshot;
pub(super) use calls::{PendingCall, ToolResponse, read_response, request_parts};
use changes::ListChanges;
pub(super) use handler::AgentRequest;
use handler::Handler;
pub use listing::ToolNames;
use message::read_message;

/// The name under which the memory for messages is counted. It is not the id of a connection.
const BUDGET_ID: &str = "mcp";

/// The bytes above which messages are parsed one after the other. Parsing 16 KiB takes less than a
/// millisecond.
const LARGE_MESSAGE: usize = 16 * 1024;

/// The body of a response to an MCP client: one message, or a stream of them.
pub(super) type McpBody = BoxBody<Bytes, Infallible>;

/// The MCP server of one worker.
pub(super) struct McpServer {
    service: StreamableHttpService<Handler, NeverSessionManager>,
    changes: ListChanges,
    max_result_bytes: usize,
    body_share: Arc<BudgetShare>,
    /// Held while a large message is parsed, so that other tasks of the worker run between two.
    parsing: Mutex<()>,
}

/// A request to `/mcp`, whose body is unread.
pub(super) struct McpRequest<'s> {
    pub(super) server: &'s McpServer,
    pub(super) body: RequestBody,
}

impl McpServer {
    /// Creates the server of a worker. A result contains at most this many bytes of a response.
    pub(super) fn new(
        names: Arc<ToolNames>,
        max_result_bytes: usize,
        budget: &Arc<BodyBudget>,
    ) -> Self {
        let changes = ListChanges::new();
        let handler = Handler::new(names, changes.subscriptions());
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            // The stage *address* has checked both, against the `allowed_hosts` of the listener.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            // `read_message` has enforced the limit.
            .with_max_request_body_bytes(usize::MAX);
        Self {
            service: StreamableHttpService::new(
                move || Ok(handler.clone()),
                Arc::new(NeverSessionManager::default()),
                config,
            ),
            changes,
            max_result_bytes,
            body_share: budget.connection_share(BUDGET_ID),
            parsing: Mutex::new(()),
        }
    }

    /// Reads a message, which must be complete within the time that it is given.
    pub(super) async fn read_message(
        &self,
        incoming: RequestBody,
        body_cap: u64,
        exchange: &mut Exchange,
        timers: &Arc<SocketTimers>,
    ) -> Result<Bytes, Refusal> {
        read_message(incoming, body_cap, &self.body_share, exchange, timers).await
    }

    /// Returns the response to a message.
    pub(super) async fn answer(
        &self,
        head: &Parts,
        message: Bytes,
        agent: AgentRequest,
    ) -> Response<McpBody> {
        let request = request_for_rmcp(head, message.clone(), agent);
        let mut handled = pin!(self.service.handle(request));
        if message.len() > LARGE_MESSAGE {
            let _turn = self.parsing.lock().await;
            // The worker looks for events of other sockets before the task goes on.
            tokio::task::yield_now().await;
            // rmcp parses the message when it is polled first.
            if let Poll::Ready(response) = poll_once(handled.as_mut()).await {
                return with_json_error(response, head, &message);
            }
        }
        with_json_error(handled.await, head, &message)
    }

    /// Returns the most bytes of a response that a result contains.
    pub(super) fn max_result_bytes(&self) -> usize {
        self.max_result_bytes
    }

    /// Announces a changed list of tools to subscribed clients. Ends their subscriptions if the
    /// process is stopping.
    pub(super) fn announce(&self, snapshot: &Snapshot, is_draining: bool) {
        self.changes.announce(snapshot, is_draining);
    }
}

/// Polls a future once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Returns the request for rmcp, with the [`AgentRequest`] as an extension.
fn request_for_rmcp(head: &Parts, message: Bytes, agent: AgentRequest) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(message));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    request.extensions_mut().insert(agent);
    request
}

/// Replaces rmcp's response to a body that is not a JSON-RPC message. It is a text with the status
/// 415, which clients report as a wrong `Content-Type`.
fn with_json_error(
    mut response: Response<McpBody>,
    head: &Parts,
    message: &[u8],
) -> Response<McpBody> {
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json(head) {
        response = json_rpc_error(match serde_json::from_slice::<IgnoredAny>(message) {
            Err(error) => ErrorData::parse_error(format!("the body is not JSON: {error}"), None),
            Ok(_) => ErrorData::invalid_request("the body is not one JSON-RPC message", None),
        });
    }
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn is_json(head: &Parts) -> bool {
    let value = head.headers.get(CONTENT_TYPE);
    let essence = value.and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}

fn json_rpc_error(error: ErrorData) -> Response<McpBody> {
    // A message of strings and numbers always serialises.
    let body = serde_json::to_vec(&JsonRpcError::new(None, error)).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
