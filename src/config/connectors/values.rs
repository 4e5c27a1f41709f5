//! Reads single values of a connector file.

use jiff::civil::Date;

use crate::config::field::Field;
use crate::config::redaction::quoted;
use crate::route::Pattern;

/// Reads a text that is shown in a line of its own.
pub(super) fn read_line(field: &Field<'_>) -> Option<String> {
    let text = field.read_text()?;
    if text.chars().any(char::is_control) || text.trim().is_empty() {
        let message = "is not one line of text";
        return field.reject("invalid_text", message, "write one line that is not empty");
    }
    Some(text.to_owned())
}

/// Reads the address of a page for people.
pub(super) fn read_page(field: &Field<'_>) -> Option<String> {
    let text = field.read_text()?;
    let is_page = text.starts_with("https://") && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_page {
        let message = format!("{} is not the address of a page", quoted(text));
        return field.reject("invalid_url", message, "write `https://…` without spaces");
    }
    Some(text.to_owned())
}

pub(super) fn read_date(field: &Field<'_>) -> Option<Date> {
    let text = field.read_text()?;
    match text.parse() {
        Ok(date) => Some(date),
        Err(_) => {
            let message = format!("{} is not a date", quoted(text));
            field.reject("invalid_time", message, "write a date like `2026-11-30`")
        }
    }
}

pub(super) fn read_texts(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let texts = field.read_map()?.into_iter();
    let texts = texts.map(|(name, value)| Some((name.to_owned(), value.read_text()?.to_owned())));
    texts.collect()
}

pub(super) fn read_routes(field: &Field<'_>, is_needed: bool) -> Option<Vec<String>> {
    let routes = field.read_items(|item| {
        let text = item.read_text()?;
        match Pattern::parse(text) {
            Ok(_) => Some(text.to_owned()),
            Err(invalid) => {
                let message = format!("{} is not a pattern: {invalid}", quoted(text));
                item.reject("invalid_route", message, invalid.remedy())
            }
        }
    })?;
    if routes.is_empty() && is_needed {
        let message = "contains no pattern, so a definition would allow no request";
        return field.reject("empty", message, "write at least one, such as `GET /user`");
    }
    Some(routes)
}
