//! HTTP/2 exchanges with a well-behaved server: its view of requests, and the responses.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::DuplexStream;
use tokio::sync::oneshot;

use crate::telemetry::metrics::{SocketCountGuard, SocketCounters};
use crate::upstream::counted_tcp::ByteCounts;
use crate::upstream::failure::ExchangeFailure;
use crate::upstream::failure::ProtocolFault;
use crate::upstream::http2::Session;
use crate::upstream::{Failure, Field, Framing, RequestHead};

/// Returns a counter that is not read.
pub(super) fn uncounted() -> SocketCountGuard {
    Arc::<SocketCounters>::default().count_socket()
}

type ReceivedRequest = (Request<RecvStream>, SendResponse<Bytes>);

/// Returns a session with a server that runs `serve` for each request.
pub(super) async fn session<F, S>(mut serve: S) -> Session
where
    S: FnMut(ReceivedRequest) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok(asked)) = connection.accept().await {
            tokio::spawn(serve(asked));
        }
    });
    Session::start_on::<DuplexStream>(near, |_| ByteCounts::default(), uncounted())
        .await
        .unwrap()
}

pub(super) fn get<'a>(method: &'a Method, fields: &'a [Field<'a>]) -> RequestHead<'a> {
    RequestHead {
        method,
        target: &[b"/a%20b/", b"?q=%zz"],
        authority: "upstream.test:8443",
        fields,
        framing: Framing::Absent,
    }
}

/// The flag of an exchange whose test does not check if the request was sent.
pub(super) static NOT_READ: AtomicBool = AtomicBool::new(false);

pub(super) fn no_body() -> impl Body<Data = Bytes, Error = Failure> + Send + 'static {
    Empty::new().map_err(infallible_failure)
}

fn infallible_failure(infallible: Infallible) -> Failure {
    match infallible {}
}

#[tokio::test]
async fn a_head_is_sent_unchanged() {
    let (report, reported) = oneshot::channel();
    let mut report = Some(report);
    let session = session(move |(request, mut respond)| {
        let _ = report.take().unwrap().send(request.into_parts().0);
        let _ = respond.send_response(Response::new(()), true);
        async {}
    })
    .await;
    let (plain, secret) = (
        HeaderName::from_static("x-plain"),
        HeaderName::from_static("authorization"),
    );
    let field = |name, value, sensitive| Field {
        name,
        value,
        sensitive,
    };
    let fields = [
        field(&plain, b"1", false),
        field(&secret, b"Bearer \xfftoken", true),
        field(&plain, b"2", false),
    ];
    let head = get(&Method::POST, &fields);
    session
        .exchange(&head, Some(no_body()), &NOT_READ)
        .await
        .unwrap();
    let seen = reported.await.unwrap();
    assert_eq!(seen.method, Method::POST);
    assert_eq!(
        seen.uri.to_string(),
        "https://upstream.test:8443/a%20b/?q=%zz"
    );
    let names: Vec<&str> = seen.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-plain", "authorization", "content-length"]);
    let values: Vec<_> = seen.headers.get_all("x-plain").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(
        seen.headers["authorization"].as_bytes(),
        b"Bearer \xfftoken"
    );
}

#[tokio::test]
async fn a_body_is_announced_according_to_its_framing() {
    let session = session(|(mut request, mut respond)| async move {
        let length = request.headers().get("content-length").cloned();
        let mut response = Response::new(());
        if let Some(length) = length {
            response.headers_mut().insert("x-length", length);
        }
        let mut up = respond.send_response(response, false).unwrap();
        while let Some(data) = request.body_mut().data().await {
            let data = data.unwrap();
            let _ = request
                .body_mut()
                .flow_control()
                .release_capacity(data.len());
            up.send_data(data, false).unwrap();
        }
        up.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    for (framing, announced) in [(Framing::Length(5), Some("5")), (Framing::Chunked, None)] {
        let head = RequestHead {
            framing,
            ..get(&Method::POST, &[])
        };
        let body = Full::new(Bytes::from_static(b"hello")).map_err(infallible_failure);
        let response = session
            .exchange(&head, Some(body), &NOT_READ)
            .await
            .unwrap();
        let length = response.headers().get("x-length").cloned();
        assert_eq!(length.as_ref().map(|v| v.to_str().unwrap()), announced);
        let echoed = response.into_body().collect().await.unwrap();
        assert_eq!(echoed.to_bytes(), "hello");
    }
    let head = RequestHead {
        framing: Framing::Length(0),
        ..get(&Method::POST, &[])
    };
    let response = session
        .exchange(&head, Some(no_body()), &NOT_READ)
        .await
        .unwrap();
    assert_eq!(response.headers()["x-length"], "0");
    // F-222
    let head = get(&Method::POST, &[]);
    let response = session
        .exchange(&head, Some(no_body()), &NOT_READ)
        .await
        .unwrap();
    assert_eq!(response.headers()["x-length"], "0");
    let head = get(&Method::DELETE, &[]);
    let response = session
        .exchange(&head, Some(no_body()), &NOT_READ)
        .await
        .unwrap();
    assert!(!response.headers().contains_key("x-length"));
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-trailer"), "1".parse().unwrap())])
}

#[tokio::test]
async fn trailers_are_dropped_from_requests_and_kept_in_responses() {
    let (report, reported) = oneshot::channel();
    let mut report = Some(report);
    let session = session(move |(mut request, mut respond)| {
        let report = report.take().unwrap();
        async move {
            while let Some(Ok(_)) = request.body_mut().data().await {}
            let _ = report.send(request.body_mut().trailers().await.unwrap());
            let mut up = respond.send_response(Response::new(()), false).unwrap();
            up.send_data(Bytes::from_static(b"body"), false).unwrap();
            up.send_trailers(trailers()).unwrap();
        }
    })
    .await;
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"x"))),
        Ok(Frame::trailers(trailers())),
    ];
    let body = ScriptedBody(frames.into_iter().collect());
    let head = RequestHead {
        framing: Framing::Chunked,
        ..get(&Method::POST, &[])
    };
    let response = session
        .exchange(&head, Some(body), &NOT_READ)
        .await
        .unwrap();
    let down = response.into_body().collect().await.unwrap();
    assert_eq!(down.trailers(), Some(&trailers()));
    assert_eq!(down.to_bytes(), "body");
    assert_eq!(reported.await.unwrap(), None);
}

