//! Decides how much of an operator's text a message may show.
//!
//! Any value, key or path may be a secret that was put into the wrong place, so every message,
//! field path and excerpt of `config` passes the operator's text through this module. Text that is
//! left out can still be found by its line and column.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::domain::agent_headers::GROUPS;

/// The length of a run without a separator that is not shown, in characters. Shorter runs are
/// usually words, longer ones may be keys.
const MIN_HIDDEN_RUN: usize = 20;
/// The maximum number of characters that are shown of one value.
const MAX_SHOWN: usize = 80;
/// Replaces the text that is left out.
const OMISSION: &str = "…";

/// The grammar of a text, which decides what separates its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Any text, separated by white space.
    #[default]
    Text,
    /// A route's pattern, separated by white space and slashes.
    Pattern,
}

impl Grammar {
    /// Returns whether the text may be shown unchanged.
    pub(super) fn may_show(self, text: &str) -> bool {
        let separates: fn(char) -> bool = match self {
            Self::Pattern if is_like_pattern(text) => |c| c.is_whitespace() || c == '/',
            Self::Text | Self::Pattern => char::is_whitespace,
        };
        text.split(separates).all(is_short)
    }
}

/// Formats a value for a message.
pub(super) fn quoted(value: &str) -> String {
    shown_or(value, "the value")
}

/// Formats a text for a message, or returns `hidden` if the text may not be shown.
pub(super) fn shown_or(text: &str, hidden: &str) -> String {
    if may_show(text) {
        in_backticks(text)
    } else {
        hidden.to_owned()
    }
}

/// Returns whether a text of unknown grammar may be shown unchanged.
pub fn may_show(text: &str) -> bool {
    Grammar::Text.may_show(text)
}

/// Formats a pattern for a message, without its long segments.
pub(super) fn shown_pattern(text: &str) -> String {
    if !is_like_pattern(text) {
        return shown_or(text, "the text");
    }
    let segments = text.split('/').map(|segment| {
        let shown = segment.split(char::is_whitespace).all(is_short);
        if shown { segment } else { OMISSION }
    });
    in_backticks(&segments.collect::<Vec<_>>().join("/"))
}

/// The words that long names of environment variables usually end with, and keys do not.
const LAST_WORDS: [&str; 20] = [
    "AUTH",
    "CREDENTIAL",
    "CREDENTIALS",
    "DIR",
    "EMAIL",
    "FILE",
    "HOST",
    "ID",
    "KEY",
    "LOGIN",
    "NAME",
    "PASS",
    "PASSWORD",
    "PAT",
    "PATH",
    "SECRET",
    "TOKEN",
    "URL",
    "USER",
    "USERNAME",
];
/// The maximum number of digits in a long name of a variable.
const MAX_DIGITS: usize = 3;

/// Formats the name of an environment variable. Returns `None` if the name is not written like one,
/// or is as long as a key and does not consist of words: `{env: ghp_…}` and `{env: SK_LIVE_…}` are
/// keys.
pub(super) fn shown_variable(name: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(plain);
    (is_name && (is_short(name) || is_made_of_words(name))).then(|| in_backticks(name))
}

fn is_made_of_words(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let last = name.rsplit('_').next().unwrap_or_default();
    digits <= MAX_DIGITS && LAST_WORDS.contains(&last) && name.split('_').all(is_short)
}

/// Formats the name of a header, unless it is as long as a key and not a well-known name.
pub(super) fn shown_header(name: &str) -> String {
    let dashed = name.to_ascii_lowercase().replace('_', "-");
    let is_known = GROUPS.iter().any(|group| group.names.contains(&&*dashed));
    if is_known {
        in_backticks(name)
    } else {
        shown_or(name, "the header")
    }
}

