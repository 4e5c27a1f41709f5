//! The closed list of refusal codes. Each has a status, a party to blame, whether a retry can help,
//! and an error type of RFC 9209.

use http::StatusCode;
use hyper::ext::ReasonPhrase;

/// The party that has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The agent: its request is wrong or not allowed.
    Agent,
    /// The upstream, which failed.
    Upstream,
    /// egressd or its operator: the request cannot be served at the moment.
    Proxy,
}

impl Blame {
    /// Returns the value of `blame` in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

/// Expands to the standard reason phrase of a status (RFC 9110 §15).
macro_rules! standard_phrase {
    (BAD_REQUEST) => {
        "Bad Request"
    };
    (FORBIDDEN) => {
        "Forbidden"
    };
    (NOT_FOUND) => {
        "Not Found"
    };
    (METHOD_NOT_ALLOWED) => {
        "Method Not Allowed"
    };
    (REQUEST_TIMEOUT) => {
        "Request Timeout"
    };
    (PAYLOAD_TOO_LARGE) => {
        "Payload Too Large"
    };
    (URI_TOO_LONG) => {
        "URI Too Long"
    };
    (MISDIRECTED_REQUEST) => {
        "Misdirected Request"
    };
    (REQUEST_HEADER_FIELDS_TOO_LARGE) => {
        "Request Header Fields Too Large"
    };
    (INTERNAL_SERVER_ERROR) => {
        "Internal Server Error"
    };
    (NOT_IMPLEMENTED) => {
        "Not Implemented"
    };
    (BAD_GATEWAY) => {
        "Bad Gateway"
    };
    (SERVICE_UNAVAILABLE) => {
        "Service Unavailable"
    };
    (GATEWAY_TIMEOUT) => {
        "Gateway Timeout"
    };
    (HTTP_VERSION_NOT_SUPPORTED) => {
        "HTTP Version Not Supported"
    };
}

macro_rules! codes {
    ($($variant:ident: $name:literal, $status:ident, $blame:ident, $retryable:literal, $proxy_status:literal, $title:literal;)*) => {
        /// The reason why egressd answers a request itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalCode { $(#[doc = $title] $variant),* }

        impl RefusalCode {
            /// All codes, in the order of their definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the value of `code` in the document and of `X-Egressd-Error`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns the HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// Returns the reason phrase of the status line: the standard one and the code. Some
            /// clients show nothing else of a response.
            pub fn reason_phrase(self) -> ReasonPhrase {
                match self {
                    $(Self::$variant => const {
                        ReasonPhrase::from_static(
                            concat!(standard_phrase!($status), " (egressd: ", $name, ")").as_bytes(),
                        )
                    }),*
                }
            }

            /// Returns the party that has to change something.
            pub fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame),* }
            }

