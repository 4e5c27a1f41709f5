//! The small vocabulary in which a located tree is walked, field by field, with every mistake gathered.
//!
//! A [`Field`] is one value with its path and its place; an [`Object`] is a mapping whose fields are taken by name, in either
//! spelling, and which reports what nobody took. Nothing of this leaves `config`.
//!
//! Invariant kept here: under a field that is marked secret no value and no unknown name is put into a problem.

use std::collections::HashMap;
use std::rc::Rc;

use super::document::{Key, Node, Origin, Place, Value};
use super::problem::{Problem, Problems, nearest, quoted};

/// Where problems go, and what places point into.
#[derive(Clone, Copy)]
pub(super) struct Sink<'a> {
    pub(super) origin: &'a Origin,
    pub(super) problems: &'a Problems,
    /// Everything is text here (environment, command line), so `true` and `5` come as texts.
    pub(super) texts: bool,
}

/// One value: where it is, what it is, whether it may be shown.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Rc<str>,
    key: Option<Place>,
    secret: bool,
    pub(super) sink: Sink<'a>,
}

/// A mapping under way.
pub(super) struct Object<'a> {
    /// The mapping itself.
    pub(super) field: Field<'a>,
    entries: Vec<(&'a Key, &'a Node)>,
    known: Vec<&'static str>,
    /// What should be there and is not, with what to write.
    missing: Vec<(&'static str, &'static str)>,
}

impl<'a> Field<'a> {
    /// The root of a tree.
    pub(super) fn root(node: &'a Node, sink: Sink<'a>) -> Self {
        Self::named(node, "", sink)
    }

    /// A value that stands for itself under this name.
    pub(super) fn named(node: &'a Node, name: &str, sink: Sink<'a>) -> Self {
        Self {
            node,
            path: name.into(),
            key: None,
            secret: false,
            sink,
        }
    }

    /// The same value, never to be shown.
    pub(super) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The same value, of which the field's own nature says that it is none of the secrets around it.
    pub(super) fn public(mut self) -> Self {
        self.secret = false;
        self
    }

