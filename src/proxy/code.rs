//! The closed list of refusals: code, status, blame, whether a retry can help, and the error type of RFC 9209.

use http::StatusCode;

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The request is wrong, or not allowed.
    Agent,
    /// The upstream failed.
    Upstream,
    /// egressd cannot serve it just now.
    Proxy,
}

impl Blame {
    /// As in the refusal's document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident: $name:literal, $status:ident, $blame:ident, $retryable:literal, $title:literal;)*) => {
        /// Why egressd answers in its own name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant),* }

        impl Code {
            /// Every code that there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As in `X-Egressd-Error`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// Who has to change something.
            pub fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame),* }
            }

            /// Whether the same request may succeed later.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable),* }
            }

            /// One line for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// The request is no legal HTTP, or ambiguous.
    MalformedRequest: "malformed_request", BAD_REQUEST, Agent, false, "The request is malformed";
    /// The path could be read in more than one way.
    PathNotCanonical: "path_not_canonical", BAD_REQUEST, Agent, false, "The path is not canonical";
    /// An absolute-form target: egressd is no forward proxy.
    ForwardProxyRefused: "forward_proxy_refused", BAD_REQUEST, Agent, false, "egressd is not a forward proxy";
    /// No pattern of the connection admits the path.
    RouteNotAllowed: "route_not_allowed", FORBIDDEN, Agent, false, "The route is not allowed";
    /// The connection is switched off.
    ConnectionDisabled: "connection_disabled", FORBIDDEN, Agent, false, "The connection is disabled";
    /// The request comes from a web page.
    BrowserRequestRefused: "browser_request_refused", FORBIDDEN, Agent, false, "Requests of web pages are refused";
    /// No connection has this id.
    ConnectionNotFound: "connection_not_found", NOT_FOUND, Agent, false, "There is no such connection";
    /// The path is allowed, the method is not.
    MethodNotAllowed: "method_not_allowed", METHOD_NOT_ALLOWED, Agent, false, "The method is not allowed";
    /// CONNECT: egressd builds no tunnels.
    ConnectRefused: "connect_refused", METHOD_NOT_ALLOWED, Agent, false, "CONNECT is refused";
    /// The agent's body did not come in time.
    RequestTimeout: "request_timeout", REQUEST_TIMEOUT, Agent, true, "The request body did not arrive in time";
    /// The agent's body is over the cap.
    RequestTooLarge: "request_too_large", PAYLOAD_TOO_LARGE, Agent, false, "The request body is too large";
    /// The target is over 8 KiB.
    TargetTooLong: "target_too_long", URI_TOO_LONG, Agent, false, "The request target is too long";
    /// The Host header names another host than this one.
    HostNotAllowed: "host_not_allowed", MISDIRECTED_REQUEST, Agent, false, "The Host header is not allowed";
    /// The head has too many fields to be sent on.
    HeadersTooLarge: "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Agent, false, "The request head is too large";
    /// A WebSocket handshake.
    UpgradeRefused: "upgrade_refused", NOT_IMPLEMENTED, Agent, false, "Protocol upgrades are refused";
    /// HTTP/1.0: a truncated answer could not be told from a whole one.
    HttpVersionRefused: "http_version_refused", HTTP_VERSION_NOT_SUPPORTED, Agent, false, "The HTTP version is refused";
    /// The connection's credential cannot be obtained.
    CredentialUnavailable: "credential_unavailable", BAD_GATEWAY, Proxy, true, "The connection's credential is unavailable";
    /// No socket to the upstream.
    UpstreamUnreachable: "upstream_unreachable", BAD_GATEWAY, Upstream, true, "The upstream cannot be reached";
    /// The upstream broke the protocol.
    UpstreamProtocolError: "upstream_protocol_error", BAD_GATEWAY, Upstream, true, "The upstream broke the protocol";
    /// The upstream's address is forbidden.
    AddressRefused: "address_refused", BAD_GATEWAY, Upstream, false, "The upstream's address is forbidden";
    /// The response is over the connection's cap.
    ResponseTooLarge: "response_too_large", BAD_GATEWAY, Upstream, false, "The response is too large";
    /// The response holds a secret.
    CredentialReflected: "credential_reflected", BAD_GATEWAY, Upstream, false, "The response holds a credential";
    /// A response held a credential that can be guessed.
    CredentialExposed: "credential_exposed", SERVICE_UNAVAILABLE, Proxy, false, "The connection's credential was exposed";
    /// A bug of ours.
    InternalError: "internal_error", INTERNAL_SERVER_ERROR, Proxy, true, "egressd failed";
    /// Too many requests at once.
    Overloaded: "overloaded", SERVICE_UNAVAILABLE, Proxy, true, "Too many requests at once";
    /// The process is stopping.
    Draining: "draining", SERVICE_UNAVAILABLE, Proxy, true, "egressd is stopping";
    /// The connection's timeout passed.
    UpstreamTimeout: "upstream_timeout", GATEWAY_TIMEOUT, Upstream, true, "The upstream took too long";
}

impl Code {
    /// The error type of RFC 9209 §2.3, where the refusal itself does not know a closer one.
    pub fn proxy_status(self) -> &'static str {
        match self {
            Self::RouteNotAllowed
            | Self::ConnectionDisabled
            | Self::BrowserRequestRefused
            | Self::ConnectionNotFound
            | Self::MethodNotAllowed
            | Self::HostNotAllowed => "http_request_denied",
            Self::MalformedRequest
            | Self::PathNotCanonical
            | Self::ForwardProxyRefused
            | Self::ConnectRefused
            | Self::RequestTimeout
            | Self::RequestTooLarge
            | Self::TargetTooLong
            | Self::HeadersTooLarge
            | Self::UpgradeRefused
            | Self::HttpVersionRefused => "http_request_error",
            Self::CredentialUnavailable | Self::CredentialExposed => "proxy_configuration_error",
            Self::UpstreamUnreachable => "destination_unavailable",
            Self::UpstreamProtocolError | Self::CredentialReflected => "http_protocol_error",
            Self::AddressRefused => "destination_ip_prohibited",
            Self::ResponseTooLarge => "http_response_body_size",
            Self::InternalError => "proxy_internal_error",
            Self::Overloaded => "connection_limit_reached",
            Self::Draining => "proxy_internal_response",
            Self::UpstreamTimeout => "connection_read_timeout",
        }
    }

    /// Whether the agent's socket is closed after it: what follows on it cannot be trusted, or is not wanted.
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

    /// Seconds after which a retry makes sense, for the codes that say so.
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
    use super::Code;

    #[test]
    fn names_are_distinct() {
        let names: std::collections::HashSet<_> =
            Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
