//! Checks of a response's head that hyper does not perform.

use http::{HeaderMap, StatusCode, header};

use crate::upstream::failure::ProtocolFault;
use crate::upstream::head::parse_content_length;
use crate::upstream::http1::response_head::MAX_FIELDS;

/// Rejects heads that hyper accepts and HTTP forbids.
pub(super) fn check_response_head(
    status: StatusCode,
    fields: &HeaderMap,
) -> Result<(), ProtocolFault> {
    match status.as_u16() {
        101 => return Err(ProtocolFault::Upgrade),
        200..=599 => {}
        _ => return Err(ProtocolFault::Head),
    }
    if fields.len() > MAX_FIELDS {
        return Err(ProtocolFault::HeadTooLarge);
    }
    let mut lengths = fields
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|text| parse_content_length(text.trim_ascii()));
    match lengths.next() {
        None => Ok(()),
        Some(Some(first)) if lengths.all(|other| other == Some(first)) => Ok(()),
        Some(_) => Err(ProtocolFault::Framing),
    }
}
