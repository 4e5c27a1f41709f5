//! The `curl` lines that the demo prints, each with what it answers.
//!
//! They are meant to be pasted, comments and all: a line is one command in sh, bash and zsh; a comment holds nothing that a shell would act on
//! (zsh takes no comments at its prompt, and says so). What a comment promises is held by the tests, which run every line.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

const HEADER: &str = "\
This is egressd with nothing to configure: the proxy, an HTTPS API and a token endpoint for it to call, and connections that lead there.
The API asks for keys that only the proxy holds, so an answer shows that one was added; paste any of the lines into another terminal.";

const FOOTER: &str = "Ctrl-C ends the demo; nothing of it was written to disk.";

/// How curl reaches a listener.
pub(crate) struct CurlOrigin {
    /// Options, with a space behind them; empty over TCP.
    options: String,
    origin: String,
}

impl CurlOrigin {
    /// Over TCP.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self {
            options: String::new(),
            origin: format!("http://{address}"),
        }
    }

    /// Through a Unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        Self {
            options: format!(
                "--unix-socket {} ",
                shell_quoted(&path.display().to_string())
            ),
            origin: "http://localhost".to_owned(),
        }
    }
}

/// Where a line goes.
enum LineUrl {
    /// A path of the proxy.
    Proxy(&'static str),
    /// A path of the management listener.
    Management(&'static str),
    /// A URL of somebody else, with the proxy taken for a forward proxy.
    Other(&'static str),
}

/// What is answered, in words; options of curl; target.
type CurlLine = (&'static str, &'static str, LineUrl);

struct CurlGroup {
    title: &'static str,
    lines: &'static [CurlLine],
}

const GROUPS: &[CurlGroup] = &[
    CurlGroup {
        title: "What an agent is told",
        lines: &[
            (
                "200: the connections and their routes, as JSON",
                "",
                LineUrl::Proxy("/"),
            ),
            (
                "200: the same as Markdown, for a model to read",
                "-H 'Accept: text/markdown'",
                LineUrl::Proxy("/"),
            ),
        ],
    },
    CurlGroup {
        title: "Allowed: the key is added on the way",
        lines: &[
            (
                "200: a bearer token arrived, and the API tells no more than its kind",
                "-i",
                LineUrl::Proxy("/notes/echo"),
            ),
            (
                "200: what an agent sends as its own key is dropped",
                "-i -H 'Authorization: Bearer made-up'",
                LineUrl::Proxy("/notes/echo?page=2"),
            ),
            (
                "201: a new note, with a Location that leads back through this proxy",
                "-i -H 'Content-Type: application/json' -d '{\"text\": \"buy milk\"}'",
                LineUrl::Proxy("/notes/items"),
            ),
            ("200: all notes", "-i", LineUrl::Proxy("/notes/items")),
            ("200: one note", "-i", LineUrl::Proxy("/notes/items/2")),
            (
                "204: removed",
                "-i -X DELETE",
                LineUrl::Proxy("/notes/items/1"),
            ),
            (
                "200: user name and password",
                "-i",
                LineUrl::Proxy("/billing/echo"),
            ),
            (
                "200: a key in a header of its own, and a header that says whose data",
                "-i",
                LineUrl::Proxy("/search/echo"),
            ),
            (
                "200: an API that asks for no key",
                "-i",
                LineUrl::Proxy("/public/echo"),
            ),
            (
                "302: redirects are passed on, never followed",
                "-i",
                LineUrl::Proxy("/notes/status/302"),
            ),
            (
                "401: a key that the API no longer takes, so this answer is its own",
                "-i",
                LineUrl::Proxy("/stale/echo"),
            ),
        ],
    },
    CurlGroup {
        title: "OAuth: the token is obtained on the way",
        lines: &[
            (
                "200: paste it twice and token_requests stays the same, one token call serves both",
                "-i",
                LineUrl::Proxy("/crm/echo"),
            ),
            (
                "200: the API takes this token no longer, at most once in half a minute",
                "-i -X DELETE",
                LineUrl::Proxy("/crm/token"),
            ),
            (
                "200: after that, a 401 was met on the way and a new token obtained, as token_requests tells",
                "-i",
                LineUrl::Proxy("/crm/echo"),
            ),
        ],
    },
    CurlGroup {
        title: "Signed: the API checks the body with its own copy of the key",
        lines: &[(
            "200: the very bytes that were signed have arrived, signature is valid",
            "-i -H 'Content-Type: application/json' -d '{\"event\": \"ping\"}'",
            LineUrl::Proxy("/hooks/echo"),
        )],
    },
    CurlGroup {
        title: "Kept: a key never comes back",
        lines: &[
            (
                "502 credential_reflected: this route of the API tells the key that it was given",
                "-i",
                LineUrl::Proxy("/notes/reflect"),
            ),
            (
                "502 credential_reflected: in a header neither",
                "-i",
                LineUrl::Proxy("/notes/reflect/header"),
            ),
        ],
    },
    CurlGroup {
        title: "Refused: nothing leaves this machine",
        lines: &[
            (
                "403 route_not_allowed: no route admits this path",
                "-i",
                LineUrl::Proxy("/notes/admin"),
            ),
            (
                "405 method_not_allowed: the path is fine, the method is not",
                "-i -X DELETE",
                LineUrl::Proxy("/notes/echo"),
            ),
            (
                "400 path_not_canonical: nobody climbs out of a path",
                "-i --path-as-is",
                LineUrl::Proxy("/notes/items/../admin"),
            ),
            (
                "400 path_not_canonical: in no disguise either",
                "-i --path-as-is",
                LineUrl::Proxy("/notes/items/%2e%2e/admin"),
            ),
            (
                "404 connection_not_found: no connection has this name",
                "-i",
                LineUrl::Proxy("/nothing/echo"),
            ),
            (
                "403 connection_disabled: the operator has switched it off",
                "-i",
                LineUrl::Proxy("/archive/echo"),
            ),
            (
                "421 host_not_allowed: another name was made to lead here",
                "-i -H 'Host: attacker.example'",
                LineUrl::Proxy("/notes/echo"),
            ),
            (
                "403 browser_request_refused: a web page asks",
                "-i -H 'Origin: https://attacker.example'",
                LineUrl::Proxy("/notes/echo"),
            ),
            (
                "400 forward_proxy_refused: an agent never chooses the host",
                "-i",
                LineUrl::Other("http://attacker.example/"),
            ),
        ],
    },
    CurlGroup {
        title: "Limits",
        lines: &[
            (
                "200: a slow answer, one second",
                "-i",
                LineUrl::Proxy("/public/slow/1"),
            ),
            (
                "504 upstream_timeout: this connection waits two seconds",
                "-i",
                LineUrl::Proxy("/reports/slow/5"),
            ),
            (
                "200: a long answer",
                "-sS -o /dev/null -w '%{http_code}, %{size_download} bytes\\n'",
                LineUrl::Proxy("/public/big/8"),
            ),
            (
                "502 response_too_large: over the cap, and it says so",
                "-i",
                LineUrl::Proxy("/public/big/12"),
            ),
            (
                "200, cut off: over the cap without saying so, and curl tells that it is not whole",
                "-sS -o /dev/null -w '%{http_code}, %{size_download} bytes\\n'",
                LineUrl::Proxy("/public/big/12?chunked"),
            ),
        ],
    },
    CurlGroup {
        title: "Streams",
        lines: &[(
            "200: events as they happen, two a second",
            "-iN",
            LineUrl::Proxy("/public/events?count=5"),
        )],
    },
    CurlGroup {
        title: "For operators",
        lines: &[
            (
                "200: a page with all of it, made for a browser",
                "-sS -o /dev/null -w '%{http_code}, %{size_download} bytes\\n'",
                LineUrl::Management("/"),
            ),
            (
                "200: the connections, with any name and password, since the demo sets none",
                "-u user:password",
                LineUrl::Management("/v1/connections"),
            ),
            (
                "200: one of them, with its details, and no secret in them",
                "-u user:password",
                LineUrl::Management("/v1/connections/crm"),
            ),
            (
                "200: those that a filter admits, 25 at once",
                "--get -u user:password --data-urlencode 'filter=connection_type=\"http\"' --data-urlencode page_size=25",
                LineUrl::Management("/v1/connections"),
            ),
            (
                "200: what a connection can be, and what it takes",
                "-u user:password",
                LineUrl::Management("/v1/connection-types"),
            ),
            (
                "200: the metrics, as Prometheus reads them",
                "",
                LineUrl::Management("/metrics"),
            ),
            (
                "200: ready to serve, and why",
                "-i",
                LineUrl::Management("/readyz?verbose"),
            ),
        ],
    },
];

/// Writes all of it. Colour is written always; a stream that is no terminal drops it.
pub(crate) fn write_curl_lines(
    out: &mut dyn io::Write,
    proxy: &CurlOrigin,
    management: &CurlOrigin,
) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    for CurlGroup { title, lines } in GROUPS {
        writeln!(out, "\n{BOLD}{title}{PLAIN}\n")?;
        for (answer, options, to) in *lines {
            if let Some(curl_command) = curl_command(options, to, proxy, management) {
                writeln!(out, "{DIM}# {answer}{PLAIN}\n{curl_command}")?;
            }
        }
    }
    writeln!(out, "\n{FOOTER}")
}

/// `None` where curl cannot do it: it reaches no proxy through a Unix socket.
fn curl_command(
    options: &str,
    to: &LineUrl,
    proxy: &CurlOrigin,
    management: &CurlOrigin,
) -> Option<String> {
    let mut curl_command = String::from("curl ");
    if !options.is_empty() {
        curl_command.push_str(options);
        curl_command.push(' ');
    }
    let url = match to {
        LineUrl::Proxy(path) => {
            curl_command.push_str(&proxy.options);
            format!("{}{path}", proxy.origin)
        }
        LineUrl::Management(path) => {
            curl_command.push_str(&management.options);
            format!("{}{path}", management.origin)
        }
        LineUrl::Other(_) if !proxy.options.is_empty() => return None,
        LineUrl::Other(url) => {
            // Writing to a String cannot fail.
            let _ = write!(curl_command, "-x {} ", shell_quoted(&proxy.origin));
            (*url).to_owned()
        }
    };
    curl_command.push_str(&shell_quoted(&url));
    Some(curl_command)
}

/// As one word of a shell.
fn shell_quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:.,_%@+-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{CurlOrigin, shell_quoted, write_curl_lines};
    use std::path::Path;

    fn written(proxy: &CurlOrigin) -> String {
        let mut out = Vec::new();
        write_curl_lines(
            &mut out,
            proxy,
            &CurlOrigin::tcp(([127, 0, 0, 1], 8081).into()),
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        ["\x1b[0m", "\x1b[1m", "\x1b[2m"]
            .iter()
            .fold(text, |text, code| text.replace(code, ""))
    }

    #[test]
    fn no_shell_acts_on_a_comment() {
        let text = written(&CurlOrigin::tcp(([127, 0, 0, 1], 8080).into()));
        let comments: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert!(comments.len() > 20);
        for comment in comments {
            let harmless = |c: char| c.is_ascii_alphanumeric() || " #_:,-".contains(c);
            assert!(comment.chars().all(harmless), "{comment}");
        }
    }

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(
            shell_quoted("http://127.0.0.1:8080/a"),
            "http://127.0.0.1:8080/a"
        );
        assert_eq!(shell_quoted("http://[::1]:8080/"), "'http://[::1]:8080/'");
        assert_eq!(shell_quoted("/a?b"), "'/a?b'");
        assert_eq!(shell_quoted("/it's"), r"'/it'\''s'");
    }

    #[test]
    fn unix_sockets() {
        let text = written(&CurlOrigin::unix(Path::new("/run/my agent.sock")));
        let line = "curl -i --unix-socket '/run/my agent.sock' http://localhost/notes/echo";
        assert!(text.lines().any(|other| other == line), "{text}");
        assert!(!text.contains(" -x "));
    }
}
