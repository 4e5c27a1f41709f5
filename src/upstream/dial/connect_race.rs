//! Opens a TCP connection to one of several addresses, which are tried in parallel (RFC 8305 §5).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::os::is_resource_exhausted;
use crate::upstream::failure::{ConnectFault, Failure};

/// Returns the first connection that is established. Each address has a head start before the next
/// one is tried in parallel. If an attempt fails earlier, the next address is tried at once.
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
        // If every address fails, the failure of the first one is reported.
        Ok(Err(fault)) => boxed_race(rest, head_start).await.map_err(|_| fault),
        Err(_) => first_success(attempt, boxed_race(rest, head_start)).await,
    }
}

/// Starts the race for the remaining addresses. Boxed because an async function cannot contain its
/// own future.
fn boxed_race(
    addresses: &[SocketAddr],
    head_start: Duration,
) -> std::pin::Pin<Box<dyn Future<Output = Result<TcpStream, Failure>> + Send + '_>> {
    Box::pin(race_connects(addresses, head_start))
}

/// Returns the first of two connections that is established. If both fail, returns the failure of
/// `first`.
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
    // Heads and bodies are written whole, so Nagle's algorithm would only delay them. A socket
    // without the option still works.
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
