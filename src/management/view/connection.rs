//! A connection, as lists and `GET /v1/connections/{id}` show it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::details::{ConnectionDetails, ToolConfiguration};
use super::scalar::ProtoTime;
use super::status::RpcStatus;
use super::types::TYPE_NAME;
use crate::credential::oauth::ConnectionStatus;
use crate::management::tool_cache::ToolsJson;
use crate::snapshot::ConnectionEntry;
use crate::tools::Tool;

/// The status of the tools of every connection.
pub(in crate::management) const TOOLS_STATUS: &str = "ready";

/// An HTTP API that agents reach through egressd.
#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct ConnectionView {
    /// The resource name: `connections/{id}`.
    name: String,
    /// The name for people.
    display_name: String,
    /// A description for agents, in Markdown.
    description: String,
    /// Always `CONNECTION_TYPE_HTTP`.
    connection_type: &'static str,
    /// The time at which this process first loaded the connection.
    create_time: ProtoTime,
    /// The time at which this process last loaded a change of the connection.
    update_time: ProtoTime,
    /// The time of the soft deletion, if the connection was deleted. Requests to it are refused as
    /// if it did not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delete_time: Option<ProtoTime>,
    /// Always `true`, because connections are defined in files.
    read_only: bool,
    /// The slug of the connector that the definition refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connector: Option<String>,
    /// Whether requests are forwarded: `connected`, `unavailable`, `needs_consent`, `revoked` or
    /// `disabled`.
    status: &'static str,
    /// The reason of the status, such as `never_connected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status_reason: Option<&'static str>,
    connection_status: RpcStatus,
    /// The time at which a person consented.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connected_time: Option<ProtoTime>,
    /// The stated end of the refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token_expire_time: Option<ProtoTime>,
    /// The time at which the current token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_expires_at: Option<ProtoTime>,
    /// The time at which a request was last forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_time: Option<ProtoTime>,
    /// The time at which a token was last obtained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_refreshed_time: Option<ProtoTime>,
    /// Always `ready`, because tools are made from the definition.
    tools_status: &'static str,
    /// The time at which this process last loaded the definitions.
    tools_synced_time: ProtoTime,
    /// The tools of the connection: one for each route that a request can match.
    #[schema(value_type = Vec<Tool>)]
    tools: ToolsJson,
    /// The definition. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connection_details: Option<ConnectionDetails>,
    /// The source of each secret, by its path in `connectionDetails.http`: `env:NAME`, `file:PATH`,
    /// `inline`, or `store:GRANT` for a grant in the token store. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential_sources: Option<BTreeMap<String, String>>,
    /// The configuration of tools. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tool_configurations: Option<[ToolConfiguration; 1]>,
}

/// The state of a connection that changes while it is served.
#[derive(Clone)]
pub(in crate::management) struct LiveState {
    pub(in crate::management) status: ConnectionStatus,
    pub(in crate::management) rpc_status: RpcStatus,
    /// The time at which the definitions were last loaded.
    pub(in crate::management) loaded: jiff::Timestamp,
    pub(in crate::management) token_expires_at: Option<jiff::Timestamp>,
    pub(in crate::management) last_used: Option<jiff::Timestamp>,
    pub(in crate::management) last_refreshed: Option<jiff::Timestamp>,
}

#[cfg(test)]
impl Default for LiveState {
    /// Returns the state of a connection that was never used.
    fn default() -> Self {
        Self {
            status: ConnectionStatus::CONNECTED,
            rpc_status: RpcStatus::default(),
            loaded: jiff::Timestamp::UNIX_EPOCH,
            token_expires_at: None,
            last_used: None,
            last_refreshed: None,
        }
    }
}

impl ConnectionView {
    /// Returns the connection without its details, as lists show it.
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
            connector: connection.connector.as_ref().map(ToString::to_string),
            status: live.status.name.as_str(),
            status_reason: live.status.reason,
            connection_status: live.rpc_status,
            connected_time: live.status.connected_at.map(ProtoTime::from),
            refresh_token_expire_time: live.status.refresh_token_expires_at.map(ProtoTime::from),
            token_expires_at: live.token_expires_at.map(ProtoTime::from),
            last_used_time: live.last_used.map(ProtoTime::from),
            last_refreshed_time: live.last_refreshed.map(ProtoTime::from),
            tools_status: TOOLS_STATUS,
            tools_synced_time: live.loaded.into(),
            tools,
            connection_details: None,
            credential_sources: None,
            tool_configurations: None,
        }
    }

    /// Returns the connection with its details.
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
