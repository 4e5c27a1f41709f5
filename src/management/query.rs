//! List requests and the pages of their responses: the query string, `filter` (AIP-160), `order_by`
//! (AIP-132) and paging (AIP-158).
//!
//! The module is pure: it takes text and records, and returns records. It depends neither on HTTP
//! nor on the type of the records. A list declares the fields of its records ([`FieldSpec`]) and
//! gives access to their values ([`Record`]). Other fields cannot be referred to, so a filter or an
//! order by a secret gets the same error as one by an unknown name.
//!
//! Invariants:
//!
//! - The cost of a request is bounded by the length of its text, which is limited, and by the
//!   number of records. It does not depend on what the text means.
//! - The pages of one list contain each record exactly once, if the record exists throughout and
//!   keeps its position in the order.

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

/// The page size if the request has none.
const USUAL_PAGE: NonZeroUsize = NonZeroUsize::new(50).unwrap();
/// The largest page.
const LARGEST_PAGE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// A parsed list request.
#[derive(Debug)]
pub(in crate::management) struct Query {
    filter: Filter,
    order: Order,
    page_size: NonZeroUsize,
    /// The token that the previous page contained.
    page_token: Option<String>,
    list: ListParameters,
}

/// The parameters that must be the same on every page of a list. The page size may differ
/// (AIP-158).
#[derive(Debug, Serialize)]
struct ListParameters {
    kind: ListKind,
    shows_deleted: bool,
    filter: String,
    order_by: String,
}

impl Query {
    /// Parses the query string of a list of records with these fields. It is encoded as browsers
    /// and `curl --data-urlencode` do.
    ///
    /// # Errors
    ///
    /// Returns `INVALID_ARGUMENT` with the name of the parameter, if a parameter is unknown,
    /// repeated, longer than 2 KiB (8 KiB for `page_token`) or not UTF-8, or if its value is not
    /// valid.
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

    /// Returns `true` if the list includes soft-deleted records.
    pub(in crate::management) fn shows_deleted(&self) -> bool {
        self.list.shows_deleted
    }
}

/// Parses a page size. Zero means the default, and every number above the largest page means the
/// largest page (AIP-158).
fn page_size(text: &str) -> Result<NonZeroUsize, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("expected a whole number, 0 or more".to_owned());
    }
    let significant = digits.trim_start_matches('0');
    // `-0` is zero.
    if negative && !significant.is_empty() {
        return Err("must not be negative".to_owned());
    }
    if significant.is_empty() {
        return Ok(USUAL_PAGE);
    }
    // A number that does not fit into `usize` is above the largest page too.
    let size = significant.parse().unwrap_or(LARGEST_PAGE);
    Ok(size.min(LARGEST_PAGE))
}
