//! `egressd generate`: each command has a manual page with its options, and each shell has a script
//! with its commands. `tests/peers/completions.py` loads the scripts in the shells.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::help::{commands, options};
use crate::support::limited::output;

const SHELLS: [&str; 6] = ["bash", "elvish", "fish", "nushell", "powershell", "zsh"];

/// Runs a command that must succeed, and returns its standard output.
fn run(arguments: &[&str]) -> String {
    let ended = output(Command::new(env!("CARGO_BIN_EXE_egressd")).args(arguments));
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
    assert!(ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

fn generate_man(directory: &Path) -> String {
    run(&["generate", "man", directory.to_str().unwrap()])
}

#[test]
fn each_command_has_a_manual_page_with_its_options() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("share/man/man1");
    assert_eq!(generate_man(&directory), "");
    let mut expected = BTreeSet::new();
    for command in commands() {
        let words = [&["egressd".to_owned()], &command.names[..]].concat();
        let name = words.join("-");
        let file = directory.join(format!("{name}.1"));
        let page =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // Without the changes of the font (groff(7)).
        let page = ["\\fB", "\\fI", "\\fR"]
            .iter()
            .fold(page, |page, font| page.replace(font, ""))
            .replace("\\-", "-");
        let (_, page) = page.split_once(".SH NAME\n").expect("NAME");
        assert!(page.starts_with(&format!("{name} - ")), "{name}: {page}");
        let (_, synopsis) = page.split_once(".SH SYNOPSIS\n").expect("SYNOPSIS");
        let usage = words.join(" ");
        assert!(synopsis.starts_with(&usage), "{name}: {page}");
        let (_, list) = page.split_once(".SH OPTIONS\n").expect("OPTIONS");
        assert_eq!(options(list), options(&command.text), "{name}: {page}");
        expected.insert(file.file_name().unwrap().to_owned());
    }
    let written: BTreeSet<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(written, expected);
}

#[test]
fn manual_pages_are_the_same_each_time_and_name_the_version() {
    let parent = tempfile::tempdir().unwrap();
    let page = parent.path().join("egressd-generate-man.1");
    generate_man(parent.path());
    let once = fs::read_to_string(&page).unwrap();
    // The third argument is the date (man(7)).
    let title = format!(
        ".TH egressd-generate-man 1 \" \" \"egressd {}\" \"egressd manual\"",
        env!("CARGO_PKG_VERSION")
    );
    assert!(once.lines().any(|line| line.trim_end() == title), "{once}");
    generate_man(parent.path());
    assert_eq!(fs::read_to_string(&page).unwrap(), once);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
    let ended = output(command.args(["generate", "man", path]));
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    let message = String::from_utf8(ended.stderr).unwrap();
    let start =
        format!("egressd generate man: cannot write the manual pages to {path}: File exists");
    assert!(message.starts_with(&start), "{message}");
}

#[test]
fn each_shell_has_a_script_that_names_every_command_and_option() {
    let commands = commands();
    let help = run(&["generate", "completions", "--help"]);
    let help: Vec<&str> = help.split_whitespace().collect();
    let help = help.join(" ");
    assert!(
        help.contains(&format!("[possible values: {}]", SHELLS.join(", "))),
        "{help}"
    );
    for shell in SHELLS {
        let script = run(&["generate", "completions", shell]);
        for command in &commands {
            if let Some(name) = command.names.last() {
                assert!(script.contains(name), "{shell}: {name}");
            }
            for option in options(&command.text) {
                // fish has `-l name` instead of `--name`.
                let written = match shell {
                    "fish" => option.trim_start_matches("--"),
                    _ => option,
                };
                assert!(script.contains(written), "{shell}: {option}");
            }
        }
        // A value of `serve --log-level`. The scripts for elvish and PowerShell have no values.
        let has_values = !matches!(shell, "elvish" | "powershell");
        assert_eq!(script.contains("trace"), has_values, "{shell}");
    }
}

#[test]
fn a_shell_without_a_script_is_a_wrong_argument() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
    let ended = output(command.args(["generate", "completions", "csh"]));
    assert_eq!(ended.status.code(), Some(64), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
}
