//! Pages of a list (AIP-158), by keyset paging.
//!
//! A page token contains the order key of the last record on the page. The next page starts with
//! the first record after that key, among the records that exist then. So nothing is stored between
//! pages, and a token survives reloads. A record that exists throughout and keeps its key is listed
//! exactly once, whatever other records appear or disappear. Only a record whose key changes
//! between two pages can be listed twice or not at all, as with `order_by=last_used_time`.

use super::Query;
use super::field::Record;
use super::token::PageTokenKey;
use crate::management::error::ApiError;

/// The maximum size of a page in bytes, by the weight of its records. A page ends early rather than
/// exceed it, which AIP-158 allows, but contains at least one record.
const MAX_PAGE_WEIGHT: usize = 4 << 20;

/// A part of a list.
#[derive(Debug)]
pub(in crate::management) struct Page<'r, R> {
    /// The records, in order.
    pub items: Vec<&'r R>,
    /// The token of the next page, if there is one.
    pub next_page_token: Option<String>,
}

impl Query {
    /// Returns the requested page. `records` are all records of the list before filtering,
    /// including soft-deleted ones if the list shows them.
    ///
    /// # Errors
    ///
    /// Returns `INVALID_ARGUMENT` for a page token that this process did not create for this list.
    pub(in crate::management) fn page<'r, R: Record>(
        &self,
        tokens: &PageTokenKey,
        records: &'r [R],
    ) -> Result<Page<'r, R>, ApiError> {
        let opened = self.page_token.as_ref().map(|token| {
            let key = tokens.verify_token(token, &self.list);
            key.ok_or_else(|| ApiError::invalid("page_token", "not a token that this process issued for this filter, order_by and show_deleted; start again without page_token"))
        });
        let last = opened.transpose()?;
        let mut rest: Vec<_> = records
            .iter()
            .filter(|record| self.filter.matches(*record))
            .map(|record| (self.order.key(record), record))
            .filter(|(key, _)| {
                let last = last.as_ref();
                last.is_none_or(|last| self.order.compare(key, last).is_gt())
            })
            .collect();
        // Names are unique, so no two keys are equal and an unstable sort is deterministic.
        rest.sort_unstable_by(|(one, _), (other, _)| self.order.compare(one, other));
        let len = self.page_len(rest.iter().map(|(_, record)| *record));
        // `len` is at least 1. Without further records there is no next page.
        let last = rest.get(len - 1).filter(|_| rest.len() > len);
        Ok(Page {
            next_page_token: last.map(|(key, _)| tokens.sign_token(key, &self.list)),
            items: rest
                .into_iter()
                .take(len)
                .map(|(_, record)| record)
                .collect(),
        })
    }

    /// Returns the number of these records on the page: the page size, or fewer if their sizes
    /// together exceed [`MAX_PAGE_WEIGHT`].
    fn page_len<'r, R: Record + 'r>(&self, records: impl Iterator<Item = &'r R>) -> usize {
        let sums = records.scan(0_usize, |sum, record| {
            *sum = sum.saturating_add(record.weight());
            Some(*sum)
        });
        let requested = sums.take(self.page_size.get());
        requested
            .take_while(|sum| *sum <= MAX_PAGE_WEIGHT)
            .count()
            .max(1)
    }
}