/// Formats a path without backticks. The part that exists is always shown: a secret that was
/// mistaken for a path does not exist as a file. The rest is shown if it is short, or if it is
/// plainly a path.
pub(super) fn shown_path(path: &Path) -> String {
    let exists = |path: &&Path| path.as_os_str().is_empty() || path.symlink_metadata().is_ok();
    let known = path.ancestors().find(exists).unwrap_or(Path::new(""));
    let rest = path.strip_prefix(known).unwrap_or(path);
    if may_show(&rest.to_string_lossy()) || is_plainly_path(path, rest) {
        path.display().to_string()
    } else {
        known.join(OMISSION).display().to_string()
    }
}

/// Formats the path of a file that egressd names itself, such as that of a grant, in backticks.
/// `name` must not be the operator's text, unless it was checked like an id.
pub(super) fn quoted_file(directory: &Path, name: &str) -> String {
    let shown = Path::new(&shown_path(directory)).join(name);
    in_backticks(&shown.display().to_string())
}

/// The directories whose names show that a text in front of a file's name was meant as a path.
const FILE_DIRECTORIES: [&str; 2] = ["secrets", "tokens"];
/// The extensions that show that a text was meant as a path.
const FILE_EXTENSIONS: [&str; 4] = ["json", "pem", "yaml", "yml"];

