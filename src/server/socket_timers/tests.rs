//! Tests of sockets whose agents accept a response slowly. The tests move the time of the ticker.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::state::SocketState;
use super::{SocketCounts, SocketLimits, SocketTimers, Ticker};
use crate::memory::MemoryShortage;
use crate::server::agent_socket::AgentSocket;
use crate::server::socket_task::serve_socket;
use crate::server::{RequestBody, Serve};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// More than the kernel buffers for a Unix socket, which is about 200 KiB.
const BODY_BYTES: usize = 1 << 20;
const SECOND: u64 = 1000;

fn limits() -> SocketLimits {
    let seconds = Duration::from_secs;
    SocketLimits {
        header_read: seconds(10),
        idle: seconds(20),
        body_idle: seconds(10),
        write_stall: seconds(30),
    }
}

/// Ends the exchange when hyper drops the body.
struct EndOfExchange(Arc<SocketTimers>);

impl Drop for EndOfExchange {
    fn drop(&mut self) {
        self.0.end_exchange();
    }
}

/// Responds with [`BODY_BYTES`] in one frame, so hyper drops the body before the first write.
struct OneFrame;

impl Serve for OneFrame {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn serve(
        self: Arc<Self>,
        _head: Parts,
        _body: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> Response<Self::Body> {
        let end = EndOfExchange(timers);
        let body = Full::from(vec![b'a'; BODY_BYTES]).map_frame(move |frame| {
            let _held = &end;
            frame
        });
        Response::new(body.boxed_unsync())
    }
}

/// An agent and the socket that it is connected to.
struct Served {
    ticker: Arc<Ticker>,
    timers: Arc<SocketTimers>,
    task: JoinHandle<()>,
    agent: UnixStream,
    now: u64,
}

impl Served {
    /// Sends these bytes, and lets hyper write as much as the kernel accepts.
    async fn start(bytes: &str) -> Self {
        let ticker = Ticker::new(MemoryShortage::default());
        let timers = ticker.register_socket(limits());
        let (near, mut agent) = UnixStream::pair().unwrap();
        let socket = AgentSocket::new(near, Arc::clone(&timers), None);
        let task = tokio::spawn(serve_socket(socket, Arc::new(OneFrame)));
        agent.write_all(bytes.as_bytes()).await.unwrap();
        settle().await;
        Self {
            ticker,
            timers,
            task,
            agent,
            now: 0,
        }
    }

    /// Lets this many seconds pass, in steps that do not count as stalls.
    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.ticker.advance_to(self.now);
            self.timers.wake();
            settle().await;
        }
    }

    /// Reads a whole response, in pieces of at most 64 KiB that are five seconds apart while bytes
    /// are still to be written.
    async fn read_slowly(&mut self) {
        let (mut head, mut left) = (Vec::new(), None);
        while left != Some(0) {
            let mut piece = vec![0; left.unwrap_or(65_536).min(65_536)];
            let read = self.agent.read(&mut piece).await.unwrap();
            assert!(read > 0, "cut with {left:?} bytes left");
            left = match left {
                Some(left) => Some(left - read),
                None => {
                    head.extend_from_slice(&piece[..read]);
                    let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n");
                    end.map(|end| BODY_BYTES + end + 4 - head.len())
                }
            };
            // The kernel buffers the last bytes. Their time is that of the next request.
            if self.timers.state() == SocketState::Flushing {
                self.pass(5).await;
            }
            settle().await;
        }
    }
}

/// Runs the other tasks until they have nothing to do.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_response_that_is_read_slowly_is_not_cut() {
    // F-160: this takes longer than each limit.
    for next in ["", "GET / HT", REQUEST] {
        let mut served = Served::start(&format!("{REQUEST}{next}")).await;
        assert_eq!(served.timers.state(), SocketState::Flushing, "{next:?}");
        served.read_slowly().await;
        assert!(served.now > 40 * SECOND, "{next:?}: {} ms", served.now);
        if next == REQUEST {
            served.read_slowly().await;
        }
        assert!(!served.task.is_finished(), "{next:?}");
    }
}

#[tokio::test]
async fn the_limit_of_the_next_request_starts_when_all_is_written() {
    // F-273
    for (next, state, limit) in [
        ("", SocketState::Idle, 20),
        ("GET / HT", SocketState::Head, 10),
    ] {
        let mut served = Served::start(&format!("{REQUEST}{next}")).await;
        served.read_slowly().await;
        assert_eq!(served.timers.state(), state);
        let written = served.timers.idle_since.load(super::Relaxed);
        let passed = (served.now - written) / SECOND;
        assert!(passed <= 5, "{passed} s");
        served.pass(limit - passed).await;
        assert!(!served.task.is_finished(), "{next:?}");
        served.pass(1).await;
        assert!(served.task.is_finished(), "{next:?}");
    }
}

#[tokio::test]
async fn an_agent_that_reads_nothing_is_cut_after_the_write_timeout() {
    // F-160
    for next in ["", "GET / HT", REQUEST] {
        let mut served = Served::start(&format!("{REQUEST}{next}")).await;
        served.pass(30).await;
        assert!(!served.task.is_finished(), "{next:?}");
        served.pass(1).await;
        assert!(served.task.is_finished(), "{next:?}");
    }
}

#[tokio::test]
async fn a_response_that_is_not_written_counts_as_an_exchange_until_the_grace_period_ends() {
    let served = Served::start(REQUEST).await;
    let counts = SocketCounts {
        exchanges: 1,
        ..SocketCounts::default()
    };
    assert_eq!(served.ticker.count_sockets(), counts);
    served.ticker.end_grace();
    settle().await;
    assert!(served.task.is_finished());
}

#[test]
fn an_exchange_that_ends_during_a_blocked_write_has_no_limit_of_the_next_request() {
    let ticker = Ticker::new(MemoryShortage::default());
    let timers = ticker.register_socket(limits());
    timers.begin_exchange();
    timers.begin_response();
    timers.set_write_blocked(true);
    // An upload that outlasts its response ends the exchange outside hyper.
    timers.end_exchange();
    assert_eq!(timers.state(), SocketState::Flushing);
    assert!(!timers.state_deadline.is_running());
    timers.set_write_blocked(false);
    timers.record_flush();
    assert_eq!(timers.state(), SocketState::Idle);
    assert!(timers.state_deadline.is_running());
}

#[test]
fn an_event_stream_has_a_moment_for_its_last_event() {
    let ticker = Ticker::new(MemoryShortage::default());
    let begin = |respond: fn(&SocketTimers)| {
        let timers = ticker.register_socket(limits());
        timers.begin_exchange();
        respond(&timers);
        timers.limit_exchange(crate::clock::MonotonicTime::now());
        timers
    };
    let events = begin(SocketTimers::begin_event_stream);
    let other = begin(SocketTimers::begin_response);
    ticker.advance_to(500);
    assert!(other.must_close() && !events.must_close());
    ticker.advance_to(1500);
    assert!(!events.must_close(), "less than a second later");
    ticker.advance_to(1700);
    assert!(events.must_close());
}

#[test]
fn a_stalled_upload_cuts_an_event_stream_at_once() {
    let ticker = Ticker::new(MemoryShortage::default());
    let timers = ticker.register_socket(limits());
    timers.begin_exchange();
    timers.begin_event_stream();
    timers.set_body_awaited(true);
    for now in (0..=10_100).step_by(100) {
        assert!(!timers.must_close(), "{now} ms");
        ticker.advance_to(now);
    }
    assert!(timers.must_close());
}
