//! Reads a mapping by a table of its fields. Each field is accepted in `snake_case` and in
//! `camelCase`.
//!
//! Invariant kept here: an unknown field is always reported. If the name of a limit is misspelt,
//! the limit would otherwise silently have no effect.

use std::time::Duration;

use super::document::{Key, Node, Value};
use super::field::{Field, join_path, may_name_key};
use super::layers::Layers;
use super::problem::nearest;
use super::redaction;
use super::settings_spec::variable;
use super::spec::{FieldSpec, Kind, ObjectSpec, camel_case, snake_case};
use super::unknown_field::UnknownField;

/// The number of unknown fields that are compared with a missing one. Each comparison costs the
/// product of two lengths.
const MAX_COMPARED: usize = 1000;

/// A mapping, and the table of its fields.
pub(super) struct Object<'a> {
    /// The mapping itself.
    pub(super) field: Field<'a>,
    entries: Vec<(&'a Key, &'a Node)>,
    spec: &'static ObjectSpec,
    /// The values of environment and flags that replace those of the mapping, and the prefix of
    /// their variables.
    layers: Option<(&'a Layers<'a>, String)>,
    below: Fallback<'a>,
}

/// The mapping that supplies the fields which another one lacks.
pub(super) enum Fallback<'a> {
    /// There is none.
    Nothing,
    /// There is one, but it cannot be used, which is reported. Fields that it may have are not
    /// missing.
    Unknown,
    /// A mapping without problems.
    Object(Box<Object<'a>>),
}

impl<'a> Field<'a> {
    /// Reads a mapping. Reports required fields that are missing, and fields that are not in the
    /// table.
    pub(super) fn read_object(&self, spec: &'static ObjectSpec) -> Option<Object<'a>> {
        self.read_object_over(spec, Fallback::Nothing)
    }

    /// Reads a mapping as [`Field::read_object`] does, over another mapping.
    fn read_object_over(
        &self,
        spec: &'static ObjectSpec,
        below: Fallback<'a>,
    ) -> Option<Object<'a>> {
        let mut object = self.read_unchecked_object(spec)?;
        object.below = below;
        object.report_missing();
        object.report_unknown();
        Some(object)
    }

    /// Reads a mapping without reporting missing or unknown fields.
    pub(super) fn read_unchecked_object(&self, spec: &'static ObjectSpec) -> Option<Object<'a>> {
        Some(Object {
            field: self.clone(),
            entries: self.read_entries_like(spec.example)?,
            spec,
            layers: None,
            below: Fallback::Nothing,
        })
    }

    /// Returns whether the value is a mapping with a field of this name.
    pub(super) fn has_key(&self, name: &str) -> bool {
        self.find_entry(name).is_some()
    }

    /// Returns the field of this name, if the value is a mapping that has it.
    pub(super) fn find_entry(&self, name: &str) -> Option<&'a (Key, Node)> {
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        entries.iter().find(|(key, _)| is_named(key, name))
    }

    /// Returns the value of this name, if the value is a mapping that has it.
    pub(super) fn peek_entry(&self, name: &str) -> Option<Self> {
        self.find_entry(name)
            .map(|(key, node)| self.child(key, node))
    }
}

impl<'a> Object<'a> {
    /// Combines a section of the settings file, if there is one, with environment and flags.
    pub(super) fn with_layers(
        section: Option<Self>,
        spec: &'static ObjectSpec,
        layers: &'a Layers<'a>,
        prefix: String,
    ) -> Self {
        let mut section = section.unwrap_or_else(|| Object {
            field: layers.absent_section(),
            entries: Vec::new(),
            spec,
            layers: None,
            below: Fallback::Nothing,
        });
        section.layers = Some((layers, prefix));
        section
    }

    /// Reads a section of the settings from all layers.
    pub(super) fn read_section(&self, name: &'static str) -> Option<Self> {
        let (layers, prefix) = self.layers.as_ref()?;
        let spec = self.field_spec(name)?.object_spec()?;
        let section = self.read_object(name);
        Some(Self::with_layers(
            section,
            spec,
            layers,
            variable(prefix, name),
        ))
    }

