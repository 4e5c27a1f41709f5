//! Tests the answers that hyper gives by itself, and that it does not buffer responses.

use super::{HeadFault, Serve};
use crate::memory::MemoryShortage;
use crate::server::agent_socket::AgentSocket;
use crate::server::{RequestBody, SocketLimits, SocketTimers, Ticker};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Returns the status that hyper answers to these bytes, and the fault that its error becomes.
async fn parse_with_hyper(bytes: String) -> (String, Option<HeadFault>) {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let answer = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let mut connection = http1::Builder::new()
        .max_buf_size(1 << 18)
        .max_headers(super::MAX_FIELDS)
        .serve_connection(TokioIo::new(near), answer);
    let serving = async move {
        let closed = (&mut connection).await;
        let unparsed = connection.into_parts().read_buf;
        HeadFault::from_hyper(&closed.err()?, &unparsed)
    };
    let agent = async {
        // hyper may have answered and closed before all bytes were written.
        drop(far.write_all(bytes.as_bytes()).await);
        drop(far.shutdown().await);
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.unwrap();
        answer.chars().skip(9).take(3).collect()
    };
    let (fault, answer) = tokio::join!(serving, agent);
    (answer, fault)
}

#[tokio::test]
async fn faults_of_heads_that_hyper_rejects_are_distinguished() {
    use HeadFault::{
        Field, Framing, Method, Target, TargetTooLong, TooLarge, TooManyFields, Version,
    };
    let get = |rest: String| format!("GET / HTTP/1.1\r\n{rest}\r\n");
    let field = |length| format!("A: {}\r\n", "a".repeat(length));
    for (bytes, status, fault) in [
        ("\x16\x03\x01\r\n\r\n".to_owned(), "400", Some(Method)),
        ("no head\r\n\r\n".to_owned(), "400", Some(Target)),
        ("GET /<\\> HTTP/1.1\r\n\r\n".to_owned(), "400", Some(Target)),
        (get("a b: c\r\n".to_owned()), "400", Some(Field)),
        (
            get("Content-Length: -1\r\n".to_owned()),
            "400",
            Some(Framing),
        ),
        ("GET / HTTP/7.3\r\n\r\n".to_owned(), "400", Some(Version)),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)),
            "414",
            Some(TargetTooLong),
        ),
        (get(field(600_000)), "431", Some(TooLarge)),
        (get(field(6_000).repeat(100)), "431", Some(TooLarge)),
        (get(field(1).repeat(101)), "431", Some(TooManyFields)),
        (get(field(1).repeat(200)), "431", Some(TooManyFields)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "", None),
        ("GET / HT".to_owned(), "", None),
        (String::new(), "", None),
    ] {
        assert_eq!(
            parse_with_hyper(bytes.clone()).await,
            (status.to_owned(), fault),
            "{bytes:.40}"
        );
    }
}

/// Answers each request with a head of this many bytes, and counts the requests.
struct Heads {
    bytes: usize,
    requests: AtomicUsize,
}

impl Serve for Heads {
    type Body = Full<Bytes>;

    async fn serve(
        self: Arc<Self>,
        _head: Parts,
        _body: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> Response<Self::Body> {
        self.requests.fetch_add(1, Relaxed);
        let mut response = Response::new(Full::default());
        let filler = HeaderValue::from_str(&"a".repeat(self.bytes)).unwrap();
        response.headers_mut().insert("filler", filler);
        timers.end_exchange();
        response
    }
}

/// Sends this many requests at once from an agent that reads no response at first. Returns how many
/// requests were started before the agent read, and how many responses it then received.
async fn pipeline_unread(method: &str, requests: usize) -> (usize, usize) {
    let heads = Arc::new(Heads {
        bytes: 4096,
        requests: AtomicUsize::new(0),
    });
    let (near, far) = UnixStream::pair().unwrap();
    let minute = Duration::from_secs(60);
    let timers = Ticker::new(MemoryShortage::default()).register_socket(SocketLimits {
        header_read: minute,
        idle: minute,
        body_idle: minute,
        write_stall: minute,
    });
    let serving = tokio::spawn(super::serve_socket(
        AgentSocket::new(near, timers, None),
        Arc::clone(&heads),
    ));
    let (mut answers, mut writer) = far.into_split();
    let all = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(requests);
    let writer = tokio::spawn(async move {
        writer.write_all(all.as_bytes()).await.unwrap();
        writer
    });
    // Long enough for the task to do all that it can. If something is left undone, the number below
    // only becomes smaller.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let begun = heads.requests.load(Relaxed);
    let (mut found, mut rest) = (0, Vec::new());
    while found < requests {
        let mut piece = vec![0; 65_536];
        let read = answers.read(&mut piece).await.unwrap();
        assert!(read > 0, "closed after {found} responses");
        rest.extend_from_slice(&piece[..read]);
        while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            rest.drain(..end + 4);
            found += 1;
        }
    }
    assert!(rest.is_empty());
    drop((writer.await.unwrap(), answers));
    serving.await.unwrap();
    (begun, found)
}

#[tokio::test]
async fn unread_responses_do_not_queue_up_in_memory() {
    // F-169: the kernel buffers about 200 KiB for a Unix socket, which is 50 responses.
    for method in ["HEAD", "GET"] {
        let (begun, found) = pipeline_unread(method, 2_000).await;
        assert!(begun < 300, "{method}: {begun} responses in memory");
        assert_eq!(found, 2_000);
    }
}
