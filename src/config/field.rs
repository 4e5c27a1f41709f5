//! Reads single values from the tree of a file, and collects every mistake.
//!
//! A [`Field`] is one value with its path and its place. The type is private to `config`.
//!
//! Invariant kept here: if a field is marked secret, no problem shows its value or an unknown name
//! in it.

use std::collections::HashMap;
use std::rc::Rc;

use super::document::{Key, Node, Origin, Position, Value};
use super::problem::{Problem, Problems, nearest};
use super::redaction::{self, Grammar, quoted};

/// The text that is read, and the list that problems are added to.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) origin: &'a Origin,
    pub(super) problems: &'a Problems,
    /// `true` if all values are texts, as in the environment and on the command line. Then `true`
    /// and `5` are accepted as texts.
    pub(super) texts: bool,
}

/// One value, with its path, its place, and whether it may be shown.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Rc<str>,
    key: Option<Position>,
    pub(super) secret: bool,
    grammar: Grammar,
    pub(super) input: Input<'a>,
}

impl<'a> Field<'a> {
    /// Returns the root of a tree.
    pub(super) fn root(node: &'a Node, input: Input<'a>) -> Self {
        Self::with_path(node, "", input)
    }

    /// Returns a value with this path, which belongs to no mapping: the root, or the value of a
    /// variable or flag.
    pub(super) fn with_path(node: &'a Node, name: &str, input: Input<'a>) -> Self {
        Self {
            node,
            path: name.into(),
            key: None,
            secret: false,
            grammar: Grammar::Text,
            input,
        }
    }

    /// Marks the value as secret, so that it is never shown.
    pub(super) fn into_secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Marks the value as public, for a field that holds no secret although the fields around it
    /// do.
    pub(super) fn into_public(mut self) -> Self {
        self.secret = false;
        self
    }

    /// Marks the value's text as written in this grammar.
    pub(super) fn with_grammar(mut self, grammar: Grammar) -> Self {
        self.grammar = grammar;
        self
    }

    /// Returns whether a message may show the value itself. A file that consists of one text is
    /// most likely a secret that was listed as a definition, so the root is never shown.
    fn may_show(&self) -> bool {
        let is_short = match &self.node.value {
            Value::Text(text) | Value::Number(text) => self.grammar.may_show(text),
            Value::Null | Value::Bool(_) => true,
            Value::List(_) | Value::Map(_) => false,
        };
        is_short && !self.secret && !self.path.is_empty()
    }

