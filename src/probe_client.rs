//! The client that `healthcheck` uses for a running egressd, and `doctor` for addresses that a
//! sandbox must not reach.
//!
//! This is the only module besides `upstream` that connects to other addresses, and only those two
//! commands may use it. The address guard does not check what it dials, because the purpose is to
//! find out whether the address answers at all. Commands that hold a credential must not use it. It
//! reads at most 4 KiB of a response, until an instant that the caller sets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use http::header::{ACCEPT, HOST};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::time::{Instant, timeout_at};

/// The most bytes of a response's body that are read.
const MAX_BODY_BYTES: usize = 4096;
/// The most characters of a response that are shown.
const MAX_SHOWN_CHARS: usize = 120;

/// An address to probe. A name must be resolved first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProbeTarget {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A DNS name in lower case, and a TCP port.
    Name(String, u16),
    /// A Unix socket. An abstract name (unix(7)) begins with a zero byte.
    Unix(PathBuf),
}

/// The response to a `GET`.
#[derive(Debug)]
pub(crate) struct ProbeResponse {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    /// The first 4 KiB of the body.
    pub(crate) body: Vec<u8>,
}

/// The reason why a probe got no response.
#[derive(Debug)]
pub(crate) enum ProbeFailure {
    /// No connection could be opened.
    NotConnected(io::Error),
    /// A connection was opened, but the response is not HTTP/1.1.
    NotHttp,
    /// A connection was opened, but no response arrived in time.
    TimedOut,
}

impl ProbeTarget {
    /// Parses `ADDRESS:PORT`, `NAME:PORT`, `http://ADDRESS[:PORT][/]` or `unix:/PATH`. The error
    /// contains the valid forms.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str =
            "write `127.0.0.1:8080`, `[::1]:8080`, `http://egressd:8080` or `unix:/path`";
        if text.starts_with("https://") {
            return Err(format!("egressd serves plain HTTP, not HTTPS; {FORMS}"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(format!("the path of the socket is missing; {FORMS}"))
            } else {
                Ok(Self::Unix(PathBuf::from(path)))
            };
        }
        let url = text.strip_prefix("http://");
        let authority = url.map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        let default = url.map(|_| 80);
        Self::from_authority(authority, default)
            .ok_or_else(|| format!("not a valid address; {FORMS}"))
    }

    fn from_authority(authority: &str, default: Option<u16>) -> Option<Self> {
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return (address.port() != 0).then_some(Self::Tcp(address));
        }
        let literal = authority
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(authority);
        if let Ok(ip) = literal.parse::<IpAddr>() {
            return Some(Self::Tcp(SocketAddr::new(ip, default?)));
        }
        let (name, port) = match authority.split_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port != 0)?),
            None => (authority, default?),
        };
        is_dns_name(name).then(|| Self::Name(name.to_ascii_lowercase(), port))
    }

    /// Returns the target for another port of the same host, or `None` for a Unix socket.
    pub(crate) fn with_port(&self, port: u16) -> Option<Self> {
        match self {
            Self::Tcp(address) => Some(Self::Tcp(SocketAddr::new(address.ip(), port))),
            Self::Name(name, _) => Some(Self::Name(name.clone(), port)),
            Self::Unix(_) => None,
        }
    }

    /// Returns the targets for probing a listener of this host. An unspecified address is probed on
    /// loopback. `[::]` is probed over both families, since a host may have only one.
    pub(crate) fn listener_targets(address: SocketAddr) -> Vec<Self> {
        let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let addresses: &[IpAddr] = match address.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => &[four],
            IpAddr::V6(ip) if ip.is_unspecified() => &[six, four],
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => &[ip],
        };
        let target = |ip: &IpAddr| Self::Tcp(SocketAddr::new(*ip, address.port()));
        addresses.iter().map(target).collect()
    }

    /// Sends `GET path` with `Host: localhost`, as a program on this host would, and ends by
    /// `until`. A [`ProbeTarget::Name`] fails, because it has to be resolved first.
    pub(crate) async fn get(
        &self,
        path: &'static str,
        until: Instant,
    ) -> Result<ProbeResponse, ProbeFailure> {
        let closed = |error: io::Error| ProbeFailure::NotConnected(error);
        let timed_out = |_| closed(io::ErrorKind::TimedOut.into());
        match self {
            Self::Tcp(address) => {
                let socket = timeout_at(until, connect(*address)).await;
                get_by_deadline(socket.map_err(timed_out)?.map_err(closed)?, path, until).await
            }
            Self::Unix(file) => {
                let socket = timeout_at(until, UnixStream::connect(file)).await;
                get_by_deadline(socket.map_err(timed_out)?.map_err(closed)?, path, until).await
            }
            Self::Name(..) => Err(closed(io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

/// Returns whether the text may be a DNS name: 1 to 253 characters, and only those of host names
/// and service labels.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(legal)
}

/// Opens a TCP connection to this address.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Sends one datagram and returns the first one that comes back.
pub(crate) async fn exchange_datagram(
    to: SocketAddr,
    question: &[u8],
    until: Instant,
) -> io::Result<Vec<u8>> {
    let from: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let exchange = async {
        let socket = UdpSocket::bind((from, 0)).await?;
        // A connected UDP socket receives datagrams from this address only, and reports ICMP errors
        // (udp(7)).
        socket.connect(to).await?;
        socket.send(question).await?;
        let mut answer = vec![0; MAX_BODY_BYTES];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    };
    let answer = timeout_at(until, exchange).await;
    answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends a DNS message over TCP with its length in front (RFC 7766 §8), and reads the response.
/// `None` if the connection was accepted and no whole response arrived.
pub(crate) async fn exchange_dns_message(
    to: SocketAddr,
    question: &[u8],
    until: Instant,
) -> io::Result<Option<Vec<u8>>> {
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    let mut socket = timeout_at(until, connect(to)).await.map_err(timed_out)??;
    let exchange = async {
        let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
        socket.write_all(&length.to_be_bytes()).await.ok()?;
        socket.write_all(question).await.ok()?;
        let length = socket.read_u16().await.ok()?;
        let mut answer = vec![0; usize::from(length)];
        socket.read_exact(&mut answer).await.ok()?;
        Some(answer)
    };
    Ok(timeout_at(until, exchange).await.ok().flatten())
}

async fn get_by_deadline<S>(
    socket: S,
    path: &'static str,
    until: Instant,
) -> Result<ProbeResponse, ProbeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = timeout_at(until, send_get(socket, path)).await;
    answer.unwrap_or(Err(ProbeFailure::TimedOut))
}

async fn send_get<S>(socket: S, path: &'static str) -> Result<ProbeResponse, ProbeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(|_| ProbeFailure::NotHttp)?;
    // The task ends when `sender` is dropped, or with the runtime.
    let _driven = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, "localhost")
        .header(ACCEPT, "application/json, */*;q=0.5")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeFailure::NotHttp)?;
    let response = sender.send_request(request).await;
    let (head, body) = response.map_err(|_| ProbeFailure::NotHttp)?.into_parts();
    Ok(ProbeResponse {
        status: head.status,
        fields: head.headers,
        body: read_beginning(body).await,
    })
}

/// Reads the first 4 KiB of a body. If the body breaks off, returns the part that arrived.
async fn read_beginning(mut body: Incoming) -> Vec<u8> {
    let mut begun = Vec::new();
    while begun.len() < MAX_BODY_BYTES {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            begun.extend(data.iter().take(MAX_BODY_BYTES - begun.len()));
        }
    }
    begun
}

