//! Header names that an agent cannot choose, grouped by their meaning.
//!
//! Servers behind the edge of an upstream may trust headers that only a proxy should set (a
//! client's address, another target, an identity). A credential header in addition to the injected
//! one may let a request act under another account. The names are in [`GROUPS`], with their
//! sources.

mod table;

pub use table::{GROUPS, Group};

/// The meaning of a header that agents cannot send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCategory {
    /// Framing and routing of a message, which each hop sets for itself.
    Transport,
    /// Headers that egressd itself sets.
    Egressd,
    /// Cookies. Allowed by `allow_cookies`.
    Cookie,
    /// Information that browsers add about a page.
    Browser,
    /// The proxies that a request passed through, and data that they exchange.
    Intermediary,
    /// The address or the protocol of a client.
    ClientAddress,
    /// A target other than the one that was matched.
    Target,
    /// A method other than the one that was matched.
    Method,
    /// A user, a group, a client certificate.
    Identity,
    /// An object or account, in addition to the path, that the request acts on. Allowed by
    /// `allow_agent_headers`.
    Resource,
    /// A key or token, or the account it belongs to. Allowed by `allow_agent_headers`.
    Credential,
}

impl HeaderCategory {
    /// Returns the meaning of the family, in words for operators.
    pub const fn states(self) -> &'static str {
        match self {
            Self::Transport => "framing or hop-by-hop",
            Self::Egressd => "set by egressd",
            Self::Cookie => "cookies",
            Self::Browser => "a web page",
            Self::Intermediary => "intermediaries",
            Self::ClientAddress => "a client's address",
            Self::Target => "another target",
            Self::Method => "another method",
            Self::Identity => "an identity",
            Self::Resource => "another object or account",
            Self::Credential => "a credential",
        }
    }

    /// Returns whether a header of this family passes where `allow_agent_headers` lists it.
    pub const fn can_be_listed(self) -> bool {
        matches!(self, Self::Resource | Self::Credential)
    }
}

/// Returns the family of a header that agents cannot send. `name` is in lower case. `_` counts as
/// `-`, because CGI (RFC 3875, section 4.1.18) and the interfaces derived from it map both to one
/// name. lighttpd maps every character that is neither a letter nor a digit to it.
#[inline]
pub fn family(name: &str) -> Option<HeaderCategory> {
    if !name.bytes().any(is_punctuation) {
        return listed_family(name);
    }
    listed_family(&name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

/// Returns whether a byte of a header's name is neither a letter, a digit nor `-`. Header names
/// have no bytes beyond ASCII (RFC 9110, section 5.6.2).
#[inline]
fn is_punctuation(byte: u8) -> bool {
    static PUNCTUATION: [bool; 256] = punctuation_table();
    PUNCTUATION.get(usize::from(byte)).is_none_or(|is| *is)
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which checks every index"
)]
const fn punctuation_table() -> [bool; 256] {
    let mut table = [true; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = !(byte.is_ascii_alphanumeric() || byte == b'-');
        byte += 1;
    }
    table
}

#[inline]
fn listed_family(name: &str) -> Option<HeaderCategory> {
    let bytes = name.as_bytes();
    // An exact name takes precedence: `x-auth-request-redirect` begins with a prefix too.
    let exact = find(exact_bucket(bytes), |listed| listed == name);
    if exact.is_some() {
        return exact;
    }
    let prefixed = find(prefix_bucket(bytes), |listed| {
        let prefix = listed.strip_suffix('*');
        prefix.is_some_and(|prefix| name.starts_with(prefix))
    });
    if prefixed.is_some() {
        return prefixed;
    }
    find(suffix_bucket(bytes), |listed| {
        let suffix = listed.strip_prefix('*');
        suffix.is_some_and(|suffix| name.ends_with(suffix))
    })
}

#[inline]
fn find(bucket: usize, is_meant: impl Fn(&str) -> bool) -> Option<HeaderCategory> {
    let mut rows = in_bucket(bucket).iter();
    let row = rows.find(|(listed, _)| is_meant(listed));
    row.map(|(_, family)| *family)
}

// The lookup runs for every header of every request, so the table is sorted into buckets at compile
// time: exact names by length, third and last byte, prefixes by first, third and fourth byte,
// suffixes by their last four bytes. Most names of most requests meet empty
// buckets, or one name that differs early.

const EXACT_BUCKETS: usize = 512;
const PREFIX_BUCKETS: usize = 64;
const SUFFIX_BUCKETS: usize = 64;
const BUCKETS: usize = EXACT_BUCKETS + PREFIX_BUCKETS + SUFFIX_BUCKETS;

const fn exact_bucket(name: &[u8]) -> usize {
    let mixed = match name {
        [_, _, third, .., last] => *third as usize * 23 + *last as usize,
        _ => 0,
    };
    (name.len() * 9 + mixed) % EXACT_BUCKETS
}

/// Returns the bucket of a name by its prefix. Every prefix in the table has at least four bytes.
const fn prefix_bucket(name: &[u8]) -> usize {
    let mixed = match name {
        [first, _, third, fourth, ..] => {
            *first as usize * 2 + *third as usize + *fourth as usize * 5
        }
        _ => 0,
    };
    EXACT_BUCKETS + mixed % PREFIX_BUCKETS
}

/// Returns the bucket of a name by its suffix. Every suffix in the table has at least four bytes.
const fn suffix_bucket(name: &[u8]) -> usize {
    let mixed = match name.last_chunk() {
        // With this factor no usual name shares a bucket with a suffix.
        Some(last) => u32::from_le_bytes(*last).wrapping_mul(0xab99_254b) >> 26,
        None => 0,
    };
    EXACT_BUCKETS + PREFIX_BUCKETS + mixed as usize % SUFFIX_BUCKETS
}

const fn bucket_of_listed(listed: &[u8]) -> usize {
    match listed {
        [.., b'*'] => prefix_bucket(listed),
        [b'*', ..] => suffix_bucket(listed),
        _ => exact_bucket(listed),
    }
}

const NAMES: usize = count_names();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which checks every index"
)]
const fn count_names() -> usize {
    let (mut names, mut group) = (0, 0);
    while group < GROUPS.len() {
        names += GROUPS[group].names.len();
        group += 1;
    }
    names
}

