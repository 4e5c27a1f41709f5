//! Describes a field that is not in the table of its object, and suggests the one that is meant.

use super::document::Key;
use super::field::{join_names, join_path};
use super::problem::nearest;
use super::spec::{ObjectSpec, camel_case, snake_case};

/// A key that is not in the table, and the field that the operator may have meant.
pub(super) struct UnknownField {
    /// A field of the same object with a similar name.
    near: Option<&'static str>,
    /// The objects further inside that have a field of exactly this name, as paths.
    owners: Vec<String>,
    snake: String,
    is_camel: bool,
}

impl UnknownField {
    pub(super) fn new(key: &Key, spec: &'static ObjectSpec) -> Self {
        let snake = snake_case(&key.name);
        let known = spec.fields.iter().map(|field| field.name);
        Self {
            near: nearest(&snake, known),
            owners: spec.owners(&snake),
            snake,
            is_camel: !key.name.contains('_')
                && key.name.contains(|c: char| c.is_ascii_uppercase()),
        }
    }

    /// Returns the name of the field that is meant, if there is one.
    pub(super) fn known_name(&self) -> Option<&str> {
        match self.owners.as_slice() {
            [] => self.near,
            [..] => Some(&self.snake),
        }
    }

    /// Returns a name or path in the spelling of the key.
    fn spell(&self, name: &str) -> String {
        if self.is_camel {
            camel_case(name)
        } else {
            name.to_owned()
        }
    }

    pub(super) fn message(&self, key: &Key) -> String {
        let name = key.name.escape_debug();
        let owners: Vec<String> = self.owners.iter().map(|owner| self.spell(owner)).collect();
        let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
        match (owners.as_slice(), self.near) {
            ([], None) => format!("unknown field `{name}`"),
            ([], Some(near)) => {
                format!(
                    "unknown field `{name}`; did you mean `{}`?",
                    self.spell(near)
                )
            }
            (owners, _) => format!("`{name}` belongs under {}", join_names(owners)),
        }
    }

    pub(super) fn remedy(&self, spec: &ObjectSpec) -> String {
        let moved = self
            .owners
            .iter()
            .map(|owner| self.spell(&join_path(owner, &self.snake)));
        let moved: Vec<String> = moved.collect();
        let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
        match (moved.as_slice(), self.near) {
            ([], Some(near)) => format!("write `{}`", self.spell(near)),
            ([], None) => {
                let known: Vec<&str> = spec.fields.iter().map(|field| field.name).collect();
                format!("remove it, or write one of {}", join_names(&known))
            }
            (paths, _) => format!("move it to {}", join_names(paths)),
        }
    }
}
