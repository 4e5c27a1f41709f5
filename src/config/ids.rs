//! Reads ids of connections, and names with the same syntax.

use super::field::Field;
use super::redaction::quoted;
use crate::domain::ConnectionId;

/// Parses an id, and reports a text that is not one.
pub(super) fn parsed_id(field: &Field<'_>, text: &str, remedy: &str) -> Option<ConnectionId> {
    match ConnectionId::parse(text) {
        Ok(id) => Some(id),
        Err(invalid) => {
            let message = format!("{} is not a valid id: {invalid}", quoted(text));
            field.reject("invalid_id", message, remedy)
        }
    }
}
