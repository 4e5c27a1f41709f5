//! The controlling terminal, on which a person answers questions.
//!
//! Answers are read from `/dev/tty` and not from standard input, so that a script that redirects
//! standard input, or a program that writes to it, cannot answer in the person's place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use zeroize::Zeroizing;

const TERMINAL: &str = "/dev/tty";
/// The longest answer, in bytes.
pub(super) const MAX_ANSWER_BYTES: usize = 8 * 1024;

const ERASE: [u8; 2] = [0x08, 0x7f];
const KILL_LINE: u8 = 0x15;
const END_OF_INPUT: u8 = 0x04;

/// The controlling terminal.
pub(crate) struct Terminal {
    input: AsyncFd<File>,
    output: File,
}

/// A line that a person has entered.
pub(super) enum Line {
    /// The line, without its end.
    Text(Zeroizing<Vec<u8>>),
    /// More than [`MAX_ANSWER_BYTES`].
    TooLong,
    /// Several lines at once, which were pasted. The value may be cut.
    Several,
    /// The end of the input.
    End,
}

/// Restores the mode of the terminal when it is dropped.
struct RestoredMode<'t> {
    terminal: &'t File,
    before: Termios,
}

impl Drop for RestoredMode<'_> {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _gone = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

impl Terminal {
    /// Opens the controlling terminal. Must be called inside a runtime.
    ///
    /// # Errors
    ///
    /// Fails if the process has no controlling terminal.
    pub(crate) fn open() -> io::Result<Self> {
        let output = OpenOptions::new().write(true).open(TERMINAL)?;
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let input = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(TERMINAL)?;
        Ok(Self {
            input: register(input)?,
            output,
        })
    }

    /// Asks a question, and returns whether the answer is yes.
    pub(super) async fn confirm(&mut self, question: &str) -> io::Result<bool> {
        match self.read_line(&format!("{question} [y/N] "), true).await? {
            Line::Text(text) => {
                let text = text.trim_ascii();
                Ok(text.eq_ignore_ascii_case(b"y") || text.eq_ignore_ascii_case(b"yes"))
            }
            Line::TooLong | Line::Several | Line::End => Ok(false),
        }
    }

    /// Reads a line. Without echo, the mode of the terminal is restored at the end, also if the
    /// returned future is dropped.
    pub(super) async fn read_line(&mut self, prompt: &str, has_echo: bool) -> io::Result<Line> {
        let Self { input, output } = self;
        let before = tcgetattr(output.as_fd())?;
        let mut mode = before.clone();
        if !has_echo {
            // In canonical mode, the kernel cuts a line after 4095 bytes.
            mode.local_modes
                .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        }
        // Also discards what was typed before the question.
        tcsetattr(output.as_fd(), OptionalActions::Flush, &mode)?;
        let _restored = RestoredMode {
            terminal: output,
            before,
        };
        (&*output).write_all(prompt.as_bytes())?;
        let mut line = LineBuffer::default();
        loop {
            let mut bytes = Zeroizing::new([0; 512]);
            let mut ready = input.readable().await?;
            let Ok(read) = ready.try_io(|input| input.get_ref().read(&mut *bytes)) else {
                continue;
            };
            let read = bytes.get(..read?).unwrap_or_default();
            if read.is_empty() {
                return Ok(Line::End);
            }
            if let Some(line) = line.push(read) {
                if !has_echo {
                    (&*output).write_all(b"\n")?;
                }
                return Ok(line);
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "the replacement is unsafe: the descriptor must not change, and that of a `File` does not"
)]
fn register(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

/// A line that is being entered. The buffer never grows, so no unwiped copy remains.
struct LineBuffer {
    bytes: Zeroizing<Vec<u8>>,
    is_too_long: bool,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES)),
            is_too_long: false,
        }
    }
}

impl LineBuffer {
    /// Adds the bytes that were read. Returns the line at its end.
    fn push(&mut self, read: &[u8]) -> Option<Line> {
        let mut rest = read.iter();
        while let Some(byte) = rest.next() {
            match *byte {
                b'\n' | b'\r' => {
                    let is_end = rest.all(|byte| b"\r\n".contains(byte));
                    return Some(match (self.is_too_long, is_end) {
                        (true, _) => Line::TooLong,
                        (false, true) => Line::Text(std::mem::take(&mut self.bytes)),
                        (false, false) => Line::Several,
                    });
                }
                END_OF_INPUT if self.bytes.is_empty() => return Some(Line::End),
                byte if ERASE.contains(&byte) => drop(self.bytes.pop()),
                KILL_LINE => {
                    self.bytes.clear();
                    self.is_too_long = false;
                }
                _ if self.bytes.len() == MAX_ANSWER_BYTES => self.is_too_long = true,
                byte => self.bytes.push(byte),
            }
        }
        None
    }
}

/// Reads a line of standard input, for a process without a terminal that was allowed to continue
/// with `--yes`.
pub(super) async fn read_standard_input() -> io::Result<Line> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = LineBuffer::default();
        let mut input = io::stdin().lock();
        loop {
            let mut byte = [0];
            match input.read(&mut byte)? {
                0 if line.bytes.is_empty() => return Ok(Line::End),
                0 => return Ok(line.push(b"\n").unwrap_or(Line::End)),
                _ => {
                    if let Some(line) = line.push(&byte) {
                        return Ok(line);
                    }
                }
            }
        }
    });
    read.await
        .unwrap_or_else(|failed| Err(io::Error::other(failed)))
}

#[cfg(test)]
mod tests {
    use super::{Line, LineBuffer, MAX_ANSWER_BYTES};

    #[test]
    fn a_line_is_edited_and_limited() {
        let mut line = LineBuffer::default();
        assert!(line.push(b"abc\x7f\x7fd").is_none());
        match line.push(b"e\n") {
            Some(Line::Text(text)) => assert_eq!(text.as_slice(), b"ade"),
            _ => panic!("no line"),
        }
        let mut line = LineBuffer::default();
        line.push(b"wrong\x15right");
        assert!(matches!(line.push(b"\r"), Some(Line::Text(text)) if text.as_slice() == b"right"));
        // F-359 (b)
        let several = LineBuffer::default().push(b"key\rother\n");
        assert!(matches!(several, Some(Line::Several)));
        // F-347
        let mut line = LineBuffer::default();
        for _ in 0..=MAX_ANSWER_BYTES {
            assert!(line.push(b"a").is_none());
        }
        assert!(matches!(line.push(b"\n"), Some(Line::TooLong)));
        assert!(matches!(
            LineBuffer::default().push(b"\x04"),
            Some(Line::End)
        ));
    }
}
