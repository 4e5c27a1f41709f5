//! The token endpoint: `POST /token` for the client credentials grant (RFC 6749 §4.4), and no other
//! grant.
//!
//! The client authenticates by HTTP Basic or in the body (§2.3.1), but not both. Responses follow
//! §5.1 and §5.2.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use zeroize::Zeroizing;

use super::credentials::RegisteredClient;
use super::form;
use super::responses::{Body, error_response, json_response, read_body, with_header};
use super::tokens::{IssuedTokens, TOKEN_LIFETIME};

/// The scopes that a client can request. A request without scopes gets all of them.
const SCOPES: [&str; 2] = ["contacts.read", "contacts.write"];

/// The maximum number of parameters of a request.
const MAX_PARAMETERS: usize = 32;

/// The endpoint and its state.
pub(super) struct DemoTokenEndpoint {
    client: RegisteredClient,
    tokens: Arc<IssuedTokens>,
}

/// An error of a token request (§5.2), with a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenError {
    InvalidRequest(&'static str),
    InvalidClient,
    UnsupportedGrantType,
    InvalidScope,
}

impl DemoTokenEndpoint {
    pub(super) fn new(client: RegisteredClient, tokens: Arc<IssuedTokens>) -> Self {
        Self { client, tokens }
    }

    /// Responds to one request.
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() != "/token" {
            return error_response(StatusCode::NOT_FOUND, "no resource at this path");
        }
        if parts.method != Method::POST {
            let refused = error_response(StatusCode::METHOD_NOT_ALLOWED, "use POST");
            return with_header(refused, ALLOW, "POST");
        }
        self.tokens.count_request();
        let response = match read_body(body).await {
            Ok(body) => self.issue_token(&parts, &body),
            Err(too_large) => too_large,
        };
        // RFC 6749 §5.1 requires both headers.
        let response = with_header(response, CACHE_CONTROL, "no-store");
        with_header(response, PRAGMA, "no-cache")
    }

    fn issue_token(&self, parts: &Parts, body: &[u8]) -> Response<Body> {
        let scope = match self.authorize(&parts.headers, body) {
            Ok(scope) => scope,
            Err(refused) => return refused.into_response(),
        };
        match self.tokens.issue(Instant::now()) {
            Ok(token) => json_response(
                StatusCode::OK,
                &json!({
                    "access_token": *token,
                    "token_type": "Bearer",
                    "expires_in": TOKEN_LIFETIME.as_secs(),
                    "scope": scope,
                }),
            ),
            Err(_) => error_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "the system provides no random bytes",
            ),
        }
    }

    /// Checks the request, and returns the scope to grant.
    fn authorize(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, TokenError> {
        let form = form_parameters(headers, body)?;
        let form = |name| form.get(name).map(String::as_str);
        let basic = basic_credentials(headers)?;
        let in_body = form("client_secret");
        let (id, secret) = match (&basic, in_body) {
            (Some(_), Some(_)) => {
                let why = "the client must authenticate in the header or in the body, not in both";
                return Err(TokenError::InvalidRequest(why));
            }
            (Some((id, secret)), None) => (id.as_str(), secret.as_str()),
            (None, Some(secret)) => (form("client_id").unwrap_or_default(), secret),
            (None, None) => return Err(TokenError::InvalidClient),
        };
        if id != self.client.id || secret != self.client.secret.as_str() {
            return Err(TokenError::InvalidClient);
        }
        match form("grant_type") {
            Some("client_credentials") => granted_scope(form("scope").unwrap_or_default()),
            Some(_) => Err(TokenError::UnsupportedGrantType),
            None => Err(TokenError::InvalidRequest("grant_type is missing")),
        }
    }
}

fn granted_scope(requested: &str) -> Result<String, TokenError> {
    let requested: Vec<&str> = requested
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .collect();
    if requested.is_empty() {
        return Ok(SCOPES.join(" "));
    }
    if requested.iter().all(|scope| SCOPES.contains(scope)) {
        Ok(requested.join(" "))
    } else {
        Err(TokenError::InvalidScope)
    }
}

