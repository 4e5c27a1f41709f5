//! Parses a file into one tree that keeps the position of every value. JSON is read as YAML, of
//! which it is a subset.
//!
//! The tree is tolerant: it keeps what the operator wrote, with duplicate keys, so that `field` and
//! `object` can report every mistake and not only the first. Everything that could exhaust memory
//! or the stack is rejected here: size, depth, number of values, aliases, tags, and further
//! documents (F-18).
//!
//! The tree is built from parser events and not through serde, because serde's data model has no
//! positions of keys and stops at the first mistake.

mod scalar;

use granit_parser::{ErrorKind, Event, Options, Parser, Span, Tag};
use zeroize::Zeroizing;

use super::excerpt;
use super::problem::{Excerpt, Problem, Problems};
use super::syntax::{self, Diagnosis};
use scalar::parse_scalar;

/// The maximum size of a file, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The maximum nesting. A connection needs six levels.
pub(super) const MAX_DEPTH: usize = 64;
/// The maximum number of values in one file, which limits the memory of the tree. 10,000 routes
/// need a tenth of it.
pub(super) const MAX_NODES: usize = 100_000;

/// The position of a token in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The line, counted from 1; 0 if there is no file.
    pub(super) line: u32,
    /// The column in characters, counted from 1.
    pub(super) column: u32,
    /// The offset of the first byte.
    start: usize,
    /// The offset of the byte after the last one.
    end: usize,
}

/// A value as the operator wrote it.
#[derive(Debug)]
pub(super) enum Value {
    /// `null`, `~`, or an empty value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unquoted number, in its original spelling.
    Number(Zeroizing<String>),
    /// A quoted scalar, or any other unquoted one.
    Text(Zeroizing<String>),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file. A key may occur twice.
    Map(Vec<(Key, Node)>),
}

/// A value with its position.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Position,
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Position,
}

/// A named text that positions refer to.
pub(super) struct Origin {
    /// The name that problems show.
    pub(super) label: String,
    text: Zeroizing<String>,
}

impl Node {
    /// Returns the text, if the value is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                None
            }
        }
    }
}

impl Origin {
    /// Creates the origin of values that are not in a file: `environment` or `command line`.
    pub(super) fn without_file(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            text: Zeroizing::default(),
        }
    }

    /// Creates the origin of a file's content. Reports a problem and returns `None` if the content
    /// is not UTF-8 text of a permitted size.
    pub(super) fn from_bytes(label: String, bytes: Vec<u8>, problems: &Problems) -> Option<Self> {
        let refuse = |message: &str, remedy: &str| {
            let problem = Problem::whole(label.clone(), "file_unreadable", message.to_owned());
            problems.push(problem.remedy(remedy));
            None
        };
        if bytes.len() > MAX_BYTES {
            return refuse(
                "the file is larger than 1 MiB",
                "split it; a file may contain a single connection",
            );
        }
        if bytes.starts_with(b"\xef\xbb\xbf")
            || bytes.starts_with(b"\xff\xfe")
            || bytes.starts_with(b"\xfe\xff")
        {
            return refuse(
                "the file starts with a byte order mark",
                "save it as UTF-8 without a byte order mark",
            );
        }
        if bytes.contains(&0) {
            return refuse(
                "the file contains a NUL byte",
                "save it as plain UTF-8 text",
            );
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(Self {
                label,
                text: Zeroizing::new(text),
            }),
            Err(invalid) => {
                let at = invalid.utf8_error().valid_up_to();
                drop(Zeroizing::new(invalid.into_bytes()));
                refuse(
                    &format!("the file is not UTF-8 text (first invalid byte: {at})"),
                    "save it as UTF-8",
                )
            }
        }
    }

    /// Parses the text, which must be one document. Reports a problem and returns `None` if it is
    /// not.
    pub(super) fn parse(&self, problems: &Problems) -> Option<Node> {
        if let Some(diagnosis) = syntax::find_json_comment(&self.text) {
            problems.push(self.syntax_problem(diagnosis));
            return None;
        }
        let mut builder = TreeBuilder::default();
        let mut options = Options::default();
        options.emit_unresolved_aliases = true;
        options.flow_nesting_limit = MAX_DEPTH * 2;
        options.block_nesting_limit = MAX_DEPTH * 2;
        for event in Parser::new_from_str_with_options(&self.text, options) {
            let step = match event {
                Ok((event, span)) => builder.handle_event(event, span),
                // The scanner may be ahead of the events, and has a depth limit of its own.
                Err(error) if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) => {
                    Err(Rejection::too_deep(Span::empty(*error.marker())))
                }
                Err(error) => {
                    let diagnosis = syntax::diagnose(&self.text, &error);
                    problems.push(self.syntax_problem(diagnosis));
                    return None;
                }
            };
            if let Err(rejection) = step {
                problems.push(rejection.into_problem(&self.label));
                return None;
            }
        }
        builder.root
    }

    fn syntax_problem(&self, diagnosis: Diagnosis) -> Problem {
        let Diagnosis {
            offset,
            message,
            remedy,
        } = diagnosis;
        let (line, column) = syntax::line_and_column(&self.text, offset);
        let mut problem = Problem::whole(&*self.label, "syntax", message).remedy(remedy);
        problem.excerpt = syntax::excerpt(&self.text, offset);
        problem.at(line, column)
    }

    /// Returns the part of the line at `mark` that may be shown; see [`excerpt::cut_excerpt`].
    pub(super) fn cut_excerpt(
        &self,
        mark: Position,
        key: Option<Position>,
        shown: Option<Position>,
    ) -> Option<Excerpt> {
        let range = |place: Position| place.start..place.end;
        excerpt::cut_excerpt(&self.text, range(mark), key.map(range), shown.map(range))
    }
}

