//! The charset of a response: the agent cannot choose it, and no label turns the search off.

use serde_json::json;

use super::{SECRET, crm, passes, refused};
use crate::support::{Agent, Sidecar, Upstream, connection};

/// The text in UTF-16 and UTF-32, in both byte orders.
fn wide(text: &str) -> [Vec<u8>; 4] {
    [
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        text.chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect(),
        text.chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect(),
    ]
}

#[test]
fn the_agent_does_not_choose_the_charset() {
    // F-204
    let asked = |guard: bool, fields: &[(&str, &str)]| {
        let up = Upstream::body("hi");
        let one = crm(&up).http("reflection_guard", json!(guard));
        let sidecar = Sidecar::with(one).start();
        Agent::connect(&sidecar)
            .request("GET", "/crm/x", fields, b"")
            .expect_status(200);
        up.only_request().fields
    };
    let fields = [
        ("Accept", "text/plain;charset=UTF-16LE ; q=0.5, a/b;x=\"y\""),
        ("Accept", "application/json; Charset = \"IBM037\""),
        ("Accept", "*/*;q=0.1"),
        ("Accept-Charset", "utf-16"),
        ("Accept_Charset", "utf-16"),
        ("A-IM", "gzip"),
        ("Grpc-Accept-Encoding", "gzip"),
        ("TE", "gzip"),
    ];
    let sent = asked(true, &fields);
    assert_eq!(
        sent.all("accept"),
        [
            "text/plain; q=0.5, a/b;x=\"y\"",
            "application/json",
            "*/*;q=0.1"
        ]
    );
    for name in [
        "accept-charset",
        "accept_charset",
        "a-im",
        "grpc-accept-encoding",
        "te",
    ] {
        assert!(sent.all(name).is_empty(), "{name}");
    }
    // If responses are not searched, the header is passed unchanged.
    let sent = asked(false, &fields);
    let values: Vec<&str> = fields[..3].iter().map(|(_, value)| *value).collect();
    assert_eq!(sent.all("accept"), values);
    assert_eq!(sent.all("accept-charset"), ["utf-16"]);
    assert_eq!(sent.all("a-im"), ["gzip"]);
}

#[test]
fn utf_16_and_utf_32_are_searched() {
    // F-204
    for body in wide(&format!("{{\"authorization\": \"Bearer {SECRET}\"}}")) {
        let up = Upstream::body(&body);
        let sidecar = Sidecar::with(crm(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        refused(&agent.get("/crm/x"), "whole");
        assert!(
            !agent
                .received()
                .windows(body.len())
                .any(|part| part == body)
        );
        for size in [1, 5, 16] {
            let body = body.clone();
            let up = Upstream::script(move |wire| {
                wire.request();
                wire.send(super::CHUNKED);
                for piece in body.chunks(size) {
                    let size = format!("{:x}\r\n", piece.len());
                    wire.send([size.as_bytes(), piece, b"\r\n"].concat());
                }
                wire.send("0\r\n\r\n");
            });
            let sidecar = Sidecar::with(crm(&up)).start();
            let reply = Agent::connect(&sidecar).get("/crm/x");
            let text: Vec<u8> = reply.body.iter().copied().filter(|b| *b != 0).collect();
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains("sk-live"), "in pieces of {size}: {text}");
        }
    }
}

#[test]
fn what_no_search_can_read_is_refused() {
    // F-205
    for kind in [
        "text/plain; charset=IBM037",
        "application/json;CHARSET=\"ibm-1047\"",
        "text/html; charset=utf-7",
        "text/plain; charset=csIBMThai",
        "text/plain; charset=ibm-1047_P100-1995",
        "text/plain; charset=x-IBM1047_LF",
        "text/plain; charset=posix-bc",
        "text/plain; charset=cp1047//TRANSLIT",
        "text/plain; charset=ISO-10646-UTF-7",
        "text/plain; charset=IMAP-mailbox-name",
        "text/plain; charset=OSF10020025",
        "text/plain; charset*=us-ascii'en'IBM037",
    ] {
        let up = Upstream::reply_then_close(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\nhi"
        ));
        let sidecar = Sidecar::with(crm(&up)).start();
        let reply = Agent::connect(&sidecar).get("/crm/x");
        refused(&reply, kind);
        let document = reply.problem().document;
        assert_eq!(document["cause"], "unsearchable_charset", "{document}");
        let off = crm(&up).http("reflection_guard", json!(false));
        passes(off, "/crm/x");
        let none = connection("crm").allow("/").upstream(&up);
        passes(none, "/crm/x");
    }
    for kind in [
        "text/plain; charset=utf-16",
        "text/plain; charset=Shift_JIS",
        "text/plain; charset=unheard-of",
    ] {
        let up = Upstream::reply_then_close(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\nhi"
        ));
        passes(crm(&up), "/crm/x");
    }
    // The body is empty.
    let up = Upstream::reply_then_close(
        "HTTP/1.1 204 No Content\r\nContent-Type: text/plain; charset=IBM037\r\n\r\n",
    );
    let sidecar = Sidecar::with(crm(&up)).start();
    Agent::connect(&sidecar).get("/crm/x").expect_status(204);
}

#[test]
fn a_label_of_compression_turns_no_search_off() {
    // F-206
    for coding in ["gzip", "br", "identity, br", "GZIP", "zstd", "compress"] {
        let up = Upstream::reply_then_close(format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n{SECRET}",
            SECRET.len()
        ));
        let sidecar = Sidecar::with(crm(&up)).start();
        refused(&Agent::connect(&sidecar).get("/crm/x"), coding);
    }
    // A body that really is compressed passes unchanged.
    let packed =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xc8\x04\x00\xac*\x93\xd8\x02\x00\x00\x00";
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    let up = Upstream::reply_then_close([head.as_bytes(), packed].concat());
    assert_eq!(passes(crm(&up), "/crm/x").body, packed);
}