type Row = (&'static str, HeaderCategory);

/// The rows of the table, sorted by bucket, and the start of each bucket.
struct Index {
    starts: [usize; BUCKETS + 1],
    rows: [Row; NAMES],
}

static INDEX: Index = build_index();

#[inline]
fn in_bucket(bucket: usize) -> &'static [Row] {
    match INDEX.starts.get(bucket..bucket + 2) {
        Some(&[start, end]) if start < end => INDEX.rows.get(start..end).unwrap_or_default(),
        _ => &[],
    }
}

/// Lists all names, group by group.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which checks every index"
)]
const fn all_rows() -> [Row; NAMES] {
    let mut rows = [("", HeaderCategory::Transport); NAMES];
    let (mut row, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut name = 0;
        while name < GROUPS[group].names.len() {
            rows[row] = (GROUPS[group].names[name], GROUPS[group].family);
            row += 1;
            name += 1;
        }
        group += 1;
    }
    rows
}

/// Sorts the names by bucket, with a counting sort.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which checks every index"
)]
const fn build_index() -> Index {
    let flat = all_rows();
    let mut starts = [0; BUCKETS + 1];
    let mut row = 0;
    while row < NAMES {
        starts[bucket_of_listed(flat[row].0.as_bytes()) + 1] += 1;
        row += 1;
    }
    let mut bucket = 0;
    while bucket < BUCKETS {
        starts[bucket + 1] += starts[bucket];
        bucket += 1;
    }
    let (mut rows, mut free) = (flat, starts);
    row = 0;
    while row < NAMES {
        let bucket = bucket_of_listed(flat[row].0.as_bytes());
        rows[free[bucket]] = flat[row];
        free[bucket] += 1;
        row += 1;
    }
    Index { starts, rows }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{BUCKETS, GROUPS, HeaderCategory, family, in_bucket};

    fn names() -> impl Iterator<Item = (&'static str, HeaderCategory)> {
        let named = |group: &'static super::Group| {
            let family = group.family;
            group.names.iter().map(move |name| (*name, family))
        };
        GROUPS.iter().flat_map(named)
    }

    #[test]
    fn every_listed_name_is_found_in_each_spelling() {
        // F-238, F-239, F-240, F-241
        for (listed, stated) in names() {
            let name = listed.replace('*', "anything");
            for spelling in [name.replace('-', "_"), name.replacen('-', "_", 1), name] {
                assert_eq!(family(&spelling), Some(stated), "{spelling}");
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in [
            "",
            "a",
            "x-",
            "accept",
            "accept-encoding",
            "content-type",
            "user-agent",
            "traceparent",
            "x-tenant-id",
            "x-github-api-version",
            "anthropic-version",
            "x-amz-target",
            "x-amz-date",
            "x-amz-copy-source-range",
            "x-amz-client-token",
            "x-csrf-token",
            "lock-token",
            "x-ms-continuation-token",
            "x-authorization-mode",
            "idempotency-key",
            "-key",
            "x-ms-version",
            "x-ms-date",
            "x-goog-user-project",
            "x-stainless-lang",
            "impersonate",
            "x-remote",
            "x-api-keys",
            "xx-api-keys",
            "xapi-key",
            "ssl-clien",
        ] {
            assert_eq!(family(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_listed_once_and_not_below_a_prefix_of_their_family() {
        let prefixes = || names().filter_map(|(name, of)| Some((name.strip_suffix('*')?, of)));
        let mut seen = BTreeSet::new();
        for (listed, stated) in names() {
            assert_eq!(listed, listed.to_ascii_lowercase().replace('_', "-"));
            for (prefix, of_prefix) in prefixes() {
                let name = listed.trim_end_matches('*');
                let beneath = name != prefix && name.starts_with(prefix);
                assert!(!beneath || stated != of_prefix, "{listed}, {prefix}*");
            }
            assert!(seen.insert(listed), "{listed} is listed twice");
        }
    }

    #[test]
    fn buckets_are_small() {
        let largest = (0..BUCKETS).map(|bucket| in_bucket(bucket).len()).max();
        assert!(largest <= Some(6), "{largest:?}");
    }
}
