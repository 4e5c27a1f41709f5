//! Accepted heads, rejected heads, and heads that arrive in pieces.

use super::{
    BodyLength, HeadProgress, MAX_HEAD_BYTES, ParsedHead, ProtocolFault, ResponseHead, field_name,
    search_end, take_head,
};
use bytes::BytesMut;
use http::{HeaderName, Method};

fn parse(text: &str) -> Result<ParsedHead, ProtocolFault> {
    parse_response(text, &Method::GET)
}

fn parse_response(text: &str, method: &Method) -> Result<ParsedHead, ProtocolFault> {
    take_head(
        &mut BytesMut::from(text),
        &mut HeadProgress::default(),
        method,
    )
}

fn whole(text: &str) -> ResponseHead {
    whole_response(text, &Method::GET)
}

fn whole_response(text: &str, method: &Method) -> ResponseHead {
    match parse_response(text, method) {
        Ok(ParsedHead::Final(head)) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn framing_fields_determine_the_length_and_the_reuse_of_the_socket() {
    use BodyLength::{Absent, Chunked, Exact, UntilClose};
    for (rest, length, keep_alive) in [
        ("200 OK\r\nContent-Length: 5\r\n", Exact(5), true),
        (
            "200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            Exact(5),
            true,
        ),
        ("200 OK\r\nTransfer-Encoding: Chunked\r\n", Chunked, true),
        ("200 OK\r\n", UntilClose, false),
        // F-127, F-219: an announced body may arrive later than the head.
        ("204 No Content\r\nContent-Length: 5\r\n", Absent, false),
        ("304 Not Modified\r\nContent-Length: 5\r\n", Absent, false),
        (
            "304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
            Absent,
            false,
        ),
        ("204 No Content\r\nContent-Length: 0\r\n", Absent, true),
        ("204 No Content\r\n", Absent, true),
        (
            "200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 0\r\n",
            Exact(0),
            false,
        ),
        // F-223
        (
            "200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 5\r\n",
            Exact(5),
            false,
        ),
        ("599 \r\nContent-Length: 0\r\n", Exact(0), true),
    ] {
        let head = whole(&format!("HTTP/1.1 {rest}\r\n"));
        let found = (head.length, head.keep_alive);
        assert_eq!(found, (length, keep_alive), "{head:?}");
    }
    // F-125
    let old = whole("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!((old.length, old.keep_alive), (Exact(5), false));
}

#[test]
fn rejects_ambiguous_heads() {
    use ProtocolFault::{Framing, Head, TransferCoding, Upgrade};
    for (fields, fault) in [
        // F-121
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Framing,
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            Framing,
        ),
        ("Content-Length: 5, 5\r\n", Framing),
        ("Content-Length: 2\r\nContent-Length: 5\r\n", Framing),
        ("Content-Length: -5\r\n", Framing),
        ("Content-Length: +5\r\n", Framing),
        ("Content-Length: \r\n", Framing),
        ("Content-Length: 18446744073709551616\r\n", Framing),
        // F-122
        ("Transfer-Encoding: gzip, chunked\r\n", TransferCoding),
        ("Transfer-Encoding: gzip\r\n", TransferCoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            TransferCoding,
        ),
        // F-126
        ("A : b\r\n", Head),
        ("A: b\r\n c\r\n", Head),
        ("A: b\0\r\n", Head),
        ("A: b\rc\r\n", Head),
        ("no colon\r\n", Head),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(parse(&text).map(drop), Err(fault), "{text:?}");
    }
    for (line, fault) in [
        // F-119, F-120
        ("HTTP/1.1 101 Switching Protocols", Upgrade),
        ("HTTP/1.1 099 Low", Head),
        ("HTTP/1.1 20 Short", Head),
        ("HTTP/1.1 abc Text", Head),
        ("HTTP/1.1 600 High", Head),
        ("HTTP/1.1 999 High", Head),
        ("HTTP/2.0 200 OK", Head),
        ("hello", Head),
    ] {
        assert_eq!(
            parse(&format!("{line}\r\n\r\n")).map(drop),
            Err(fault),
            "{line}"
        );
    }
    assert_eq!(
        parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").map(drop),
        Err(Framing)
    );
}

#[test]
fn framing_and_socket_fields_are_kept_only_if_needed() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\nKeep-Alive: timeout=9\r\n\r\n";
    assert!(whole(text).headers.is_empty());
    let head = whole_response(text, &Method::HEAD);
    assert_eq!(head.headers.get("content-length").unwrap(), "0");
    let head = whole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close, X-Hop\r\n\r\n");
    assert_eq!(head.headers.get("connection").unwrap(), "close, X-Hop");
}

#[test]
fn values_are_kept_as_they_were_sent() {
    let head = whole(
        "\r\nHTTP/1.1 200 OK\r\nA: one\r\nEmpty:\r\nContent-Length: 0\r\nA:  two \r\nB: \u{e9}\r\n\r\n",
    );
    let values: Vec<_> = head.headers.get_all("a").iter().collect();
    assert_eq!(values, ["one", "two"]);
    assert_eq!(head.headers.get("empty").unwrap(), "");
    assert_eq!(
        head.headers.get("b").unwrap().as_bytes(),
        "\u{e9}".as_bytes()
    );
}

#[test]
fn heads_are_bounded() {
    // F-116
    let many = "A: b\r\n".repeat(101);
    assert_eq!(
        parse(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).map(drop),
        Err(ProtocolFault::HeadTooLarge)
    );
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(65_536));
    assert_eq!(parse(&long).map(drop), Err(ProtocolFault::HeadTooLarge));
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(65_536));
    assert_eq!(parse(&endless).map(drop), Err(ProtocolFault::HeadTooLarge));
}

