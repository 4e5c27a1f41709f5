//! `tools`: each route of a connection as a tool that a runtime can register as it is.
//!
//! A call: the properties of the input that the path names are put into it as RFC 6570 says (`{id}` is escaped, `{+rest}` keeps its slashes), `query` is appended
//! as form parameters, `body` is sent as JSON (a text as it is), with `method`, or with the input's where the route admits any. What the schema admits and egressd
//! refuses all the same is refused with an explanation: the schema spares a model mistakes, and guards nothing.

mod cache;
mod names;
mod schema;
mod slug;
mod template;

pub(super) use cache::{ToolCache, ToolsJson};

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::route::{Method, Pattern};
use names::property_names;
use schema::input_schema;
use slug::tool_slugs;
use template::uri_template;

/// One route.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct Tool {
    /// Of `a-z`, `0-9`, `_` and `-`, at most 64 bytes, unique among all connections, the same in every process that has the same routes.
    slug: String,
    /// The route as it was written.
    display_name: String,
    /// The method; absent where the route admits any, and the input names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    method: Option<&'static str>,
    /// A URI template (RFC 6570) over the input's properties, for the address that agents connect to: `{id}` is escaped, `{+rest}` keeps its slashes. `query` is
    /// appended as form parameters, `body` is sent as JSON, or as it is if it is a text. A wildcard that is called `query`, `body` or `method` is `path_query` and so
    /// on here; one whose name is not ASCII is `segment_1` and so on, after its place.
    path: String,
    /// JSON Schema (draft 2020-12) of the input.
    #[schema(value_type = Object)]
    input_schema: Value,
}

/// The tools of a connection, in the order of its routes. A route that no request can match has none, and one that is written twice has one.
fn build_tools(connection: &str, routes: &[Pattern], allow_slashes: bool) -> Vec<Tool> {
    let mut seen = HashSet::new();
    let patterns: Vec<&Pattern> = routes
        .iter()
        .filter(|pattern| pattern.never_matches(allow_slashes).is_none())
        .filter(|pattern| seen.insert(pattern.as_str()))
        .collect();
    let slugs = tool_slugs(connection, &patterns);
    let tool = |(pattern, slug): (&Pattern, String)| {
        let names = property_names(pattern.segments());
        Tool {
            slug,
            display_name: pattern.to_string(),
            method: pattern.method().map(Method::as_str),
            path: uri_template(connection, pattern.segments(), &names),
            input_schema: input_schema(pattern, &names, allow_slashes),
        }
    };
    patterns.into_iter().zip(slugs).map(tool).collect()
}

#[cfg(test)]
mod tests;
