//! Tests of sockets that may be idle (`SocketTimers::is_possibly_idle`), and of agents that leave
//! during an exchange.

use super::*;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n";
const NEXT: &str = "GET /next HT";

/// Sends a request whose body is `body` in these pieces, and reads the response.
async fn serve_pieces(pieces: &[&str]) -> Served {
    let mut served = Served::accept().await;
    for piece in pieces {
        served.send(piece).await;
    }
    served.expect("/body").await;
    served
}

/// Serves a request whose end egressd cannot recognise, because no read contains the whole end of
/// its head.
async fn serve_possibly_idle(next: &str) -> Served {
    let (head, line_feed) = HEAD.split_at(HEAD.len() - 1);
    serve_pieces(&[head, &format!("{line_feed}body{next}")]).await
}

#[tokio::test]
async fn a_complete_request_leaves_the_socket_idle() {
    let chunked = HEAD.replace("Content-Length: 4", "Transfer-Encoding: chunked");
    let whole = format!("{HEAD}body");
    let (first, second) = whole.split_at("POST / HTTP".len());
    for pieces in [
        &[whole.as_str()][..],
        &[HEAD, "body"],
        &[&format!("{HEAD}bo"), "dy"],
        &[first, second],
        &[&format!("{chunked}4\r\nbody\r\n0\r\n\r\n")],
        &[&chunked, "4\r\nbody\r\n", "0\r\n\r\n"],
    ] {
        let served = serve_pieces(pieces).await;
        assert_eq!(served.timers.state(), SocketState::Idle, "{pieces:?}");
    }
    for pieces in [&[&*format!("{whole}{NEXT}")][..], &[HEAD, "body", NEXT]] {
        let served = serve_pieces(pieces).await;
        assert_eq!(served.timers.state(), SocketState::Head, "{pieces:?}");
    }
}

#[tokio::test]
async fn a_possibly_idle_socket_is_parked_at_once() {
    let mut served = serve_possibly_idle("").await;
    let idle = SocketCounts {
        idle: 1,
        ..SocketCounts::default()
    };
    assert_eq!(served.ticker.count_sockets(), idle);
    assert!(served.is_parked());
    assert_eq!(served.timers.state(), SocketState::Idle);
    served.pass(20 * SECOND).await;
    assert!(!served.task.is_finished());
    served.pass(SECOND).await;
    assert!(served.task.is_finished());
}

#[tokio::test]
async fn the_next_head_on_a_possibly_idle_socket_has_its_limit() {
    let mut served = serve_possibly_idle(NEXT).await;
    assert_eq!(served.timers.state(), SocketState::Head);
    served.pass(PARK_AFTER).await;
    assert!(!served.is_parked());
    assert_eq!(served.timers.state(), SocketState::Head);
    served.pass(8 * SECOND).await;
    assert!(!served.task.is_finished());
    served.pass(2 * SECOND).await;
    assert!(served.task.is_finished());
}

#[tokio::test]
async fn the_next_request_is_answered_whenever_it_arrives() {
    for (early, wait) in [("", 0), ("", PARK_AFTER), (NEXT, 0), (NEXT, PARK_AFTER)] {
        let mut served = serve_possibly_idle(early).await;
        served.pass(wait).await;
        let next = get("/next");
        served.send(next.strip_prefix(early).unwrap()).await;
        served.expect("/next").await;
        assert_eq!(served.timers.state(), SocketState::Idle, "{early:?} {wait}");
    }
}

#[tokio::test]
async fn a_request_in_progress_is_not_interrupted_by_parking() {
    let server = Arc::new(Pending);
    let mut served = Served::accept_for(server).await;
    served.send(&format!("{HEAD}body")).await;
    assert_eq!(served.timers.state(), SocketState::Exchange);
    served.pass(3 * PARK_AFTER).await;
    assert_eq!(served.timers.state(), SocketState::Exchange);
    assert!(!served.task.is_finished());
}

/// Reads the body of a request and never responds.
struct Pending;

impl Serve for Pending {
    type Body = Full<Bytes>;

    async fn serve(
        self: Arc<Self>,
        _head: Parts,
        body: RequestBody,
        _timers: Arc<SocketTimers>,
    ) -> Response<Self::Body> {
        drop(body.collect().await);
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_agent_that_leaves_ends_its_exchange() {
    for request in [get("/"), format!("{HEAD}body")] {
        let mut served = Served::accept_for(Arc::new(Pending)).await;
        served.send(&request).await;
        assert!(!served.task.is_finished());
        let Served { agent, task, .. } = served;
        drop(agent);
        settle().await;
        assert!(task.is_finished(), "{request}");
    }
}

#[tokio::test]
async fn an_agent_that_leaves_after_early_bytes_is_noticed_within_a_second() {
    // F-272
    let mut served = Served::accept_for(Arc::new(Pending)).await;
    served.send(&get("/")).await;
    served.send(&get("/next")).await;
    served.agent.shutdown().await.unwrap();
    settle().await;
    assert!(!served.task.is_finished());
    served.pass(SECOND).await;
    assert!(served.task.is_finished());
}
