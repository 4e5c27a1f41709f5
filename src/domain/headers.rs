//! Header names that the proxy itself interprets, and the headers that an operator configures.

use http::{HeaderName, HeaderValue};

/// A header that the operator adds to every request (`headers`). Its value is not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredHeader {
    /// The name of the header.
    pub name: HeaderName,
    /// The name as the definition spells it, for messages.
    pub written: Box<str>,
    /// The value of the header.
    pub value: HeaderValue,
}

/// The reason why a header cannot be configured in `headers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedHeader {
    /// The header determines how a message is framed or where it is sent: `Content-Length`, `Host`,
    /// ….
    Framing,
    /// The header applies to one hop only (RFC 9110 §7.6.1): `Connection`, `TE`, ….
    HopByHop,
    /// The header carries a credential. `static_headers` may set it.
    Credential,
    /// egressd sets the header: `X-Webhook-Signature`, `X-Request-Id`, `X-Egressd-*`.
    Ours,
}

const FRAMING: &[&str] = &["content-length", "host", "transfer-encoding"];

/// The names of RFC 9110 §7.6.1, and older names that are still in use.
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

/// Returns the purpose that a name is reserved for, if there is one. `name` is in lower case.
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
    /// Returns whether `static_headers` may set the header nevertheless, because that kind of auth
    /// exists to carry credentials.
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
