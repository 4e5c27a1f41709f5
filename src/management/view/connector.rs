//! A connector, as the catalogue shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Connection;
use crate::domain::connector::{Connector, ConnectorAuth};
use crate::domain::route_description::DescriptionText;
use crate::tools::name_tools;

/// The public facts of an API, and the connections that refer to them.
#[derive(Serialize, ToSchema)]
#[schema(as = Connector)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectorView {
    /// The name by which definitions refer to the connector.
    slug: String,
    /// The name for people.
    display_name: String,
    /// A description of the API.
    description: String,
    /// The kind of credential: `oauth`, `api_key` or `none`.
    auth_type: &'static str,
    /// `true` if a connection refers to the connector.
    configured: bool,
    /// The resource names of these connections.
    connections: Vec<String>,
    /// `available`, or what is missing: `needs_client` or `needs_fields`.
    availability: &'static str,
    /// What the operator has to do, in a sentence. Empty if nothing is missing.
    availability_reason: &'static str,
    /// The tools of these connections.
    tools: Vec<ConnectorTool>,
    /// The values that a person enters. Empty for OAuth.
    credential_fields: Vec<CredentialFieldView>,
    /// The day on which the data was last compared with the documentation.
    checked_date: String,
}

/// A tool of a connection that refers to a connector.
#[derive(Serialize, ToSchema)]
struct ConnectorTool {
    /// The name of the tool.
    name: String,
    /// The description of its route, or else the route itself.
    description: String,
}

/// A value that a person enters.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectorCredentialField)]
struct CredentialFieldView {
    /// The field of a definition that holds the value.
    key: String,
    /// The name for people.
    label: String,
    /// `true` if the API needs the value.
    required: bool,
    /// `true` if the value is secret.
    secret: bool,
}

impl ConnectorView {
    /// Describes a connector. Of `connections`, those that are not deleted and refer to it count.
    pub(crate) fn new<'c>(
        connector: &Connector,
        connections: impl IntoIterator<Item = &'c Connection>,
    ) -> Self {
        let users = connections.into_iter().filter(|connection| {
            connection.delete_time.is_none()
                && connection.connector.as_ref() == Some(&connector.slug)
        });
        let users: Vec<_> = users.collect();
        let configured = !users.is_empty();
        let (availability, availability_reason) = availability(connector, configured);
        let fields = connector.credential_fields.iter();
        Self {
            slug: connector.slug.to_string(),
            display_name: connector.display_name.clone(),
            description: connector.description.clone(),
            auth_type: connector.auth_type.as_str(),
            configured,
            connections: users
                .iter()
                .map(|connection| format!("connections/{}", connection.id))
                .collect(),
            availability,
            availability_reason,
            tools: users
                .iter()
                .flat_map(|connection| ConnectorTool::from_connection(connection))
                .collect(),
            credential_fields: fields
                .map(|field| CredentialFieldView {
                    key: field.key.to_string(),
                    label: field.label.clone(),
                    required: field.is_required,
                    secret: field.is_secret,
                })
                .collect(),
            checked_date: connector.checked.to_string(),
        }
    }
}

impl ConnectorTool {
    /// Returns the tools of a connection, without their schemas.
    fn from_connection(connection: &Connection) -> impl Iterator<Item = Self> {
        let patterns = connection.routes.patterns();
        let descriptions = &connection.route_descriptions;
        name_tools(connection).into_iter().filter_map(|tool| {
            let pattern = patterns.get(tool.route)?.as_str();
            let described = descriptions.get(tool.route);
            let text = described.and_then(|described| described.description.as_ref());
            Some(Self {
                name: tool.slug.into(),
                description: text.map_or(pattern, DescriptionText::as_str).to_owned(),
            })
        })
    }
}

/// Returns whether a connector can be used: `available`, or what is missing, and what the operator
/// has to do about it.
pub(in crate::management) fn availability(
    connector: &Connector,
    is_configured: bool,
) -> (&'static str, &'static str) {
    match connector.auth_type {
        _ if is_configured => ("available", ""),
        ConnectorAuth::None => ("available", ""),
        ConnectorAuth::Oauth => (
            "needs_client",
            "Register an OAuth client at the provider and write a definition; `egressd connectors` prints one.",
        ),
        ConnectorAuth::ApiKey => (
            "needs_fields",
            "Obtain a key from the provider and write a definition; `egressd connectors` prints one.",
        ),
    }
}
