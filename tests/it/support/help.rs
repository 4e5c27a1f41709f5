//! The commands and options that `--help` lists.

use std::collections::BTreeSet;
use std::process::Command;

use super::limited::output;

/// A command of egressd, and what its `--help` prints.
#[derive(Debug)]
pub(crate) struct CommandHelp {
    /// The names after `egressd`; none for the program itself.
    pub(crate) names: Vec<String>,
    pub(crate) text: String,
}

/// Returns egressd itself and each of its commands, nested ones too.
pub(crate) fn commands() -> Vec<CommandHelp> {
    let (mut found, mut pending) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(names) = pending.pop() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        let ended = output(command.args(&names).arg("--help"));
        let text = String::from_utf8(ended.stdout).unwrap();
        for name in subcommands(&text) {
            pending.push([&names[..], &[name.to_owned()]].concat());
        }
        found.push(CommandHelp { names, text });
    }
    assert!(found.len() >= 11, "{found:?}");
    found
}

/// Returns the commands that a help text lists, without `help`.
fn subcommands(text: &str) -> impl Iterator<Item = &str> {
    let (_, list) = text.split_once("Commands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    // Continued descriptions are indented further.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help")
}

/// Returns the long options that a text names.
pub(crate) fn options(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
    options.collect()
}
