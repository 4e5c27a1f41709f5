//! Reads an entry of `allowed_routes` that is a mapping: a pattern with a name, a description and
//! documented query parameters.

use std::collections::HashMap;

use super::connection_spec::{PARAMETER_TYPES, QUERY_PARAMETER, ROUTE};
use super::document::Value;
use super::field::Field;
use super::object::Object;
use super::redaction::{Grammar, quoted};
use crate::domain::ConnectionId;
use crate::domain::route_description::{
    DESCRIPTION_MAX_CHARS, DescriptionText, InvalidDescription, PARAMETER_NAME_MAX_CHARS,
    ParameterName, QueryParameter, RouteDescription, RouteName, TOOL_NAME_MAX_BYTES,
};

/// Reads the descriptions of one connection's routes.
pub(super) struct DescriptionReader<'a> {
    /// The longest name of a route, in bytes.
    max_name_bytes: usize,
    /// The line of the route that has this name.
    names: HashMap<&'a str, u32>,
}

impl<'a> DescriptionReader<'a> {
    /// Creates a reader for the routes of a connection. Without a valid id, names are checked as if
    /// it were short.
    pub(super) fn new(connection: Option<&ConnectionId>) -> Self {
        Self {
            max_name_bytes: connection.map_or(TOOL_NAME_MAX_BYTES, RouteName::max_bytes),
            names: HashMap::new(),
        }
    }

    /// Reads a mapping. Returns the field of the pattern, and what describes the route. Each is
    /// `None` if it has a problem.
    pub(super) fn read_route(
        &mut self,
        item: &Field<'a>,
    ) -> (Option<Field<'a>>, Option<RouteDescription>) {
        let Some(object) = item.read_object(&ROUTE) else {
            return (None, None);
        };
        let route = object.take_field("route");
        let route = route.map(|field| field.with_grammar(Grammar::Pattern));
        let name = object.read_optional("name", None, |field| self.read_name(field).map(Some));
        let description = read_optional_description(&object);
        let query = object.read_optional("query", Vec::new(), read_query);
        let description = || {
            Some(RouteDescription {
                name: name?,
                description: description?,
                query: query?,
            })
        };
        (route, description())
    }

    fn read_name(&mut self, field: &Field<'a>) -> Option<RouteName> {
        let text = field.read_text()?;
        let name = match RouteName::parse(text, self.max_name_bytes) {
            Ok(name) => name,
            Err(invalid) if invalid.max_bytes == 0 => {
                let message = format!(
                    "the connection's id is too long for names: a tool's name is the id, `_` and this name, and has at most {TOOL_NAME_MAX_BYTES} characters"
                );
                let remedy = "remove the name, or give the connection a shorter id";
                return field.reject("invalid_route_name", message, remedy);
            }
            Err(invalid) => {
                let message = format!("{} is not a valid name: {invalid}", quoted(text));
                let remedy = "write a name such as `list_repos`";
                return field.reject("invalid_route_name", message, remedy);
            }
        };
        let line = field.node.place.line;
        if let Some(first) = self.names.insert(text, line) {
            let message = format!(
                "{} is already the name of the route in line {first}",
                quoted(text)
            );
            let remedy = "give one of the two routes another name";
            return field.reject("duplicate_route_name", message, remedy);
        }
        Some(name)
    }
}

fn read_optional_description(object: &Object<'_>) -> Option<Option<DescriptionText>> {
    object.read_optional("description", None, |field| {
        read_description(field).map(Some)
    })
}

fn read_description(field: &Field<'_>) -> Option<DescriptionText> {
    let invalid = match DescriptionText::parse(field.read_text()?) {
        Ok(text) => return Some(text),
        Err(invalid) => invalid,
    };
    let remedy = match invalid {
        InvalidDescription::Empty => "write a description, or remove the field".to_owned(),
        InvalidDescription::TooLong => format!(
            "write at most {DESCRIPTION_MAX_CHARS} characters; longer texts belong in the connection's `description`"
        ),
    };
    field.reject("invalid_description", invalid.to_string(), remedy)
}

fn read_query(field: &Field<'_>) -> Option<Vec<QueryParameter>> {
    let parameters = field.read_map()?;
    let parameters: Vec<_> = parameters.iter().map(read_parameter).collect();
    parameters.into_iter().collect()
}

fn read_parameter((name, field): &(&str, Field<'_>)) -> Option<QueryParameter> {
    let name = match ParameterName::parse(name) {
        Ok(name) => Some(name),
        Err(invalid) => field.reject(
            "invalid_parameter",
            invalid.to_string(),
            format!(
                "write the name as it is in a query, unescaped, with at most {PARAMETER_NAME_MAX_CHARS} characters"
            ),
        ),
    };
    let (kind, description) = match &field.node.value {
        Value::Text(_) => (field.read_choice(&PARAMETER_TYPES), Some(None)),
        Value::Map(_) => {
            let object = field.read_object(&QUERY_PARAMETER)?;
            let kind = object.take_field("type");
            let kind = kind.and_then(|field| field.read_choice(&PARAMETER_TYPES));
            (kind, read_optional_description(&object))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) => {
            let message = format!(
                "must be the name of a type or a mapping, not {}",
                field.describe_value()
            );
            let remedy = "write a type such as `integer`, or `{type: integer, description: …}`";
            return field.reject("wrong_type", message, remedy);
        }
    };
    Some(QueryParameter {
        name: name?,
        kind: kind?,
        description: description?,
    })
}
