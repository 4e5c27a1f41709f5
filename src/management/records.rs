//! The records that lists filter and sort: the scalar fields of a connection and of a type. They
//! are cheap to create, because a list request creates one for each connection.

use std::borrow::Cow;
use std::sync::Arc;

use super::ApiContext;
use super::query::{FieldKind, FieldSpec, FieldValue, Record};
use super::view::{self, ConnectionType, LiveState, RpcStatus, TYPE_NAME, whole_milliseconds};
use crate::credential::Credentials;
use crate::credential::oauth::ConnectionStatus;
use crate::domain::route_description::{DescriptionText, QueryParameter};
use crate::domain::{Connection, RouteDescription};
use crate::route::Pattern;
use crate::snapshot::{ConnectionEntry, Snapshot};

/// The approximate size of a tool in bytes, without its wildcards.
const TOOL_BYTES: usize = 600;
/// The approximate size in bytes of each wildcard of a tool.
const WILDCARD_BYTES: usize = 150;

/// The approximate size in bytes of each documented query parameter, without its texts.
const PARAMETER_BYTES: usize = 40;

const TYPE: FieldKind = FieldKind::Enum {
    prefix: "CONNECTION_TYPE_",
};

/// A name of a fixed set, without a common prefix.
pub(super) const NAME: FieldKind = FieldKind::Enum { prefix: "" };

/// The fields of a [`ConnectionRecord`].
pub(super) static CONNECTION_FIELDS: &[FieldSpec] = &[
    FieldSpec::new("name", FieldKind::Text),
    FieldSpec::new("display_name", FieldKind::Text),
    FieldSpec::new("description", FieldKind::Text),
    FieldSpec::new("connection_type", TYPE),
    FieldSpec::new("create_time", FieldKind::Time),
    FieldSpec::new("update_time", FieldKind::Time),
    FieldSpec::new("delete_time", FieldKind::Time),
    FieldSpec::new("read_only", FieldKind::Bool),
    FieldSpec::new("connector", FieldKind::Text),
    FieldSpec::new("status", NAME),
    FieldSpec::new("status_reason", FieldKind::Text),
    FieldSpec::new("connection_status.code", FieldKind::Number),
    FieldSpec::new("connection_status.message", FieldKind::Text),
    FieldSpec::new("connected_time", FieldKind::Time),
    FieldSpec::new("refresh_token_expire_time", FieldKind::Time),
    FieldSpec::new("token_expires_at", FieldKind::Time),
    FieldSpec::new("last_used_time", FieldKind::Time),
    FieldSpec::new("last_refreshed_time", FieldKind::Time),
    FieldSpec::new("tools_status", NAME),
    FieldSpec::new("tools_synced_time", FieldKind::Time),
];

/// The fields of a [`ConnectionType`].
pub(super) static TYPE_FIELDS: &[FieldSpec] = &[
    FieldSpec::new("type", TYPE),
    FieldSpec::new("display_name", FieldKind::Text),
    FieldSpec::new("description", FieldKind::Text),
];

/// A connection, and its state at one instant.
pub(super) struct ConnectionRecord {
    pub(super) entry: Arc<ConnectionEntry>,
    pub(super) live: LiveState,
    name: String,
}

impl ConnectionRecord {
    /// Returns the record of a connection of this generation.
    pub(super) fn new(
        entry: &Arc<ConnectionEntry>,
        snapshot: &Snapshot,
        sources: &ApiContext,
    ) -> Self {
        Self {
            name: format!("connections/{}", entry.connection.id),
            live: live_state(entry, snapshot, sources),
            entry: Arc::clone(entry),
        }
    }
}

