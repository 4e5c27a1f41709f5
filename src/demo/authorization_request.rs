//! The parameters of an authorization request (RFC 6749 §4.1.1) and of the redirect that answers
//! it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::clients::PUBLIC_CLIENT_ID;
use super::consents::AuthorizationRequest;
use super::form::parse_parameters;
use super::oauth_error::OauthError;
use super::scopes::{CONSENT_SCOPES, granted_scope};

/// The longest query, in bytes. It bounds the size of a request that waits for a decision.
const MAX_QUERY: usize = 8192;
/// The length of an S256 code challenge: a SHA-256 hash in base64url (RFC 7636 §4.2).
const CHALLENGE_LENGTH: usize = 43;
/// The bytes that are escaped in a query: all but the unreserved ones (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A request that is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RejectedRequest {
    /// The client or the redirect URI is not valid, so the error is shown to the person
    /// (RFC 6749 §4.1.2.1).
    Page(&'static str),
    /// The client is informed by a redirect.
    Redirect {
        redirect_uri: String,
        state: Option<String>,
        error: OauthError,
    },
}

/// Checks the query of an authorization request.
pub(super) fn parse_authorization_request(
    query: &str,
) -> Result<AuthorizationRequest, RejectedRequest> {
    if query.len() > MAX_QUERY {
        return Err(RejectedRequest::Page("The query is too long."));
    }
    let parameters = parse_parameters(query.as_bytes()).map_err(|_| {
        let why = "The parameters are not valid, too many, or one occurs twice.";
        RejectedRequest::Page(why)
    })?;
    let parameter = |name| parameters.get(name).map(String::as_str);
    if parameter("client_id") != Some(PUBLIC_CLIENT_ID) {
        let why = "The client is unknown, or cannot act for a person.";
        return Err(RejectedRequest::Page(why));
    }
    let Some(redirect_uri) = parameter("redirect_uri").filter(|uri| is_loopback_uri(uri)) else {
        let why = "The redirect URI must be an http URI of 127.0.0.1, [::1] or localhost.";
        return Err(RejectedRequest::Page(why));
    };
    let error = if parameter("response_type") != Some("code") {
        OauthError::InvalidRequest("response_type must be code")
    } else if parameter("code_challenge_method") != Some("S256") {
        OauthError::InvalidRequest("code_challenge_method must be S256")
    } else if let Err(error) =
        granted_scope(parameter("scope").unwrap_or_default(), &CONSENT_SCOPES)
    {
        error
    } else if let Some(challenge) = parameter("code_challenge").filter(|text| is_challenge(text)) {
        return Ok(AuthorizationRequest {
            redirect_uri: redirect_uri.to_owned(),
            state: parameter("state").map(str::to_owned),
            challenge: challenge.to_owned(),
        });
    } else {
        OauthError::InvalidRequest("code_challenge is missing or not valid")
    };
    Err(RejectedRequest::Redirect {
        redirect_uri: redirect_uri.to_owned(),
        state: parameter("state").map(str::to_owned),
        error,
    })
}

/// Returns the URL of the client with these parameters, the state and the issuer (RFC 9207).
pub(super) fn redirect_url(
    redirect_uri: &str,
    parameters: &[(&str, &str)],
    state: Option<&str>,
    issuer: &str,
) -> String {
    let state = state.map(|state| ("state", state));
    let all = parameters.iter().copied().chain(state);
    let pairs: Vec<String> = all
        .chain([("iss", issuer)])
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)))
        .collect();
    format!("{redirect_uri}?{}", pairs.join("&"))
}

/// Returns whether a client on the person's machine can receive this redirect (RFC 8252 §7.3): any
/// port and any path, and neither a query nor a fragment.
fn is_loopback_uri(uri: &str) -> bool {
    let Some((authority, path)) = uri
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let is_port = |port: &str| {
        // `parse` would accept a sign.
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|number| number != 0)
    };
    let is_loopback = ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
        let port = authority.strip_prefix(host);
        port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
    });
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    is_loopback && path.bytes().all(is_plain)
}

