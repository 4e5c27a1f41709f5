//! The route language: exactly the patterns of Go's `http.ServeMux`, as of Go 1.27.
//!
//! A [`Pattern`] is parsed from a text, a [`CanonicalPath`] from a request target, and a
//! [`RouteTable`] matches one against the other. The module does not depend on connections,
//! configuration or the types of an HTTP server.
//!
//! The accepted patterns, the matching paths and the winning pattern are the same as in Go, and are
//! tested against the recorded results of Go itself (`tests/vectors/servemux`). The deliberate
//! differences:
//!
//! - a host in a pattern, or a method beyond the seven, is invalid;
//! - there are no redirects: an unclean path is refused, and a path without its final slash is
//!   looked up as it is;
//! - two patterns that Go refuses to register together are both kept, and reported with a path that
//!   both match;
//! - a path that an upstream may read differently never reaches the matcher, so a pattern that only
//!   matches such paths admits nothing, although Go would serve it ([`Pattern::never_matches`]).

mod invalid;
mod method;
mod name;
mod overlap;
mod path;
mod pattern;
mod refusal;
mod relation;
mod syntax;
mod table;
mod trie;
mod walk;

pub use invalid::{InvalidPattern, InvalidPatternKind};
pub use method::{Method, MethodSet};
pub use overlap::{LeftOut, Overlap, OverlapKind, REPORTED_OVERLAPS};
pub use path::{CanonicalPath, decoded};
pub use pattern::{NeverMatches, Pattern};
pub use refusal::{NotCanonical, NotCanonicalReason};
pub use relation::{Relation, relation, witness};
pub use syntax::{Segment, Syntax};
pub use table::{Lookup, RouteTable};
pub use walk::WALK_LIMIT;
