//! The records that lists filter and sort: the scalar fields of a connection and of a type. They
//! are cheap to create, because a list request creates one for each connection.

use std::borrow::Cow;
use std::sync::Arc;

use super::ApiContext;
use super::query::{FieldKind, FieldSpec, FieldValue, Record};
use super::view::{self, ConnectionType, LiveState, RpcStatus, TYPE_NAME, whole_milliseconds};
use crate::domain::route_description::{DescriptionText, QueryParameter};
use crate::domain::{Connection, RouteDescription};
use crate::route::Pattern;
use crate::snapshot::ConnectionEntry;

/// The approximate size of a tool in bytes, without its wildcards.
const TOOL_BYTES: usize = 600;
/// The approximate size in bytes of each wildcard of a tool.
const WILDCARD_BYTES: usize = 150;

/// The approximate size in bytes of each documented query parameter, without its texts.
const PARAMETER_BYTES: usize = 40;

const TYPE: FieldKind = FieldKind::Enum {
    prefix: "CONNECTION_TYPE_",
};

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
    FieldSpec::new("connection_status.code", FieldKind::Number),
    FieldSpec::new("connection_status.message", FieldKind::Text),
    FieldSpec::new("token_expires_at", FieldKind::Time),
    FieldSpec::new("last_used_time", FieldKind::Time),
    FieldSpec::new("last_refreshed_time", FieldKind::Time),
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
    pub(super) fn new(entry: &Arc<ConnectionEntry>, sources: &ApiContext) -> Self {
        Self {
            name: format!("connections/{}", entry.connection.id),
            live: live_state(entry, sources),
            entry: Arc::clone(entry),
        }
    }
}

