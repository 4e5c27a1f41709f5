//! Renders problems as text for people and as JSON for programs.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, Title};
use anstream::adapter::strip_str;

use serde::Serialize;

use super::problem::{Problem, Severity};

/// The JSON document. The order of the keys is that of the struct.
#[derive(Serialize)]
struct Report<'a> {
    problems: &'a [Problem],
}

/// Renders all problems as coloured text with excerpts. The writer removes the colours if it does
/// not write to a terminal.
pub fn render_text(problems: &[Problem]) -> String {
    let mut shown = String::new();
    for problem in problems {
        shown.push_str(&render_problem(problem));
        shown.push_str("\n\n");
    }
    shown
}

/// Renders all problems as `{"problems": [...]}`, pretty-printed.
pub fn render_json(problems: &[Problem]) -> String {
    let report = Report { problems };
    // All fields are strings and numbers, so serialization cannot fail.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

/// Returns the summary line, such as `3 connections, 2 warnings, no problem`. `connections` is
/// `None` if the load failed; then they are not counted.
pub fn render_summary(connections: Option<usize>, problems: &[Problem]) -> String {
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

fn render_problem(problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.field, problem.message)
    };
    let mut group = with_position(level.primary_title(title).id(problem.code), problem);
    if !problem.remedy.is_empty() {
        group = group.element(Level::HELP.message(problem.remedy.as_str()));
    }
    // The writer strips the styles if needed, so rendering does not depend on the terminal.
    let rendered = Renderer::styled().render(&[group]);
    // The renderer starts a snippet without a path with a line `:::`, which has no information
    // here.
    let is_separator = |line: &&str| strip_str(line).to_string().trim() == ":::";
    let lines = rendered.lines().filter(|line| !is_separator(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Adds the place of the problem, and the excerpt if there is one.
fn with_position<'a>(title: Title<'a>, problem: &'a Problem) -> Group<'a> {
    let (Some(line), Some(column)) = (problem.line, problem.column) else {
        return title.element(Origin::path(problem.file.as_str()));
    };
    let origin = Origin::path(problem.file.as_str());
    let origin = origin.line(to_usize(line)).char_column(to_usize(column));
    let Some(excerpt) = &problem.excerpt else {
        return title.element(origin);
    };
    let mark = AnnotationKind::Primary.span(excerpt.mark.clone());
    let snippet = Snippet::source(excerpt.text.as_str());
    let snippet = snippet.line_start(to_usize(line)).annotation(mark);
    // The renderer counts columns within the excerpt. The result is correct only if the excerpt
    // begins with the line and marks the place; otherwise the place is given separately.
    let counted = excerpt
        .text
        .get(..excerpt.mark.start)
        .map_or(0, |before| before.chars().count());
    if excerpt.whole_start && counted + 1 == to_usize(column) {
        title.element(snippet.path(problem.file.as_str()))
    } else {
        title.element(origin).element(snippet)
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