#[test]
fn a_head_in_single_bytes_is_parsed_like_a_whole_one() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "\r\nHTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    ] {
        let (mut buffer, mut progress, mut heads) = (BytesMut::new(), HeadProgress::default(), 0);
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            if heads == 0 {
                match take_head(&mut buffer, &mut progress, &Method::GET).unwrap() {
                    ParsedHead::Final(head) => {
                        assert_eq!(head.length, BodyLength::Exact(5));
                        heads += 1;
                    }
                    ParsedHead::Partial => {}
                    ParsedHead::Informational(_) => panic!("{text:?}"),
                }
            }
        }
        assert_eq!((&buffer[..], heads), (&b"hello"[..], 1), "{text:?}");
    }
}

#[test]
fn empty_lines_before_a_head_are_read_once_and_count_towards_its_size() {
    // F-224
    let (mut buffer, mut progress) = (BytesMut::new(), HeadProgress::default());
    for _ in 0..MAX_HEAD_BYTES / 2 {
        buffer.extend_from_slice(b"\r\n");
        let parsed = take_head(&mut buffer, &mut progress, &Method::GET);
        assert!(matches!(parsed, Ok(ParsedHead::Partial)), "{parsed:?}");
        assert!(buffer.is_empty(), "an empty line stays in the buffer");
    }
    buffer.extend_from_slice(b"H");
    let parsed = take_head(&mut buffer, &mut progress, &Method::GET);
    assert_eq!(parsed.map(drop), Err(ProtocolFault::HeadTooLarge));
}

#[test]
fn the_end_of_a_head_is_two_line_ends() {
    let has_end = |text: &[u8]| search_end(text, &mut HeadProgress::default());
    assert!(!has_end(b"\r\nA: b\r\nB: c\r\n\r"));
    assert!(!has_end(b"\n"));
    assert!(has_end(b"a\r\n\r\n"));
    assert!(has_end(b"a\n\n"));
}

#[test]
fn after_its_first_bytes_a_head_is_not_parsed_until_it_has_ended() {
    // F-224: a parse would find the space in the name.
    let (mut buffer, mut progress) = (BytesMut::new(), HeadProgress::default());
    for piece in ["HTTP/1.1 200 OK\r\n", "a b: ", "c\r\n"] {
        buffer.extend_from_slice(piece.as_bytes());
        let parsed = take_head(&mut buffer, &mut progress, &Method::GET);
        assert!(matches!(parsed, Ok(ParsedHead::Partial)), "{parsed:?}");
    }
    buffer.extend_from_slice(b"\r\n");
    let parsed = take_head(&mut buffer, &mut progress, &Method::GET);
    assert_eq!(parsed.map(drop), Err(ProtocolFault::Head));
}

#[test]
fn a_usual_spelling_of_a_name_is_the_same_name() {
    for name in [
        "Date",
        "ETag",
        "Vary",
        "Server",
        "Connection",
        "Content-Type",
        "Cache-Control",
        "Last-Modified",
        "Content-Length",
        "Transfer-Encoding",
        "X-Other",
    ] {
        for spelling in [
            name.to_owned(),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
        ] {
            let parsed = field_name(spelling.as_bytes());
            assert_eq!(parsed, HeaderName::from_bytes(name.as_bytes()).ok());
        }
    }
    assert_eq!(field_name(b"a b"), None);
}

#[test]
fn heads_that_few_servers_send_are_unusual() {
    // F-227
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(8192));
    for (head, is_unusual) in [
        ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", false),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\n\n", true),
        (large.as_str(), true),
    ] {
        assert_eq!(whole(head).is_unusual, is_unusual, "{head:?}");
    }
}