    /// Returns the field of this name. A value from environment or flags replaces that of the
    /// mapping. If the mapping lacks the field, the one of the fallback is returned.
    pub(super) fn take_field(&self, name: &'static str) -> Option<Field<'a>> {
        let below = self.own_field(name);
        let layers = self.layers.as_ref();
        let above = layers.and_then(|(layers, prefix)| layers.find_value(&variable(prefix, name)));
        above.or(below).or_else(|| self.supplied_field(name))
    }

    /// Returns the mapping's own field of this name, in either spelling. Must be called once for
    /// each field, because it reports a field that is set twice or has no value. A secret whose
    /// value was forgotten must not count as absent.
    fn own_field(&self, name: &'static str) -> Option<Field<'a>> {
        let mut found = self.entries.iter().filter(|(key, _)| is_named(key, name));
        let (key, node) = found.next()?;
        if let Some((other, other_node)) = found.next() {
            let message = format!(
                "`{}` and `{}` are two spellings of the same field, first set in line {}",
                key.name, other.name, key.place.line
            );
            let shown = self.field.may_name_known(other, other_node);
            let problem = self
                .field
                .key_problem(other, shown, "duplicate_key", message);
            self.field.push(problem.remedy("keep one of the two"));
        }
        let field = self.field.child(key, node);
        // In YAML, `token:` without a value is null.
        if matches!(node.value, Value::Null) {
            let spec = self.field_spec(name).and_then(FieldSpec::object_spec);
            let remedy = match spec.map_or("", |spec| spec.example) {
                "" => "write a value, or remove the field".to_owned(),
                example => format!("write `{example}`, or remove the field"),
            };
            field.report("no_value", "has no value", remedy);
            return None;
        }
        let is_secret = self.field_spec(name)?.is_secret;
        Some(if is_secret {
            field.into_secret()
        } else {
            field
        })
    }

    /// Reads an optional field. Returns the default if it is absent, and `None` if it has a
    /// problem.
    pub(super) fn read_optional<T>(
        &self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        self.take_field(name)
            .map_or(Some(default), |field| read(&field))
    }

    /// Reads an optional field that is `true` or `false`.
    pub(super) fn read_flag(&self, name: &'static str) -> Option<bool> {
        let Kind::Flag(default) = self.field_spec(name)?.kind else {
            debug_assert!(false, "`{name}` is not a flag");
            return None;
        };
        self.read_optional(name, default, Field::read_bool)
    }

    /// Reads an optional field that is a whole number.
    pub(super) fn read_integer(&self, name: &'static str) -> Option<u64> {
        let (min, max, default) = self.integer_bounds(name)?;
        self.read_optional(name, default, |field| field.read_integer(min, max, ""))
    }

    /// Returns the minimum, the maximum and the default of a field that is a whole number.
    pub(super) fn integer_bounds(&self, name: &'static str) -> Option<(u64, u64, u64)> {
        let Kind::Integer { min, max, default } = self.field_spec(name)?.kind else {
            debug_assert!(false, "`{name}` is not a number");
            return None;
        };
        Some((min, max, default))
    }

    /// Reads an optional field that is a whole number of at most `ceiling`, which `setting` sets.
    /// The default is not above the ceiling either.
    pub(super) fn read_integer_up_to(
        &self,
        name: &'static str,
        ceiling: u64,
        setting: &str,
    ) -> Option<u64> {
        let (min, max, default) = self.integer_bounds(name)?;
        let advice = if ceiling < max {
            format!(", or raise `{setting}` in the settings (at most {max})")
        } else {
            String::new()
        };
        self.read_optional(name, default.min(ceiling), |field| {
            field.read_integer(min, ceiling, &advice)
        })
    }

    /// Reads an optional field that is a number of seconds.
    pub(super) fn read_seconds(&self, name: &'static str) -> Option<Duration> {
        self.read_integer(name).map(Duration::from_secs)
    }

    /// Reads an optional field that counts something in memory.
    pub(super) fn read_count(&self, name: &'static str) -> Option<usize> {
        usize::try_from(self.read_integer(name)?).ok()
    }

    /// Reads a field that is a mapping itself. The mapping of the same name in the fallback
    /// supplies the fields that it lacks.
    pub(super) fn read_object(&self, name: &'static str) -> Option<Self> {
        let below = match &self.below {
            Fallback::Nothing => Fallback::Nothing,
            Fallback::Unknown => Fallback::Unknown,
            Fallback::Object(below) => below.to_fallback(name),
        };
        self.read_object_over(name, below)
    }

    /// Reads a field that is a mapping itself, over another mapping.
    pub(super) fn read_object_over(&self, name: &'static str, below: Fallback<'a>) -> Option<Self> {
        let spec = self.field_spec(name)?.object_spec()?;
        self.own_field(name)?.read_object_over(spec, below)
    }

    /// Returns the mapping of this name as a fallback, if there is one.
    fn to_fallback(&self, name: &str) -> Fallback<'a> {
        let spec = self.spec.field(name).and_then(FieldSpec::object_spec);
        let object = self
            .peek_own(name)
            .zip(spec)
            .and_then(|(field, spec)| field.read_unchecked_object(spec));
        object.map_or(Fallback::Nothing, |object| {
            Fallback::Object(Box::new(object))
        })
    }

    /// Returns the field that the fallback supplies, if the mapping lacks it.
    fn supplied_field(&self, name: &str) -> Option<Field<'a>> {
        let Fallback::Object(below) = &self.below else {
            return None;
        };
        // A field without a value is reported, and not replaced.
        if self.has_field(name) {
            return None;
        }
        below.peek_own(name)
    }

