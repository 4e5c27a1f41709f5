//! The requests of calls, and their responses.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, LOCATION, USER_AGENT,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::proxy::code::RefusalCode;
use crate::proxy::error::ExchangeError;
use crate::proxy::exchange::Exchange;
use crate::proxy::refusal::Refusal;
use crate::proxy::searched_body::SearchedBody;
use crate::proxy::{deadlines, panics};
use crate::server::SocketTimers;
use crate::tools::ToolRequest;

/// The agent's headers that are sent on with the requests of its calls. The others describe its
/// request to `/mcp`.
const PASSED: [HeaderName; 3] = [
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A call whose request is to be sent.
pub(in crate::proxy) struct PendingCall {
    pub(in crate::proxy) request: ToolRequest,
    pub(in crate::proxy) reply: oneshot::Sender<ToolResponse>,
}

/// The response to the request of a call: the upstream's, or a refusal.
#[derive(Debug)]
pub(in crate::proxy) struct ToolResponse {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    /// The reference to another resource, as an agent gets it that uses HTTP.
    pub(super) location: Option<HeaderValue>,
    /// `true` if the body has a `Content-Encoding`.
    pub(super) is_encoded: bool,
    pub(super) body: Bytes,
    pub(super) end: BodyEnd,
}

/// The end of the body of a [`ToolResponse`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// The body is complete.
    Whole,
    /// The body is longer than a result may be. Its length is present if it is known.
    Cut(Option<u64>),
    /// The body was cut off, for the reason that these sentences state.
    Failed(String),
}

/// Returns the head and the body of the request.
pub(in crate::proxy) fn request_parts(
    agent: &Parts,
    request: ToolRequest,
) -> Result<(Parts, Bytes), Refusal> {
    let invalid = || {
        let detail = "The arguments do not make a valid request target.";
        Refusal::new(RefusalCode::MalformedRequest, detail)
    };
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid())?;
    head.uri = Uri::try_from(request.target).map_err(|_| invalid())?;
    let fields = &mut head.headers;
    fields.insert(HOST, HeaderValue::from_static("localhost"));
    let accept = "application/json, text/plain;q=0.9, */*;q=0.8";
    fields.insert(ACCEPT, HeaderValue::from_static(accept));
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in PASSED {
        if let Some(value) = agent.headers.get(&name) {
            fields.insert(name, value.clone());
        }
    }
    let Some(body) = request.body else {
        return Ok((head, Bytes::new()));
    };
    let content_type = HeaderValue::from_static(body.content_type);
    fields.insert(CONTENT_TYPE, content_type);
    Ok((head, body.bytes.into()))
}

impl ToolResponse {
    pub(in crate::proxy) fn from_refusal(refused: Response<Bytes>) -> Self {
        let (head, body) = refused.into_parts();
        Self {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            location: None,
            is_encoded: false,
            body,
            end: BodyEnd::Whole,
        }
    }
}

/// Reads a response until its end, or until `max_bytes` of its body are read.
pub(in crate::proxy) async fn read_response(
    response: Response<Box<SearchedBody>>,
    max_bytes: usize,
    exchange: &mut Exchange,
    timers: &SocketTimers,
) -> ToolResponse {
    let (head, mut body) = response.into_parts();
    let length = body.size_hint().exact();
    let mut read = BytesMut::new();
    let end = loop {
        match next_frame(&mut body, exchange, timers).await {
            None => {
                finish_upload(&mut body, exchange).await;
                exchange.response.complete();
                break BodyEnd::Whole;
            }
            Some(Ok(frame)) => {
                // Trailers are not part of a result.
                let data = frame.into_data().unwrap_or_default();
                exchange.response.body_bytes += data.len() as u64;
                let room = max_bytes - read.len();
                read.extend_from_slice(data.get(..room).unwrap_or(&data));
                if data.len() > room {
                    exchange.response.complete();
                    break BodyEnd::Cut(length);
                }
            }
            Some(Err(error)) => {
                let refusal = Refusal::from(exchange.request.find_cause(error));
                exchange.response.record_refusal(&refusal);
                break BodyEnd::Failed(refusal.detail().to_owned());
            }
        }
    };
    ToolResponse {
        status: head.status,
        content_type: head.headers.get(CONTENT_TYPE).cloned(),
        location: head.headers.get(LOCATION).cloned(),
        is_encoded: has_encoding(&head.headers),
        body: read.freeze(),
        end,
    }
}

fn has_encoding(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Returns the next frame of a body. A panic and a passed deadline are errors.
async fn next_frame(
    body: &mut SearchedBody,
    exchange: &mut Exchange,
    timers: &SocketTimers,
) -> Option<Result<Frame<Bytes>, ExchangeError>> {
    let timeout = exchange.timeout();
    let polled = poll_fn(|cx| {
        let polled = panics::catch_in_body(|| Pin::new(&mut *body).poll_frame(cx));
        match polled {
            Ok(Poll::Pending) => match deadlines::response_body_error(timers, timeout) {
                Some(error) => Poll::Ready(Some(Err(error))),
                None => Poll::Pending,
            },
            Ok(ready) => ready,
            Err(panicked) => Poll::Ready(Some(Err(panicked))),
        }
    })
    .await;
    if matches!(polled, Some(Err(ExchangeError::Panicked))) {
        exchange.record_panic();
    }
    polled
}

/// Waits until the request's body is sent as well, if the upstream answered before that.
async fn finish_upload(body: &mut SearchedBody, exchange: &Exchange) {
    if let Some(upload) = body.take_upload().filter(|upload| !upload.has_ended()) {
        // Dropping the upload ends it in any case.
        let _elapsed = timeout(exchange.time_left(), upload.wait_until_ended()).await;
    }
}