    /// A finding about this value.
    pub(super) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        let place = self.node.place;
        let mut problem = Problem::whole(self.sink.origin.label.clone(), code, message.into())
            .field(self.path.as_ref());
        if place.line > 0 {
            problem = problem.at(place.line, place.column);
            let scalar = !matches!(self.node.value, Value::List(_) | Value::Map(_));
            let shown = (scalar && !self.secret).then_some(place);
            problem.excerpt = self.sink.origin.excerpt(place, self.key, shown);
        }
        problem
    }

    /// Reports a finding about this value.
    pub(super) fn report(
        &self,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(self.problem(code, message).remedy(remedy));
    }

    /// Reports a finding.
    pub(super) fn push(&self, problem: Problem) {
        self.sink.problems.push(problem);
    }

    /// What stands here, fit to be shown.
    pub(super) fn found(&self) -> String {
        let kind = |kind: &str, value: &str| {
            if self.secret {
                format!("a {kind}")
            } else {
                format!("the {kind} {}", quoted(value))
            }
        };
        match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(true) => kind("truth value", "true"),
            Value::Bool(false) => kind("truth value", "false"),
            Value::Number(number) => kind("number", number),
            Value::Text(text) => kind("text", text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    fn wrong_type(&self, wanted: &str, remedy: &str) {
        let message = format!("must be {wanted}, not {}", self.found());
        self.report("wrong_type", message, remedy);
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => return Some(text),
            Value::Number(_) | Value::Bool(_) => self.wrong_type("a text", "put it in quotes"),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type("a text", "write a text")
            }
        }
        None
    }

    /// A truth value.
    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => return Some(*value),
            Value::Text(text) if self.sink.texts && text.as_str() == "true" => return Some(true),
            Value::Text(text) if self.sink.texts && text.as_str() == "false" => return Some(false),
            Value::Text(_) | Value::Null | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(
                    "`true` or `false`",
                    "write `true` or `false` without quotes",
                );
            }
        }
        None
    }

    /// A whole number within bounds. Digits in quotes count, as proto-JSON writes an int64.
    pub(super) fn integer(&self, min: u64, max: u64) -> Option<u64> {
        let digits = match &self.node.value {
            Value::Number(digits) | Value::Text(digits) => digits.as_str(),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => "",
        };
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let value = digits.parse::<u64>().ok().filter(|_| plain);
        let within = value.filter(|value| (min..=max).contains(value));
        if within.is_none() {
            let bounds = format!("a whole number from {min} to {max}");
            let message = format!("must be {bounds}, not {}", self.found());
            self.report("out_of_range", message, format!("write {bounds}"));
        }
        within
    }

    /// A list, item by item.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            self.wrong_type("a list", "write `[…]`, or one `- item` a line");
            return None;
        };
        let item = |(at, node)| Self {
            node,
            path: format!("{}[{at}]", self.path).into(),
            key: None,
            secret: self.secret,
            sink: self.sink,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A mapping whose keys are fields.
    pub(super) fn object(&self) -> Option<Object<'a>> {
        let entries = self.entries()?;
        Some(Object {
            field: self.clone(),
            entries,
            known: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// A mapping whose keys are data. A key that carries no value has none to hide behind: where the mapping is secret, the path
    /// counts it instead of naming it.
    pub(super) fn free_map(&self) -> Option<Vec<(&'a str, Self)>> {
        let entries = self.entries()?;
        let item = |(at, (key, node)): (usize, (&'a Key, &'a Node))| {
            let nameless = self.secret && !nameable(&key.name, node);
            let path = if nameless {
                format!("{}[{at}]", self.path)
            } else {
                join(&self.path, &key.name)
            };
            let child = Self {
                node,
                path: path.into(),
                key: (!nameless).then_some(key.place),
                secret: self.secret,
                sink: self.sink,
            };
            (key.name.as_str(), child)
        };
        Some(entries.into_iter().enumerate().map(item).collect())
    }

    /// The entries of a mapping, each key once; every repetition is reported.
    fn entries(&self) -> Option<Vec<(&'a Key, &'a Node)>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a mapping", "write `{…}`, or one `name: value` a line");
            return None;
        };
        let mut first: HashMap<&str, &Key> = HashMap::with_capacity(entries.len());
        let mut once = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let earlier = *first.entry(&key.name).or_insert(key);
            if std::ptr::eq(earlier, key) {
                once.push((key, node));
                continue;
            }
            let message = format!(
                "{} stands twice in one mapping, first in line {}",
                self.name(key, node),
                earlier.place.line
            );
            let problem = self.about_key(key, node, "duplicate_key", message);
            self.push(problem.remedy("keep one of the two"));
        }
        Some(once)
    }

    /// A key as it may be shown.
    fn name(&self, key: &Key, node: &Node) -> String {
        if self.secret && !nameable(&key.name, node) {
            "a key".to_owned()
        } else {
            quoted(&key.name)
        }
    }

    fn about_key(&self, key: &Key, node: &Node, code: &'static str, message: String) -> Problem {
        let shown = !self.secret || nameable(&key.name, node);
        let field = if shown {
            join(&self.path, &key.name)
        } else {
            self.path.to_string()
        };
        let mut problem =
            Problem::whole(self.sink.origin.label.clone(), code, message).field(field);
        if key.place.line > 0 {
            problem = problem.at(key.place.line, key.place.column);
            let visible = shown.then_some(key.place);
            problem.excerpt = self.sink.origin.excerpt(key.place, visible, None);
        }
        problem
    }

    fn child(&self, key: &'a Key, node: &'a Node) -> Self {
        Self {
            node,
            path: join(&self.path, &key.name).into(),
            key: Some(key.place),
            secret: self.secret,
            sink: self.sink,
        }
    }
}