    /// Returns the mapping's own field of this name, without any check.
    pub(super) fn peek_own(&self, name: &str) -> Option<Field<'a>> {
        self.field.peek_entry(name)
    }

    /// Returns whether the mapping or its fallback has the field, or may have it.
    pub(super) fn provides(&self, name: &str) -> bool {
        self.has_field(name)
            || match &self.below {
                Fallback::Nothing => false,
                Fallback::Unknown => true,
                Fallback::Object(below) => below.field.has_key(name),
            }
    }

    /// Returns whether the mapping is in a file. A section that is in no file, or that is not a
    /// mapping there, is read as an empty mapping, which has no place.
    pub(super) fn is_in_file(&self) -> bool {
        self.field.node.place.line > 0
    }

    /// Returns whether the field is set, with a value or without one.
    pub(super) fn has_field(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| is_named(key, name))
    }

    /// Returns whether an unknown field looks like a misspelt `name`. If it does, the mistake is
    /// reported once, as an unknown field, and not as a missing one too.
    pub(super) fn has_misspelling_of(&self, name: &str) -> bool {
        let mut unknown = self.unknown_entries().take(MAX_COMPARED);
        unknown.any(|(key, _)| nearest(&snake_case(&key.name), [name]).is_some())
    }

    fn field_spec(&self, name: &str) -> Option<&'static FieldSpec> {
        let spec = self.spec.field(name);
        debug_assert!(spec.is_some(), "the table has no field `{name}`");
        spec
    }

    fn unknown_entries(&self) -> impl Iterator<Item = (&'a Key, &'a Node)> {
        let names = self.spec.fields.iter().map(|field| field.name);
        let known: Vec<_> = names
            .flat_map(|name| [name.to_owned(), camel_case(name)])
            .collect();
        let entries = self.entries.iter().copied();
        entries.filter(move |(key, _)| !known.contains(&key.name))
    }

    fn report_missing(&self) {
        for field in self.spec.fields {
            let is_supplied = field.is_in_connectors && self.provides(field.name);
            if let Some(remedy) = field.required.filter(|_| !is_supplied) {
                self.report_missing_field(field.name, remedy);
            }
        }
    }

    /// Reports a field that is missing, unless the mapping has it or a misspelling of it.
    pub(super) fn report_missing_field(&self, name: &str, remedy: &str) {
        if self.has_field(name) || self.has_misspelling_of(name) {
            return;
        }
        let problem = self
            .field
            .problem("missing_field", format!("`{name}` is missing"));
        let path = join_path(&self.field.path, name);
        self.field.push(problem.field(path).remedy(remedy));
    }

    fn report_unknown(&self) {
        for (key, node) in self.unknown_entries() {
            if self.field.input.problems.is_full() {
                return;
            }
            let guess = UnknownField::new(key, self.spec);
            let known = guess.known_name();
            let hides = self.field.secret && (known.is_none() || !may_name_key(&key.name, node));
            let visible = !hides && redaction::may_show_key(&key.name, known);
            let problem = if visible {
                let message = guess.message(key);
                let shown = self.field.may_name_known(key, node);
                self.field.key_problem(key, shown, "unknown_field", message)
            } else {
                let message = "unknown field; its name is not shown, because it may be a secret";
                let hidden = self.field.clone().into_secret();
                let mut problem = hidden.problem("unknown_field", message);
                problem.excerpt = None;
                if key.place.line > 0 {
                    problem = problem.at(key.place.line, key.place.column);
                }
                problem
            };
            self.field.push(problem.remedy(guess.remedy(self.spec)));
        }
    }
}

fn is_named(key: &Key, name: &str) -> bool {
    key.name == name || key.name == camel_case(name)
}
