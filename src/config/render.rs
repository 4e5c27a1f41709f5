//! Problems as people and programs read them.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::problem::{Problem, Severity};

/// All findings as text with excerpts, in colour; the writer takes the colour out where it is no terminal.
pub fn text(problems: &[Problem]) -> String {
    let mut shown = String::new();
    for problem in problems {
        shown.push_str(&one(problem));
        shown.push_str("\n\n");
    }
    shown
}

/// `{"problems": [...]}`, pretty-printed.
pub fn json(problems: &[Problem]) -> String {
    let document = serde_json::json!({ "problems": problems });
    format!("{document:#}\n")
}

/// `3 connections, 2 warnings, no problem`. Connections are counted only where all of them are good.
pub fn summary(connections: Option<usize>, problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let counted = |count: usize, one: &str| match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let connections = connections.map(|count| format!("{}, ", counted(count, "connection")));
    format!(
        "{}{}, {}",
        connections.unwrap_or_default(),
        counted(problems.len() - errors, "warning"),
        counted(errors, "problem")
    )
}

fn one(problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.field, problem.message)
    };
    let mut origin = Origin::path(problem.file.as_str());
    if let (Some(line), Some(column)) = (problem.line, problem.column) {
        origin = origin.line(to_usize(line)).char_column(to_usize(column));
    }
    let mut group = level.primary_title(title).id(problem.code).element(origin);
    if let (Some(excerpt), Some(line)) = (&problem.excerpt, problem.line) {
        let mark = AnnotationKind::Primary.span(excerpt.mark.clone());
        group = group.element(
            Snippet::source(excerpt.text.as_str())
                .line_start(to_usize(line))
                .annotation(mark),
        );
    }
    if !problem.remedy.is_empty() {
        group = group.element(Level::HELP.message(problem.remedy.as_str()));
    }
    Renderer::styled().render(&[group])
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
