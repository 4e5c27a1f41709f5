//! Tools: each route of a connection as a tool that an agent runtime can register without
//! changes.
//!
//! A runtime calls a tool as follows. It expands the path with the properties of the input, as a
//! URI template (RFC 6570): `{id}` is escaped, and `{+rest}` keeps its slashes. It appends `query`
//! as form parameters, numbers and booleans as JSON writes them, and sends `body` as JSON, or as it
//! is if it is a string. The method is the tool's, or the input's if the route allows any.
//!
//! The schema saves a model mistakes and is not a security boundary. egressd checks every request,
//! and refuses one that the schema accepts but no route allows.

mod arguments;
mod entry_cache;
mod names;
mod request;
mod schema;
mod slug;
mod template;

pub use arguments::InvalidArguments;
pub use entry_cache::EntryCache;
pub use request::{ToolBody, ToolRequest};

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::{Connection, RouteDescription, RouteDescriptions};
use crate::route::{Method, Pattern};
use names::property_names;
use schema::input_schema;
use slug::tool_slugs;
use template::uri_template;

/// A tool that sends requests on one route.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// A name of `a-z`, `0-9`, `_` and `-`, at most 64 bytes long. It is unique among all
    /// connections, and the same in every process with the same routes.
    pub slug: String,
    /// The pattern of the route, as the definition has it.
    pub display_name: String,
    /// The description of the route, if the definition has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// The method; absent if the route allows any method, which the input then contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub method: Option<&'static str>,
    /// A URI template (RFC 6570) of the properties of the input, relative to the address that
    /// agents connect to: `{id}` is escaped, `{+rest}` keeps its slashes. `query` is appended as
    /// form parameters, numbers and booleans as JSON writes them. `body` is sent as JSON, or as it
    /// is if it is a string. A wildcard called `query`, `body` or `method` is named `path_query`
    /// and so on here. A wildcard whose name is not ASCII is named `segment_1` and so on, by its
    /// position.
    pub path: String,
    /// `false` if the connection is disabled or soft-deleted, so that every call is refused.
    pub is_enabled: bool,
    /// The JSON Schema (draft 2020-12) of the input.
    #[schema(value_type = Object)]
    pub input_schema: Value,
}

/// The name of a tool, and the route that it sends requests on.
pub struct ToolName {
    /// The value of [`Tool::slug`].
    pub slug: Box<str>,
    /// The index of the route.
    pub route: usize,
}

/// Names the tools of a connection, in the order of its routes. A route that no request can match
/// has no tool, and a route that is written twice has one.
pub fn name_tools(connection: &Connection) -> Vec<ToolName> {
    ConnectionRoutes::from(connection).name_tools()
}

/// Builds one of the tools that [`name_tools`] names.
pub fn build_tool(connection: &Connection, name: &ToolName) -> Option<Tool> {
    ConnectionRoutes::from(connection).build_tool(name)
}

/// Builds the tools that [`name_tools`] names.
pub fn build_tools(connection: &Connection) -> Vec<Tool> {
    ConnectionRoutes::from(connection).build_tools()
}

/// The fields of a connection that its tools are made from.
#[derive(Clone, Copy)]
struct ConnectionRoutes<'a> {
    connection: &'a str,
    patterns: &'a [Pattern],
    descriptions: &'a RouteDescriptions,
    allow_slashes: bool,
    is_enabled: bool,
}

/// A route, and its description if it has one.
#[derive(Clone, Copy)]
struct ToolRoute<'a> {
    pattern: &'a Pattern,
    description: Option<&'a RouteDescription>,
}

impl<'a> From<&'a Connection> for ConnectionRoutes<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self {
            connection: connection.id.as_str(),
            patterns: connection.routes.patterns(),
            descriptions: &connection.route_descriptions,
            allow_slashes: connection.allow_encoded_slash,
            is_enabled: connection.enabled && connection.delete_time.is_none(),
        }
    }
}

impl<'a> ConnectionRoutes<'a> {
    fn describe(self, route: usize) -> Option<ToolRoute<'a>> {
        Some(ToolRoute {
            pattern: self.patterns.get(route)?,
            description: self.descriptions.get(route),
        })
    }

    fn name_tools(self) -> Vec<ToolName> {
        // Two tools of one name would be refused by a runtime.
        let mut seen = HashSet::new();
        let (indices, routes): (Vec<usize>, Vec<ToolRoute<'_>>) = (0..self.patterns.len())
            .filter_map(|route| Some((route, self.describe(route)?)))
            .filter(|(_, route)| route.pattern.never_matches(self.allow_slashes).is_none())
            .filter(|(_, route)| seen.insert(route.pattern.as_str()))
            .unzip();
        let slugs = tool_slugs(self.connection, &routes);
        let named = indices.into_iter().zip(slugs);
        named
            .map(|(route, slug)| ToolName {
                slug: slug.into(),
                route,
            })
            .collect()
    }

    fn build_tool(self, name: &ToolName) -> Option<Tool> {
        let route = self.describe(name.route)?;
        let segments = route.pattern.segments();
        let names = property_names(segments);
        let text = route.description.and_then(|it| it.description.as_ref());
        Some(Tool {
            slug: name.slug.to_string(),
            display_name: route.pattern.to_string(),
            description: text.map(|text| text.as_str().to_owned()),
            method: route.pattern.method().map(Method::as_str),
            path: uri_template(self.connection, segments, &names),
            is_enabled: self.is_enabled,
            input_schema: input_schema(&route, &names, self.allow_slashes),
        })
    }

    fn build_tools(self) -> Vec<Tool> {
        let names = self.name_tools();
        names
            .iter()
            .filter_map(|name| self.build_tool(name))
            .collect()
    }
}

#[cfg(test)]
mod tests;