fn is_challenge(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() == CHALLENGE_LENGTH && text.bytes().all(is_base64url)
}

#[cfg(test)]
mod tests {
    use super::{
        OauthError, RejectedRequest, is_loopback_uri, parse_authorization_request, redirect_url,
    };

    const VALID: [(&str, &str); 7] = [
        ("response_type", "code"),
        ("client_id", "calendar-app"),
        ("redirect_uri", "http://127.0.0.1:4000/callback"),
        ("scope", "calendar.read"),
        ("state", "x%26y"),
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "S256"),
    ];

    /// Returns the query with one parameter replaced, or left out if `value` is empty.
    fn query(name: &str, value: &str) -> String {
        let pairs = VALID.iter().filter_map(|(other, usual)| {
            let value = if *other == name { value } else { usual };
            (!value.is_empty()).then(|| format!("{other}={value}"))
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    #[test]
    fn valid_requests() {
        let request = parse_authorization_request(&query("", "")).unwrap();
        assert_eq!(request.redirect_uri, "http://127.0.0.1:4000/callback");
        assert_eq!(request.state.as_deref(), Some("x&y"));
        for optional in ["scope", "state"] {
            assert!(parse_authorization_request(&query(optional, "")).is_ok());
        }
    }

    #[test]
    fn a_wrong_client_or_uri_is_never_redirected() {
        let doubled = format!("{}&state=y", query("", ""));
        let long = query("state", &"x".repeat(8192));
        for rejected in [
            "",
            &query("client_id", "crm-sidecar"),
            &query("client_id", ""),
            &query("redirect_uri", ""),
            &query("redirect_uri", "https://attacker.example/"),
            &doubled,
            &long,
        ] {
            let result = parse_authorization_request(rejected);
            assert!(
                matches!(result, Err(RejectedRequest::Page(_))),
                "{rejected}"
            );
        }
    }

    #[test]
    fn other_errors_reach_the_client() {
        for (name, value, code) in [
            ("response_type", "token", "invalid_request"),
            ("scope", "calendar.read+admin", "invalid_scope"),
            ("code_challenge", "", "invalid_request"),
            ("code_challenge", "short", "invalid_request"),
            ("code_challenge_method", "", "invalid_request"),
            ("code_challenge_method", "plain", "invalid_request"),
        ] {
            let result = parse_authorization_request(&query(name, value));
            let Err(RejectedRequest::Redirect { error, state, .. }) = result else {
                panic!("{name}={value}: {result:?}");
            };
            assert_eq!((error.code(), state.as_deref()), (code, Some("x&y")));
        }
    }

    #[test]
    fn redirect_uris_are_those_of_loopback() {
        for accepted in [
            "http://127.0.0.1/callback",
            "http://localhost:1/",
            "http://[::1]:65535/a/b-c_d~e.f",
        ] {
            assert!(is_loopback_uri(accepted), "{accepted}");
        }
        for refused in [
            "https://127.0.0.1/callback",
            "http://127.0.0.1",
            "http://127.0.0.2/",
            "http://127.0.0.1.example/",
            "http://localhost@attacker.example/",
            "http://localhost:/",
            "http://localhost:0/",
            "http://localhost:+1/",
            "http://localhost:65536/",
            "http://127.0.0.1/?a=b",
            "http://127.0.0.1/#a",
            "http://127.0.0.1/a b",
        ] {
            assert!(!is_loopback_uri(refused), "{refused}");
        }
    }

    #[test]
    fn values_of_a_redirect_are_escaped() {
        let code = OauthError::AccessDenied.code();
        assert_eq!(
            redirect_url(
                "http://[::1]/c",
                &[("error", code)],
                Some("&=#"),
                "https://h:1"
            ),
            "http://[::1]/c?error=access_denied&state=%26%3D%23&iss=https%3A%2F%2Fh%3A1"
        );
    }
}