/// Returns whether the missing part of a path, `rest`, is plainly a path: it has a directory or an
/// extension that files of egressd have, and consists of words in lower case with almost no digits.
/// Keys have capitals, many digits or long words. A passphrase of words has neither the directory
/// nor the extension.
fn is_plainly_path(path: &Path, rest: &Path) -> bool {
    let is_one_of = |part: Option<&OsStr>, known: &[&str]| {
        part.and_then(OsStr::to_str)
            .is_some_and(|part| known.contains(&part))
    };
    let directory = path.parent().and_then(Path::file_name);
    let is_marked =
        is_one_of(directory, &FILE_DIRECTORIES) || is_one_of(path.extension(), &FILE_EXTENSIONS);
    let Some(rest) = rest.to_str().filter(|_| is_marked) else {
        return false;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    let mut words = rest.split(['/', '.', '-', '_']);
    digits <= MAX_DIGITS && words.all(|word| is_short(word) && word.chars().all(plain))
}

/// Formats several paths, separated by commas.
pub(super) fn shown_paths(listed: &[PathBuf]) -> String {
    let shown: Vec<String> = listed.iter().map(|listed| shown_path(listed)).collect();
    shown.join(", ")
}

/// Formats a path for a message, in backticks.
pub(super) fn quoted_path(named: &Path) -> String {
    in_backticks(&shown_path(named))
}

/// Returns whether a key may be shown. A long one may be if it is a misspelling of `near`, a known
/// name.
pub(super) fn may_show_key(key: &str, near: Option<&str>) -> bool {
    let is_slip = |near: &str| {
        let letters = key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        letters && key.len().abs_diff(near.len()) <= 3
    };
    may_show(key) || near.is_some_and(is_slip)
}

/// Returns whether a text begins like a pattern: `[METHOD ]/`.
fn is_like_pattern(text: &str) -> bool {
    let behind = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let path = behind.trim_start_matches([' ', '\t']);
    path.starts_with('/') && (text.starts_with('/') || path.len() < behind.len())
}

fn is_short(run: &str) -> bool {
    // Characters, not bytes, so that words in other scripts are shown like English ones.
    run.chars().nth(MIN_HIDDEN_RUN - 1).is_none()
}

/// Escapes the text, cuts it after [`MAX_SHOWN`] characters and puts it in backticks.
fn in_backticks(value: &str) -> String {
    let mut shown = String::new();
    for c in value.chars().take(MAX_SHOWN) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if value.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str(OMISSION);
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{may_show_key, quoted, shown_header, shown_path, shown_pattern, shown_variable};

    const KEY: &str = "ghp_0123456789abcdefABCDEF0123456789abcd";

    #[test]
    fn shown_values_are_short_and_escaped() {
        assert_eq!(quoted("a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\nb`");
        assert_eq!(quoted(&"x ".repeat(100)).chars().count(), 83);
    }

    #[test]
    fn a_stretch_of_twenty_characters_is_not_shown() {
        // F-255
        assert_eq!(quoted(&"é".repeat(19)), format!("`{}`", "é".repeat(19)));
        assert_eq!(quoted(&"é".repeat(20)), "the value");
        assert_eq!(quoted(&format!("Bearer {KEY}")), "the value");
        assert_eq!(shown_pattern(&format!("/bot{KEY}/me")), "`/…/me`");
        assert_eq!(
            shown_pattern("GET /a/b/c/d/e/f/g/h/i"),
            "`GET /a/b/c/d/e/f/g/h/i`"
        );
        assert_eq!(shown_pattern("wJalrXUtnFEMI/K7MDENG/bPxRfiCY"), "the text");
    }

    #[test]
    fn only_names_of_variables_are_shown_as_variables() {
        // F-255
        let shown = Some("`DATABRICKS_CLIENT_SECRET`".to_owned());
        assert_eq!(shown_variable("DATABRICKS_CLIENT_SECRET"), shown);
        assert!(shown_variable("S3_BACKUP_ACCESS_KEY_ID").is_some());
        for hidden in [
            KEY,
            "token",
            "AKIAIOSFODNN7EXAMPLE",
            "A-B",
            "1A",
            "SK_LIVE_ABCDEFGHIJ_KLMNOPQRSTUVWXY_ABCDEFGH",
            "SK_LIVE_51H8_0F3A_TOKEN",
            "ABCDEFGHIJKLMNOPQRSTU_TOKEN",
        ] {
            assert_eq!(shown_variable(hidden), None, "{hidden}");
        }
    }

    #[test]
    fn a_long_header_is_named_if_it_is_known() {
        // F-255
        assert_eq!(shown_header("X-Tenant"), "`X-Tenant`");
        assert_eq!(
            shown_header("Ocp_Apim-Subscription-Key"),
            "`Ocp_Apim-Subscription-Key`"
        );
        for hidden in [KEY, "sec-fetch-0123456789abcdef", "my-0123456789-api-key"] {
            assert_eq!(shown_header(hidden), "the header", "{hidden}");
        }
    }

    #[test]
    fn only_short_names_of_a_missing_path_are_shown() {
        // F-255
        let there = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/redaction.rs");
        assert_eq!(shown_path(&there), there.display().to_string());
        let short = there.with_file_name("tokn");
        assert_eq!(shown_path(&short), short.display().to_string());
        let hidden = there.with_file_name("…").display().to_string();
        assert_eq!(shown_path(&there.with_file_name(KEY)), hidden);
        let slashes = there.with_file_name("wJalrXUtnFEMI/K7MDENG/bPxRfiCY");
        assert_eq!(shown_path(&slashes), hidden);
    }

    #[test]
    fn a_missing_file_is_named_if_it_is_plainly_a_path() {
        // F-255
        let there = Path::new(env!("CARGO_MANIFEST_DIR"));
        for shown in [
            "src/../secrets/github-client-secret",
            "secrets/google_workspace.client-id2",
            "not/there/config/egressd.yaml",
            "my-company-authority.pem",
        ] {
            let path = there.join(shown);
            assert_eq!(shown_path(&path), path.display().to_string());
        }
        for hidden in [
            KEY,
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCY",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "correcthorsebatterystaple",
            "0123456789abcdef0123456789abcdef",
            "xoxb-1234567890-abcdefghijkl",
        ] {
            for path in [format!("secrets/{hidden}"), format!("{hidden}.json")] {
                let shown = shown_path(&there.join(&path));
                assert!(!shown.contains(hidden), "{shown}");
            }
        }
        // Words alone may be a passphrase.
        let shown = shown_path(&there.join("correct-horse-battery-staple"));
        assert!(shown.ends_with("/…"), "{shown}");
    }

    #[test]
    fn a_long_key_is_shown_if_it_is_misspelt() {
        let near = Some("max_response_size_bytes");
        assert!(may_show_key("max_response_size_byte", near));
        assert!(may_show_key("maxResponseSizeBytes", near));
        assert!(!may_show_key("max_response_size_byte", None));
        assert!(!may_show_key(KEY, near));
    }
}
