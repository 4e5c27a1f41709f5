//! A connection, as lists and the single answer show it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::details::{ConnectionDetails, ToolConfiguration};
use super::scalar::ProtoTime;
use super::status::RpcStatus;
use super::types::TYPE_NAME;
use crate::management::tools::{Tool, ToolsJson};
use crate::snapshot::ConnectionEntry;

/// An HTTP API that agents reach through egressd.
#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct ConnectionView {
    /// The resource name: `connections/{id}`.
    name: String,
    /// Its name for people.
    display_name: String,
    /// Markdown for agents.
    description: String,
    /// `CONNECTION_TYPE_HTTP`
    connection_type: &'static str,
    /// When this process first loaded it.
    create_time: ProtoTime,
    /// When this process last loaded it changed.
    update_time: ProtoTime,
    /// When it was soft-deleted. Requests to such a one are refused as if it did not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delete_time: Option<ProtoTime>,
    /// Always: connections are defined in files.
    read_only: bool,
    connection_status: RpcStatus,
    /// When the token that is there expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_expires_at: Option<ProtoTime>,
    /// When a request last went up to the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_time: Option<ProtoTime>,
    /// When a token was last obtained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_refreshed_time: Option<ProtoTime>,
    /// One for each route that a request can match.
    #[schema(value_type = Vec<Tool>)]
    tools: ToolsJson,
    /// Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connection_details: Option<ConnectionDetails>,
    /// Not in lists. Where each secret comes from, by its path below `connectionDetails.http`: `env:NAME`, `file:PATH` or `inline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential_sources: Option<BTreeMap<String, String>>,
    /// Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tool_configurations: Option<[ToolConfiguration; 1]>,
}

/// What of a connection changes while it is served.
#[derive(Clone, Default)]
pub(in crate::management) struct LiveState {
    pub(in crate::management) status: RpcStatus,
    pub(in crate::management) token_expires_at: Option<jiff::Timestamp>,
    pub(in crate::management) last_used: Option<jiff::Timestamp>,
    pub(in crate::management) last_refreshed: Option<jiff::Timestamp>,
}

impl ConnectionView {
    /// As a list shows it.
    pub(in crate::management) fn for_list(
        entry: &ConnectionEntry,
        live: LiveState,
        tools: ToolsJson,
    ) -> Self {
        let connection = &entry.connection;
        Self {
            name: format!("connections/{}", connection.id),
            display_name: connection.display_name.clone(),
            description: connection.description.clone(),
            connection_type: TYPE_NAME,
            create_time: entry.created.into(),
            update_time: entry.updated.into(),
            delete_time: entry.delete_time().map(ProtoTime::from),
            read_only: true,
            connection_status: live.status,
            token_expires_at: live.token_expires_at.map(ProtoTime::from),
            last_used_time: live.last_used.map(ProtoTime::from),
            last_refreshed_time: live.last_refreshed.map(ProtoTime::from),
            tools,
            connection_details: None,
            credential_sources: None,
            tool_configurations: None,
        }
    }

    /// With all that is known of it.
    pub(in crate::management) fn with_details(
        entry: &ConnectionEntry,
        live: LiveState,
        tools: ToolsJson,
    ) -> Self {
        let (details, sources) = ConnectionDetails::new(&entry.connection);
        Self {
            connection_details: Some(details),
            credential_sources: Some(sources.into_map()),
            tool_configurations: Some([ToolConfiguration::new(entry)]),
            ..Self::for_list(entry, live, tools)
        }
    }
}
