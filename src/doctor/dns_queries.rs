//! DNS queries that are encoded here, and sent over UDP and over TCP: a firewall rule may block
//! only one of them. A resolver library would report a refusal and a missing response as the same
//! error.

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::socket_error::{closed_reason, reason};
use crate::probe_client::{exchange_datagram, exchange_dns_message};

/// The ID of every query. A datagram with another ID is not a response to it.
const ID: [u8; 2] = *b"eg";

/// The outcome of a query. The worst for the sandbox is last, so that `max` selects it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DnsOutcome {
    NoAnswer,
    /// The query could not be sent, with the reason.
    NotTried(String),
    /// The server accepted a TCP connection and sent no response.
    ConnectionAccepted,
    /// A response without an address: the name does not exist, or the server refused or failed.
    NoAddress,
    Address,
}

/// Queries a server for an IPv4 address of the name, over UDP and TCP, and returns the worse
/// outcome.
pub(super) async fn query_server(server: SocketAddr, name: String, until: Instant) -> DnsOutcome {
    let Some(question) = encode_query(&name) else {
        return DnsOutcome::NotTried("not a valid DNS name".to_owned());
    };
    let (udp, tcp) = tokio::join!(
        exchange_datagram(server, &question, until),
        exchange_dns_message(server, &question, until)
    );
    let udp = udp.map_or_else(
        |error| error_outcome(&error),
        |answer| parse_outcome(&answer).unwrap_or(DnsOutcome::NoAddress),
    );
    let tcp = tcp.map_or_else(
        |error| error_outcome(&error),
        |answer| {
            let outcome = answer.and_then(|answer| parse_outcome(&answer));
            outcome.unwrap_or(DnsOutcome::ConnectionAccepted)
        },
    );
    udp.max(tcp)
}

fn error_outcome(error: &io::Error) -> DnsOutcome {
    // A timeout counts as closed: firewalls usually drop packets without an answer.
    if closed_reason(error).is_some() || error.kind() == io::ErrorKind::TimedOut {
        DnsOutcome::NoAnswer
    } else {
        DnsOutcome::NotTried(reason(error))
    }
}

/// Encodes a query for the `A` record of a name, with recursion desired (RFC 1035 §4.1). Returns
/// `None` if a label is empty or longer than 63 bytes.
fn encode_query(name: &str) -> Option<Vec<u8>> {
    let mut query = ID.to_vec();
    // Recursion desired, one question, no other records.
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok();
        query.push(length.filter(|length| (1..64).contains(length))?);
        query.extend(label.as_bytes());
    }
    // The root label, type A, class IN.
    query.extend([0, 0, 1, 0, 1]);
    Some(query)
}

/// Parses a response. Returns `None` if it is not a response to our query.
fn parse_outcome(answer: &[u8]) -> Option<DnsOutcome> {
    let (head, _) = answer.split_first_chunk::<12>()?;
    let [a, b, flags, code, _, _, count_high, count_low, ..] = *head;
    // The bit QR marks a response.
    if [a, b] != ID || flags & 0x80 == 0 {
        return None;
    }
    // RCODE 0 means no error.
    let has_records = code & 0x0f == 0 && (count_high, count_low) != (0, 0);
    Some(if has_records {
        DnsOutcome::Address
    } else {
        DnsOutcome::NoAddress
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, UdpSocket};
    use std::time::Duration;

    use super::{DnsOutcome, ID, Instant, encode_query, parse_outcome, query_server};

    fn query_outcome(server: SocketAddr) -> DnsOutcome {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let until = Instant::now() + Duration::from_secs(10);
            query_server(server, "public.test.".to_owned(), until).await
        })
    }

    /// Returns the header of a response with this code and this number of records.
    fn answer_head(code: u8, records: u8) -> Vec<u8> {
        [ID.as_slice(), &[0x81, code, 0, 1, 0, records, 0, 0, 0, 0]].concat()
    }

    /// Answers one datagram on a port that has no TCP listener.
    fn by_udp(answer: Vec<u8>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let (_, from) = socket.recv_from(&mut [0; 512]).unwrap();
            socket.send_to(&answer, from).unwrap();
        });
        address
    }

    /// Answers one query over TCP on a port that has no UDP socket.
    fn by_tcp(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut question = [0; 31];
            socket.read_exact(&mut question).unwrap();
            assert_eq!(question[..2], [0, 29]);
            socket.write_all(&answer).unwrap();
        });
        address
    }

    #[test]
    fn a_server_that_answers_over_tcp_alone_is_found() {
        let answer = answer_head(0x80, 1);
        let framed = [&[0, 12], answer.as_slice()].concat();
        assert_eq!(query_outcome(by_tcp(framed)), DnsOutcome::Address);
        assert_eq!(
            query_outcome(by_tcp(Vec::new())),
            DnsOutcome::ConnectionAccepted
        );
    }

    #[test]
    fn a_server_that_refuses_or_fails_is_reported() {
        assert_eq!(
            query_outcome(by_udp(answer_head(0x80, 1))),
            DnsOutcome::Address
        );
        for code in [0x80, 0x82, 0x83, 0x85] {
            assert_eq!(
                query_outcome(by_udp(answer_head(code, 0))),
                DnsOutcome::NoAddress,
                "{code:x}"
            );
        }
        assert_eq!(
            query_outcome(by_udp(b"garbage".to_vec())),
            DnsOutcome::NoAddress
        );
    }

    #[test]
    fn a_closed_port_gives_no_answer() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        assert_eq!(query_outcome(closed.unwrap()), DnsOutcome::NoAnswer);
    }

    #[test]
    fn names_are_labels() {
        let query = encode_query("a.bc.").unwrap();
        assert_eq!(query[12..], *b"\x01a\x02bc\0\0\x01\0\x01");
        assert_eq!(encode_query("a.bc"), Some(query));
        for name in ["a..b", ".", "", &"x".repeat(64)] {
            assert_eq!(encode_query(name), None, "{name}");
        }
        assert_eq!(parse_outcome(&answer_head(0x80, 1)[..11]), None);
    }
}
