//! A door for the fuzzer: a list request against a few records, the way a list serves it, page by page.

use jiff::Timestamp;

use super::{FieldKind, FieldSpec, FieldValue, ListKind, Query, Record, TokenKey};

const FIELDS: &[FieldSpec] = &[
    FieldSpec {
        name: "name",
        kind: FieldKind::Text,
    },
    FieldSpec {
        name: "display_name",
        kind: FieldKind::Text,
    },
    FieldSpec {
        name: "connection_type",
        kind: FieldKind::Enum {
            prefix: "CONNECTION_TYPE_",
        },
    },
    FieldSpec {
        name: "create_time",
        kind: FieldKind::Time,
    },
    FieldSpec {
        name: "read_only",
        kind: FieldKind::Bool,
    },
    FieldSpec {
        name: "connection_status.code",
        kind: FieldKind::Number,
    },
];

/// A record whose values follow from its number.
struct Numbered {
    number: i64,
    name: String,
}

impl Record for Numbered {
    fn value(&self, field: usize) -> FieldValue<'_> {
        if self.number % 3 == 2 {
            return FieldValue::Absent;
        }
        match field {
            0 => FieldValue::Text(self.name.as_str().into()),
            1 => FieldValue::Text(format!("Ärzte & \"{}*\"", self.number).into()),
            2 => FieldValue::Text("CONNECTION_TYPE_HTTP".into()),
            3 => Timestamp::from_second(self.number).map_or(FieldValue::Absent, FieldValue::Time),
            4 => FieldValue::Bool(self.number % 2 == 0),
            _ => FieldValue::Number(self.number % 5),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The last one stands for a deleted one.
fn records(with_deleted: bool) -> Vec<Numbered> {
    let numbered = |number| Numbered {
        number,
        name: format!("record-{number}"),
    };
    (0..11 + i64::from(with_deleted)).map(numbered).collect()
}

/// The names that a query string lists, all pages of them; or what the caller is told. A page token in the query string is another process's, and refused.
///
/// # Errors
/// The refusal, as text.
pub fn fuzzed(raw_query: &str, types: bool) -> Result<Vec<String>, String> {
    let kind = if types {
        ListKind::Types
    } else {
        ListKind::Connections
    };
    let tokens = TokenKey::random();
    let mut query =
        Query::parse(Some(raw_query), FIELDS, kind).map_err(|error| format!("{error:?}"))?;
    let records = records(query.shows_deleted());
    let mut names = Vec::new();
    loop {
        let page = query.page(&tokens, &records);
        let page = page.map_err(|error| format!("{error:?}"))?;
        names.extend(page.items.into_iter().map(|record| record.name.clone()));
        query.page_token = page.next_page_token;
        if query.page_token.is_none() {
            return Ok(names);
        }
    }
}
