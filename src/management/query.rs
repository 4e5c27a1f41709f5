//! What a list request asks for, and the pages of its answer: the query string, `filter` (AIP-160), `order_by` (AIP-132) and paging (AIP-158).
//!
//! Pure: text and records in, records out. It knows neither HTTP nor what a connection is; a list says which fields its records have ([`FieldSpec`]) and lets them
//! be read ([`Record`]). A field that is not in that list does not exist here, so that a filter or an order over a secret is told what any
//! unknown name is told.
//!
//! Invariants: the cost of a request is bounded by its text, which is short, and by the number of records, never by what the text says; and the pages of one
//! list hold each record that exists throughout exactly once.

mod field;
mod filter;
mod order;
mod page;
mod parameters;
#[cfg(test)]
mod tests;
#[cfg(fuzzing)]
mod tests;
mod token;

use std::num::NonZeroUsize;

use serde::Serialize;

use super::error::ApiError;
use filter::Filter;
use order::Order;
use parameters::Parameters;

pub(in crate::management) use field::{FieldKind, FieldSpec, FieldValue, Record};
pub(in crate::management) use parameters::ListKind;
#[cfg(fuzzing)]
pub use tests::list_names;
pub(in crate::management) use token::PageTokenKey;

/// Records a page has where nothing else is asked for.
const USUAL_PAGE: NonZeroUsize = NonZeroUsize::new(50).unwrap();
/// Records a page has at most.
const LARGEST_PAGE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// One list request.
#[derive(Debug)]
pub(in crate::management) struct Query {
    filter: Filter,
    order: Order,
    page_size: NonZeroUsize,
    /// Given by the page before.
    page_token: Option<String>,
    list: ListParameters,
}

/// What must be the same on every page of one list. The size of a page may differ (AIP-158).
#[derive(Debug, Serialize)]
struct ListParameters {
    kind: ListKind,
    shows_deleted: bool,
    filter: String,
    order_by: String,
}

impl Query {
    /// Reads a query string as a browser or `curl --data-urlencode` writes it, for a list of records with these fields.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` naming the parameter: one that is unknown, repeated, longer than 2 KiB or not UTF-8, or whose value makes no sense.
    pub(in crate::management) fn parse(
        raw_query: Option<&str>,
        fields: &'static [FieldSpec],
        kind: ListKind,
    ) -> Result<Self, ApiError> {
        let sent = Parameters::parse(raw_query.unwrap_or_default(), kind)?;
        Ok(Self {
            filter: Filter::parse(&sent.filter, fields)
                .map_err(|why| ApiError::invalid("filter", why))?,
            order: Order::parse(&sent.order_by, fields)
                .map_err(|why| ApiError::invalid("order_by", why))?,
            page_size: match &sent.page_size {
                Some(size) => page_size(size).map_err(|why| ApiError::invalid("page_size", why))?,
                None => USUAL_PAGE,
            },
            page_token: Some(sent.page_token).filter(|token| !token.is_empty()),
            list: ListParameters {
                kind,
                shows_deleted: sent.show_deleted,
                filter: sent.filter,
                order_by: sent.order_by,
            },
        })
    }

    /// Whether soft-deleted records belong to the list.
    pub(in crate::management) fn shows_deleted(&self) -> bool {
        self.list.shows_deleted
    }
}

/// A page's size: nought stands for the usual one, and one that is too large, however large, for the largest.
fn page_size(text: &str) -> Result<NonZeroUsize, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("expected a whole number, 0 or more".to_owned());
    }
    let significant = digits.trim_start_matches('0');
    if negative && !significant.is_empty() {
        return Err("must not be negative".to_owned());
    }
    if significant.is_empty() {
        return Ok(USUAL_PAGE);
    }
    // What does not fit into a number is large as well.
    let size = significant.parse().unwrap_or(LARGEST_PAGE);
    Ok(size.min(LARGEST_PAGE))
}
