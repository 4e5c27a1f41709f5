//! Pasting a printed `curl` line: the request that curl would send, without curl.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longer than the response to any line takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result that a comment describes: `# 403 route_not_allowed: …`, `# 200, cut off: …`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    pub(super) cut: bool,
}

impl Promise {
    pub(super) fn read(comment: &str) -> Self {
        let (head, _words) = comment
            .strip_prefix("# ")
            .and_then(|comment| comment.split_once(": "))
            .unwrap_or_else(|| panic!("{comment:?} describes no result"));
        let (status, rest) = head.split_at(3);
        Self {
            status: status.parse().unwrap(),
            code: rest.strip_prefix(' ').map(str::to_owned),
            cut: rest == ", cut off",
        }
    }
}

pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is_whole(&self) -> bool {
        match self.field("content-length") {
            Some(length) => length.parse() == Ok(self.body.len()),
            None if self.field("transfer-encoding").is_some() => self.body.ends_with(b"0\r\n\r\n"),
            None => self.body.is_empty(),
        }
    }

    pub(super) fn promise(&self) -> Promise {
        Promise {
            status: self.head.get(9..12).unwrap().parse().unwrap(),
            code: self.field("x-egressd-error").map(str::to_owned),
            cut: !self.is_whole(),
        }
    }
}

/// Splits a command into words as sh does: at spaces, except within single quotes. Outside of
/// quotes, a backslash escapes the next character.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '\\' if !quoted => word.get_or_insert_default().extend(characters.next()),
            other => {
                let active = "\"$`&|;<>(){}[]*?~#!\n";
                assert!(
                    quoted || !active.contains(other),
                    "a shell would interpret a character of {line}"
                );
                word.get_or_insert_default().push(other);
            }
        }
    }
    assert!(!quoted, "{line} ends within quotes");
    words.extend(word);
    words
}

/// Sends the request that curl would send, for the options that the demo uses.
pub(super) fn send(line: &str) -> Answer {
    let mut words = words(line).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"));
    let (mut method, mut fields, mut body) = (None, Vec::new(), Vec::new());
    let mut ca = None;
    let (mut proxy, mut url, mut query) = (None, None, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "-i" | "-iN" | "-sS" | "--path-as-is" | "--get" => {}
            "-o" | "-w" => drop(words.next()),
            "-u" => fields.push(basic(&words.next().unwrap())),
            "--data-urlencode" => query.push(encoded(&words.next().unwrap())),
            "-X" => method = words.next(),
            "-H" => fields.extend(words.next()),
            "--cacert" => ca = words.next(),
            "-d" => body.extend(words.next()),
            "-x" => proxy = words.next(),
            _ => {
                assert!(!word.starts_with('-'), "unknown option in {line}");
                assert_eq!(url.replace(word), None, "two targets in {line}");
            }
        }
    }
    let url = url.unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        fields.push(format!("Host: {authority}"));
    }
    let body = (!body.is_empty()).then(|| body.join("&"));
    if let Some(body) = &body {
        if !fields
            .iter()
            .any(|field| field.starts_with("Content-Type:"))
        {
            fields.push("Content-Type: application/x-www-form-urlencoded".to_owned());
        }
        fields.push(format!("Content-Length: {}", body.len()));
    }
    let to = proxy
        .as_deref()
        .map(|url| url.strip_prefix("http://").unwrap());
    let target = match to {
        Some(_) => url.clone(),
        None if query.is_empty() => format!("/{path}"),
        None => format!("/{path}?{}", query.join("&")),
    };
    let default = if body.is_some() { "POST" } else { "GET" };
    let request = format!(
        "{} {target} HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n{}",
        method.as_deref().unwrap_or(default),
        fields.join("\r\n"),
        body.unwrap_or_default()
    );
    if scheme == "https" {
        return exchange_over_tls(authority, ca.as_deref().unwrap(), request.as_bytes());
    }
    exchange(connect(to.unwrap_or(authority)), request.as_bytes())
}

fn basic(pair: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Authorization: Basic {pair}")
}

/// Returns `NAME=VALUE` with the value escaped, as curl does it.
fn encoded(parameter: &str) -> String {
    let (name, value) = parameter.split_once('=').unwrap();
    let escaped = value.bytes().map(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    format!("{name}={}", escaped.collect::<String>())
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a request over TLS. Only the authority in this file is trusted.
pub(super) fn exchange_over_tls(authority: &str, ca: &str, request: &[u8]) -> Answer {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (host, _port) = authority.rsplit_once(':').unwrap();
    let name = host.to_owned().try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    exchange(StreamOwned::new(session, connect(authority)), request)
}

fn exchange(mut socket: impl Read + Write, request: &[u8]) -> Answer {
    socket.write_all(request).unwrap();
    let mut bytes = Vec::new();
    // A response that is cut off may end in a reset. The bytes before it count.
    let _cut = socket.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let body = bytes.split_off(end.expect("a whole head") + 4);
    Answer {
        head: String::from_utf8(bytes).unwrap(),
        body,
    }
}
