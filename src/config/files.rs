//! Opens the files that are parsed. A file that is too large is rejected by its size before it is
//! parsed, and every failure is reported as a problem.

use std::fs;
use std::path::Path;

use super::document::{MAX_BYTES, Origin};
use super::field::{Field, Input};
use super::problem::{Problem, Problems};
use super::redaction;
use super::sources::Files;

/// The settings file that is read if `--config` is not given and the file exists.
const DEFAULT_FILE: &str = "config/egressd.yaml";

/// Returns the file that `--config` names, else the default file if it exists.
pub(super) fn settings_file<'o>(named: Option<&'o Path>, files: &Files) -> Option<&'o Path> {
    let default = Path::new(DEFAULT_FILE);
    match named {
        Some(path) => Some(path),
        None => match fs::metadata(default) {
            Ok(_) => Some(default),
            Err(error) => {
                // A reload notices when the file is created.
                files.record_missing(default, &error);
                None
            }
        },
    }
}

/// Calls `read` with the content of the settings file, or with `None` if the file is empty or not
/// given. Returns `None` if the file cannot be parsed, which is reported.
pub(super) fn with_settings<T>(
    file: Option<&Path>,
    files: &Files,
    problems: &Problems,
    read: impl FnOnce(Option<Field<'_>>) -> T,
) -> Option<T> {
    let Some(path) = file else {
        return Some(read(None));
    };
    let origin = open_origin(path, files, problems)?;
    let before = problems.count();
    let node = origin.parse(problems);
    if node.is_none() && problems.count() > before {
        return None;
    }
    let input = Input {
        origin: &origin,
        problems,
        texts: false,
    };
    Some(read(node.as_ref().map(|node| Field::root(node, input))))
}

/// Opens and reads a file that is to be parsed.
pub(super) fn open_origin(path: &Path, files: &Files, problems: &Problems) -> Option<Origin> {
    let label = redaction::shown_path(path);
    let refuse = |message: String, remedy: &str| {
        problems.push(Problem::whole(label.clone(), "file_unreadable", message).remedy(remedy));
    };
    match files.read(path, MAX_BYTES as u64) {
        // The bytes are moved, not copied: the one buffer is wiped when the `Origin` is dropped.
        Ok(mut bytes) => Origin::from_bytes(label, std::mem::take(&mut *bytes), problems),
        Err(error) => {
            refuse(error.describe(), error.remedy());
            None
        }
    }
}
