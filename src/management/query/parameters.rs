//! The query string of a list request: `application/x-www-form-urlencoded`, parsed as in the URL
//! standard. In contrast to it, text that is not UTF-8 is refused and not replaced.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::Serialize;

use super::field::{camel, shortened};
use crate::management::error::ApiError;

/// The maximum length of a parameter's value in bytes, after decoding.
const MAX_VALUE_BYTES: usize = 2_048;
/// The maximum length of a page token in bytes. It contains the values by which a record is
/// ordered.
const MAX_TOKEN_BYTES: usize = 8_192;
/// The maximum number of bytes that encode one byte: `%41`.
const MAX_ENCODED_BYTES: usize = 3;

/// The list that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(in crate::management) enum ListKind {
    /// The connections.
    Connections,
    /// The connection types. They are never deleted, so `show_deleted` is not a parameter.
    Types,
    /// The connectors, which are never deleted either.
    Connectors,
}

/// The parameters of a list request, as text. An absent parameter is stored as empty text, except
/// `page_size`, for which empty text is an error.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) filter: String,
    pub(super) order_by: String,
    pub(super) page_size: Option<String>,
    pub(super) page_token: String,
    pub(super) show_deleted: bool,
}

/// The names of parameters. Requests may also spell them in camel case.
const NAMES: [&str; 5] = [
    "filter",
    "order_by",
    "page_size",
    "page_token",
    "show_deleted",
];

impl ListKind {
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Connections => &NAMES,
            Self::Types | Self::Connectors => NAMES.split_last().map_or(&[], |(_, others)| others),
        }
    }

    fn find_parameter(self, name: &str) -> Result<&'static str, ApiError> {
        let known = self.parameters();
        let mut names = known.iter().copied();
        let found = names.find(|known| *known == name || camel(known) == name);
        found.ok_or_else(|| {
            let message = format!("unknown parameter; the parameters are {}", known.join(", "));
            ApiError::invalid(shortened(name), message)
        })
    }
}

impl Parameters {
    pub(super) fn parse(raw: &str, kind: ListKind) -> Result<Self, ApiError> {
        let mut sent = Self::default();
        let mut seen = Vec::with_capacity(NAMES.len());
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A name that is too long or not UTF-8 is unknown too.
            let decoded = decode(name, MAX_VALUE_BYTES);
            let name = kind.find_parameter(decoded.as_deref().unwrap_or(name))?;
            if seen.contains(&name) {
                return Err(ApiError::invalid(name, "given more than once"));
            }
            seen.push(name);
            let limit = if name == "page_token" {
                MAX_TOKEN_BYTES
            } else {
                MAX_VALUE_BYTES
            };
            let value = decode(value, limit).map_err(|why| ApiError::invalid(name, why))?;
            match name {
                "filter" => sent.filter = value,
                "order_by" => sent.order_by = value,
                "page_size" => sent.page_size = Some(value),
                "page_token" => sent.page_token = value,
                // The only other name in `NAMES`.
                _ => sent.show_deleted = parse_bool(&value)?,
            }
        }
        Ok(sent)
    }
}

fn decode(raw: &str, limit: usize) -> Result<String, String> {
    let too_long = || Err(format!("longer than {limit} bytes"));
    // Checked before the value is copied.
    if raw.len() > MAX_ENCODED_BYTES * limit {
        return too_long();
    }
    // In form encoding `+` is a space. A plus sign is sent as `%2B`.
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

/// Parses a boolean. Python clients send `True`, the text of Python's own booleans.
fn parse_bool(text: &str) -> Result<bool, ApiError> {
    match text {
        "true" | "True" => Ok(true),
        "false" | "False" => Ok(false),
        _ => Err(ApiError::invalid("show_deleted", "expected true or false")),
    }
}
