//! The entry point of the fuzz target: a list request for the example records, page by page.

use super::super::{ListKind, PageTokenKey, Query};
use super::examples::{FIELDS, rows};

/// Returns the names that a query string lists, on all pages. A page token in the query string is
/// from another process, and refused.
///
/// # Errors
///
/// The error, as text.
pub fn list_names(raw_query: &str, types: bool) -> Result<Vec<String>, String> {
    let kind = if types {
        ListKind::Types
    } else {
        ListKind::Connections
    };
    let tokens = PageTokenKey::random().unwrap();
    let query = Query::parse(Some(raw_query), FIELDS, kind);
    let mut query = query.map_err(|error| format!("{error:?}"))?;
    let mut rows = rows();
    if !query.shows_deleted() {
        rows.pop();
    }
    let mut names = Vec::new();
    loop {
        let page = query.page(&tokens, &rows);
        let page = page.map_err(|error| format!("{error:?}"))?;
        names.extend(page.items.into_iter().map(|row| row.name.clone()));
        query.page_token = page.next_page_token;
        if query.page_token.is_none() {
            return Ok(names);
        }
    }
}
