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
pub(crate) struct Door {
    /// Options, with a space behind them; empty over TCP.
    options: String,
    origin: String,
}

impl Door {
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
            options: format!("--unix-socket {} ", quoted(&path.display().to_string())),
            origin: "http://localhost".to_owned(),
        }
    }
}

/// Where a line goes.
enum To {
    /// A path of the proxy.
    Agent(&'static str),
    /// A path of the management listener.
    Operator(&'static str),
    /// A URL of somebody else, with the proxy taken for a forward proxy.
    Elsewhere(&'static str),
}

/// What is answered, in words; options of curl; target.
type Line = (&'static str, &'static str, To);

struct Group {
    title: &'static str,
    lines: &'static [Line],
}

const GROUPS: &[Group] = &[
    Group {
        title: "What an agent is told",
        lines: &[
            (
                "200: the connections and their routes, as JSON",
                "",
                To::Agent("/"),
            ),
            (
                "200: the same as Markdown, for a model to read",
                "-H 'Accept: text/markdown'",
                To::Agent("/"),
            ),
        ],
    },
    Group {
        title: "Allowed: the key is added on the way",
        lines: &[
            (
                "200: a bearer token arrived, and the API tells no more than its kind",
                "-i",
                To::Agent("/notes/echo"),
            ),
            (
                "200: what an agent sends as its own key is dropped",
                "-i -H 'Authorization: Bearer made-up'",
                To::Agent("/notes/echo?page=2"),
            ),
            (
                "201: a new note, with a Location that leads back through this proxy",
                "-i -H 'Content-Type: application/json' -d '{\"text\": \"buy milk\"}'",
                To::Agent("/notes/items"),
            ),
            ("200: all notes", "-i", To::Agent("/notes/items")),
            ("200: one note", "-i", To::Agent("/notes/items/2")),
            ("204: removed", "-i -X DELETE", To::Agent("/notes/items/1")),
            (
                "200: user name and password",
                "-i",
                To::Agent("/billing/echo"),
            ),
            (
                "200: a key in a header of its own, and a header that says whose data",
                "-i",
                To::Agent("/search/echo"),
            ),
            (
                "200: an API that asks for no key",
                "-i",
                To::Agent("/public/echo"),
            ),
            (
                "302: redirects are passed on, never followed",
                "-i",
                To::Agent("/notes/status/302"),
            ),
            (
                "401: a key that the API no longer takes, so this answer is its own",
                "-i",
                To::Agent("/stale/echo"),
            ),
        ],
    },
    Group {
        title: "OAuth: the token is obtained on the way",
        lines: &[
            (
                "200: paste it twice and token_requests stays the same, one token call serves both",
                "-i",
                To::Agent("/crm/echo"),
            ),
            (
                "200: the API takes this token no longer, at most once in half a minute",
                "-i -X DELETE",
                To::Agent("/crm/token"),
            ),
            (
                "200: after that, a 401 was met on the way and a new token obtained, as token_requests tells",
                "-i",
                To::Agent("/crm/echo"),
            ),
        ],
    },
    Group {
        title: "Signed: the API checks the body with its own copy of the key",
        lines: &[(
            "200: the very bytes that were signed have arrived, signature is valid",
            "-i -H 'Content-Type: application/json' -d '{\"event\": \"ping\"}'",
            To::Agent("/hooks/echo"),
        )],
    },
    Group {
        title: "Kept: a key never comes back",
        lines: &[
            (
                "502 credential_reflected: this route of the API tells the key that it was given",
                "-i",
                To::Agent("/notes/reflect"),
            ),
            (
                "502 credential_reflected: in a header neither",
                "-i",
                To::Agent("/notes/reflect/header"),
            ),
        ],
    },
    Group {
        title: "Refused: nothing leaves this machine",
        lines: &[
            (
                "403 route_not_allowed: no route admits this path",
                "-i",
                To::Agent("/notes/admin"),
            ),
            (
                "405 method_not_allowed: the path is fine, the method is not",
                "-i -X DELETE",
                To::Agent("/notes/echo"),
            ),
            (
                "400 path_not_canonical: nobody climbs out of a path",
                "-i --path-as-is",
                To::Agent("/notes/items/../admin"),
            ),
            (
                "400 path_not_canonical: in no disguise either",
                "-i --path-as-is",
                To::Agent("/notes/items/%2e%2e/admin"),
            ),
            (
                "404 connection_not_found: no connection has this name",
                "-i",
                To::Agent("/nothing/echo"),
            ),
            (
                "403 connection_disabled: the operator has switched it off",
                "-i",
                To::Agent("/archive/echo"),
            ),
            (
                "421 host_not_allowed: another name was made to lead here",
                "-i -H 'Host: attacker.example'",
                To::Agent("/notes/echo"),
            ),
            (
                "403 browser_request_refused: a web page asks",
                "-i -H 'Origin: https://attacker.example'",
                To::Agent("/notes/echo"),
            ),
            (
                "400 forward_proxy_refused: an agent never chooses the host",
                "-i",
                To::Elsewhere("http://attacker.example/"),
            ),
        ],
    },
    Group {
        title: "Limits",
        lines: &[
            (
                "200: a slow answer, one second",
                "-i",
                To::Agent("/public/slow/1"),
            ),
            (
                "504 upstream_timeout: this connection waits two seconds",
                "-i",
                To::Agent("/reports/slow/5"),
            ),
            (
                "200: a long answer",
                "-sS -o /dev/null -w '%{http_code}, %{size_download} bytes\\n'",
                To::Agent("/public/big/8"),
            ),
            (
                "502 response_too_large: over the cap, and it says so",
                "-i",
                To::Agent("/public/big/12"),
            ),
            (
                "200, cut off: over the cap without saying so, and curl tells that it is not whole",
                "-sS -o /dev/null -w '%{http_code}, %{size_download} bytes\\n'",
                To::Agent("/public/big/12?chunked"),
            ),
        ],
    },
    Group {
        title: "Streams",
        lines: &[(
            "200: events as they happen, two a second",
            "-iN",
            To::Agent("/public/events?count=5"),
        )],
    },
    Group {
        title: "For operators",
        lines: &[
            (
                "200: a page with all of it, made for a browser",
                "-sS -o /dev/null -w '%{http_code}, %{size_download} bytes\\n'",
                To::Operator("/"),
            ),
            (
                "200: the connections, with any name and password, since the demo sets none",
                "-u user:password",
                To::Operator("/v1/connections"),
            ),
            (
                "200: one of them, with its details, and no secret in them",
                "-u user:password",
                To::Operator("/v1/connections/crm"),
            ),
            (
                "200: those that a filter admits, 25 at once",
                "--get -u user:password --data-urlencode 'filter=connection_type=\"http\"' --data-urlencode page_size=25",
                To::Operator("/v1/connections"),
            ),
            (
                "200: what a connection can be, and what it takes",
                "-u user:password",
                To::Operator("/v1/connection-types"),
            ),
            (
                "200: the metrics, as Prometheus reads them",
                "",
                To::Operator("/metrics"),
            ),
            (
                "200: ready to serve, and why",
                "-i",
                To::Operator("/readyz?verbose"),
            ),
        ],
    },
];

/// Writes all of it. Colour is written always; a stream that is no terminal drops it.
pub(crate) fn write_lines(
    out: &mut dyn io::Write,
    agent: &Door,
    operator: &Door,
) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    for Group { title, lines } in GROUPS {
        writeln!(out, "\n{BOLD}{title}{PLAIN}\n")?;
        for (answer, options, to) in *lines {
            if let Some(command) = command(options, to, agent, operator) {
                writeln!(out, "{DIM}# {answer}{PLAIN}\n{command}")?;
            }
        }
    }
    writeln!(out, "\n{FOOTER}")
}

/// `None` where curl cannot do it: it reaches no proxy through a Unix socket.
fn command(options: &str, to: &To, agent: &Door, operator: &Door) -> Option<String> {
    let mut command = String::from("curl ");
    if !options.is_empty() {
        command.push_str(options);
        command.push(' ');
    }
    let url = match to {
        To::Agent(path) => {
            command.push_str(&agent.options);
            format!("{}{path}", agent.origin)
        }
        To::Operator(path) => {
            command.push_str(&operator.options);
            format!("{}{path}", operator.origin)
        }
        To::Elsewhere(_) if !agent.options.is_empty() => return None,
        To::Elsewhere(url) => {
            // Writing to a String cannot fail.
            let _ = write!(command, "-x {} ", quoted(&agent.origin));
            (*url).to_owned()
        }
    };
    command.push_str(&quoted(&url));
    Some(command)
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:.,_%@+-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Door, quoted, write_lines};
    use std::path::Path;

    fn written(agent: &Door) -> String {
        let mut out = Vec::new();
        write_lines(&mut out, agent, &Door::tcp(([127, 0, 0, 1], 8081).into())).unwrap();
        let text = String::from_utf8(out).unwrap();
        ["\x1b[0m", "\x1b[1m", "\x1b[2m"]
            .iter()
            .fold(text, |text, code| text.replace(code, ""))
    }

    #[test]
    fn no_shell_acts_on_a_comment() {
        let text = written(&Door::tcp(([127, 0, 0, 1], 8080).into()));
        let comments: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert!(comments.len() > 20);
        for comment in comments {
            let harmless = |c: char| c.is_ascii_alphanumeric() || " #_:,-".contains(c);
            assert!(comment.chars().all(harmless), "{comment}");
        }
    }

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(quoted("http://127.0.0.1:8080/a"), "http://127.0.0.1:8080/a");
        assert_eq!(quoted("http://[::1]:8080/"), "'http://[::1]:8080/'");
        assert_eq!(quoted("/a?b"), "'/a?b'");
        assert_eq!(quoted("/it's"), r"'/it'\''s'");
    }

    #[test]
    fn unix_sockets() {
        let text = written(&Door::unix(Path::new("/run/my agent.sock")));
        let line = "curl -i --unix-socket '/run/my agent.sock' http://localhost/notes/echo";
        assert!(text.lines().any(|other| other == line), "{text}");
        assert!(!text.contains(" -x "));
    }
}
