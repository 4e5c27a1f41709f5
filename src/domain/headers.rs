//! Header names that have a meaning to the proxy itself, and the headers that an operator configures.

use http::{HeaderName, HeaderValue};

/// A header that the operator sends with every request (`headers`). Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its name as the definition spells it, for people.
    pub written: Box<str>,
    /// Its value.
    pub value: HeaderValue,
}

/// Why a header cannot be configured by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedHeader {
    /// It decides how a message is framed or where it goes: `Content-Length`, `Host`, ….
    Framing,
    /// It speaks of one socket only (RFC 9110 §7.6.1): `Connection`, `TE`, ….
    HopByHop,
    /// It carries a credential: it belongs into an auth kind.
    Credential,
    /// egressd sets it itself: `X-Webhook-Signature`, `X-Request-Id`, `X-Egressd-*`.
    Ours,
}

const FRAMING: &[&str] = &["content-length", "host", "transfer-encoding"];

/// RFC 9110 §7.6.1 and the older names that still go about.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

const CREDENTIAL: &[&str] = &["authorization", "cookie", "proxy-authorization"];

const OURS: &[&str] = &["x-request-id", "x-webhook-signature"];

/// What a name is reserved for, if it is. `name` is in lower case.
pub fn reserved(name: &HeaderName) -> Option<ReservedHeader> {
    let name = name.as_str();
    if FRAMING.contains(&name) {
        Some(ReservedHeader::Framing)
    } else if HOP_BY_HOP.contains(&name) {
        Some(ReservedHeader::HopByHop)
    } else if CREDENTIAL.contains(&name) || name.starts_with("proxy-") {
        Some(ReservedHeader::Credential)
    } else if OURS.contains(&name) || name.starts_with("x-egressd-") {
        Some(ReservedHeader::Ours)
    } else {
        None
    }
}

impl ReservedHeader {
    /// Whether `static_headers` may set it all the same: it exists to carry credentials.
    pub fn is_credential(self) -> bool {
        self == Self::Credential
    }
}

#[cfg(test)]
mod tests {
    use super::{ReservedHeader, reserved};
    use http::HeaderName;

    #[test]
    fn reserved_names() {
        // F-13
        for (name, expected) in [
            ("Host", Some(ReservedHeader::Framing)),
            ("Transfer-Encoding", Some(ReservedHeader::Framing)),
            ("TE", Some(ReservedHeader::HopByHop)),
            ("Expect", Some(ReservedHeader::HopByHop)),
            ("Authorization", Some(ReservedHeader::Credential)),
            ("Proxy-Authenticate", Some(ReservedHeader::Credential)),
            ("X-Webhook-Signature", Some(ReservedHeader::Ours)),
            ("X-Egressd-Error", Some(ReservedHeader::Ours)),
            ("X-Tenant-ID", None),
            ("Content-Type", None),
        ] {
            assert_eq!(
                reserved(&HeaderName::from_bytes(name.as_bytes()).unwrap()),
                expected,
                "{name}"
            );
        }
    }
}
