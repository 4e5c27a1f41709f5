//! One finding about the configuration: where, what, and what to write instead.
//!
//! Invariant kept here: a problem contains only what the other parts of `config` passed as fit to show. Its excerpt is cut from
//! the operator's file by allow-list (the key, and the value only where it is no secret), never a whole line.

use std::cell::RefCell;
use std::ops::Range;

use serde::Serialize;

/// Whether a finding stops the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted; the operator should know all the same.
    Warning,
}

/// One finding. Serialises to exactly the keys of `check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it stops the start.
    pub severity: Severity,
    /// The file as the operator reaches it; `environment` or `command line` for what stands in no file.
    pub file: String,
    /// 1-based; `None` where the finding is about a file as a whole.
    pub line: Option<u32>,
    /// 1-based, in characters.
    pub column: Option<u32>,
    /// The path of the field as the operator spelt it (`connection_details.http.allowed_routes[2]`); empty at the top.
    pub field: String,
    /// A stable name of the kind of finding, in `snake_case`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop. Names the value where it is no secret.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
    /// The piece of the file that is shown in text.
    #[serde(skip)]
    pub excerpt: Option<Excerpt>,
}

/// A piece of one line that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The piece; what may not be shown is left out.
    pub text: String,
    /// The bytes of `text` that the finding is about.
    pub mark: Range<usize>,
    /// Whether `text` starts where the line starts.
    pub whole_start: bool,
}

impl Problem {
    /// A finding about a file as a whole, or about something outside of files.
    pub fn whole(file: impl Into<String>, code: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: None,
            column: None,
            field: String::new(),
            code,
            message,
            remedy: String::new(),
            excerpt: None,
        }
    }

    /// The same finding with its remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The same finding about this field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// The same finding at this place.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    /// The same finding as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether it stops the start.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Where findings are gathered. Holds at most [`Problems::MAX`], so that a hostile file cannot buy memory with mistakes.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: RefCell<Vec<Problem>>,
}

impl Problems {
    /// The most findings of one load.
    pub(super) const MAX: usize = 1000;

    /// Adds one.
    pub(super) fn push(&self, problem: Problem) {
        let mut found = self.found.borrow_mut();
        match found.len() {
            len if len < Self::MAX => found.push(problem),
            Self::MAX => found.push(
                Problem::whole(
                    problem.file,
                    "too_many_problems",
                    format!("more than {} problems", Self::MAX),
                )
                .remedy("mend those that are listed and look again"),
            ),
            _ => {}
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Whether no more are taken.
    pub(super) fn is_full(&self) -> bool {
        self.count() > Self::MAX
    }

    /// Whether one of them stops the start.
    pub(super) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(Problem::is_error)
    }

    /// All of them, in the order of files (as first met) and places.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        let mut files: Vec<String> = Vec::new();
        for problem in &found {
            if !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        found.sort_by_key(|problem| {
            let file = files.iter().position(|file| *file == problem.file);
            (file, problem.line, problem.column)
        });
        found
    }
}

/// The nearest of the known names, where one is near enough to be what was meant.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // A longer name costs a product of lengths, and is no slip of the pen.
    if name.len() > 80 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{Problem, Problems, nearest};

    #[test]
    fn the_number_of_findings_is_bounded() {
        let problems = Problems::default();
        for _ in 0..5000 {
            problems.push(Problem::whole("f", "x", "y".into()));
        }
        let found = problems.into_sorted();
        assert_eq!(found.len(), Problems::MAX + 1);
        assert!(found.iter().any(|p| p.code == "too_many_problems"));
    }

    #[test]
    fn the_nearest_name() {
        let known = ["allowed_routes", "base_url", "headers"];
        assert_eq!(nearest("allowed_route", known), Some("allowed_routes"));
        assert_eq!(nearest("base_ulr", known), Some("base_url"));
        assert_eq!(nearest("zebra", known), None);
    }
}