/// A construct of YAML that configuration files may not contain.
struct Rejection {
    place: Position,
    code: &'static str,
    message: String,
    remedy: &'static str,
}

impl Rejection {
    fn new(span: Span, code: &'static str, message: &str, remedy: &'static str) -> Self {
        Self {
            place: to_position(span),
            code,
            message: message.to_owned(),
            remedy,
        }
    }

    fn too_deep(span: Span) -> Self {
        Self::new(
            span,
            "too_deep",
            "the nesting is deeper than 64 levels",
            "reduce the nesting; a connection needs six levels",
        )
    }

    fn into_problem(self, label: &str) -> Problem {
        Problem::whole(label, self.code, self.message)
            .remedy(self.remedy)
            .at(self.place.line, self.place.column)
    }
}

fn to_position(span: Span) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(span.start.line()),
        column: number(span.start.col().saturating_add(1)),
        start: span.start.byte_offset().unwrap_or_default(),
        end: span.end.byte_offset().unwrap_or_default(),
    }
}

/// A collection whose end has not been read yet.
enum OpenCollection {
    List(Position, Vec<Node>),
    Map(Position, Vec<(Key, Node)>, Option<Key>),
}

#[derive(Default)]
struct TreeBuilder {
    open: Vec<OpenCollection>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

impl TreeBuilder {
    fn handle_event(&mut self, event: Event<'_>, span: Span) -> Result<(), Rejection> {
        let place = to_position(span);
        match event {
            Event::DocumentStart(..) => self.start_document(span),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err(Rejection::new(
                span,
                "alias",
                "aliases (`*name`) are not supported",
                "write the value itself; quote it if it is a text that starts with `*`",
            )),
            Event::Scalar(text, style, _, tag) => {
                reject_tag(tag.as_deref(), span)?;
                let value = parse_scalar(&text, style);
                self.add_node(Node { value, place }, span)
            }
            Event::SequenceStart(_, _, tag) => {
                reject_tag(tag.as_deref(), span)?;
                self.open_collection(OpenCollection::List(place, Vec::new()), span)
            }
            Event::MappingStart(_, _, tag) => {
                reject_tag(tag.as_deref(), span)?;
                self.open_collection(OpenCollection::Map(place, Vec::new(), None), span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close_collection(span),
            // An anchor without an alias has no effect. The other events mark the ends of the
            // stream.
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) | _ => {
                Ok(())
            }
        }
    }

    fn start_document(&mut self, span: Span) -> Result<(), Rejection> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        Err(Rejection::new(
            span,
            "several_documents",
            "the file contains several YAML documents",
            "put several connections under `connections: [...]`, or into separate files",
        ))
    }

    fn open_collection(&mut self, open: OpenCollection, span: Span) -> Result<(), Rejection> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Rejection::too_deep(span));
        }
        self.open.push(open);
        Ok(())
    }

    fn close_collection(&mut self, span: Span) -> Result<(), Rejection> {
        let node = match self.open.pop() {
            Some(OpenCollection::List(place, items)) => Node {
                value: Value::List(items),
                place,
            },
            Some(OpenCollection::Map(place, entries, _)) => Node {
                value: Value::Map(entries),
                place,
            },
            None => return Ok(()),
        };
        self.add_node(node, span)
    }

    fn add_node(&mut self, node: Node, span: Span) -> Result<(), Rejection> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Rejection::new(
                span,
                "too_many_values",
                "the file contains more than 100,000 values",
                "split the file",
            ));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(OpenCollection::List(_, items)) => items.push(node),
            Some(OpenCollection::Map(_, entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(to_key(node, span)?),
            },
        }
        Ok(())
    }
}

fn to_key(node: Node, span: Span) -> Result<Key, Rejection> {
    let name = match node.value {
        Value::Text(name) | Value::Number(name) => name.as_str().to_owned(),
        Value::Bool(true) => "true".to_owned(),
        Value::Bool(false) => "false".to_owned(),
        Value::Null => "null".to_owned(),
        Value::List(_) | Value::Map(_) => {
            return Err(Rejection::new(
                span,
                "complex_key",
                "a key must be a text, not a list or a mapping",
                "write `name: value`; quote text that starts with `{` or `[`",
            ));
        }
    };
    Ok(Key {
        name,
        place: node.place,
    })
}

fn reject_tag(tag: Option<&Tag>, span: Span) -> Result<(), Rejection> {
    match tag {
        Some(_) => Err(Rejection::new(
            span,
            "tag",
            "tags (`!name`) are not supported",
            "remove the tag; quote the value if it is a text that starts with `!`",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
