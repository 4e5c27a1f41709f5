//! Bytes → one located tree. JSON is read as the YAML that it is.
//!
//! The tree is tolerant on purpose: it holds whatever the operator wrote, duplicate keys included, each with its place, so that the
//! walk in `field` and `object` can report every mistake and not only the first. What could be used to exhaust us dies here: size, depth, number of
//! values, aliases, tags, further documents (F-18).
//!
//! It is built from parser events rather than through serde, because serde's data model has no places for keys and no way to go on
//! after the first mistake.

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use zeroize::Zeroizing;

use super::excerpt;
use super::problem::{Excerpt, Problem, Problems};

/// The largest file that is read, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting. A connection needs six.
pub(super) const MAX_DEPTH: usize = 64;
/// The most values in one file: bounds the tree's memory; ten times what 10,000 routes need.
pub(super) const MAX_NODES: usize = 100_000;

/// Where a token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// 1-based; 0 where there is no file.
    pub(super) line: u32,
    /// 1-based, in characters.
    pub(super) column: u32,
    /// First byte.
    start: usize,
    /// The byte after the last.
    end: usize,
}

/// What the operator wrote at one place.
#[derive(Debug)]
pub(super) enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A plain number, as it is spelt.
    Number(Zeroizing<String>),
    /// Everything quoted, and every other plain scalar.
    Text(Zeroizing<String>),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file; keys may stand in it twice.
    Map(Vec<(Key, Node)>),
}

/// A value and its place.
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

/// A text with a name: what places point into.
pub(super) struct Origin {
    /// As shown in problems.
    pub(super) label: String,
    text: Zeroizing<String>,
}

impl Origin {
    /// Something that is no file: `environment`, `command line`.
    pub(super) fn without_file(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            text: Zeroizing::default(),
        }
    }

    /// A file's bytes, if they are text that may be parsed.
    pub(super) fn from_bytes(label: String, bytes: Vec<u8>, problems: &Problems) -> Option<Self> {
        let refuse = |message: &str, remedy: &str| {
            let problem = Problem::whole(label.clone(), "file_unreadable", message.to_owned());
            problems.push(problem.remedy(remedy));
            None
        };
        if bytes.len() > MAX_BYTES {
            return refuse(
                "the file is larger than 1 MiB",
                "split it; a file may hold one connection",
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
            return refuse("the file holds a NUL byte", "save it as plain UTF-8 text");
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
                    &format!("the file is not UTF-8 from byte {at} on"),
                    "save it as UTF-8",
                )
            }
        }
    }

    /// The one document of this text, if it can be read at all.
    pub(super) fn parse(&self, problems: &Problems) -> Option<Node> {
        let mut builder = TreeBuilder::default();
        let mut options = Options::default();
        options.emit_unresolved_aliases = true;
        options.flow_nesting_limit = MAX_DEPTH * 2;
        options.block_nesting_limit = MAX_DEPTH * 2;
        for event in Parser::new_from_str_with_options(&self.text, options) {
            let step = match event {
                Ok((event, span)) => builder.handle_event(event, span),
                Err(error) => Err(Rejection::syntax(&error)),
            };
            if let Err(refused) = step {
                problems.push(refused.into_problem(&self.label));
                return None;
            }
        }
        builder.root
    }

    /// What may be shown of the line at `mark`; see [`excerpt::cut_excerpt`].
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
            "a connection needs six",
        )
    }

    fn syntax(error: &ScanError) -> Self {
        let span = Span::empty(*error.marker());
        // The scanner may run ahead of the events, and has a bound of its own.
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return Self::too_deep(span);
        }
        // The parser quotes the character that it stumbled over, which may be one of a secret.
        let message = if matches!(error.kind(), ErrorKind::UnexpectedCharacter { .. }) {
            "unexpected character".to_owned()
        } else {
            error.info()
        };
        Self {
            place: to_position(span),
            code: "syntax",
            message: format!("the file is no YAML or JSON from here on: {message}"),
            remedy: "mend the syntax; quote text that holds `: `, ` #` or starts with one of `{[&*!|>%@`",
        }
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

/// A collection that is not finished yet.
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
                "aliases (`*name`) are not read",
                "write the value out; quote it if it is a text that starts with `*`",
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
            // Anchors without aliases mean nothing; the rest frames the stream.
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
            "the file holds several YAML documents",
            "put several connections under `connections: [...]`, or into files of their own",
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
                "the file holds more than 100,000 values",
                "split it",
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
            "tags (`!name`) are not read",
            "take the tag out; quote the value if it is a text that starts with `!`",
        )),
        None => Ok(()),
    }
}

/// The core schema of YAML 1.2, so that `no` and `on` are texts. A number keeps its spelling.
fn parse_scalar(text: &str, style: ScalarStyle) -> Value {
    let owned = || Zeroizing::new(text.to_owned());
    if style != ScalarStyle::Plain {
        return Value::Text(owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(owned()),
        _ => Value::Text(owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, digit: fn(char) -> bool| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(digit))
    };
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let special = matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    );
    special
        || radix("0x", |c| c.is_ascii_hexdigit())
        || radix("0o", |c| c.is_digit(8))
        || (starts && unsigned.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests;
