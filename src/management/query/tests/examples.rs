//! Eight records, and helpers for queries.

use super::super::{FieldKind, FieldSpec, FieldValue, ListKind, Query, Record};
use crate::management::error::ApiError;

pub(super) const FIELDS: &[FieldSpec] = &[
    FieldSpec::new("name", FieldKind::Text),
    FieldSpec::new("display_name", FieldKind::Text),
    FieldSpec::new("description", FieldKind::Text),
    FieldSpec::new("connection_type", TYPE),
    FieldSpec::new("create_time", FieldKind::Time),
    FieldSpec::new("last_used_time", FieldKind::Time),
    FieldSpec::new("read_only", FieldKind::Bool),
    FieldSpec::new("connection_status.code", FieldKind::Number),
];

const TYPE: FieldKind = FieldKind::Enum {
    prefix: "CONNECTION_TYPE_",
};

/// A record; empty text stands for no value.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) display_name: &'static str,
    pub(super) description: String,
    pub(super) kind: &'static str,
    pub(super) create_time: &'static str,
    pub(super) last_used_time: &'static str,
    pub(super) read_only: bool,
    pub(super) code: Option<i64>,
    pub(super) weight: usize,
}

impl Record for Row {
    fn values(&self) -> Vec<FieldValue<'_>> {
        let code = self.code.map(|code| FieldValue::Number(code as f64));
        vec![
            text(&self.name),
            text(self.display_name),
            text(&self.description),
            text(self.kind),
            time(self.create_time),
            time(self.last_used_time),
            FieldValue::Bool(self.read_only),
            code.unwrap_or(FieldValue::Absent),
        ]
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn weight(&self) -> usize {
        self.weight
    }
}

fn text(text: &str) -> FieldValue<'_> {
    if text.is_empty() {
        FieldValue::Absent
    } else {
        FieldValue::Text(text.into())
    }
}

fn time(text: &str) -> FieldValue<'_> {
    if text.is_empty() {
        FieldValue::Absent
    } else {
        FieldValue::Time(text.parse().unwrap())
    }
}

/// Returns the records. Tests refer to them by the letters `a` to `h`.
#[rustfmt::skip] // one row a line
pub(super) fn rows() -> Vec<Row> {
    const HTTP: &str = "CONNECTION_TYPE_HTTP";
    const TCP: &str = "CONNECTION_TYPE_TCP";
    let rows = [
        Row { display_name: "CRM of Sales", description: "customers, oil & gas".into(), kind: HTTP, code: Some(0), ..row("crm", "2026-01-01T00:00:00Z") },
        Row { display_name: "CRM Europe", kind: HTTP, last_used_time: "2026-03-01T12:00:00Z", code: Some(0), ..row("crm-eu", "2026-02-01T00:00:00Z") },
        Row { display_name: "Bill \"the\" Payer", description: "invoices * 100%".into(), kind: HTTP, last_used_time: "2026-03-01T12:00:00.5Z", code: Some(16), ..row("billing", "2026-03-01T00:00:00Z") },
        Row { display_name: "it's notes", description: "a\\b (draft)".into(), kind: HTTP, read_only: false, code: Some(14), ..row("notes", "2026-04-01T00:00:00Z") },
        Row { display_name: "Search", description: "find this and that".into(), kind: HTTP, last_used_time: "2026-06-01T00:00:00Z", code: Some(-3), ..row("search", "2026-05-01T00:00:00Z") },
        Row { kind: TCP, ..row("search.2", "2026-06-01T00:00:00Z") },
        Row { display_name: "ÜBER ALLES", description: "Ärzte".into(), kind: TCP, code: Some(7), ..row("über", "2026-07-01T00:00:00Z") },
        Row { display_name: "true", description: "42".into(), code: Some(42), ..row("z:y", "2026-08-01T00:00:00Z") },
    ];
    rows.into()
}

fn row(name: &str, create_time: &'static str) -> Row {
    Row {
        name: name.to_owned(),
        create_time,
        read_only: true,
        ..Row::default()
    }
}

/// Returns a query string with this parameter.
pub(super) fn encoded(name: &str, value: &str) -> String {
    let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{name}={value}")
}

pub(super) fn query(raw: &str) -> Result<Query, ApiError> {
    Query::parse(Some(raw), FIELDS, ListKind::Connections)
}

/// Returns the error of this query string. Panics if it is valid.
#[cfg(test)]
pub(super) fn error_message(raw: &str) -> String {
    match query(raw) {
        Ok(_) => panic!("{raw} is accepted"),
        Err(error) => error.message().to_owned(),
    }
}

/// Returns the letters of the records that match a filter.
pub(super) fn matching(filter: &str) -> String {
    let query = query(&encoded("filter", filter)).unwrap_or_else(|why| panic!("{filter}: {why:?}"));
    let rows = rows();
    let letters = rows.iter().zip('a'..);
    letters
        .filter(|(row, _)| query.filter.matches(*row))
        .map(|(_, letter)| letter)
        .collect()
}
