//! Tests of parked sockets. The tests move the time of the ticker.

mod possibly_idle;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::super::state::SocketState;
use super::super::{Relaxed, SocketCounts, SocketLimits, SocketTimers, Ticker};
use super::PARK_AFTER;
use crate::memory::MemoryShortage;
use crate::server::agent_socket::AgentSocket;
use crate::server::socket_task::serve_socket;
use crate::server::{RequestBody, Serve};

const SECOND: u64 = 1000;

/// Responds with the path and the body of the request.
struct Echo;

impl Serve for Echo {
    type Body = Full<Bytes>;

    async fn serve(
        self: Arc<Self>,
        head: Parts,
        body: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> Response<Self::Body> {
        let mut answer = head.uri.path().as_bytes().to_vec();
        answer.extend(body.collect().await.unwrap().to_bytes());
        timers.end_exchange();
        Response::new(Full::from(answer))
    }
}

/// Responds at once and keeps the unread body of the request, as an upload does that continues
/// while its response is sent.
#[derive(Default)]
struct KeptBody(Mutex<Option<RequestBody>>);

impl Serve for KeptBody {
    type Body = Full<Bytes>;

    fn continues_upload(_body: &Self::Body) -> bool {
        true
    }

    async fn serve(
        self: Arc<Self>,
        _head: Parts,
        body: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> Response<Self::Body> {
        *self.0.lock() = Some(body);
        timers.end_exchange();
        Response::new(Full::from("early"))
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
    /// Accepts the socket of an agent that has sent nothing.
    async fn accept() -> Self {
        Self::accept_for(Arc::new(Echo)).await
    }

    async fn accept_for(server: Arc<impl Serve>) -> Self {
        let ticker = Ticker::new(MemoryShortage::default());
        let timers = ticker.register_socket(limits());
        let (near, agent) = UnixStream::pair().unwrap();
        let socket = AgentSocket::new(near, Arc::clone(&timers), None);
        let task = tokio::spawn(serve_socket(socket, server));
        settle().await;
        Self {
            ticker,
            timers,
            task,
            agent,
            now: 0,
        }
    }

    /// Accepts a socket, answers one request on it, and parks it.
    async fn park() -> Self {
        let mut served = Self::accept().await;
        served.request("/first").await;
        served.pass(PARK_AFTER).await;
        assert!(served.is_parked());
        served
    }

    /// Lets this many milliseconds pass, in steps that do not count as stalls.
    async fn pass(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.now = end.min(self.now + SECOND);
            self.ticker.advance_to(self.now);
            self.ticker.wake_due(self.now);
            settle().await;
        }
    }

    async fn send(&mut self, bytes: &str) {
        self.agent.write_all(bytes.as_bytes()).await.unwrap();
        settle().await;
    }

    async fn request(&mut self, path: &str) {
        self.send(&get(path)).await;
        self.expect(path).await;
    }

    /// Reads a response with this body.
    async fn expect(&mut self, body: &str) {
        let mut answer = String::new();
        while !answer.ends_with(&format!("\r\n\r\n{body}")) {
            let byte = self.agent.read_u8().await;
            answer.push(char::from(byte.expect(&answer)));
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        settle().await;
    }

    fn is_parked(&self) -> bool {
        self.timers.is_parked.load(Relaxed)
    }
}

fn limits() -> SocketLimits {
    SocketLimits {
        header_read: Duration::from_secs(10),
        idle: Duration::from_secs(20),
        body_idle: Duration::from_secs(10),
        write_stall: Duration::from_secs(30),
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Runs the other tasks until they have nothing to do.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_socket_is_parked_until_its_first_byte() {
    let mut served = Served::accept().await;
    assert!(served.is_parked());
    let request = get("/late");
    let (first, rest) = request.split_at(1);
    served.send(first).await;
    assert!(!served.is_parked());
    assert_eq!(served.timers.state(), SocketState::Head);
    served.send(rest).await;
    served.expect("/late").await;
}

#[tokio::test]
async fn a_tcp_socket_is_parked_as_soon_as_it_is_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = TcpStream::connect(listener.local_addr().unwrap());
    let (agent, near) = tokio::join!(agent, listener.accept());
    let (mut agent, near) = (agent.unwrap(), near.unwrap().0);
    let timers = Ticker::new(MemoryShortage::default()).register_socket(limits());
    let socket = AgentSocket::new(near, Arc::clone(&timers), None);
    tokio::spawn(serve_socket(socket, Arc::new(Echo)));
    settle().await;
    assert!(timers.is_parked.load(Relaxed));
    agent.write_all(get("/first").as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    agent.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn the_limit_of_the_first_head_counts_from_the_accept() {
    let mut served = Served::accept().await;
    served.pass(10 * SECOND).await;
    assert!(!served.task.is_finished());
    served.pass(SECOND).await;
    assert!(served.task.is_finished());
    assert!(served.timers.is_closed());
}

#[tokio::test]
async fn an_idle_socket_is_parked_after_a_second() {
    let mut served = Served::accept().await;
    served.request("/first").await;
    assert!(!served.is_parked());
    served.pass(PARK_AFTER - 1).await;
    assert!(!served.is_parked());
    served.pass(1).await;
    assert!(served.is_parked());
    // The ticker wakes a parked socket only for its limits.
    assert!(!served.timers.is_parking_due(served.now));
}

#[tokio::test]
async fn a_parked_socket_serves_requests_however_they_arrive() {
    let mut served = Served::park().await;
    for byte in get("/bytes").chars() {
        served.send(&byte.to_string()).await;
    }
    served.expect("/bytes").await;
    served.pass(PARK_AFTER).await;
    assert!(served.is_parked());
    served.send(&(get("/one") + &get("/two"))).await;
    served.expect("/one").await;
    served.expect("/two").await;
    served.pass(PARK_AFTER).await;
    assert!(served.is_parked());
    served
        .send("POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
        .await;
    // The socket is not idle, however long the body takes.
    served.pass(2 * PARK_AFTER).await;
    assert!(!served.is_parked());
    served.send("1234").await;
    served.expect("/body1234").await;
    served.pass(PARK_AFTER).await;
    assert!(served.is_parked());
    assert_eq!(served.timers.exchange_number(), 5);
}

#[tokio::test]
async fn a_request_that_arrives_when_the_socket_is_about_to_be_parked_is_answered() {
    let mut served = Served::accept().await;
    served.request("/first").await;
    served.now += PARK_AFTER;
    served.ticker.advance_to(served.now);
    let request = get("/second");
    served.agent.write_all(request.as_bytes()).await.unwrap();
    served.timers.wake();
    settle().await;
    served.expect("/second").await;
}

#[tokio::test]
async fn bytes_that_hyper_holds_are_not_lost() {
    let mut served = Served::accept().await;
    served.send("GET /kept HT").await;
    // An upload that ends after the next head has begun leaves the socket in this state.
    served.timers.set_state(SocketState::Idle);
    served.pass(PARK_AFTER).await;
    assert_eq!(served.timers.state(), SocketState::Head);
    assert!(!served.is_parked());
    served.send("TP/1.1\r\nHost: localhost\r\n\r\n").await;
    served.expect("/kept").await;
}

#[tokio::test]
async fn a_socket_is_not_parked_while_hyper_may_read_a_body_or_write() {
    let mut served = Served::accept().await;
    served.request("/first").await;
    served.timers.add_open_body();
    served.pass(2 * PARK_AFTER).await;
    assert!(!served.is_parked());
    served.timers.remove_open_body();
    served.timers.set_write_blocked(true);
    served.timers.set_state(SocketState::Idle);
    served.pass(PARK_AFTER).await;
    assert!(!served.is_parked());
    served.timers.set_write_blocked(false);
    served.pass(PARK_AFTER).await;
    assert!(served.is_parked());
}

#[tokio::test]
async fn a_socket_is_not_parked_while_the_body_of_its_last_request_is_open() {
    let server = Arc::new(KeptBody::default());
    let mut served = Served::accept_for(Arc::clone(&server)).await;
    served
        .send("POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
        .await;
    served.expect("early").await;
    served.pass(2 * PARK_AFTER).await;
    assert!(!served.is_parked());
    drop(server.0.lock().take());
    settle().await;
    assert_eq!(served.timers.open_bodies.load(Relaxed), 0);
}

#[tokio::test]
async fn a_parked_socket_counts_as_idle() {
    let served = Served::park().await;
    let counts = SocketCounts {
        idle: 1,
        ..SocketCounts::default()
    };
    assert_eq!(served.ticker.count_sockets(), counts);
}

#[tokio::test]
async fn the_idle_limit_of_a_parked_socket_counts_from_its_last_response() {
    let mut served = Served::park().await;
    assert_eq!(served.now, PARK_AFTER);
    served.pass(19 * SECOND).await;
    assert!(!served.task.is_finished());
    served.pass(SECOND).await;
    assert!(served.task.is_finished());
    assert!(served.timers.is_closed());
    assert!(
        served.agent.read_u8().await.is_err(),
        "the agent sees the end"
    );
}

#[tokio::test]
async fn a_process_that_stops_closes_parked_sockets_after_a_few_seconds() {
    for first in ["", "/first"] {
        let mut served = Served::accept().await;
        if !first.is_empty() {
            served.request(first).await;
            served.pass(PARK_AFTER).await;
        }
        assert!(served.is_parked());
        served.ticker.draining_since.store(served.now, Relaxed);
        served.pass(4 * SECOND).await;
        assert!(!served.task.is_finished());
        served.pass(SECOND).await;
        assert!(served.task.is_finished(), "{first:?}");
    }
}

#[tokio::test]
async fn a_parked_socket_is_closed_at_the_end_of_the_grace_period_and_to_make_room() {
    let served = Served::park().await;
    served.ticker.end_grace();
    settle().await;
    assert!(served.task.is_finished());
    let served = Served::park().await;
    // `Ticker::close_idlest` reads the clock, in which no time has passed.
    assert_eq!(served.timers.idle_rank(served.now), Some((false, 0)));
    served.timers.state_deadline.expire();
    served.timers.wake();
    settle().await;
    assert!(served.task.is_finished());
}

#[tokio::test]
async fn a_parked_socket_is_closed_when_its_agent_leaves() {
    let served = Served::park().await;
    let (task, timers) = (served.task, Arc::clone(&served.timers));
    drop(served.agent);
    settle().await;
    assert!(task.is_finished());
    assert!(timers.is_closed());
}
