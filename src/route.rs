//! The route language: exactly the patterns of Go's `http.ServeMux`, as of Go 1.27.
//!
//! A [`Pattern`] is parsed, a [`CanonicalPath`] is admitted by its own gate, a [`RouteTable`] brings
//! the two together. Nothing here knows connections, configuration, or a type of an HTTP server.
//!
//! What parses, what matches and which pattern wins is Go's, and held against what Go itself
//! answered (`tests/vectors/servemux`). On purpose different:
//!
//! * a host in a pattern, or a method beyond the seven, is invalid;
//! * there are no redirects: an unclean path is refused, a missing slash is looked up as it is;
//! * two patterns that Go refuses to register together both stand, as a union, and are reported
//!   with a path that both match;
//! * a path that an upstream may read differently never reaches the matcher, so a pattern for such
//!   paths only, which Go would serve, admits nothing ([`Pattern::never_matches`] says so).

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
