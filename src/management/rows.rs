//! What lists are filtered and sorted by: the scalar fields of a connection and of a type. Cheap to make, since every list makes one row for each.

use std::borrow::Cow;
use std::sync::Arc;

use super::Sources;
use super::query::{FieldSpec, Kind, Record, Value};
use super::view::{self, ConnectionType, Live, Status, TYPE_NAME, whole_milliseconds};
use crate::snapshot::Entry;

const fn field(name: &'static str, kind: Kind) -> FieldSpec {
    FieldSpec { name, kind }
}

const TYPE: Kind = Kind::Enum {
    prefix: "CONNECTION_TYPE_",
};

/// The fields of a [`Row`].
pub(super) static OF_CONNECTION: &[FieldSpec] = &[
    field("name", Kind::Text),
    field("display_name", Kind::Text),
    field("description", Kind::Text),
    field("connection_type", TYPE),
    field("create_time", Kind::Time),
    field("update_time", Kind::Time),
    field("delete_time", Kind::Time),
    field("read_only", Kind::Bool),
    field("connection_status.code", Kind::Number),
    field("connection_status.message", Kind::Text),
    field("token_expires_at", Kind::Time),
    field("last_used_time", Kind::Time),
    field("last_refreshed_time", Kind::Time),
];

/// The fields of a [`ConnectionType`].
pub(super) static OF_TYPE: &[FieldSpec] = &[
    field("type", TYPE),
    field("display_name", Kind::Text),
    field("description", Kind::Text),
];

/// One connection, and its state at one instant.
pub(super) struct Row {
    pub(super) entry: Arc<Entry>,
    pub(super) live: Live,
    name: String,
}

impl Row {
    pub(super) fn of(entry: &Arc<Entry>, sources: &Sources) -> Self {
        Self {
            name: format!("connections/{}", entry.connection.id),
            live: live(entry, sources),
            entry: Arc::clone(entry),
        }
    }
}

/// The state of a connection now.
pub(super) fn live(entry: &Entry, sources: &Sources) -> Live {
    let id = entry.connection.id.as_str();
    let mut live = Live {
        last_used: sources.metrics.activity(Some(id)).last_used,
        ..Live::default()
    };
    if let Some(grant) = sources.credentials.status(&entry.connection) {
        live.status = Status::of(&grant);
        live.token_expires_at = grant.expires_at.and_then(view::instant);
        live.last_refreshed = grant.last_refreshed.and_then(view::instant);
    }
    live
}

impl Record for Row {
    fn value(&self, field: usize) -> Value<'_> {
        let connection = &self.entry.connection;
        match OF_CONNECTION.get(field).map_or("", |spec| spec.name) {
            "name" => text(&self.name),
            "display_name" => text(&connection.display_name),
            "description" => text(&connection.description),
            "connection_type" => text(TYPE_NAME),
            "create_time" => time(Some(self.entry.created)),
            "update_time" => time(Some(self.entry.updated)),
            "delete_time" => time(connection.delete_time),
            "read_only" => Value::Bool(true),
            "connection_status.code" => Value::Number(self.live.status.code().into()),
            "connection_status.message" => text(self.live.status.message()),
            "token_expires_at" => time(self.live.token_expires_at),
            "last_used_time" => time(self.live.last_used),
            "last_refreshed_time" => time(self.live.last_refreshed),
            _ => Value::Absent,
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Record for &'static ConnectionType {
    fn value(&self, field: usize) -> Value<'_> {
        match OF_TYPE.get(field).map_or("", |spec| spec.name) {
            "type" => text(self.type_name),
            "display_name" => text(self.display_name),
            "description" => text(self.description),
            _ => Value::Absent,
        }
    }

    fn name(&self) -> &str {
        self.type_name
    }
}

/// Empty text is what an absent field reads.
fn text(text: &str) -> Value<'_> {
    if text.is_empty() {
        Value::Absent
    } else {
        Value::Text(Cow::Borrowed(text))
    }
}

fn time(instant: Option<jiff::Timestamp>) -> Value<'static> {
    instant.map_or(Value::Absent, |instant| {
        Value::Time(whole_milliseconds(instant))
    })
}

#[cfg(test)]
mod tests {
    use super::{OF_CONNECTION, OF_TYPE};
    use crate::management::query::{Record as _, Value};
    use crate::management::view::HTTP;

    #[test]
    fn no_field_is_there_twice() {
        for fields in [OF_CONNECTION, OF_TYPE] {
            let names: std::collections::HashSet<_> = fields.iter().map(|f| f.name).collect();
            assert_eq!(names.len(), fields.len());
        }
    }

    #[test]
    fn every_field_of_a_type_has_a_value() {
        let http = &HTTP;
        for field in 0..OF_TYPE.len() {
            assert!(matches!(http.value(field), Value::Text(_)), "{field}");
        }
        assert!(matches!(http.value(OF_TYPE.len()), Value::Absent));
    }
}
