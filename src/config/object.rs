//! A mapping whose keys are fields: taken by name, in either spelling; what nobody took is reported.
//!
//! Invariant kept here: a field that is not known is never passed over, so that a misspelt limit cannot read as none.

use super::document::{Key, Node, Value};
use super::field::{Field, join, listed, nameable};
use super::problem::nearest;
use super::redaction;

/// How many of the unknown fields are compared with a missing one.
const COMPARED: usize = 1000;

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
    /// A mapping whose keys are fields.
    pub(super) fn object(&self) -> Option<Object<'a>> {
        let entries = self.entries()?;
        Some(Object::new(self.clone(), entries))
    }
}

impl<'a> Object<'a> {
    /// A mapping of which nothing was taken yet.
    pub(super) fn new(field: Field<'a>, entries: Vec<(&'a Key, &'a Node)>) -> Self {
        Self {
            field,
            entries,
            known: Vec::new(),
            missing: Vec::new(),
        }
    }

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
                "`{}` and `{}` are the same field, first in line {}",
                key.name, other.name, key.place.line
            );
            let problem = self
                .field
                .about_known_key(other, other_node, "duplicate_key", message);
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
        let mut rest = self.entries.iter().take(COMPARED);
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
            if self.field.sink.problems.is_full() {
                return;
            }
            let near = nearest(&snake_case(&key.name), self.known.iter().copied());
            let hides = self.field.secret && (near.is_none() || !nameable(&key.name, node));
            let visible = !hides && redaction::may_show_key(&key.name, near);
            let name = if visible {
                format!("`{}`", key.name.escape_debug())
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
                self.field.about_known_key(
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
