//! Syntax errors of YAML and JSON, described in the terms of the person who wrote the file.
//!
//! Invariant kept here: messages and excerpts contain no text of the file except a short field
//! name, because the rest of the line may be a secret.

use granit_parser::{ErrorKind, ScanError};

use super::problem::Excerpt;
use super::redaction::may_show;

/// The markers that version control leaves in a file with conflicts.
const CONFLICT_MARKERS: [&str; 3] = ["<<<<<<< ", "=======", ">>>>>>> "];

/// A syntax error, with its position and its remedy.
pub(super) struct Diagnosis {
    /// The offset of the error, in bytes.
    pub(super) offset: usize,
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

impl Diagnosis {
    fn new(offset: usize, message: &str, remedy: &'static str) -> Self {
        let message = message.to_owned();
        Self {
            offset,
            message,
            remedy,
        }
    }
}

/// Describes an error of the parser.
pub(super) fn diagnose(text: &str, error: &ScanError) -> Diagnosis {
    let offset = error.marker().byte_offset().unwrap_or_default();
    if let Some(offset) = find_conflict(text) {
        return Diagnosis::new(
            offset,
            "unresolved merge conflict",
            "resolve the conflict and remove the lines that start with `<<<<<<<`, `=======` and `>>>>>>>`",
        );
    }
    if matches!(error.kind(), ErrorKind::TabInPlainScalar)
        && let Some(offset) = find_indenting_tab(text, offset)
    {
        return Diagnosis::new(offset, INDENTING_TAB.0, INDENTING_TAB.1);
    }
    let known = describe_unquoted(error.kind(), text, offset)
        .or_else(|| describe_punctuation(error.kind(), is_flow(text)))
        .or_else(|| describe_line(error.kind(), is_after_separator(text, offset)));
    if let Some((message, remedy)) = known {
        return Diagnosis::new(offset, message, remedy);
    }
    Diagnosis::new(
        offset,
        &format!("the file is not valid YAML or JSON: {}", error.kind()),
        "correct the syntax; quote text that contains `: ` or ` #`, or starts with one of `{[&*!|>%@`",
    )
}

/// A message and its remedy.
type Description = (&'static str, &'static str);

const INDENTING_TAB: Description = (
    "the line is indented with a tab",
    "use spaces; YAML does not allow tabs in the indentation",
);
const UNQUOTED_COLON: Description = (
    "the value contains `: ` and is not quoted",
    "quote the whole value, such as `display_name: \"Team: payments\"`",
);
const UNQUOTED_BRACE: &str = "a text inside `[…]` or `{…}` contains `{` and is not quoted";

/// Describes an unquoted text inside `[…]` or `{…}` in which a character ends the text early. The
/// parser only misses a separator there.
fn describe_unquoted(kind: &ErrorKind, text: &str, offset: usize) -> Option<Description> {
    let is_separator_missing = matches!(
        kind,
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator
    );
    let (before, rest) = text.split_at_checked(offset)?;
    // After one of these, or in a new line, another value begins, and only its `,` is missing.
    let follows_text = !before
        .trim_end_matches([' ', '\t'])
        .ends_with(['[', ']', '{', '}', '"', '\'', ',', '\n']);
    if !is_separator_missing || !follows_text {
        return None;
    }
    match rest.bytes().next()? {
        b'{' if before.ends_with('$') => Some((
            UNQUOTED_BRACE,
            "quote the whole text; for a secret write `{env: NAME}`, because egressd does not expand variables",
        )),
        b'{' => Some((
            UNQUOTED_BRACE,
            "quote the whole text, such as `[\"GET /users/{id}\"]`, or write one `- item` per line",
        )),
        b':' => Some(UNQUOTED_COLON),
        _ => None,
    }
}

/// Returns the offset after an indentation with a tab, below an unquoted value. The parser reports
/// the start of the value instead.
fn find_indenting_tab(text: &str, value: usize) -> Option<usize> {
    let mut start = value;
    for (number, line) in text.get(value..)?.split_inclusive('\n').enumerate() {
        let content = line.trim_start_matches([' ', '\t']);
        let indentation = line.strip_suffix(content).unwrap_or_default();
        // The first line is the rest of the value's own, and YAML allows tabs in empty lines.
        if number > 0 && !content.trim_end().is_empty() && indentation.contains('\t') {
            return Some(start + indentation.len());
        }
        start += line.len();
    }
    None
}

/// Describes errors of brackets, quotes and separators.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has many more kinds"
)]
fn describe_punctuation(kind: &ErrorKind, is_json: bool) -> Option<Description> {
    Some(match kind {
        ErrorKind::UnclosedQuotedScalar => (
            "the quote that starts here is never closed",
            "add the closing quote",
        ),
        ErrorKind::UnclosedFlowCollection { open: '[' } => (
            "the `[` that starts here is never closed",
            "add the closing `]`",
        ),
        ErrorKind::UnclosedFlowCollection { .. } => (
            "the `{` that starts here is never closed",
            "add the closing `}`",
        ),
        ErrorKind::MismatchedFlowCollectionEnd { .. } => (
            "the bracket that starts here is closed by the other kind of bracket",
            "check that each `[` has a `]` and each `{` a `}`",
        ),
        ErrorKind::MisplacedFlowCollectionEnd => (
            "this bracket closes nothing",
            "check that each `[` has a `]` and each `{` a `}`",
        ),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => (
            "expected `,` or a closing bracket",
            "separate entries with `,`, and close the list or mapping with `]` or `}`",
        ),
        ErrorKind::ExpectedDocumentStart if is_json => (
            "there is text after the end of the JSON value",
            "remove it; to define several connections in one file, put them under `connections`",
        ),
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidLowSurrogateHexEscape => (
            "unknown escape sequence in a quoted text",
            "write `\\\\` for a backslash, or use single quotes in YAML",
        ),
        ErrorKind::UnexpectedCharacter { .. } => (
            "a value cannot start with this character",
            "quote the value",
        ),
        ErrorKind::InvalidColonPlacement => (
            "unexpected `:`",
            "close the list or mapping before it with `]` or `}`, or quote the text that contains it",
        ),
        _ => return None,
    })
}