impl ProbeResponse {
    /// Returns the first line of the body, safe to print on a terminal.
    pub(crate) fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        printable(text.lines().next().unwrap_or_default())
    }
}

/// Returns at most 120 characters of the text in printable ASCII, so that it cannot contain
/// terminal control sequences. Other characters become `?`.
pub(crate) fn printable(text: &str) -> String {
    let fit = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    text.trim().chars().take(MAX_SHOWN_CHARS).map(fit).collect()
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            // ss(8) shows abstract names in this form.
            Self::Unix(path) => {
                let path = path.to_string_lossy().replace('\0', "@");
                write!(f, "unix:{}", printable(&path))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeTarget, printable};

    #[test]
    fn every_form_of_a_probe_target_is_parsed() {
        let rows = [
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://127.0.0.1:8080/", Some("127.0.0.1:8080")),
            ("http://127.0.0.1", Some("127.0.0.1:80")),
            ("[::1]:8081", Some("[::1]:8081")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://Egressd.default.svc", Some("egressd.default.svc:80")),
            ("localhost:8080", Some("localhost:8080")),
            (
                "unix:/run/egressd/agent.sock",
                Some("unix:/run/egressd/agent.sock"),
            ),
            ("unix:", None),
            ("127.0.0.1", None),
            ("127.0.0.1:0", None),
            ("::1", None),
            ("egressd", None),
            ("egressd:0", None),
            ("egressd:http", None),
            ("http://", None),
            ("http://user@host:80", None),
            ("http://127.0.0.1:8080/crm", None),
            ("https://127.0.0.1:8080", None),
            ("", None),
        ];
        for (text, shown) in rows {
            let read = ProbeTarget::parse(text);
            let read = read.as_ref().map(ToString::to_string);
            assert_eq!(read.as_deref().ok(), shown, "{text}");
        }
        let problem = ProbeTarget::parse("https://127.0.0.1:8080").unwrap_err();
        assert!(problem.contains("plain HTTP") && problem.contains("write `"));
    }

    #[test]
    fn a_listener_on_every_address_is_probed_on_loopback() {
        let rows = [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081 127.0.0.1:8081"),
            ("[::ffff:0.0.0.0]:8081", "127.0.0.1:8081"),
            ("10.1.2.3:8081", "10.1.2.3:8081"),
            ("[::1]:8081", "[::1]:8081"),
        ];
        for (listener, target) in rows {
            let targets = ProbeTarget::listener_targets(listener.parse().unwrap());
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            assert_eq!(targets.join(" "), target);
        }
    }

    #[test]
    fn shown_text_is_short_and_without_control_characters() {
        assert_eq!(printable("a\x1b[31mb\tc ä\u{202e}\n"), "a?[31mb?c ??");
        assert_eq!(printable(&"x".repeat(1000)).len(), 120);
    }
}
