//! HTTP/2 servers that misbehave, frame by frame (F-136). None of them may block an exchange that
//! their frames have ended, or occupy more memory than the limits allow. Servers that only stall
//! are left to the caller's deadline.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::Reason;
use http::{Method, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::http2_exchanges::{NOT_READ, get, no_body, session, uncounted};
use crate::upstream::counted_tcp::ByteCounts;
use crate::upstream::failure::ExchangeFailure;
use crate::upstream::failure::ProtocolFault;
use crate::upstream::http2::{Http2Body, Session};
use crate::upstream::{Failure, Field};

const BROKEN: Failure = Failure::Protocol(ProtocolFault::Http2);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` (RFC 7541, static table).
const OK: &[u8] = &[0x88];

/// Encodes a frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

fn goaway(last: u32, reason: Reason) -> Vec<u8> {
    let payload = [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

fn reset(reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &u32::from(reason).to_be_bytes())
}

/// Reads frames up to the head of a request. Returns its compressed fields.
async fn request(socket: &mut DuplexStream) -> Vec<u8> {
    socket.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            return payload;
        }
    }
}

/// Returns a session with a server that sends its settings, reads a request, and then writes these
/// bytes, repeatedly if `repeated`.
async fn session_with_frames(bytes: Vec<u8>, repeated: bool, close: bool) -> Session {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        far.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        request(&mut far).await;
        while far.write_all(&bytes).await.is_ok() && repeated {
            // The client's bytes are read, so that the client never waits.
            let _ = far.read(&mut [0; 4096]).now_or_never();
        }
        if !close {
            while let Ok(1..) = far.read(&mut [0; 4096]).await {}
        }
    });
    Session::start_on(near, |_| ByteCounts::default(), uncounted())
        .await
        .unwrap()
}

trait NowOrNever: Future + Sized {
    fn now_or_never(self) -> Option<Self::Output> {
        match pin!(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

impl<F: Future> NowOrNever for F {}

async fn send_get(session: &Session) -> Result<Response<Http2Body>, ExchangeFailure> {
    session
        .exchange(&get(&Method::GET, &[]), Some(no_body()), &NOT_READ)
        .await
}

async fn failed_exchange(bytes: Vec<u8>, close: bool) -> (ExchangeFailure, Session) {
    let session = session_with_frames(bytes, false, close).await;
    (send_get(&session).await.err().unwrap(), session)
}

fn unanswered_with(failure: Failure, unprocessed: bool) -> ExchangeFailure {
    ExchangeFailure {
        failure,
        unprocessed,
        stale: false,
    }
}

/// The failure for a session that ended without a GOAWAY.
const STALE: ExchangeFailure = ExchangeFailure {
    failure: Failure::Closed,
    unprocessed: false,
    stale: true,
};

#[tokio::test]
async fn a_secret_is_never_indexed() {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let reading = tokio::spawn(async move { request(&mut far).await });
    let session = Session::start_on(near, |_| ByteCounts::default(), uncounted())
        .await
        .unwrap();
    let name = http::header::AUTHORIZATION;
    let secret = [Field {
        name: &name,
        value: b"Bearer t",
        sensitive: true,
    }];
    let head = get(&Method::GET, &secret);
    assert!(
        session
            .exchange(&head, Some(no_body()), &NOT_READ)
            .await
            .is_err()
    );
    // RFC 7541 §6.2.3: a literal that is never indexed, with index 23 of the static table as its
    // name.
    let fields = reading.await.unwrap();
    assert!(fields.windows(2).any(|pair| pair == [0x1f, 23 - 15]));
}

#[tokio::test]
async fn unprocessed_requests_are_distinguished_from_uncertain_ones() {
    // F-136
    for (bytes, close, expected, usable) in [
        (
            reset(Reason::REFUSED_STREAM),
            false,
            unanswered_with(BROKEN, true),
            true,
        ),
        (
            reset(Reason::CANCEL),
            false,
            unanswered_with(BROKEN, false),
            true,
        ),
        (
            goaway(0, Reason::NO_ERROR),
            false,
            unanswered_with(Failure::Closed, true),
            false,
        ),
        (
            goaway(0, Reason::ENHANCE_YOUR_CALM),
            false,
            unanswered_with(BROKEN, true),
            false,
        ),
        (
            goaway(1, Reason::NO_ERROR),
            true,
            unanswered_with(Failure::Closed, false),
            false,
        ),
        // F-135, F-232
        (Vec::new(), true, STALE, false),
        (frame(PING, 0, 0, &[0; 8]), true, STALE, false),
        (
            frame(HEADERS, END_HEADERS, 1, &[0x08, 0x03, b'1', b'0', b'3']),
            true,
            unanswered_with(Failure::Closed, false),
            false,
        ),
    ] {
        let (unanswered, session) = failed_exchange(bytes, close).await;
        assert_eq!(unanswered, expected);
        assert_eq!(session.is_usable(), usable);
    }
}

#[tokio::test]
async fn a_request_for_a_session_that_has_ended_is_not_processed() {
    // F-135
    let (_, ended) = failed_exchange(Vec::new(), true).await;
    assert!(!ended.is_usable());
    let again = send_get(&ended).await.err().unwrap();
    let expected = ExchangeFailure {
        unprocessed: true,
        ..STALE
    };
    assert_eq!(again, expected);
}

#[tokio::test]
async fn goaway_lets_a_request_in_flight_finish() {
    // F-136
    let answer = [
        goaway(1, Reason::NO_ERROR),
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, END_STREAM, 1, b"whole"),
    ];
    let session = session_with_frames(answer.concat(), false, false).await;
    let response = send_get(&session).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "whole");
    assert!(!session.is_usable());
}

#[tokio::test]
async fn frames_that_violate_the_protocol_fail_the_exchange() {
    // F-136, F-91
    let field = [
        &[0x00, 0x01, b'x', 0x7f, 0x81, 0xff, 0x00][..],
        &[b'a'; 0x7f + 0x3f81],
    ];
    let oversize = field.concat();
    let mut huge = frame(HEADERS, 0, 1, OK);
    for _ in 0..8 {
        huge.extend(frame(CONTINUATION, 0, 1, &oversize[..16_000]));
    }
    for bytes in [
        // A response in HTTP/1.1.
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        // A push, although egressd disabled it.
        frame(
            PUSH_PROMISE,
            END_HEADERS,
            1,
            &[&2_u32.to_be_bytes()[..], &[0x82, 0x84, 0x87]].concat(),
        ),
        // A body without a head.
        frame(DATA, END_STREAM, 1, b"x"),
        // A header list without end.
        huge,
        // A frame over the allowed size.
        frame(DATA, 0, 1, &[0; 20_000]),
        // A head that is not valid HPACK.
        frame(HEADERS, END_HEADERS, 1, &[0xff; 16]),
        // A head without a status.
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[]),
    ] {
        let session = session_with_frames(bytes.clone(), false, false).await;
        let outcome = send_get(&session).await.map(drop);
        let start = &bytes[..bytes.len().min(32)];
        assert_eq!(outcome, Err(unanswered_with(BROKEN, false)), "{start:?}");
    }
}

#[tokio::test]
async fn a_truncated_body_is_not_complete() {
    // F-136
    let begun = [
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, 0, 1, b"half"),
    ]
    .concat();
    for (end, close, failure) in [
        (Vec::new(), true, Failure::Closed),
        (reset(Reason::INTERNAL_ERROR), false, BROKEN),
        (frame(CONTINUATION, 0, 1, &[]), false, BROKEN),
    ] {
        let session = session_with_frames([begun.clone(), end].concat(), false, close).await;
        let response = send_get(&session).await.unwrap();
        let outcome = response.into_body().collect().await;
        assert_eq!(outcome.err(), Some(failure));
    }
    // Fewer bytes than were announced: `content-length: 5`.
    let announced = [
        frame(HEADERS, END_HEADERS, 1, &[0x88, 0x0f, 0x0d, 0x01, b'5']),
        frame(DATA, END_STREAM, 1, b"half"),
    ];
    let session = session_with_frames(announced.concat(), false, false).await;
    let outcome = match send_get(&session).await {
        Ok(response) => response.into_body().collect().await.map(drop),
        Err(unanswered) => Err(unanswered.failure),
    };
    assert_eq!(outcome, Err(BROKEN));
}

#[tokio::test]
async fn floods_end_the_session() {
    // F-136
    let flood = Failure::Protocol(ProtocolFault::FrameFlood);
    let informational = frame(HEADERS, END_HEADERS, 1, &[0x08, 0x03, b'1', b'0', b'3']);
    for (bytes, failure) in [
        (frame(PING, 0, 0, &[0; 8]), flood),
        (frame(SETTINGS, 0, 0, &[]), flood),
        (frame(0xfe, 0, 1, &[]), flood),
        (
            informational,
            Failure::Protocol(ProtocolFault::Informational),
        ),
        (reset(Reason::CANCEL), BROKEN),
    ] {
        let session = session_with_frames(bytes, true, false).await;
        let outcome = send_get(&session).await.map(drop);
        assert_eq!(outcome, Err(unanswered_with(failure, false)));
    }
}

#[tokio::test]
async fn a_few_informational_responses_are_consumed() {
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &[0x08, 0x03, b'1', b'0', b'3']).repeat(16);
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, OK));
    let session = session_with_frames(bytes, false, false).await;
    assert_eq!(send_get(&session).await.unwrap().status(), 200);
}

#[tokio::test]
async fn empty_frames_are_skipped_up_to_a_limit() {
    // F-136
    for (empty, expected) in [(100, Ok(1)), (101, Err(BROKEN))] {
        let mut bytes = frame(HEADERS, END_HEADERS, 1, OK);
        bytes.extend(frame(DATA, 0, 1, &[]).repeat(empty));
        bytes.extend(frame(DATA, END_STREAM, 1, b"."));
        let session = session_with_frames(bytes, false, false).await;
        let counted = match send_get(&session).await {
            Ok(response) => count(response.into_body()).await,
            Err(unanswered) => Err(unanswered.failure),
        };
        assert_eq!(counted, expected);
    }
}

async fn count(mut body: Http2Body) -> Result<usize, Failure> {
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        frame?;
        frames += 1;
    }
    Ok(frames)
}

#[tokio::test]
async fn an_unread_stream_blocks_neither_the_session_nor_other_streams() {
    // F-136: the windows bound the bytes that are held.
    let session = session(|(_, mut respond)| async move {
        let mut up = respond.send_response(Response::new(()), false).unwrap();
        up.reserve_capacity(1 << 20);
        let mut sent = 0;
        while sent < 1 << 20 {
            let Some(Ok(room)) = std::future::poll_fn(|cx| up.poll_capacity(cx)).await else {
                return;
            };
            sent += room;
            up.send_data(vec![0; room].into(), sent >= 1 << 20).unwrap();
        }
    })
    .await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(send_get(&session).await.unwrap());
    }
    let read = send_get(&session).await.unwrap().into_body();
    let body = read.collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 1 << 20);
    assert!(
        unread
            .iter()
            .all(|response| !response.body().is_end_stream())
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_socket_accepts_no_bytes_is_closed() {
    // F-230: without the limit the session would never end, because it has a GOAWAY to write.
    const ROOM: usize = 64;
    let (near, mut far) = tokio::io::duplex(ROOM);
    let session = Session::start_on(near, |_| ByteCounts::default(), uncounted());
    drop(session.await.unwrap());
    // The clock of the test is paused, so this sleep takes no time.
    tokio::time::sleep(Duration::from_secs(31)).await;
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), ROOM, "the session wrote more before it was cut");
}
