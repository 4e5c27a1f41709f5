//! Finds and opens the files that are parsed. A file that is too large is rejected by its size
//! before it is parsed, and every failure is reported as a problem.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::document::{MAX_BYTES, Origin};
use super::field::{Field, Input};
use super::file_reading::{describe_error, error_remedy};
use super::problem::{Problem, Problems};
use super::redaction;
use super::sources::{Files, is_definition};

/// The settings file that is read if `--config` is not given and the file exists.
const DEFAULT_FILE: &str = "config/egressd.yaml";

/// The paths of definition files and directories.
#[derive(Default)]
pub(super) struct ListedPaths {
    pub(super) paths: Vec<PathBuf>,
    /// `true` if neither arguments nor settings name a path, so that the default directory is read.
    pub(super) are_default: bool,
}

impl ListedPaths {
    /// Creates the list of paths that the operator named.
    pub(super) fn named(paths: &[PathBuf]) -> Self {
        Self {
            paths: paths.to_vec(),
            are_default: false,
        }
    }
}

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
    match files.read(path, MAX_BYTES as u64) {
        // The bytes are moved, not copied: the one buffer is wiped when the `Origin` is dropped.
        Ok(mut bytes) => Origin::from_bytes(
            redaction::shown_path(path),
            std::mem::take(&mut *bytes),
            problems,
        ),
        Err(error) => {
            report_unreadable(path, &error.describe(), error.remedy(), problems);
            None
        }
    }
}

/// Returns the files with definitions at these paths, each once. `settings` is the settings file,
/// if there is one.
pub(super) fn find_definition_files(
    listed: &ListedPaths,
    settings: Option<&Path>,
    files: &Files,
    problems: &Problems,
) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    let mut add = |path: PathBuf| {
        if seen.insert(path.clone()) {
            found.push(path);
        }
    };
    for path in &listed.paths {
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => match files.list_definitions(path) {
                Ok(listed) => listed.into_iter().for_each(&mut add),
                Err(error) => {
                    let message = describe_error(&error);
                    report_unreadable(path, &message, error_remedy(&error), problems);
                }
            },
            Ok(_) if is_definition(path) => add(path.clone()),
            Ok(_) => {
                files.record_other(path);
                let message =
                    "the name does not end in `.json`, `.yaml` or `.yml`, or begins with a dot";
                report_unreadable(path, message, "rename the file", problems);
            }
            Err(error) => {
                files.record_missing(path, &error);
                let mut message = describe_error(&error);
                let mut remedy = error_remedy(&error);
                if listed.are_default {
                    message.push_str("; it is read by default, because no definitions were named");
                    remedy = default_remedy(settings);
                }
                report_unreadable(path, &message, remedy, problems);
            }
        }
    }
    found
}

/// Advises the operator on what to do if the default directory of the definitions is missing.
const fn default_remedy(settings: Option<&Path>) -> &'static str {
    if settings.is_some() {
        "name definition files or directories as arguments or in `connections` of the settings"
    } else {
        "name definition files or directories, or a settings file with `--config FILE`"
    }
}

/// Reports a file or directory that cannot be read.
pub(super) fn report_unreadable(path: &Path, message: &str, remedy: &str, problems: &Problems) {
    let label = redaction::shown_path(path);
    let problem = Problem::whole(label, "file_unreadable", message.to_owned());
    problems.push(problem.remedy(remedy));
}
