//! Opens the start link in a browser.

use std::ffi::OsString;
use std::process::{Command, Stdio};

/// The program that opens a link in the browser of the desktop.
const DEFAULT_OPENER: &str = "xdg-open";

/// The program that opens a link, and the environment that it gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opener {
    /// `$BROWSER`: a program, with arguments that are separated by spaces. `%s` in one of them is
    /// the place of the link.
    pub(crate) browser: Option<String>,
    /// Names of environment variables that may hold secrets, which the program does not get.
    pub(crate) hidden_variables: Vec<OsString>,
}

impl Opener {
    /// Starts the program without a shell, and discards its output. Returns whether it was started.
    pub(super) fn open(&self, link: &str) -> bool {
        let configured = self.browser.as_deref().unwrap_or_default();
        // Several programs are separated by colons; the first one that starts is used.
        let candidates = configured.split(':').chain([DEFAULT_OPENER]);
        let mut commands = candidates.filter_map(|words| self.command(words, link));
        commands.any(|mut command| match command.spawn() {
            Ok(mut child) => {
                // Without a wait, the program would stay a zombie until `login` ends.
                let _thread = std::thread::spawn(move || child.wait());
                true
            }
            Err(_) => false,
        })
    }

    fn command(&self, words: &str, link: &str) -> Option<Command> {
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next()?);
        let mut has_place = false;
        for word in words {
            has_place |= word.contains("%s");
            command.arg(word.replace("%s", link));
        }
        if !has_place {
            command.arg(link);
        }
        for name in &self.hidden_variables {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};

    use super::Opener;

    #[test]
    fn the_link_is_an_argument_of_its_own() {
        let opener = Opener {
            browser: None,
            hidden_variables: vec![OsString::from("CLIENT_SECRET")],
        };
        let arguments = |words: &str| {
            let command = opener
                .command(words, "http://127.0.0.1:1/start/a;b")
                .unwrap();
            let removed = command.get_envs().next().unwrap();
            assert_eq!(removed, (OsStr::new("CLIENT_SECRET"), None));
            let all = std::iter::once(command.get_program()).chain(command.get_args());
            all.map(|word| word.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let link = "http://127.0.0.1:1/start/a;b";
        assert_eq!(arguments("firefox"), ["firefox", link]);
        assert_eq!(
            arguments("w3m -o x=%s"),
            ["w3m", "-o", &format!("x={link}")]
        );
        assert!(opener.command("  ", link).is_none());
    }
}
