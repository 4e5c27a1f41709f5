//! Tools: each route of a connection as a tool that an agent runtime can register without
//! changes.
//!
//! A runtime calls a tool as follows. It expands the path with the properties of the input, as a
//! URI template (RFC 6570): `{id}` is escaped, and `{+rest}` keeps its slashes. It appends `query`
//! as form parameters and sends `body` as JSON, or as it is if it is a string. The method is the
//! tool's, or the input's if the route allows any.
//!
//! The schema saves a model mistakes and is not a security boundary. egressd checks every request,
//! and refuses one that the schema accepts but no route allows.

mod entry_cache;
mod names;
mod schema;
mod slug;
mod template;

pub use entry_cache::EntryCache;

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

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
    /// The method; absent if the route allows any method, which the input then contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub method: Option<&'static str>,
    /// A URI template (RFC 6570) of the properties of the input, relative to the address that
    /// agents connect to: `{id}` is escaped, `{+rest}` keeps its slashes. `query` is appended as
    /// form parameters. `body` is sent as JSON, or as it is if it is a string. A wildcard called
    /// `query`, `body` or `method` is named `path_query` and so on here. A wildcard whose name is
    /// not ASCII is named `segment_1` and so on, by its position.
    pub path: String,
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
pub fn name_tools(connection: &str, routes: &[Pattern], allow_slashes: bool) -> Vec<ToolName> {
    // Two tools of one name would be refused by a runtime.
    let mut seen = HashSet::new();
    let (indices, patterns): (Vec<usize>, Vec<&Pattern>) = routes
        .iter()
        .enumerate()
        .filter(|(_, pattern)| pattern.never_matches(allow_slashes).is_none())
        .filter(|(_, pattern)| seen.insert(pattern.as_str()))
        .unzip();
    let slugs = tool_slugs(connection, &patterns);
    let named = indices.into_iter().zip(slugs);
    named
        .map(|(route, slug)| ToolName {
            slug: slug.into(),
            route,
        })
        .collect()
}

/// Builds the tool of one route, which has this slug.
pub fn build_tool(connection: &str, slug: &str, pattern: &Pattern, allow_slashes: bool) -> Tool {
    let names = property_names(pattern.segments());
    Tool {
        slug: slug.to_owned(),
        display_name: pattern.to_string(),
        method: pattern.method().map(Method::as_str),
        path: uri_template(connection, pattern.segments(), &names),
        input_schema: input_schema(pattern, &names, allow_slashes),
    }
}

/// Builds the tools that [`name_tools`] names.
pub fn build_tools(connection: &str, routes: &[Pattern], allow_slashes: bool) -> Vec<Tool> {
    let names = name_tools(connection, routes, allow_slashes);
    let tool = |name: ToolName| {
        let pattern = routes.get(name.route)?;
        Some(build_tool(connection, &name.slug, pattern, allow_slashes))
    };
    names.into_iter().filter_map(tool).collect()
}

#[cfg(test)]
mod tests;
