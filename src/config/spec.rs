//! Tables of fields. One table describes one object: the reader takes names, bounds and defaults
//! from it, and the JSON Schema is generated from it.

use serde_json::{Map, Value, json};

/// An object, which is a mapping with known fields.
pub(super) struct ObjectSpec {
    /// The name in the JSON Schema; empty for objects that it does not describe.
    pub(super) name: &'static str,
    /// The description in the JSON Schema.
    pub(super) doc: &'static str,
    /// The fields, in the order in which messages list them.
    pub(super) fields: &'static [FieldSpec],
    /// The value that a remedy suggests in place of one that is not a mapping. Empty if there is
    /// none.
    pub(super) example: &'static str,
}

/// A field of an object.
pub(super) struct FieldSpec {
    /// The name in `snake_case`. The name in `camelCase` is accepted too.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The description in the JSON Schema.
    pub(super) doc: &'static str,
    /// What the operator should write if the field is missing. `None` if the field is optional.
    pub(super) required: Option<&'static str>,
    /// `true` if no message may show the value.
    pub(super) is_secret: bool,
    /// `true` if a connector may supply the field, although it is required.
    pub(super) is_in_connectors: bool,
}

/// The type of a field's value.
pub(super) enum Kind {
    /// A value that is `true` or `false`, with the default.
    Flag(bool),
    /// A whole number.
    Integer { min: u64, max: u64, default: u64 },
    /// A mapping with known fields.
    Object(&'static ObjectSpec),
    /// A list of mappings with known fields.
    Objects(&'static ObjectSpec),
    /// A list of other values, with the schema of its items.
    List(fn() -> Value),
    /// Any other value, with its schema.
    Value(fn() -> Value),
}

impl ObjectSpec {
    pub(super) const fn new(
        name: &'static str,
        doc: &'static str,
        fields: &'static [FieldSpec],
    ) -> Self {
        Self {
            name,
            doc,
            fields,
            example: "",
        }
    }

    pub(super) const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// Returns the field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the paths of the objects inside this one that have a field of this name. If there
    /// are some at several depths, returns those at the least depth.
    pub(super) fn owners(&self, name: &str) -> Vec<String> {
        let mut level = self.objects("");
        while !level.is_empty() {
            let owners = level.iter().filter(|(_, spec)| spec.field(name).is_some());
            let owners: Vec<String> = owners.map(|(path, _)| path.clone()).collect();
            if !owners.is_empty() {
                return owners;
            }
            let deeper = level.iter().flat_map(|(path, spec)| spec.objects(path));
            level = deeper.collect();
        }
        Vec::new()
    }

    /// Returns the fields that are objects, each with its path.
    fn objects(&self, path: &str) -> Vec<(String, &'static Self)> {
        let fields = self.fields.iter();
        let objects = fields.filter_map(|field| {
            let path = match path {
                "" => field.name.to_owned(),
                path => format!("{path}.{}", field.name),
            };
            Some((path, field.object_spec()?))
        });
        objects.collect()
    }

    /// Returns the schema of an object: known fields only, each in one of its two spellings.
    pub(super) fn schema(&self) -> Value {
        let mut properties = Map::new();
        let mut rules = Vec::new();
        for field in self.fields {
            let schema = field.schema();
            let camel = camel_case(field.name);
            if camel != field.name {
                // A field is written in one spelling only.
                rules.push(json!({"not": {"required": [field.name, camel]}}));
                properties.insert(camel, schema.clone());
            }
            properties.insert(field.name.to_owned(), schema);
        }
        // A file with a connector lacks them, so they are required at the top level.
        let required = self
            .fields
            .iter()
            .filter(|field| field.required.is_some() && !field.is_in_connectors);
        rules.extend(required.map(|field| required_in_either_spelling(field.name)));
        let mut schema = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !rules.is_empty() {
            schema = with_keyword(schema, "allOf", rules.into());
        }
        with_description(schema, self.doc)
    }

    /// Returns a reference to the schema of this object.
    pub(super) fn reference(&self) -> Value {
        json!({"$ref": format!("#/$defs/{}", self.name)})
    }
}

/// Describes an optional field.
pub(super) const fn field(name: &'static str, kind: Kind, doc: &'static str) -> FieldSpec {
    FieldSpec {
        name,
        kind,
        doc,
        required: None,
        is_secret: false,
        is_in_connectors: false,
    }
}

impl FieldSpec {
    pub(super) const fn required(mut self, remedy: &'static str) -> Self {
        self.required = Some(remedy);
        self
    }

    /// Returns the fields of a [`Kind::Object`].
    pub(super) fn object_spec(&self) -> Option<&'static ObjectSpec> {
        if let Kind::Object(spec) = self.kind {
            Some(spec)
        } else {
            None
        }
    }

    pub(super) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    pub(super) const fn or_connector(mut self) -> Self {
        self.is_in_connectors = true;
        self
    }

    fn schema(&self) -> Value {
        let schema = match &self.kind {
            Kind::Flag(default) => json!({"type": "boolean", "default": default}),
            // proto-JSON writes an int64 as digits in quotes.
            Kind::Integer { min, max, default } => json!({
                "anyOf": [
                    {"type": "integer", "minimum": min, "maximum": max},
                    {"type": "string", "pattern": "^[0-9]+$"},
                ],
                "default": default,
            }),
            Kind::Object(spec) => spec.reference(),
            Kind::Objects(spec) => json!({"type": "array", "items": spec.reference()}),
            Kind::List(item) => json!({"type": "array", "items": item()}),
            Kind::Value(schema) => schema(),
        };
        with_description(schema, self.doc)
    }
}

/// Returns the schema of any text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// Returns the schema of a mapping of texts.
pub(super) fn texts() -> Value {
    json!({"type": "object", "additionalProperties": text()})
}

/// Returns the schema of a secret. Only a text in the file itself can be empty.
pub(super) fn secret(min_length: u64) -> Value {
    let reference = |name: &str, what: &str| {
        json!({
            "type": "object",
            "properties": {name: {"type": "string", "minLength": 1, "description": what}},
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({
        "description": "The value itself, the name of an environment variable, or the path of a file.",
        "anyOf": [
            {"type": "string", "minLength": min_length},
            reference("env", "Name of an environment variable"),
            reference("file", "Path of a file, relative to this one"),
        ],
    })
}

/// Returns the schema of a text that matches a regular expression.
pub(super) fn text_like(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// Returns the schema of a text that must be one of these words.
pub(super) fn one_of<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"type": "string", "enum": words})
}

fn with_description(schema: Value, doc: &str) -> Value {
    if doc.is_empty() {
        return schema;
    }
    with_keyword(schema, "description", doc.into())
}

/// Adds a keyword to a schema.
pub(super) fn with_keyword(mut schema: Value, keyword: &str, value: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert(keyword.to_owned(), value);
    }
    schema
}

/// Returns a schema that requires the field in either spelling.
pub(super) fn required_in_either_spelling(name: &str) -> Value {
    let camel = camel_case(name);
    if camel == name {
        json!({"required": [name]})
    } else {
        json!({"anyOf": [{"required": [name]}, {"required": [camel]}]})
    }
}

/// Returns the proto-JSON spelling of a field's name, in `camelCase`.
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

/// Returns the spelling of a field's name in a table, in `snake_case`.
pub(super) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars().take(100) {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