/// A body that consists of these frames.
struct ScriptedBody(std::collections::VecDeque<Result<Frame<Bytes>, Failure>>);

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Poll::Ready(self.0.pop_front())
    }
}

#[tokio::test]
async fn responses_to_head_and_304_have_no_body() {
    let session = session(|(request, mut respond)| async move {
        let status = match request.method().as_str() {
            "DELETE" => StatusCode::NO_CONTENT,
            "PUT" => StatusCode::NOT_MODIFIED,
            _ => StatusCode::OK,
        };
        let response = Response::builder().status(status);
        let response = response.header("content-length", "1234").body(()).unwrap();
        let _ = respond.send_response(response, true);
    })
    .await;
    for method in [Method::HEAD, Method::PUT] {
        let head = get(&method, &[]);
        let response = session
            .exchange(&head, Some(no_body()), &NOT_READ)
            .await
            .unwrap();
        assert_eq!(response.headers()["content-length"], "1234");
        assert!(response.body().is_end_stream());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
    }
}

async fn exchange_with_response(response: Response<()>) -> Result<(), ExchangeFailure> {
    let mut response = Some(response);
    let session = session(move |(_, mut respond)| {
        let _ = respond.send_response(response.take().unwrap(), true);
        async {}
    })
    .await;
    let head = get(&Method::GET, &[]);
    session
        .exchange(&head, Some(no_body()), &NOT_READ)
        .await
        .map(drop)
}

#[tokio::test]
async fn invalid_heads_are_rejected() {
    let with = |fields: &[(&str, &str)]| {
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    };
    let length = "content-length";
    for (lengths, fault) in [
        (&[(length, "0"), (length, "0")][..], None),
        (&[(length, "0, 0")], Some(ProtocolFault::Framing)),
        (
            &[(length, "0"), (length, "7")],
            Some(ProtocolFault::Framing),
        ),
        (&[(length, "+0")], Some(ProtocolFault::Framing)),
    ] {
        let failure = exchange_with_response(with(lengths))
            .await
            .err()
            .map(|u| u.failure);
        let expected = fault.map(Failure::Protocol);
        // h2 itself rejects a length that it cannot parse as one number.
        let refused = Some(Failure::Protocol(ProtocolFault::Http2));
        assert!(failure == expected || (fault.is_some() && failure == refused));
    }
    let mut odd = Response::new(());
    *odd.status_mut() = StatusCode::from_u16(600).unwrap();
    let failure = exchange_with_response(odd).await.unwrap_err().failure;
    assert_eq!(failure, Failure::Protocol(ProtocolFault::Head));
    let many: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "")).collect();
    let failure = exchange_with_response(with(&many))
        .await
        .unwrap_err()
        .failure;
    assert_eq!(failure, Failure::Protocol(ProtocolFault::HeadTooLarge));
}

#[tokio::test]
async fn a_failing_agent_body_is_reported_and_resets_the_stream() {
    let (report, reported) = oneshot::channel();
    let mut report = Some(report);
    let session = session(move |(mut request, respond)| {
        let report = report.take().unwrap();
        async move {
            let reset = loop {
                match request.body_mut().data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error.is_reset(),
                    None => break false,
                }
            };
            let _ = report.send(reset);
            drop(respond);
        }
    })
    .await;
    let gone = Failure::RequestBody;
    let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Err(gone)];
    let head = RequestHead {
        framing: Framing::Length(100),
        ..get(&Method::POST, &[])
    };
    let body = ScriptedBody(frames.into_iter().collect());
    let unanswered = session
        .exchange(&head, Some(body), &NOT_READ)
        .await
        .err()
        .unwrap();
    assert_eq!(unanswered, ExchangeFailure::from(gone));
    assert!(
        reported.await.unwrap(),
        "the body looked complete to the upstream"
    );
    assert!(session.is_usable());
}

/// A body that never ends.
struct EndlessBody;

impl Body for EndlessBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_dropped_exchange_resets_its_stream_although_its_body_has_not_ended() {
    let (report, reported) = oneshot::channel();
    let (begin, begun) = oneshot::channel();
    let mut channels = Some((report, begin));
    let session = session(move |(mut request, mut respond)| {
        let (report, begin) = channels.take().unwrap();
        async move {
            let _up = respond.send_response(Response::new(()), false).unwrap();
            let _ = begin.send(());
            let end = request.body_mut().data().await;
            let _ = report.send(matches!(end, Some(Err(error)) if error.is_reset()));
        }
    })
    .await;
    let head = RequestHead {
        framing: Framing::Chunked,
        ..get(&Method::POST, &[])
    };
    let response = session
        .exchange(&head, Some(EndlessBody), &NOT_READ)
        .await
        .unwrap();
    begun.await.unwrap();
    drop(response);
    assert!(reported.await.unwrap());
    assert!(session.is_usable());
}