            /// Returns whether the same request may succeed later. A single refusal with this
            /// code can still have a permanent reason, and is then not retryable.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable),* }
            }

            /// Returns the error type of RFC 9209 §2.3 that is used unless a refusal has a more
            /// exact one.
            pub fn proxy_status(self) -> &'static str {
                match self { $(Self::$variant => $proxy_status),* }
            }

            /// Returns the `title` of the document.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    MalformedRequest: "malformed_request", BAD_REQUEST, Agent, false, "http_request_error", "The request is malformed";
    PathNotCanonical: "path_not_canonical", BAD_REQUEST, Agent, false, "http_request_error", "The path is not canonical";
    // The target is in absolute form.
    ForwardProxyRefused: "forward_proxy_refused", BAD_REQUEST, Agent, false, "http_request_error", "egressd is not a forward proxy";
    RouteNotAllowed: "route_not_allowed", FORBIDDEN, Agent, false, "http_request_denied", "The route is not allowed";
    ConnectionDisabled: "connection_disabled", FORBIDDEN, Agent, false, "http_request_denied", "The connection is disabled";
    BrowserRequestRefused: "browser_request_refused", FORBIDDEN, Agent, false, "http_request_denied", "Requests from web pages are refused";
    ConsentRequired: "consent_required", FORBIDDEN, Proxy, false, "http_request_denied", "A person has to consent";
    ConnectionNotFound: "connection_not_found", NOT_FOUND, Agent, false, "http_request_denied", "There is no such connection";
    MethodNotAllowed: "method_not_allowed", METHOD_NOT_ALLOWED, Agent, false, "http_request_denied", "The method is not allowed";
    ConnectRefused: "connect_refused", METHOD_NOT_ALLOWED, Agent, false, "http_request_error", "CONNECT is refused";
    RequestTimeout: "request_timeout", REQUEST_TIMEOUT, Agent, true, "http_request_error", "The request body did not arrive in time";
    RequestTooLarge: "request_too_large", PAYLOAD_TOO_LARGE, Agent, false, "http_request_error", "The request body is too large";
    // Over 8 KiB.
    TargetTooLong: "target_too_long", URI_TOO_LONG, Agent, false, "http_request_error", "The request target is too long";
    HostNotAllowed: "host_not_allowed", MISDIRECTED_REQUEST, Agent, false, "http_request_denied", "The Host header is not allowed";
    // More than 64 KiB or 100 fields.
    HeadersTooLarge: "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Agent, false, "http_request_error", "The request head is too large";
    UpgradeRefused: "upgrade_refused", NOT_IMPLEMENTED, Agent, false, "http_request_error", "Protocol upgrades are refused";
    // An HTTP/1.0 client cannot distinguish a truncated response from a complete one.
    HttpVersionRefused: "http_version_refused", HTTP_VERSION_NOT_SUPPORTED, Agent, false, "http_request_error", "The HTTP version is refused";
    CredentialUnavailable: "credential_unavailable", BAD_GATEWAY, Proxy, true, "proxy_configuration_error", "The connection's credential is unavailable";
    UpstreamUnreachable: "upstream_unreachable", BAD_GATEWAY, Upstream, true, "destination_unavailable", "The upstream cannot be reached";
    UpstreamProtocolError: "upstream_protocol_error", BAD_GATEWAY, Upstream, true, "http_protocol_error", "The upstream broke the protocol";
    AddressRefused: "address_refused", BAD_GATEWAY, Upstream, false, "destination_ip_prohibited", "The upstream's address is forbidden";
    ResponseTooLarge: "response_too_large", BAD_GATEWAY, Upstream, false, "http_response_body_size", "The response is too large";
    CredentialReflected: "credential_reflected", BAD_GATEWAY, Upstream, false, "http_protocol_error", "The response contains a credential";
    CredentialExposed: "credential_exposed", SERVICE_UNAVAILABLE, Proxy, false, "proxy_configuration_error", "The connection's credential was exposed";
    InternalError: "internal_error", INTERNAL_SERVER_ERROR, Proxy, true, "proxy_internal_error", "egressd failed";
    Overloaded: "overloaded", SERVICE_UNAVAILABLE, Proxy, true, "connection_limit_reached", "Too many requests at once";
    Draining: "draining", SERVICE_UNAVAILABLE, Proxy, true, "proxy_internal_response", "egressd is stopping";
    UpstreamTimeout: "upstream_timeout", GATEWAY_TIMEOUT, Upstream, true, "connection_read_timeout", "The upstream took too long";
}

impl RefusalCode {
    /// Returns whether the agent's socket is closed after the response, because the bytes that
    /// follow cannot be trusted or are not wanted.
    pub fn closes(self) -> bool {
        matches!(
            self,
            Self::MalformedRequest
                | Self::ConnectRefused
                | Self::UpgradeRefused
                | Self::HttpVersionRefused
                | Self::RequestTimeout
                | Self::RequestTooLarge
                | Self::Draining
                | Self::InternalError
        )
    }

    /// Returns the seconds of `Retry-After`, for the codes that have this field.
    pub fn retry_after(self) -> Option<u32> {
        if self == Self::CredentialUnavailable {
            Some(30)
        } else if self.status() == StatusCode::SERVICE_UNAVAILABLE && self.is_retryable() {
            Some(1)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RefusalCode;

    #[test]
    fn names_are_distinct() {
        let names: std::collections::HashSet<_> =
            RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), RefusalCode::ALL.len());
    }

    #[test]
    fn reason_phrases_begin_with_the_standard_one() {
        for code in RefusalCode::ALL {
            let standard = code.status().canonical_reason().unwrap();
            let expected = format!("{standard} (egressd: {})", code.as_str());
            assert_eq!(code.reason_phrase().as_bytes(), expected.as_bytes());
        }
    }
}
