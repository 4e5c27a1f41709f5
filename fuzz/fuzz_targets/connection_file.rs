//! A definition file of arbitrary bytes. The loader returns in bounded time and memory, with either
//! complete connections or problems with their positions. No problem shows the value of a secret
//! reference.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs, process};

use egressd::config::{Environment, Problem, SecretValues, load_paths, render_json, render_text};
use libfuzzer_sys::fuzz_target;

/// The value of every secret that a file can refer to. No message may contain it.
const CANARY: &str = "c4nary-0f-the-env1ronment";

/// A file of this process. Its stem is a valid id, and it is read as YAML, of which JSON is a
/// subset.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = env::temp_dir().join(format!("egressd-fuzz-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder for the file");
    folder.join("fuzzed.yaml")
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).expect("the file is written");
    let environment = Environment::new([
        ("TOKEN", CANARY.to_owned()),
        ("COLON", format!("user:{CANARY}")),
        ("CONTROL", format!("{CANARY}\u{1}")),
        ("LONG", CANARY.repeat(10_000)),
    ]);
    match load_paths(&[FILE.clone()], &environment, SecretValues::Read) {
        Ok(loaded) => {
            assert!(!loaded.warnings.iter().any(Problem::is_error));
            check_problems(&loaded.warnings, bytes);
            for connection in &loaded.connections {
                assert!(
                    !connection.routes.patterns().is_empty(),
                    "a connection without routes"
                );
                assert!(
                    !connection.display_name.is_empty(),
                    "a connection without a name"
                );
            }
            let mut ids: Vec<String> = loaded
                .connections
                .iter()
                .map(|one| one.id.to_string())
                .collect();
            ids.sort();
            ids.dedup();
            assert_eq!(
                ids.len(),
                loaded.connections.len(),
                "two connections have the same id"
            );
        }
        Err(problems) => {
            assert!(
                problems.iter().any(Problem::is_error),
                "refused without an error"
            );
            assert!(
                problems.iter().all(|problem| problem.code != "internal"),
                "refused without a reason"
            );
            check_problems(&problems, bytes);
        }
    }
});

/// Checks that each problem has a position in the file, and that it can be rendered in both
/// formats.
fn check_problems(problems: &[Problem], bytes: &[u8]) {
    let breaks = |byte: &&u8| matches!(**byte, b'\n' | b'\r');
    let lines = bytes.iter().filter(breaks).count() + 1;
    for problem in problems {
        assert!(
            !problem.message.is_empty() && !problem.code.is_empty(),
            "{problem:?}"
        );
        assert!(
            problem
                .line
                .is_none_or(|line| (1..=lines + 1).contains(&(line as usize))),
            "{problem:?}"
        );
        assert!(
            problem.column.is_none_or(|column| column >= 1),
            "{problem:?}"
        );
    }
    let shown = render_text(problems);
    for (at, control) in shown
        .char_indices()
        .filter(|(_, c)| c.is_control() && *c != '\n')
    {
        let rest = shown[at + control.len_utf8()..]
            .trim_start_matches(|c: char| c == '[' || c == ';' || c.is_ascii_digit());
        assert!(
            control == '\u{1b}' && rest.starts_with('m'),
            "a control sequence other than a colour: {shown:?}"
        );
    }
    let written = render_json(problems);
    let canary_is_in_the_file = bytes
        .windows(CANARY.len())
        .any(|part| part == CANARY.as_bytes());
    let is_secret_shown = shown.contains(CANARY) || written.contains(CANARY);
    assert!(
        !is_secret_shown || canary_is_in_the_file,
        "a secret is shown: {shown}"
    );
    let document: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(
        document["problems"].as_array().map(Vec::len),
        Some(problems.len())
    );
}