/// Returns the current state of a connection.
pub(super) fn live_state(entry: &ConnectionEntry, sources: &ApiContext) -> LiveState {
    let id = entry.connection.id.as_str();
    let mut live = LiveState {
        last_used: sources.metrics.connection_stats(Some(id)).last_used,
        ..LiveState::default()
    };
    // `grant_status` does not create a grant for a connection that was never used.
    if let Some(grant) = sources.credentials.grant_status(&entry.connection) {
        live.status = RpcStatus::from_grant(&grant);
        live.token_expires_at = grant.expires_at.and_then(view::to_timestamp);
        live.last_refreshed = grant.last_refreshed.and_then(view::to_timestamp);
    }
    // An exposed credential overrides the state of the token: the connection refuses requests even
    // with a token.
    if let Some(exposure) = sources.credentials.exposure(entry.key) {
        live.status = RpcStatus::from_exposure(&exposure);
    }
    live
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
            FieldValue::Number(self.live.status.code().into()),
            text(self.live.status.message()),
            time(self.live.token_expires_at),
            time(self.live.last_used),
            time(self.live.last_refreshed),
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
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{CONNECTION_FIELDS, ConnectionRecord, TYPE_FIELDS};
    use crate::credential::oauth::{GrantStatus as Grant, LastFailure};
    use crate::credential::{ErrorCode, Reason};
    use crate::management::query::{FieldKind, FieldSpec, FieldValue, Record};
    use crate::management::view::{HTTP, LiveState, RpcStatus, tests::connections};
    use crate::snapshot::Snapshot;

    /// Returns all values as text. Panics if a value is not of its field's kind.
    fn values(fields: &[FieldSpec], record: &impl Record) -> BTreeMap<&'static str, String> {
        let values = record.values();
        assert_eq!(values.len(), fields.len());
        let named = fields.iter().zip(values).map(|(field, value)| {
            let value = match (value, &field.kind) {
                (FieldValue::Absent, _) => "absent".to_owned(),
                (FieldValue::Text(text), FieldKind::Text) => text.into_owned(),
                (FieldValue::Text(text), FieldKind::Enum { prefix })
                    if text.starts_with(prefix) =>
                {
                    text.into_owned()
                }
                (FieldValue::Time(time), FieldKind::Time) => time.to_string(),
                (FieldValue::Bool(yes), FieldKind::Bool) => yes.to_string(),
                (FieldValue::Number(number), FieldKind::Number) => number.to_string(),
                (_, _) => panic!("{} is of another kind", field.name),
            };
            (field.name, value)
        });
        named.collect()
    }

    #[test]
    fn a_connection_has_a_value_in_every_field() {
        let snapshot = Snapshot::new(connections("secret"));
        let entry = Arc::clone(&snapshot.entries()[1]);
        let failed = Grant {
            expires_at: None,
            last_refreshed: None,
            last_failure: Some(LastFailure {
                reason: Reason::Refused(ErrorCode::InvalidClient),
                error_text: Some("words of the endpoint".into()),
                at: std::time::SystemTime::UNIX_EPOCH,
                in_a_row: 1,
            }),
            retry_in: None,
            requests_ok: 0,
            requests_failed: 1,
        };
        let at = |millisecond| jiff::Timestamp::from_millisecond(millisecond).ok();
        let live = LiveState {
            status: RpcStatus::from_grant(&failed),
            token_expires_at: at(1),
            last_used: at(2),
            // More precise than a millisecond, to show that it is truncated.
            last_refreshed: jiff::Timestamp::from_nanosecond(3_000_001).ok(),
        };
        let name = "connections/bearer-token".to_owned();
        let mut all = values(CONNECTION_FIELDS, &ConnectionRecord { entry, live, name });
        for loaded in ["create_time", "update_time"] {
            assert_ne!(all.remove(loaded).as_deref(), Some("absent"), "{loaded}");
        }
        let expected = [
            ("name", "connections/bearer-token"),
            ("display_name", "Name"),
            ("description", "Words"),
            ("connection_type", "CONNECTION_TYPE_HTTP"),
            ("delete_time", "2026-01-02T03:04:05.678Z"),
            ("read_only", "true"),
            ("connection_status.code", "16"),
            (
                "connection_status.message",
                "the token endpoint refused the client (invalid_client): check `client_id` and `client_secret`; \
                 some providers take them only with `client_auth: body`",
            ),
            ("token_expires_at", "1970-01-01T00:00:00.001Z"),
            ("last_used_time", "1970-01-01T00:00:00.002Z"),
            ("last_refreshed_time", "1970-01-01T00:00:00.003Z"),
        ];
        assert_eq!(
            all,
            expected
                .map(|(name, value)| (name, value.to_owned()))
                .into()
        );
    }

    #[test]
    fn fields_without_a_value_are_absent() {
        let mut without = connections("secret");
        without.iter_mut().for_each(|connection| {
            connection.delete_time = None;
            connection.description.clear();
        });
        let snapshot = Snapshot::new(without);
        let row = ConnectionRecord {
            entry: Arc::clone(&snapshot.entries()[0]),
            live: LiveState::default(),
            name: "n".into(),
        };
        let values = values(CONNECTION_FIELDS, &row);
        let absent: Vec<_> = values
            .iter()
            .filter(|(_, value)| *value == "absent")
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(
            absent,
            [
                "connection_status.message",
                "delete_time",
                "description",
                "last_refreshed_time",
                "last_used_time",
                "token_expires_at"
            ]
        );
        assert_eq!(values["connection_status.code"], "0");
    }

    #[test]
    fn the_weight_of_a_record_is_about_the_size_of_its_tools() {
        use crate::management::tool_cache::ToolCache;
        let snapshot = Snapshot::new(connections("secret"));
        for entry in snapshot.entries() {
            let tools = serde_json::to_vec(&ToolCache::default().get(entry)).unwrap();
            let row = ConnectionRecord {
                entry: Arc::clone(entry),
                live: LiveState::default(),
                name: "n".into(),
            };
            let weight = row.weight();
            let about = tools.len() / 2..=tools.len() * 2;
            assert!(about.contains(&weight), "{weight}, {}", tools.len());
        }
    }

    #[test]
    fn field_names_are_unique() {
        for fields in [CONNECTION_FIELDS, TYPE_FIELDS] {
            let names: std::collections::HashSet<_> = fields.iter().map(|f| f.name).collect();
            assert_eq!(names.len(), fields.len());
        }
    }

    #[test]
    fn every_field_of_a_type_has_a_value() {
        let http = &HTTP;
        let values = values(TYPE_FIELDS, http);
        assert_eq!(values["type"], "CONNECTION_TYPE_HTTP");
        assert!(values.values().all(|value| value != "absent"));
    }
}
