//! A route in the list of connections.

use serde::{Serialize, Serializer};

use crate::domain::RouteDescription;
use crate::domain::route_description::{DescriptionText, QueryParameter};
use crate::route::Pattern;

/// A route: its pattern as text, or an object if the definition describes the route.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ListedRoute<'a> {
    Plain(&'a str),
    Described(RouteObject<'a>),
}

/// The object of a route that the definition describes. Members that the definition does not have
/// are absent.
#[derive(Serialize)]
pub(super) struct RouteObject<'a> {
    pub(super) route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    #[serde(
        skip_serializing_if = "<[_]>::is_empty",
        serialize_with = "serialize_query"
    )]
    pub(super) query: &'a [QueryParameter],
}

/// The value of a member of `query`.
#[derive(Serialize)]
struct ListedParameter<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

impl<'a> ListedRoute<'a> {
    pub(super) fn new(pattern: &'a Pattern, description: Option<&'a RouteDescription>) -> Self {
        let route = pattern.as_str();
        match description {
            None => Self::Plain(route),
            Some(described) => Self::Described(RouteObject {
                route,
                name: described.name.as_ref().map(|name| name.as_str()),
                description: described.description.as_ref().map(DescriptionText::as_str),
                query: &described.query,
            }),
        }
    }
}

/// Writes a mapping of names to types, in the order of the definition.
fn serialize_query<S: Serializer>(
    query: &[QueryParameter],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(query.iter().map(|parameter| {
        let description = parameter.description.as_ref();
        let listed = ListedParameter {
            kind: parameter.kind.as_str(),
            description: description.map(DescriptionText::as_str),
        };
        (parameter.name.as_str(), listed)
    }))
}
