//! A connection, as lists and the single answer show it.

use serde::Serialize;
use utoipa::ToSchema;

use super::details::{ConnectionDetails, ToolConfiguration};
use super::scalar::Time;
use super::sources::{self, Sources};
use super::status::Status;
use super::types::TYPE_NAME;
use crate::management::tools::{Tool, Tools};
use crate::snapshot::Entry;

/// An HTTP API that agents reach through egressd.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct Connection {
    /// The resource name: `connections/{id}`.
    name: String,
    /// Its name for people.
    display_name: String,
    /// Markdown for agents.
    description: String,
    /// `CONNECTION_TYPE_HTTP`
    connection_type: &'static str,
    /// When this process first loaded it.
    create_time: Time,
    /// When this process last loaded it changed.
    update_time: Time,
    /// When it was soft-deleted. Requests to such a one are refused as if it did not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delete_time: Option<Time>,
    /// Always: connections are defined in files.
    read_only: bool,
    connection_status: Status,
    /// When the token that is there expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_expires_at: Option<Time>,
    /// When a request last went up to the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_time: Option<Time>,
    /// When a token was last obtained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_refreshed_time: Option<Time>,
    /// One for each route that a request can match.
    #[schema(value_type = Vec<Tool>)]
    tools: Tools,
    /// Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connection_details: Option<ConnectionDetails>,
    /// Not in lists. Where each secret comes from, by its path below `connectionDetails.http`: `env:NAME`, `file:PATH` or `inline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<std::collections::BTreeMap<String, String>>)]
    credential_sources: Option<Sources>,
    /// Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tool_configurations: Option<[ToolConfiguration; 1]>,
}

/// What of a connection changes while it is served.
#[derive(Clone, Default)]
pub(in crate::management) struct Live {
    pub(in crate::management) status: Status,
    pub(in crate::management) token_expires_at: Option<jiff::Timestamp>,
    pub(in crate::management) last_used: Option<jiff::Timestamp>,
    pub(in crate::management) last_refreshed: Option<jiff::Timestamp>,
}

impl Connection {
    /// As a list shows it.
    pub(in crate::management) fn listed(entry: &Entry, live: Live, tools: Tools) -> Self {
        let connection = &entry.connection;
        Self {
            name: format!("connections/{}", connection.id),
            display_name: connection.display_name.clone(),
            description: connection.description.clone(),
            connection_type: TYPE_NAME,
            create_time: entry.created.into(),
            update_time: entry.updated.into(),
            delete_time: entry.delete_time().map(Time::from),
            read_only: true,
            connection_status: live.status,
            token_expires_at: live.token_expires_at.map(Time::from),
            last_used_time: live.last_used.map(Time::from),
            last_refreshed_time: live.last_refreshed.map(Time::from),
            tools,
            connection_details: None,
            credential_sources: None,
            tool_configurations: None,
        }
    }

    /// With all that is known of it.
    pub(in crate::management) fn whole(entry: &Entry, live: Live, tools: Tools) -> Self {
        Self {
            connection_details: Some(ConnectionDetails::of(entry)),
            credential_sources: Some(sources::of(&entry.connection)),
            tool_configurations: Some([ToolConfiguration::of(entry)]),
            ..Self::listed(entry, live, tools)
        }
    }
}
