//! TCP connections to the addresses of one name, tried one beside the other (RFC 8305 §5).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::os::is_resource_exhausted;
use crate::upstream::failure::{ConnectFault, Failure};

/// The first connection that stands. Each address has a head start before the next one is tried beside it; a refusal ends it early.
pub(super) async fn race_connects(
    addresses: &[SocketAddr],
    head_start: Duration,
) -> Result<TcpStream, Failure> {
    let Some((first, rest)) = addresses.split_first() else {
        return Err(Failure::Connect(ConnectFault::Unreachable));
    };
    let mut attempt = std::pin::pin!(connect(*first));
    if rest.is_empty() {
        return attempt.await;
    }
    match timeout(head_start, &mut attempt).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(fault)) => boxed_race(rest, head_start).await.map_err(|_| fault),
        Err(_) => first_success(attempt, boxed_race(rest, head_start)).await,
    }
}

/// Boxed, for a future cannot contain itself.
fn boxed_race(
    addresses: &[SocketAddr],
    head_start: Duration,
) -> std::pin::Pin<Box<dyn Future<Output = Result<TcpStream, Failure>> + Send + '_>> {
    Box::pin(race_connects(addresses, head_start))
}

/// The first of two that succeeds; if neither does, the fault of the one that was begun first.
async fn first_success<A, B>(mut first: A, mut second: B) -> Result<TcpStream, Failure>
where
    A: Future<Output = Result<TcpStream, Failure>> + Unpin,
    B: Future<Output = Result<TcpStream, Failure>> + Unpin,
{
    tokio::select! {
        outcome = &mut first => match outcome {
            Ok(socket) => Ok(socket),
            Err(fault) => second.await.map_err(|_| fault),
        },
        outcome = &mut second => match outcome {
            Ok(socket) => Ok(socket),
            Err(_) => first.await,
        },
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(|error| connect_failure(&error))?;
    // Heads and bodies are written whole: waiting for more would only delay them. A socket that cannot do it works all the same.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

fn connect_failure(error: &io::Error) -> Failure {
    let kind = error.kind();
    if is_resource_exhausted(error) {
        return Failure::ResourcesExhausted;
    }
    Failure::Connect(
        if matches!(
            kind,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
        ) {
            ConnectFault::Refused
        } else if kind == io::ErrorKind::TimedOut {
            ConnectFault::Timeout
        } else {
            ConnectFault::Unreachable
        },
    )
}
