//! The query string of a list request: `application/x-www-form-urlencoded`, as the URL standard reads it, except that text which is not UTF-8 is refused
//! instead of replaced.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::Serialize;

use super::field::cut;
use crate::management::error::ApiError;

/// Bytes of a parameter's value, decoded.
const MAX_VALUE_BYTES: usize = 2_048;
/// Bytes of a page token, which holds what a record is ordered by.
const MAX_TOKEN_BYTES: usize = 8_192;
/// Bytes that one byte takes at most while it is encoded: `%41`.
const ENCODED: usize = 3;

/// Which list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(in crate::management) enum ListKind {
    /// The connections.
    Connections,
    /// The connection types. None is ever deleted, so `show_deleted` is unknown there.
    Types,
}

/// The parameters of a list request, as text. Those that were not sent are empty where that means the same.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) filter: String,
    pub(super) order_by: String,
    pub(super) page_size: Option<String>,
    pub(super) page_token: String,
    pub(super) show_deleted: bool,
}

/// A parameter; its number is its place in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Filter,
    OrderBy,
    PageSize,
    PageToken,
    ShowDeleted,
}

const NAMES: [Name; 5] = [
    Name::Filter,
    Name::OrderBy,
    Name::PageSize,
    Name::PageToken,
    Name::ShowDeleted,
];

impl Name {
    /// In snake case, and in camel case.
    fn spellings(self) -> [&'static str; 2] {
        match self {
            Self::Filter => ["filter", "filter"],
            Self::OrderBy => ["order_by", "orderBy"],
            Self::PageSize => ["page_size", "pageSize"],
            Self::PageToken => ["page_token", "pageToken"],
            Self::ShowDeleted => ["show_deleted", "showDeleted"],
        }
    }

    fn as_str(self) -> &'static str {
        let [snake, _] = self.spellings();
        snake
    }

    fn find(name: &str, kind: ListKind) -> Result<Self, ApiError> {
        let known = kind.names();
        let found = known.iter().find(|known| known.spellings().contains(&name));
        found.copied().ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(|known| known.as_str()).collect();
            let message = format!("unknown parameter; there are {}", known.join(", "));
            ApiError::invalid(cut(name), message)
        })
    }
}

impl ListKind {
    fn names(self) -> &'static [Name] {
        match self {
            Self::Connections => &NAMES,
            Self::Types => NAMES.split_last().map_or(&[], |(_, others)| others),
        }
    }
}

impl Parameters {
    pub(super) fn parse(raw: &str, kind: ListKind) -> Result<Self, ApiError> {
        let mut sent = Self::default();
        let mut seen: Vec<Name> = Vec::with_capacity(NAMES.len());
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = match decoded(name, MAX_VALUE_BYTES) {
                Ok(known) => Name::find(&known, kind)?,
                // Too long or not UTF-8: none that is known.
                Err(_) => Name::find(name, kind)?,
            };
            let field = name.as_str();
            if seen.contains(&name) {
                return Err(ApiError::invalid(field, "given more than once"));
            }
            seen.push(name);
            let limit = match name {
                Name::PageToken => MAX_TOKEN_BYTES,
                Name::Filter | Name::OrderBy | Name::PageSize | Name::ShowDeleted => {
                    MAX_VALUE_BYTES
                }
            };
            let value = decoded(value, limit).map_err(|why| ApiError::invalid(field, why))?;
            match name {
                Name::Filter => sent.filter = value,
                Name::OrderBy => sent.order_by = value,
                Name::PageSize => sent.page_size = Some(value),
                Name::PageToken => sent.page_token = value,
                Name::ShowDeleted => sent.show_deleted = truth(&value)?,
            }
        }
        Ok(sent)
    }
}

fn decoded(raw: &str, limit: usize) -> Result<String, String> {
    let too_long = || Err(format!("longer than {limit} bytes"));
    // Before anything is copied.
    if raw.len() > ENCODED * limit {
        return too_long();
    }
    let spaced = raw.replace('+', " ");
    let text = percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| "not UTF-8".to_owned())?;
    if text.len() > limit {
        return too_long();
    }
    Ok(text)
}

/// `True` is how Python's clients write it.
fn truth(text: &str) -> Result<bool, ApiError> {
    match text {
        "true" | "True" => Ok(true),
        "false" | "False" => Ok(false),
        _ => Err(ApiError::invalid("show_deleted", "expected true or false")),
    }
}
