//! A browser of a few lines: one request on each socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// An answer of the loopback listener.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    /// Returns the head and the body.
    pub(super) fn text(&self) -> String {
        format!("{}\r\n\r\n{}", self.head, self.body)
    }

    /// Returns the value of a field that occurs once.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        let mut found = self.head.lines().filter_map(|line| {
            let (name, value) = line.split_at_checked(start.len())?;
            name.eq_ignore_ascii_case(&start).then_some(value)
        });
        let value = found.next();
        assert_eq!(found.next(), None, "{name} occurs twice: {}", self.head);
        value
    }
}

/// Splits `http://HOST:PORT/PATH` into its authority and its path.
pub(super) fn split_link(link: &str) -> (&str, &str) {
    let rest = link.strip_prefix("http://").expect("http");
    rest.split_at(rest.find('/').expect("a path"))
}

/// Sends a request with these fields, each with its line end, and returns the answer.
pub(super) fn send(authority: &str, method: &str, path: &str, fields: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\n{fields}\r\n");
    let mut socket = TcpStream::connect(authority).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    Answer {
        status: status.parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Navigates to a path, as a browser does.
pub(super) fn navigate(authority: &str, path: &str, cookie: &str) -> Answer {
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: {cookie}\r\n"),
    };
    let fields = format!("Host: {authority}\r\nSec-Fetch-Mode: navigate\r\n{cookie}");
    send(authority, "GET", path, &fields)
}
