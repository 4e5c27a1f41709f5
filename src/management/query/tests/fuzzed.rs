//! The entry point of the fuzzer: a list request against a few records, the way a list serves it, page by page.

use super::super::{ListKind, PageTokenKey, Query};
use super::examples::{FIELDS, rows};

/// Returns the names that a query string lists, on all pages. A page token in the query string is another process's, and refused.
///
/// # Errors
/// The refusal, as text.
pub fn list_names(raw_query: &str, types: bool) -> Result<Vec<String>, String> {
    let kind = if types {
        ListKind::Types
    } else {
        ListKind::Connections
    };
    let tokens = PageTokenKey::random();
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
