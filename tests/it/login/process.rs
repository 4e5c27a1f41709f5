//! A login that runs on a pseudo-terminal of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use rustix::process::{Pid, Signal, kill_process};

use super::client::{navigate, split_link};
use crate::support::PATIENCE;
use crate::support::limited::{self, LimitedChild};

/// A running command.
pub(super) struct Process {
    child: LimitedChild,
    terminal: Option<File>,
    err: BufReader<std::process::ChildStderr>,
    /// The text of standard error so far.
    pub(super) heard: String,
}

/// The end of a command.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// A browser that has opened the start link.
pub(super) struct Opened {
    pub(super) link: String,
    pub(super) authority: String,
    pub(super) cookie: String,
    /// The authorization URL.
    pub(super) url: url::Url,
}

impl Process {
    /// Starts a command with a controlling terminal.
    pub(super) fn on_terminal(command: &Command) -> Self {
        let pair = openpty(None, None).unwrap();
        let mut outer = Command::new("setsid");
        outer
            .arg("--ctty")
            .stdin(File::from(pair.slave))
            .env_remove("BROWSER");
        Self::start(outer, command, Some(File::from(pair.master)))
    }

    /// Starts a command without a controlling terminal.
    pub(super) fn without_terminal(command: &Command) -> Self {
        Self::with_input(command, Stdio::null())
    }

    /// Starts a command with this standard input, without a controlling terminal.
    pub(super) fn with_input(command: &Command, input: impl Into<Stdio>) -> Self {
        let mut outer = Command::new("setsid");
        outer.stdin(input);
        Self::start(outer, command, None)
    }

    fn start(mut outer: Command, command: &Command, terminal: Option<File>) -> Self {
        outer.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            outer.env(name, value.unwrap());
        }
        if let Some(directory) = command.get_current_dir() {
            outer.current_dir(directory);
        }
        outer.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = LimitedChild::spawn(&mut outer);
        // Only the child has the other end of the terminal now.
        drop(outer);
        let err = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            terminal,
            err,
            heard: String::new(),
        }
    }

    /// Reads standard error up to the line that contains these words, and returns the line.
    pub(super) fn wait_for_line(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.err.read_line(&mut line).unwrap();
            assert!(read > 0, "it never wrote {words:?}: {}", self.heard);
            self.heard.push_str(&line);
            if line.contains(words) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Opens the start link that the process prints.
    pub(super) fn open(&mut self) -> Opened {
        Opened::at(&self.wait_for_line("/start/"))
    }

    /// Returns the id of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a prompt on the terminal, and types a line. Returns what the terminal showed.
    pub(super) fn reply(&mut self, prompt: &str, line: &str) -> String {
        let terminal = self.terminal.as_mut().unwrap();
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains(prompt) {
            let mut bytes = [0; 256];
            let read = terminal.read(&mut bytes).unwrap_or_else(|error| {
                panic!("{error}: {prompt}, {}", String::from_utf8_lossy(&shown))
            });
            shown.extend_from_slice(&bytes[..read]);
        }
        terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
        String::from_utf8(shown).unwrap()
    }

    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Interrupts a login that waits, and checks that it ends.
    pub(super) fn interrupt(self) {
        self.signal(Signal::INT);
        let ended = self.end();
        assert_eq!(ended.exit, Some(1), "{ended:?}");
        assert!(
            ended.err.contains("interrupted; nothing was stored"),
            "{ended:?}"
        );
    }

    /// Waits for the end.
    pub(super) fn end(mut self) -> Ended {
        self.err.read_to_string(&mut self.heard).unwrap();
        let output = self.child.output();
        Ended {
            exit: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: self.heard,
        }
    }
}

impl Opened {
    /// Opens a start link.
    pub(super) fn at(link: &str) -> Self {
        let (authority, path) = split_link(link);
        let answer = navigate(authority, path, "");
        assert_eq!(answer.status, 302, "{answer:?}");
        let cookie = answer.field("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let url = url::Url::parse(answer.field("location").unwrap()).unwrap();
        Self {
            authority: authority.to_owned(),
            cookie,
            url,
            link: link.to_owned(),
        }
    }

    /// Returns a parameter of the authorization URL.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        pairs.find_map(|(known, value)| (known == name).then(|| value.into_owned()))
    }

    /// Returns the path of the callback with this query, to which `state` is added.
    pub(super) fn callback(&self, query: &str) -> String {
        let state = self.parameter("state").unwrap();
        format!("/callback?{query}&state={state}")
    }

    /// Sends the callback with a code, and returns its status.
    pub(super) fn call_back(&self, query: &str) -> u16 {
        navigate(&self.authority, &self.callback(query), &self.cookie).status
    }
}

/// Waits until a program has written a file, and returns its content.
pub(super) fn wait_for_file(path: &Path) -> String {
    let end = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(
            Instant::now() < end,
            "waited in vain for {}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(path).unwrap()
}

/// Runs a command without a terminal to its end.
pub(super) fn run(command: &mut Command) -> Ended {
    let output = limited::output(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        exit: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}