impl<'a> Object<'a> {
    /// The field of this name (in `snake_case`), in either spelling. A field without a value is reported, not taken for absent:
    /// a forgotten secret must not read as none.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let camel = camel_case(name);
        let mut spelt = self
            .entries
            .extract_if(.., |(key, _)| key.name == name || key.name == camel);
        let first = spelt.next();
        let second = spelt.next();
        drop(spelt);
        let (key, node) = first?;
        if let Some((other, other_node)) = second {
            let message = format!(
                "{} and {} are the same field, first in line {}",
                quoted(&key.name),
                quoted(&other.name),
                key.place.line
            );
            let problem = self
                .field
                .about_key(other, other_node, "duplicate_key", message);
            self.field.push(problem.remedy("keep one of the two"));
        }
        let field = self.field.child(key, node);
        if matches!(node.value, Value::Null) {
            field.report(
                "no_value",
                "has no value",
                "write a value, or take the field out",
            );
            return None;
        }
        Some(field)
    }

    /// Whether a field of this name stands here, with a value or without.
    pub(super) fn has(&self, name: &str) -> bool {
        let camel = camel_case(name);
        self.entries
            .iter()
            .any(|(key, _)| key.name == name || key.name == camel)
    }

    /// A field that must be there; where it is not, [`Object::finish`] says so.
    pub(super) fn require(
        &mut self,
        name: &'static str,
        remedy: &'static str,
    ) -> Option<Field<'a>> {
        if !self.has(name) {
            self.missing.push((name, remedy));
        }
        self.take(name)
    }

    /// Whether a field that nobody took looks like a misspelt `name`: one mistake, to be reported once.
    pub(super) fn misspelt(&self, name: &str) -> bool {
        let mut rest = self.entries.iter();
        rest.any(|(key, _)| nearest(&snake_case(&key.name), [name]).is_some())
    }

    /// Reports every field that nobody took, and every one that should be there.
    pub(super) fn finish(self) {
        for (name, remedy) in &self.missing {
            if !self.misspelt(name) {
                let problem = self
                    .field
                    .problem("missing_field", format!("`{name}` is missing"));
                let path = join(&self.field.path, name);
                self.field.push(problem.field(path).remedy(*remedy));
            }
        }
        for (key, node) in self.entries {
            let near = nearest(&snake_case(&key.name), self.known.iter().copied());
            let visible = !self.field.secret || (near.is_some() && nameable(&key.name, node));
            let name = if visible {
                quoted(&key.name)
            } else {
                "this key".to_owned()
            };
            let camel =
                !key.name.contains('_') && key.name.contains(|c: char| c.is_ascii_uppercase());
            let remedy = match near {
                Some(near) if camel => format!("write `{}`", camel_case(near)),
                Some(near) => format!("write `{near}`"),
                None => format!("take it out, or write one of {}", listed(&self.known)),
            };
            let scope = if visible {
                self.field.about_key(
                    key,
                    node,
                    "unknown_field",
                    format!("{name} is no field here"),
                )
            } else {
                let hidden = self.field.clone().secret();
                let message = format!("{name} is no field here");
                let mut problem = hidden.problem("unknown_field", message);
                problem.excerpt = None;
                if key.place.line > 0 {
                    problem = problem.at(key.place.line, key.place.column);
                }
                problem
            };
            self.field.push(scope.remedy(remedy));
        }
    }
}

/// Whether a key inside a secret mapping may be named: it looks like a name and has a value of its own. `{dapi123…}` is a key without one.
fn nameable(name: &str, node: &Node) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    !matches!(node.value, Value::Null) && name.len() <= 64 && name.bytes().all(plain)
}

fn join(path: &str, name: &str) -> String {
    let name: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

/// `a`, `b` or `c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [rest @ .., last] => format!("`{}` or `{last}`", rest.join("`, `")),
    }
}

/// The proto-JSON spelling of a field's name.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            camel.push(c.to_ascii_uppercase());
        } else {
            camel.push(c);
        }
    }
    camel
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars().take(100) {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
