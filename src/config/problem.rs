//! Problems: errors and warnings about the configuration, with their place and what to write
//! instead.
//!
//! Invariant kept here: a problem contains only text that the other parts of `config` consider safe
//! to show. Its excerpt is cut from the operator's file by an allow-list (the key, and the value
//! only if it is not secret). It is never a whole line.

use std::cell::RefCell;
use std::ops::Range;

use serde::Serialize;

use crate::domain::ConnectionId;

/// The effect of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is rejected.
    Error,
    /// The configuration is accepted, and the operator should still read the warning.
    Warning,
}

/// An error or a warning. Serializes to exactly the keys of `check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The effect of the problem.
    pub severity: Severity,
    /// The path of the file as the operator wrote it, or `environment` or `command line`.
    pub file: String,
    /// The line, counted from 1. `None` if the problem is about a file as a whole.
    pub line: Option<u32>,
    /// The column in characters, counted from 1.
    pub column: Option<u32>,
    /// The path of the field as the operator spelt it
    /// (`connection_details.http.allowed_routes[2]`). Empty at the top level.
    pub field: String,
    /// A stable name for this kind of problem, in `snake_case`.
    pub code: &'static str,
    /// The description of the problem, in one sentence without a final period. Names the value
    /// unless it is secret.
    pub message: String,
    /// Advice on what to write instead.
    pub remedy: String,
    /// The connection that the problem is about, if it is about one.
    #[serde(skip)]
    pub connection: Option<ConnectionId>,
    /// The piece of the file that the text format shows.
    #[serde(skip)]
    pub excerpt: Option<Excerpt>,
}

/// A piece of one line that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text. Parts that may not be shown are left out.
    pub text: String,
    /// The byte range of `text` that the problem is about.
    pub mark: Range<usize>,
    /// `true` if `text` begins at the start of the line.
    pub whole_start: bool,
}

impl Problem {
    /// Creates an error about a file as a whole, or about the environment or the command line.
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
            connection: None,
            excerpt: None,
        }
    }

    /// Sets the remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Sets the field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Sets the line and column.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    /// Makes the problem a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Returns whether the problem prevents a start.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The list that problems are collected in. It holds at most [`Problems::MAX`], so that a hostile
/// file cannot use up memory with mistakes.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: RefCell<Vec<Problem>>,
}

impl Problems {
    /// The maximum number of problems of one load.
    pub(super) const MAX: usize = 1000;

    /// Adds a problem.
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
                .remedy("fix those that are listed, and check again"),
            ),
            _ => {}
        }
    }

    /// Sets the connection of the problems that were added after the first `before` ones.
    pub(super) fn attribute_from(&self, before: usize, connection: &ConnectionId) {
        let mut found = self.found.borrow_mut();
        for problem in found.iter_mut().skip(before) {
            problem.connection = Some(connection.clone());
        }
    }

    /// Removes the problems after the first `before` ones for which the condition is false.
    pub(super) fn retain_from(&self, before: usize, is_kept: impl Fn(&Problem) -> bool) {
        let mut found = self.found.borrow_mut();
        let mut index = 0;
        found.retain(|problem| {
            index += 1;
            index <= before || is_kept(problem)
        });
    }

    /// Returns the number of errors.
    pub(super) fn error_count(&self) -> usize {
        let found = self.found.borrow();
        found.iter().filter(|problem| problem.is_error()).count()
    }

    /// Returns the number of problems.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Returns whether further problems are dropped.
    pub(super) fn is_full(&self) -> bool {
        // The notice that the list is full is one more than the maximum.
        self.count() > Self::MAX
    }

    /// Returns whether there is an error.
    pub(super) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(Problem::is_error)
    }

    /// Adds an internal error if there is no error yet. Called for a load that failed, so that the
    /// operator always gets a reason.
    pub(super) fn explain_failure(&self, file: &str) {
        if self.has_errors() {
            return;
        }
        let message = "cannot be loaded, and the reason is not known; this is a bug in egressd";
        let problem = Problem::whole(file, "internal", message.to_owned());
        self.push(problem.remedy("report it; until it is fixed, undo the last change of the file"));
    }

    /// Returns all problems, sorted by file (in the order in which files were first reported) and
    /// place.
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

/// Returns the most similar of the known names, if it is similar enough to be a plausible
/// correction.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // The comparison takes time proportional to the product of the lengths, and a longer name is
    // not a misspelling of a field.
    if name.len() > 80 {
        return None;
    }
    known
        .into_iter()
        // Jaro-Winkler favours a common prefix, as misspelt field names have.
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
    fn a_failure_without_an_error_gets_one() {
        let problems = Problems::default();
        problems.push(Problem::whole("f", "x", "y".into()).warning());
        problems.explain_failure("f");
        problems.explain_failure("f");
        let found = problems.into_sorted();
        let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["x", "internal"]);
        assert!(found[1].is_error() && !found[1].remedy.is_empty());
    }

    #[test]
    fn the_nearest_name() {
        let known = ["allowed_routes", "base_url", "headers"];
        assert_eq!(nearest("allowed_route", known), Some("allowed_routes"));
        assert_eq!(nearest("base_ulr", known), Some("base_url"));
        assert_eq!(nearest("zebra", known), None);
    }
}
