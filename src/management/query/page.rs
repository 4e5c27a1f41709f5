//! Pages. The first page of a result that has more freezes its order, which is kept for a while; the token that goes with the page says where in it the next one begins. So
//! live fields may change between pages, and each record still comes exactly once.
//!
//! The records themselves are not kept: a later page shows them as they are then, in the frozen order, whether or not the filter would still admit them. Nor are their names: an order
//! is kept as places among all names, sorted. So it holds for exactly one set of names, whose digest is kept with it; once the set is another, by a reload, the token is refused. A
//! reload that leaves the names as they are changes nothing.
//!
//! What is kept is bounded, and the least recently used goes first. A list that is asked for again and does not change is kept once.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::Query;
use super::field::Record;
use super::token::{ID, Place, TokenKey};
use crate::management::error::ApiError;

/// Entries of all lists that are kept: 4 MiB.
const ENTRIES: u64 = 1 << 20;
/// Lists that are kept: each weighs at least its share of the entries.
const LISTINGS: u64 = 256;
/// Bytes of a page, by the weight of its records: a page ends early rather than hold more (AIP-158 lets it), but has one record at least.
const HEAVIEST: usize = 4 << 20;
/// How long a list is kept that nobody goes on with.
const IDLE: Duration = Duration::from_secs(600);

/// The lists whose next page somebody may ask for.
pub(in crate::management) struct Listings {
    key: TokenKey,
    kept: Cache<[u8; ID], Arc<Listing>>,
}

/// One frozen list.
struct Listing {
    /// For each record, in order, its place among all names that the list was chosen from.
    ranks: Vec<u32>,
    /// Of all those names.
    origin: [u8; 32],
}

/// A part of a list.
#[derive(Debug)]
pub(in crate::management) struct Page<R> {
    /// The records, in order.
    pub items: Vec<R>,
    /// Asks for the next part, if there is one.
    pub next_page_token: Option<String>,
}

impl Listings {
    /// None yet, and tokens under a new key.
    pub(in crate::management) fn new() -> Self {
        let share = u32::try_from(ENTRIES / LISTINGS).unwrap_or(u32::MAX);
        let weight = move |listing: &Arc<Listing>| {
            u32::try_from(listing.ranks.len()).map_or(u32::MAX, |entries| entries.max(share))
        };
        let kept = Cache::builder()
            .max_capacity(ENTRIES)
            .weigher(move |_, listing| weight(listing))
            // A list that was just given out must not have to earn its place.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build();
        Self {
            key: TokenKey::random(),
            kept,
        }
    }

    /// The page that the query asks for, of all records that its list is made of: with the soft-deleted ones if it shows them, before its filter.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a page token that was not given for this query, or whose list is gone or has changed.
    pub(in crate::management) fn page<R: Record>(
        &self,
        query: &Query,
        records: Vec<R>,
    ) -> Result<Page<R>, ApiError> {
        match &query.page_token {
            None => Ok(self.first(query, records)),
            Some(token) => self.next(query, token, records),
        }
    }

    fn first<R: Record>(&self, query: &Query, records: Vec<R>) -> Page<R> {
        let fields = query.fields.len();
        let admitted = records
            .iter()
            .enumerate()
            .filter(|(_, record)| query.filter.admits(*record, fields));
        let order = query.order.sorted(admitted);
        let size = fitting(query, order.iter().filter_map(|place| records.get(*place)));
        let next_page_token = (order.len() > size).then(|| {
            let sorted = sorted(&records);
            let listing = Listing {
                ranks: ranks(&sorted, &order),
                origin: digest(&records, &sorted),
            };
            self.token(query, self.keep(listing), size)
        });
        Page {
            items: picked(records, order.into_iter().take(size)),
            next_page_token,
        }
    }

    fn next<R: Record>(
        &self,
        query: &Query,
        token: &str,
        records: Vec<R>,
    ) -> Result<Page<R>, ApiError> {
        let Some(place) = self.key.open(token, &query.bound) else {
            return Err(refused(
                "not one that was given by this process for this filter, order_by and show_deleted",
            ));
        };
        let Some(listing) = self.kept.get(&place.listing) else {
            return Err(refused("its list is no longer kept"));
        };
        let sorted = sorted(&records);
        if listing.origin != digest(&records, &sorted) {
            return Err(refused("entries have come or gone since the first page"));
        }
        let begin = place.offset as usize;
        let rest = listing.ranks.get(begin..).unwrap_or_default();
        let place_of = |rank: &u32| sorted.get(*rank as usize).copied();
        let found = rest.iter().filter_map(place_of);
        let size = fitting(query, found.filter_map(|place| records.get(place)));
        let next_page_token =
            (rest.len() > size).then(|| self.token(query, place.listing, begin + size));
        let wanted = rest.iter().take(size).filter_map(place_of);
        Ok(Page {
            items: picked(records, wanted),
            next_page_token,
        })
    }

    /// Keeps a list under what it holds: the same one is there once, however often it is asked for.
    fn keep(&self, listing: Listing) -> [u8; ID] {
        let mut hash = Sha256::new_with_prefix(listing.origin);
        for rank in &listing.ranks {
            hash.update(rank.to_be_bytes());
        }
        let mut id = [0; ID];
        let digest = hash.finalize();
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        self.kept.get_with(id, || Arc::new(listing));
        id
    }

    fn token(&self, query: &Query, listing: [u8; ID], offset: usize) -> String {
        // A list that long is longer than what is kept.
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        self.key.seal(Place { listing, offset }, &query.bound)
    }

    /// How many lists are kept.
    #[cfg(test)]
    pub(super) fn settled_len(&self) -> u64 {
        self.kept.run_pending_tasks();
        self.kept.entry_count()
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::invalid(
        "page_token",
        format!("{why}; start again without page_token"),
    )
}

/// How many of these records a page holds: as many as are asked for, unless they are too heavy together.
fn fitting<'r, R: Record + 'r>(query: &Query, records: impl Iterator<Item = &'r R>) -> usize {
    let heavier = records.scan(0_usize, |sum, record| {
        *sum = sum.saturating_add(record.weight());
        Some(*sum)
    });
    let asked = heavier.take(query.page_size.get());
    asked.take_while(|sum| *sum <= HEAVIEST).count().max(1)
}

/// The places of all records, in the order of their names.
fn sorted<R: Record>(records: &[R]) -> Vec<usize> {
    let names = records.iter().map(Record::name).zip(0..);
    let mut sorted: Vec<(&str, usize)> = names.collect();
    sorted.sort_unstable();
    sorted.into_iter().map(|(_, place)| place).collect()
}

/// Where each of these places is found among the sorted ones.
fn ranks(sorted: &[usize], places: &[usize]) -> Vec<u32> {
    let mut ranks = vec![0; sorted.len()];
    for (place, rank) in sorted.iter().zip(0..) {
        if let Some(slot) = ranks.get_mut(*place) {
            *slot = rank;
        }
    }
    let rank = |place: &usize| ranks.get(*place).copied();
    places.iter().filter_map(rank).collect()
}

/// The set of all names.
fn digest<R: Record>(records: &[R], sorted: &[usize]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for record in sorted.iter().filter_map(|place| records.get(*place)) {
        let name = record.name();
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
    }
    hash.finalize().into()
}

/// The records at these places, each of which is named at most once.
fn picked<R>(records: Vec<R>, places: impl Iterator<Item = usize>) -> Vec<R> {
    let mut slots: Vec<Option<R>> = records.into_iter().map(Some).collect();
    places
        .filter_map(|place| slots.get_mut(place).and_then(Option::take))
        .collect()
}
