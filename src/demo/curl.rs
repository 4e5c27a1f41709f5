//! The commands that the demo prints, each with a comment that describes the result.
//!
//! People paste the commands together with their comments. So a command is one line in sh, bash and
//! zsh, and a comment contains no character that a shell interprets. (By default zsh accepts no
//! comments at its prompt, and reports an error for them.) A test runs every command and checks its
//! comment.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::directory::DemoDirectory;
use crate::ansi::{BOLD, DIM, PLAIN};

/// The commands. `## ` starts a title, and `# ` the comment of the next command. The last word of a
/// `curl` command is a URL, in which `{proxy}` and `{management}` stand for the listeners.
const TEMPLATE: &str = include_str!("curl_lines.txt");

/// The curl options and the origin that lead to a listener.
pub(crate) struct CurlOrigin {
    /// The options with a trailing space, or empty for TCP.
    options: String,
    origin: String,
}

impl CurlOrigin {
    /// Creates the origin of a TCP address.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self {
            options: String::new(),
            origin: format!("http://{address}"),
        }
    }

    /// Creates the origin of a Unix socket.
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

/// The words of the commands that obtain and use a consent.
pub(crate) struct ConsentWords(Vec<(&'static str, String)>);

impl ConsentWords {
    /// Creates the words for this program, directory and server.
    pub(super) fn new(
        directory: &DemoDirectory,
        authorization_server: SocketAddr,
        user_code: &str,
    ) -> Self {
        let path = |path: &Path| shell_quoted(&path.display().to_string());
        Self(vec![
            ("{egressd}", path(&program())),
            ("{directory}", path(directory.path())),
            ("{settings}", path(&directory.settings())),
            ("{ca}", path(&directory.ca())),
            (
                "{authorization_server}",
                format!("https://{authorization_server}"),
            ),
            ("{user_code}", user_code.to_owned()),
        ])
    }

    fn replace_in(&self, line: &str) -> String {
        let words = self.0.iter();
        words.fold(line.to_owned(), |line, (placeholder, word)| {
            line.replace(placeholder, word)
        })
    }
}

/// Returns the path by which another terminal can start this program. A program that the shell
/// found in `PATH` keeps its name.
fn program() -> PathBuf {
    let typed = std::env::args_os().next().map(PathBuf::from);
    let is_name = |path: &PathBuf| path.file_name() == Some(path.as_os_str());
    match typed {
        Some(name) if is_name(&name) => name,
        other => std::env::current_exe()
            .ok()
            .or(other)
            .unwrap_or_else(|| "egressd".into()),
    }
}

/// Writes all commands, with colour. If `out` is not a terminal, the caller passes a writer that
/// strips it.
pub(crate) fn write_curl_lines(
    out: &mut dyn io::Write,
    proxy: &CurlOrigin,
    management: &CurlOrigin,
    words: &ConsentWords,
) -> io::Result<()> {
    let mut comment = "";
    for line in TEMPLATE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            writeln!(out, "{BOLD}{title}{PLAIN}")?;
        } else if line.starts_with("# ") {
            comment = line;
        } else if line.starts_with("{egressd} ") {
            let command = words.replace_in(line);
            writeln!(out, "{DIM}{comment}{PLAIN}\n{command}")?;
        } else if !line.starts_with("curl ") {
            writeln!(out, "{}", words.replace_in(line))?;
        } else if let Some(command) = curl_command(&words.replace_in(line), proxy, management) {
            writeln!(out, "{DIM}{comment}{PLAIN}\n{command}")?;
        }
    }
    Ok(())
}

/// Replaces the placeholders of the command with the listeners. Returns `None` if curl cannot run
/// the command, because curl cannot use a proxy on a Unix socket.
fn curl_command(line: &str, proxy: &CurlOrigin, management: &CurlOrigin) -> Option<String> {
    let (curl, url) = line.rsplit_once(' ')?;
    for (placeholder, listener) in [("{proxy}", proxy), ("{management}", management)] {
        if let Some(path) = url.strip_prefix(placeholder) {
            let url = shell_quoted(&format!("{}{path}", listener.origin));
            return Some(format!("{curl} {}{url}", listener.options));
        }
    }
    if !curl.contains("{proxy}") {
        return Some(format!("{curl} {}", shell_quoted(url)));
    }
    let curl = curl.replace("{proxy}", &shell_quoted(&proxy.origin));
    // The remaining placeholder is the argument of `-x`, which takes a URL of a TCP proxy.
    let is_tcp = proxy.options.is_empty();
    is_tcp.then(|| format!("{curl} {}", shell_quoted(url)))
}

/// Quotes a word for a shell, if necessary.
fn shell_quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:.,_%@+-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{ConsentWords, CurlOrigin, DemoDirectory, shell_quoted, write_curl_lines};
    use std::path::Path;

    fn printed_lines(proxy: &CurlOrigin) -> String {
        let mut out = Vec::new();
        let directory = DemoDirectory::create("", ("calendar.yaml", "")).unwrap();
        let server = ([127, 0, 0, 1], 4444).into();
        write_curl_lines(
            &mut out,
            proxy,
            &CurlOrigin::tcp(([127, 0, 0, 1], 8081).into()),
            &ConsentWords::new(&directory, server, "BCDF-GHJK"),
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        ["\x1b[0m", "\x1b[1m", "\x1b[2m"]
            .iter()
            .fold(text, |text, code| text.replace(code, ""))
    }

    #[test]
    fn comments_have_no_special_characters_of_a_shell() {
        let text = printed_lines(&CurlOrigin::tcp(([127, 0, 0, 1], 8080).into()));
        let comments: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert!(comments.len() > 20);
        assert!(
            !text.replace("%{", "").contains('{') || text.contains("'{"),
            "{text}"
        );
        for comment in comments {
            // An allowlist, since shells differ in the characters that they interpret.
            let harmless = |c: char| c.is_ascii_alphanumeric() || " #_:,-".contains(c);
            assert!(comment.chars().all(harmless), "{comment}");
        }
    }

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
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
        let text = printed_lines(&CurlOrigin::unix(Path::new("/run/my agent.sock")));
        let line = "curl -i --unix-socket '/run/my agent.sock' http://localhost/notes/echo";
        assert!(text.lines().any(|other| other == line), "{text}");
        assert!(!text.contains(" -x "));
    }
}
