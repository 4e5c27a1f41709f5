//! The header fields of responses that hold references, which are rewritten for the agent.

use http::HeaderName;

/// The syntax of a field's value.
#[derive(Clone, Copy)]
pub(super) enum Syntax {
    /// One reference.
    Reference,
    /// A list of links (RFC 8288).
    Links,
    /// A number of seconds and maybe a reference (HTML Standard, "shared declarative refresh").
    Refresh,
}

/// Defines the list of the fields, and a function that recognises their names with one comparison
/// in most cases. It is called for every field of every response.
macro_rules! reference_fields {
    ($($name:literal => $syntax:ident,)*) => {
        /// The fields in the order in which they are rewritten, and their syntax.
        pub(super) static REFERENCE_FIELDS: [(HeaderName, Syntax); [$($name),*].len()] =
            [$((HeaderName::from_static($name), Syntax::$syntax)),*];

        /// Returns whether fields of this name hold references.
        pub(super) fn is_reference_field(name: &str) -> bool {
            matches!(name, $($name)|*)
        }
    };
}

reference_fields! {
    "location" => Reference,
    "content-location" => Reference,
    "link" => Links,
    "refresh" => Refresh,
    // The state of a long-running operation (Azure REST API guidelines).
    "operation-location" => Reference,
    "azure-asyncoperation" => Reference,
    // The session of a resumable upload (Google APIs).
    "x-goog-upload-url" => Reference,
    "x-goog-upload-control-url" => Reference,
}