/// Returns the current state of a connection of this generation.
pub(super) fn live_state(
    entry: &ConnectionEntry,
    snapshot: &Snapshot,
    sources: &ApiContext,
) -> LiveState {
    let connection = &entry.connection;
    let status = connection_status(entry, &sources.credentials);
    // `grant_status` does not create a grant for a connection that was never used.
    let grant = sources.credentials.grant_status(connection);
    let grant = grant.as_ref();
    let obtained = grant.and_then(|grant| view::to_timestamp(grant.last_refreshed?));
    // An exposed credential overrides the state of the token: the connection refuses requests even
    // with a token.
    let rpc_status = match sources.credentials.exposure(entry.key) {
        Some(exposure) => RpcStatus::from_exposure(&exposure),
        None => RpcStatus::new(&status, grant),
    };
    let id = connection.id.as_str();
    LiveState {
        rpc_status,
        token_expires_at: grant.and_then(|grant| view::to_timestamp(grant.expires_at?)),
        last_used: sources.metrics.connection_stats(Some(id)).last_used,
        // Another process may have refreshed the grant.
        last_refreshed: status.refreshed_at.or(obtained),
        status,
        loaded: snapshot.compiled(),
    }
}

/// Returns the status of a connection. One that vanished is as disabled as one that its definition
/// deletes.
pub(super) fn connection_status(
    entry: &ConnectionEntry,
    credentials: &Credentials,
) -> ConnectionStatus {
    if entry.is_live() {
        credentials.connection_status(&entry.connection)
    } else {
        ConnectionStatus::DISABLED
    }
}

impl Record for ConnectionRecord {
    fn values(&self) -> Vec<FieldValue<'_>> {
        let connection = &self.entry.connection;
        vec![
            text(&self.name),
            text(&connection.display_name),
            text(&connection.description),
            text(TYPE_NAME),
            time(Some(self.entry.created)),
            time(Some(self.entry.updated)),
            time(self.entry.delete_time()),
            FieldValue::Bool(true),
            connection
                .connector
                .as_ref()
                .map_or(FieldValue::Absent, |slug| text(slug.as_str())),
            text(self.live.status.name.as_str()),
            text(self.live.status.reason.unwrap_or_default()),
            FieldValue::Number(self.live.rpc_status.code().into()),
            text(self.live.rpc_status.message()),
            time(self.live.status.connected_at),
            time(self.live.status.refresh_token_expires_at),
            time(self.live.token_expires_at),
            time(self.live.last_used),
            time(self.live.last_refreshed),
            text(view::TOOLS_STATUS),
            time(Some(self.live.loaded)),
        ]
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// Estimates the size of the tools, of which a connection can have thousands. The path and the
    /// slug repeat the text of the pattern, so it counts three times.
    fn weight(&self) -> usize {
        let tool = |pattern: &Pattern| {
            TOOL_BYTES + 3 * pattern.as_str().len() + WILDCARD_BYTES * pattern.segments().len()
        };
        routes_weight(&self.entry.connection, tool)
    }
}

impl Record for ConnectionType {
    fn values(&self) -> Vec<FieldValue<'_>> {
        vec![
            text(self.type_name),
            text(self.display_name),
            text(self.description),
        ]
    }

    fn name(&self) -> &str {
        self.type_name
    }
}

/// Returns the sum of the weights of a connection's routes, and of the descriptions of routes.
pub(super) fn routes_weight(connection: &Connection, weight: impl Fn(&Pattern) -> usize) -> usize {
    let patterns = connection.routes.patterns().iter().map(weight);
    let described = connection.route_descriptions.iter();
    let described = described.map(|(_, description)| description_bytes(description));
    patterns.chain(described).sum()
}

/// Estimates the size that a description adds to the JSON of a tool.
fn description_bytes(route: &RouteDescription) -> usize {
    let text_bytes = |text: &DescriptionText| text.as_str().len();
    let parameter = |parameter: &QueryParameter| {
        let text = parameter.description.as_ref().map_or(0, text_bytes);
        PARAMETER_BYTES + parameter.name.as_str().len() + text
    };
    let text = route.description.as_ref().map_or(0, text_bytes);
    text + route.query.iter().map(parameter).sum::<usize>()
}

/// Returns the value of a text field. Empty text is absent, as in proto-JSON.
pub(super) fn text(text: &str) -> FieldValue<'_> {
    if text.is_empty() {
        FieldValue::Absent
    } else {
        FieldValue::Text(Cow::Borrowed(text))
    }
}

fn time(instant: Option<jiff::Timestamp>) -> FieldValue<'static> {
    instant.map_or(FieldValue::Absent, |instant| {
        FieldValue::Time(whole_milliseconds(instant))
    })
}

#[cfg(test)]
mod tests;
