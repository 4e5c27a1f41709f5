//! `proxy.allowed_hosts` → host names as a `Host` field has them.

use crate::config::field::Field;
use crate::config::redaction::quoted;

/// Reads every name of the list.
pub(super) fn hosts(field: &Field<'_>) -> Option<Vec<String>> {
    let items = field.list()?;
    let read: Vec<String> = items.iter().filter_map(host).collect();
    (read.len() == items.len()).then_some(read)
}

fn host(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let address = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        // As a `Host` field has it.
        return Some(format!("[{}]", text.to_ascii_lowercase()));
    }
    if address || (!text.is_empty() && text.len() <= 253 && text.bytes().all(legal)) {
        return Some(text.to_ascii_lowercase());
    }
    let message = format!("{} is no host name", quoted(text));
    field.report(
        "invalid_host",
        message,
        "write a name or an address without scheme, port or wildcard",
    );
    None
}
