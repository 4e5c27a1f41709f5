//! The values of records: one for each field, of the kind of the field.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CONNECTION_FIELDS, ConnectionRecord, TYPE_FIELDS};
use crate::credential::oauth::{ConnectionStatus, GrantStatus as Grant, LastFailure, StatusName};
use crate::credential::{ErrorCode, Reason};
use crate::domain::connector::ConnectorSlug;
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
            (FieldValue::Text(text), FieldKind::Enum { prefix }) if text.starts_with(prefix) => {
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

/// Returns the state of a grant whose client was refused.
fn failed() -> Grant {
    Grant {
        expires_at: None,
        is_endless: false,
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
    }
}

#[test]
fn a_connection_has_a_value_in_every_field() {
    let mut all = connections("secret");
    all[1].connector = Some(ConnectorSlug::from(all[1].id.clone()));
    let snapshot = Snapshot::new(all);
    let entry = Arc::clone(&snapshot.entries()[1]);
    let failed = failed();
    let at = |millisecond| jiff::Timestamp::from_millisecond(millisecond).ok();
    let live = LiveState {
        status: ConnectionStatus {
            connected_at: at(4),
            refreshed_at: None,
            refresh_token_expires_at: at(5),
            name: StatusName::NeedsConsent,
            reason: Some("never_connected"),
        },
        rpc_status: RpcStatus::from_grant(&failed),
        loaded: at(6).unwrap(),
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
        ("connector", "oauth-user-consent"),
        ("status", "needs_consent"),
        ("status_reason", "never_connected"),
        ("connected_time", "1970-01-01T00:00:00.004Z"),
        ("refresh_token_expire_time", "1970-01-01T00:00:00.005Z"),
        ("tools_status", "ready"),
        ("tools_synced_time", "1970-01-01T00:00:00.006Z"),
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
            "connected_time",
            "connection_status.message",
            "connector",
            "delete_time",
            "description",
            "last_refreshed_time",
            "last_used_time",
            "refresh_token_expire_time",
            "status_reason",
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