/// Parses the parameters of a request. A parameter that occurs twice is refused (§3.2).
fn form_parameters(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<BTreeMap<String, String>, TokenError> {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    if !kind.is_some_and(|kind| {
        kind.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }) {
        let why = "the body must be application/x-www-form-urlencoded";
        return Err(TokenError::InvalidRequest(why));
    }
    let Some(pairs) = form::parse_pairs(body) else {
        return Err(TokenError::InvalidRequest("the body is not a valid form"));
    };
    if pairs.len() > MAX_PARAMETERS {
        return Err(TokenError::InvalidRequest("more than 32 parameters"));
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs {
        if parameters.insert(name, value).is_some() {
            return Err(TokenError::InvalidRequest("a parameter is repeated"));
        }
    }
    Ok(parameters)
}

/// Returns the id and the secret of `Authorization: Basic`, which are form-encoded inside it
/// (§2.3.1). Another scheme is an error.
fn basic_credentials(
    headers: &HeaderMap,
) -> Result<Option<(String, Zeroizing<String>)>, TokenError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let pair = || {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        // The name of a scheme is case-insensitive (RFC 9110 §11.1).
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let pair = Zeroizing::new(String::from_utf8(pair).ok()?);
        let (id, secret) = pair.split_once(':')?;
        Some((form::decode(id)?, Zeroizing::new(form::decode(secret)?)))
    };
    pair().map(Some).ok_or(TokenError::InvalidClient)
}

impl TokenError {
    fn into_response(self) -> Response<Body> {
        let (status, code, why) = match self {
            Self::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
            Self::InvalidClient => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "unknown client, or wrong secret",
            ),
            Self::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "only client_credentials is supported",
            ),
            Self::InvalidScope => (
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                "the client cannot request this scope",
            ),
        };
        let response = json_response(status, &json!({"error": code, "error_description": why}));
        // A client that used Basic gets a challenge of that scheme (RFC 6749 §5.2).
        if status == StatusCode::UNAUTHORIZED {
            with_header(
                response,
                WWW_AUTHENTICATE,
                "Basic realm=\"egressd demo tokens\"",
            )
        } else {
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DemoTokenEndpoint, RegisteredClient, STANDARD, TokenError};
    use base64::Engine as _;
    use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
    use http::{HeaderMap, HeaderName, StatusCode};
    use zeroize::Zeroizing;

    const FORM: (HeaderName, &str) = (CONTENT_TYPE, "application/x-www-form-urlencoded");

    fn endpoint() -> DemoTokenEndpoint {
        let client = RegisteredClient {
            id: "us er",
            secret: Zeroizing::new("s:e%c".to_owned()),
        };
        DemoTokenEndpoint::new(client, std::sync::Arc::default())
    }

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    /// Returns the scope that is granted for a form and, if `pair` is not empty, these Basic
    /// credentials.
    fn granted_scope(body: &str, pair: &str) -> Result<String, TokenError> {
        let basic = format!("basic {}", STANDARD.encode(pair));
        let all = [FORM, (AUTHORIZATION, basic.as_str())];
        let sent = if pair.is_empty() { &all[..1] } else { &all };
        endpoint().authorize(&headers(sent), body.as_bytes())
    }

    #[test]
    fn a_client_authenticates_in_the_header_or_in_the_body() {
        let all = Ok("contacts.read contacts.write".to_owned());
        let grant = "grant_type=client_credentials";
        let inside = format!("client_id=us+er&client_secret=s%3Ae%25c&{grant}");
        assert_eq!(granted_scope(grant, "us+er:s%3Ae%25c"), all);
        // The id alone does not authenticate, so it may be in the body in addition to the header.
        assert_eq!(
            granted_scope(&format!("client_id=us+er&{grant}"), "us%20er:s%3Ae%25c"),
            all
        );
        assert_eq!(granted_scope(&inside, ""), all);
        assert!(matches!(
            granted_scope(&inside, "us+er:s%3Ae%25c"),
            Err(TokenError::InvalidRequest(_))
        ));
        for (body, pair) in [
            (grant, ""),
            (grant, "us+er:wrong"),
            (grant, "us er"),
            (grant, "other:s%3Ae%25c"),
            // A pair that is not form-encoded.
            (grant, "us+er:s:e%c"),
            ("client_secret=s%3Ae%25c", ""),
            ("client_id=us+er&client_secret=wrong", ""),
        ] {
            assert_eq!(
                granted_scope(body, pair),
                Err(TokenError::InvalidClient),
                "{pair}"
            );
        }
        let bearer = headers(&[FORM, (AUTHORIZATION, "Bearer x")]);
        assert_eq!(
            endpoint().authorize(&bearer, inside.as_bytes()),
            Err(TokenError::InvalidClient)
        );
    }

    #[test]
    fn grants_and_scopes() {
        let pair = "us+er:s%3Ae%25c";
        let asking = |scope: &str| {
            granted_scope(
                &format!("grant_type=client_credentials&scope={scope}"),
                pair,
            )
        };
        assert_eq!(asking("contacts.read"), Ok("contacts.read".to_owned()));
        assert_eq!(asking("contacts.read+admin"), Err(TokenError::InvalidScope));
        assert_eq!(
            granted_scope("grant_type=password", pair),
            Err(TokenError::UnsupportedGrantType)
        );
        let twice = "grant_type=client_credentials&grant_type=client_credentials";
        let mut many = String::from("grant_type=client_credentials");
        // Together with the grant type one more than `MAX_PARAMETERS`.
        (0..32).for_each(|number| many.push_str(&format!("&p{number}=")));
        for body in ["", "scope=x", twice, "grant_type=%zz", &many] {
            let refused = granted_scope(body, pair);
            assert!(
                matches!(refused, Err(TokenError::InvalidRequest(_))),
                "{body}: {refused:?}"
            );
        }
        for kind in ["application/json", ""] {
            let refused = endpoint().authorize(&headers(&[(CONTENT_TYPE, kind)]), b"");
            assert!(
                matches!(refused, Err(TokenError::InvalidRequest(_))),
                "{kind}"
            );
        }
    }

    #[test]
    fn refusals_have_their_status() {
        for (refused, status) in [
            (TokenError::InvalidClient, StatusCode::UNAUTHORIZED),
            (TokenError::InvalidScope, StatusCode::BAD_REQUEST),
            (TokenError::UnsupportedGrantType, StatusCode::BAD_REQUEST),
            (TokenError::InvalidRequest("x"), StatusCode::BAD_REQUEST),
        ] {
            let response = refused.into_response();
            assert_eq!(response.status(), status);
            let challenged = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(challenged, status == StatusCode::UNAUTHORIZED);
        }
    }
}