/// Describes errors of indentation and of lines without a field.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has many more kinds"
)]
fn describe_line(kind: &ErrorKind, is_after_separator: bool) -> Option<Description> {
    Some(match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation => INDENTING_TAB,
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "this line is not a `field: value` pair",
            "add `: ` after the field name, or indent the line if it continues the value above",
        ),
        ErrorKind::MappingValueNotAllowed if is_after_separator => UNQUOTED_COLON,
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidBlockScalarIndent
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::MappingValueNotAllowed => (
            "this line does not have the indentation of its neighbours",
            "indent all fields of a mapping, and all items of a list, by the same number of spaces",
        ),
        _ => return None,
    })
}

/// Returns whether the line has a `: ` or a list item's `- ` before this offset.
fn is_after_separator(text: &str, offset: usize) -> bool {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.contains(": ") || line.contains("- ")
}

/// Returns the first comment in a file that is written as JSON. The YAML parser would take `//` for
/// the start of a field name.
pub(super) fn find_json_comment(text: &str) -> Option<Diagnosis> {
    if !is_flow(text) {
        return None;
    }
    let bytes = text.as_bytes();
    let (mut quote, mut is_escaped, mut at_token) = (None, false, true);
    for (offset, &byte) in bytes.iter().enumerate() {
        if quote.is_some() {
            if quote == Some(byte) && !is_escaped {
                quote = None;
            }
            is_escaped = byte == b'\\' && quote == Some(b'"') && !is_escaped;
            continue;
        }
        match byte {
            b'"' | b'\'' if at_token => quote = Some(byte),
            b'/' if at_token && matches!(bytes.get(offset + 1), Some(b'/' | b'*')) => {
                return Some(Diagnosis::new(
                    offset,
                    "JSON does not allow comments",
                    "remove the comment, or write the file as YAML, where `#` starts a comment",
                ));
            }
            _ => {}
        }
        // A comment stands where a token could: at the start of a line, or after one of these.
        at_token = match byte {
            b' ' | b'\t' | b'\r' => at_token,
            b'\n' | b'{' | b'[' | b',' => true,
            // Not the `:` of an unquoted URL.
            b':' => bytes.get(offset + 1).is_some_and(u8::is_ascii_whitespace),
            _ => quote.is_some(),
        };
    }
    None
}

/// Returns whether a file is written as JSON, or in YAML's flow style, which looks like JSON.
fn is_flow(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn find_conflict(text: &str) -> Option<usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(CONFLICT_MARKERS[0]) || line.starts_with(CONFLICT_MARKERS[2]) {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

/// Returns the line and the column in characters, both counted from 1, of an offset in bytes.
pub(super) fn line_and_column(text: &str, offset: usize) -> (u32, u32) {
    let before = text
        .get(..text.floor_char_boundary(offset))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}

/// Returns the start of the line of an offset, up to its field name. Values are left out.
pub(super) fn excerpt(text: &str, offset: usize) -> Option<Excerpt> {
    let offset = text.floor_char_boundary(offset);
    let start = text.get(..offset)?.rfind('\n').map_or(0, |found| found + 1);
    let line = text.get(start..)?.lines().next().unwrap_or_default();
    if CONFLICT_MARKERS
        .iter()
        .any(|marker| line.starts_with(marker))
    {
        return Some(Excerpt {
            text: line.chars().take(7).collect(),
            mark: 0..7,
            whole_start: true,
        });
    }
    let is_frame =
        |c: char| c.is_whitespace() || matches!(c, '-' | '{' | '[' | '"' | '\'' | '/' | '*');
    let frame = line.len() - line.trim_start_matches(is_frame).len();
    let rest = line.get(frame..)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = rest.len() - rest.trim_start_matches(is_name).len();
    let is_field = rest
        .get(name..)?
        .trim_start_matches(['"', '\''])
        .starts_with(':');
    let end = if is_field && may_show(rest.get(..name)?) {
        frame + name
    } else {
        frame
    };
    let column = offset - start;
    let mark = if column < end {
        column..end
    } else {
        frame..end
    };
    (!mark.is_empty()).then(|| Excerpt {
        text: line.get(..end).unwrap_or_default().to_owned(),
        mark,
        whole_start: true,
    })
}

#[cfg(test)]
mod tests;
