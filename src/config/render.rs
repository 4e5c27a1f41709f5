//! Problems as people and programs read them.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, Title};

use serde::Serialize;

use super::problem::{Problem, Severity};

/// The document that programs read, its keys in the order of the struct.
#[derive(Serialize)]
struct Report<'a> {
    problems: &'a [Problem],
}

/// All findings as text with excerpts, in colour; the writer takes the colour out where it is no terminal.
pub fn render_text(problems: &[Problem]) -> String {
    let mut shown = String::new();
    for problem in problems {
        shown.push_str(&render_problem(problem));
        shown.push_str("\n\n");
    }
    shown
}

/// `{"problems": [...]}`, pretty-printed.
pub fn render_json(problems: &[Problem]) -> String {
    let report = Report { problems };
    // Nothing in a problem can fail to be written.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

/// `3 connections, 2 warnings, no problem`. Connections are counted only where all of them are good.
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
    Renderer::styled().render(&[group])
}

/// The place, with the excerpt where there is one.
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
    // The renderer counts columns in the excerpt: right only where the excerpt starts with the line and marks the place.
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