    /// Creates a problem about this value.
    pub(super) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        let place = self.node.place;
        let mut problem = Problem::whole(self.input.origin.label.clone(), code, message.into())
            .field(self.path.as_ref());
        if place.line > 0 {
            problem = problem.at(place.line, place.column);
            let shown = self.may_show().then_some(place);
            problem.excerpt = self.input.origin.cut_excerpt(place, self.key, shown);
        }
        problem
    }

    /// Reports a problem with this value.
    pub(super) fn report(
        &self,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(self.problem(code, message).remedy(remedy));
    }

    /// Reports a problem with this value. Returns `None`, the result of a reader that has failed.
    pub(super) fn reject<T>(
        &self,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        self.report(code, message, remedy);
        None
    }

    /// Warns about this value.
    pub(super) fn warn(
        &self,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(self.problem(code, message).warning().remedy(remedy));
    }

    /// Adds a problem to the list.
    pub(super) fn push(&self, problem: Problem) {
        self.input.problems.push(problem);
    }

    /// Describes the value for a message, and shows it if that is allowed.
    pub(super) fn describe_value(&self) -> String {
        let kind = |kind: &str, value: &str| {
            if self.may_show() {
                format!("the {kind} {}", quoted(value))
            } else {
                format!("a {kind}")
            }
        };
        match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(true) => kind("boolean", "true"),
            Value::Bool(false) => kind("boolean", "false"),
            Value::Number(number) => kind("number", number),
            Value::Text(text) => kind("string", text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    fn wrong_type<T>(&self, wanted: &str, remedy: &str) -> Option<T> {
        let message = format!("must be {wanted}, not {}", self.describe_value());
        self.reject("wrong_type", message, remedy)
    }

    /// Reads a text.
    pub(super) fn read_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => self.wrong_type("a string", "put it in quotes"),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type("a string", "write a string")
            }
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn read_bool(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) if self.input.texts && text.as_str() == "true" => Some(true),
            Value::Text(text) if self.input.texts && text.as_str() == "false" => Some(false),
            Value::Text(_) | Value::Null | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                let remedy = "write `true` or `false` without quotes";
                self.wrong_type("`true` or `false`", remedy)
            }
        }
    }

    /// Reads a whole number within bounds. Digits in quotes are accepted, because proto-JSON writes
    /// an int64 that way. If the value is too large, the remedy ends with `advice`.
    pub(super) fn read_integer(&self, min: u64, max: u64, advice: &str) -> Option<u64> {
        let digits = match &self.node.value {
            Value::Number(digits) | Value::Text(digits) => digits.as_str(),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => "",
        };
        // `u64::from_str` also accepts a leading `+`, which JSON does not have.
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let value = digits.parse::<u64>().ok().filter(|_| plain);
        let within = value.filter(|value| (min..=max).contains(value));
        if within.is_none() {
            let bounds = format!("a whole number from {min} to {max}");
            let message = format!("must be {bounds}, not {}", self.describe_value());
            let advice = if value > Some(max) { advice } else { "" };
            let remedy = format!("write {bounds}{advice}");
            self.report("out_of_range", message, remedy);
        }
        within
    }

    /// Reads one of these words.
    pub(super) fn read_choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.read_text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let mut message = "unknown value".to_owned();
            if redaction::may_show(text) {
                message = format!("{message} {}", quoted(text));
            }
            if let Some(near) = nearest(text, names.iter().copied()) {
                message = format!("{message}; did you mean `{near}`?");
            }
            let remedy = format!("write {}", join_names(&names));
            self.report("unknown_value", message, remedy);
        }
        found.map(|(_, value)| *value)
    }

    /// Reads a list.
    pub(super) fn read_list(&self) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            return self.wrong_type("a list", "write `[…]`, or one `- item` per line");
        };
        let item = |(at, node)| Self {
            node,
            path: format!("{}[{at}]", self.path).into(),
            key: None,
            ..self.clone()
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Reads every item of a list. `None` if any of them has a problem.
    pub(super) fn read_items<T>(&self, read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        let items = self.read_list()?;
        // All are read before the result is decided, so that every problem is reported.
        let read: Vec<Option<T>> = items.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// Reads a mapping whose keys are data. A key of a secret mapping that has no value may be the
    /// secret itself, so the path then shows its index instead of its name.
    pub(super) fn read_map(&self) -> Option<Vec<(&'a str, Self)>> {
        let entries = self.read_entries()?;
        let item = |(at, (key, node)): (usize, (&'a Key, &'a Node))| {
            let nameless = !self.may_name(key, node);
            let path = if nameless {
                format!("{}[{at}]", self.path)
            } else {
                join_path(&self.path, &key.name)
            };
            let child = Self {
                path: path.into(),
                key: (!nameless).then_some(key.place),
                ..self.child(key, node)
            };
            (key.name.as_str(), child)
        };
        Some(entries.into_iter().enumerate().map(item).collect())
    }

    /// Reads the entries of a mapping, each key once. Every repetition is reported.
    fn read_entries(&self) -> Option<Vec<(&'a Key, &'a Node)>> {
        self.read_entries_like("")
    }

    /// Reads the entries of a mapping. If the value is not a mapping, the remedy suggests this
    /// example, unless it is empty.
    pub(super) fn read_entries_like(&self, example: &str) -> Option<Vec<(&'a Key, &'a Node)>> {
        let Value::Map(entries) = &self.node.value else {
            return match example {
                "" => self.wrong_type("a mapping", "write `{…}`, or one `name: value` per line"),
                example => self.wrong_type("a mapping", &format!("write `{example}`")),
            };
        };
        // YAML forbids duplicate keys, and JSON parsers disagree about which one wins (RFC 8259
        // §4).
        let mut first: HashMap<&str, &Key> = HashMap::with_capacity(entries.len());
        let mut once = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let earlier = *first.entry(&key.name).or_insert(key);
            if std::ptr::eq(earlier, key) {
                once.push((key, node));
                continue;
            }
            let message = format!(
                "{} is set twice, first in line {}",
                self.describe_key(key, node),
                earlier.place.line
            );
            let shown = self.may_name(key, node);
            let problem = self.key_problem(key, shown, "duplicate_key", message);
            self.push(problem.remedy("keep one of the two"));
        }
        Some(once)
    }

    /// Describes a key for a message, and shows it if that is allowed.
    fn describe_key(&self, key: &Key, node: &Node) -> String {
        if self.may_name(key, node) {
            quoted(&key.name)
        } else {
            "a key".to_owned()
        }
    }

    fn may_name(&self, key: &Key, node: &Node) -> bool {
        let hides = self.secret && !may_name_key(&key.name, node);
        !hides && redaction::may_show_key(&key.name, None)
    }

    /// Returns whether a key that is, or nearly is, the name of a field may be shown.
    pub(super) fn may_name_known(&self, key: &Key, node: &Node) -> bool {
        !self.secret || may_name_key(&key.name, node)
    }

    /// Creates a problem about a key of this mapping. `shown` decides if the problem names the key.
    pub(super) fn key_problem(
        &self,
        key: &Key,
        shown: bool,
        code: &'static str,
        message: String,
    ) -> Problem {
        let field = if shown {
            join_path(&self.path, &key.name)
        } else {
            self.path.to_string()
        };
        let mut problem =
            Problem::whole(self.input.origin.label.clone(), code, message).field(field);
        if key.place.line > 0 {
            problem = problem.at(key.place.line, key.place.column);
            let visible = shown.then_some(key.place);
            problem.excerpt = self.input.origin.cut_excerpt(key.place, visible, None);
        }
        problem
    }

    pub(super) fn child(&self, key: &'a Key, node: &'a Node) -> Self {
        Self {
            node,
            path: join_path(&self.path, &key.name).into(),
            key: Some(key.place),
            secret: self.secret,
            grammar: Grammar::Text,
            input: self.input,
        }
    }
}

/// Returns whether a key inside a secret mapping may be named: it is written like a name and has a
/// value. In `{dapi123…}` the secret is a key without a value.
pub(super) fn may_name_key(name: &str, node: &Node) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    !matches!(node.value, Value::Null) && name.len() <= 64 && name.bytes().all(plain)
}

pub(super) fn join_path(path: &str, name: &str) -> String {
    // A key may contain control characters, which must not reach the operator's terminal.
    let name: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

/// Joins names for a message: `` `a`, `b` or `c` ``.
pub(super) fn join_names(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [rest @ .., last] => format!("`{}` or `{last}`", rest.join("`, `")),
    }
}
