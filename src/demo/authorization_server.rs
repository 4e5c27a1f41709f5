//! The authorization server: pages on which a person consents, and endpoints for clients.
//!
//! | path | standard |
//! |---|---|
//! | `GET` and `POST /authorize` for the person | RFC 6749 §4.1, RFC 7636, RFC 9207 |
//! | `POST /device_authorization`; `GET` and `POST /device` for the person | RFC 8628 |
//! | `POST /token` | RFC 6749 §4.1.3, §4.4, §6; RFC 8628 §3.4 |
//! | `POST /revoke` | RFC 7009 |

use std::sync::Arc;
use std::time::Instant;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, PRAGMA};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::authorization_request::{RejectedRequest, parse_authorization_request, redirect_url};
use super::clients::{Client, Clients};
use super::consents::{ACCOUNTS, Consents, Decision};
use super::device_requests::{DEVICE_REQUEST_LIFETIME, POLL_INTERVAL};
use super::form::{Parameters, parse_parameters};
use super::oauth_error::OauthError;
use super::pages::{consent_page, device_page, message_page};
use super::responses::{
    Body, empty_response, error_response, json_response, read_body, with_header,
};
use super::scopes::{CONSENT_SCOPES, granted_scope};
use super::token_requests::issue_tokens;
use super::tokens::IssuedTokens;

/// The server and its state.
pub(super) struct AuthorizationServer {
    /// The origin of the server, which is the value of `iss`.
    issuer: String,
    clients: Clients,
    tokens: Arc<IssuedTokens>,
    consents: Arc<Consents>,
}

impl AuthorizationServer {
    pub(super) fn new(
        issuer: String,
        clients: Clients,
        tokens: Arc<IssuedTokens>,
        consents: Arc<Consents>,
    ) -> Self {
        Self {
            issuer,
            clients,
            tokens,
            consents,
        }
    }

    /// Responds to one request.
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let response = match read_body(body).await {
            Ok(body) => self.respond_to(&parts, &body, Instant::now()),
            Err(too_large) => too_large,
        };
        // RFC 6749 §5.1 requires both headers for responses with tokens. Pages have ids and codes.
        let response = with_header(response, CACHE_CONTROL, "no-store");
        with_header(response, PRAGMA, "no-cache")
    }

    fn respond_to(&self, parts: &Parts, body: &[u8], now: Instant) -> Response<Body> {
        let query = parts.uri.query().unwrap_or_default();
        let result = match (parts.uri.path(), parts.method.as_str()) {
            ("/authorize", "GET") => return self.show_consent_page(query, now),
            ("/device", "GET") => return show_device_page(query),
            ("/authorize", "POST") => {
                form_parameters(&parts.headers, body).and_then(|form| self.decide(&form, now))
            }
            ("/device", "POST") => form_parameters(&parts.headers, body)
                .and_then(|form| self.decide_device(&form, now)),
            ("/token", "POST") => form_parameters(&parts.headers, body)
                .and_then(|form| self.issue_tokens(&parts.headers, &form, now)),
            ("/device_authorization", "POST") => form_parameters(&parts.headers, body)
                .and_then(|form| self.begin_device(&parts.headers, &form, now)),
            ("/revoke", "POST") => form_parameters(&parts.headers, body)
                .and_then(|form| self.revoke(&parts.headers, &form, now)),
            ("/authorize" | "/device", _) => return method_not_allowed("GET, POST"),
            ("/token" | "/device_authorization" | "/revoke", _) => {
                return method_not_allowed("POST");
            }
            _ => return error_response(StatusCode::NOT_FOUND, "no resource at this path"),
        };
        result.unwrap_or_else(OauthError::into_response)
    }

    fn show_consent_page(&self, query: &str, now: Instant) -> Response<Body> {
        let accepted = match parse_authorization_request(query) {
            Ok(accepted) => accepted,
            Err(RejectedRequest::Page(why)) => {
                return message_page(StatusCode::BAD_REQUEST, "Invalid request", why);
            }
            Err(RejectedRequest::Redirect {
                redirect_uri,
                state,
                error,
            }) => {
                let parameters = [
                    ("error", error.code()),
                    ("error_description", error.description()),
                ];
                return self.redirect(&redirect_uri, state.as_deref(), &parameters);
            }
        };
        match self.consents.begin(accepted, now) {
            Ok(id) => consent_page(&id, &CONSENT_SCOPES.join(" ")),
            Err(error) => error.into_response(),
        }
    }

    /// Handles the form of the consent page.
    fn decide(&self, form: &Parameters, now: Instant) -> Result<Response<Body>, OauthError> {
        let id = form.get("request").map(String::as_str).unwrap_or_default();
        let decided = self.consents.decide(id, parse_decision(form)?, now)?;
        let Some(decided) = decided else {
            let why = "This request was decided already, or has expired. Start again.";
            return Ok(message_page(
                StatusCode::BAD_REQUEST,
                "Unknown request",
                why,
            ));
        };
        let denied = OauthError::AccessDenied;
        let parameter = match &decided.code {
            Some(code) => ("code", code.as_str()),
            None => ("error", denied.code()),
        };
        let request = &decided.request;
        Ok(self.redirect(
            &request.redirect_uri,
            request.state.as_deref(),
            &[parameter],
        ))
    }

    /// Redirects the browser to the client. 303 makes it use GET after the form.
    fn redirect(
        &self,
        redirect_uri: &str,
        state: Option<&str>,
        parameters: &[(&str, &str)],
    ) -> Response<Body> {
        let url = redirect_url(redirect_uri, parameters, state, &self.issuer);
        with_header(empty_response(StatusCode::SEE_OTHER), LOCATION, &url)
    }

    fn issue_tokens(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
        now: Instant,
    ) -> Result<Response<Body>, OauthError> {
        if form
            .get("grant_type")
            .is_some_and(|t| t == "client_credentials")
        {
            // Counted before the client is checked, so that refused requests count too.
            self.tokens.count_request();
        }
        let client = self.clients.authenticate(headers, form)?;
        let answer = issue_tokens(client, form, &self.tokens, &self.consents, now)?;
        Ok(json_response(StatusCode::OK, &answer))
    }

    fn begin_device(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
        now: Instant,
    ) -> Result<Response<Body>, OauthError> {
        self.require_public_client(headers, form)?;
        let scope = form.get("scope").map(String::as_str).unwrap_or_default();
        granted_scope(scope, &CONSENT_SCOPES)?;
        let device_code = self.consents.begin_device(now)?;
        let user_code = self.consents.user_code();
        let page = format!("{}/device", self.issuer);
        Ok(json_response(
            StatusCode::OK,
            &json!({
                "device_code": *device_code,
                "user_code": user_code.to_string(),
                "verification_uri": page,
                "verification_uri_complete": format!("{page}?user_code={user_code}"),
                "expires_in": DEVICE_REQUEST_LIFETIME.as_secs(),
                "interval": POLL_INTERVAL.as_secs(),
            }),
        ))
    }

    /// Handles the form of the page for devices.
    fn decide_device(&self, form: &Parameters, now: Instant) -> Result<Response<Body>, OauthError> {
        let decision = parse_decision(form)?;
        let user_code = form.get("user_code").map(String::as_str);
        let user_code = user_code.unwrap_or_default();
        Ok(if !self.consents.decide_device(user_code, decision, now) {
            let why = "No device waits with this code.";
            message_page(StatusCode::BAD_REQUEST, "Unknown code", why)
        } else if decision == Decision::Deny {
            message_page(StatusCode::OK, "Denied", "The device gets no access.")
        } else {
            let sentence = "The device gets access within seconds. You can close this page.";
            message_page(StatusCode::OK, "Allowed", sentence)
        })
    }

    /// Ends the grant of a token. The answer is the same for an unknown token (RFC 7009 §2.2).
    fn revoke(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
        now: Instant,
    ) -> Result<Response<Body>, OauthError> {
        self.require_public_client(headers, form)?;
        let Some(token) = form.get("token") else {
            return Err(OauthError::InvalidRequest("token is missing"));
        };
        self.consents.revoke(token, now);
        Ok(empty_response(StatusCode::OK))
    }

    fn require_public_client(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<(), OauthError> {
        match self.clients.authenticate(headers, form)? {
            Client::Public => Ok(()),
            Client::Service => Err(OauthError::UnauthorizedClient),
        }
    }
}

fn show_device_page(query: &str) -> Response<Body> {
    let parameters = parse_parameters(query.as_bytes()).unwrap_or_default();
    let user_code = parameters.get("user_code").map(String::as_str);
    device_page(user_code.unwrap_or_default(), &CONSENT_SCOPES.join(" "))
}

/// Parses a form of a page. Without an account, the first one decides.
fn parse_decision(form: &Parameters) -> Result<Decision, OauthError> {
    let account = match form.get("account") {
        None => ACCOUNTS.first(),
        Some(chosen) => ACCOUNTS.iter().find(|account| *account == chosen),
    };
    match (form.get("decision").map(String::as_str), account) {
        (Some("approve"), Some(account)) => Ok(Decision::Approve(account)),
        (Some("approve"), None) => Err(OauthError::InvalidRequest("unknown account")),
        (Some("deny"), _) => Ok(Decision::Deny),
        (_, _) => {
            let why = "decision must be approve or deny";
            Err(OauthError::InvalidRequest(why))
        }
    }
}

/// Parses the parameters in a body.
fn form_parameters(headers: &HeaderMap, body: &[u8]) -> Result<Parameters, OauthError> {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    if !kind.is_some_and(|kind| {
        kind.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }) {
        let why = "the body must be application/x-www-form-urlencoded";
        return Err(OauthError::InvalidRequest(why));
    }
    parse_parameters(body).map_err(OauthError::InvalidRequest)
}

fn method_not_allowed(methods: &str) -> Response<Body> {
    let why = format!("use {}", methods.replace(", ", " or "));
    let refused = error_response(StatusCode::METHOD_NOT_ALLOWED, &why);
    with_header(refused, ALLOW, methods)
}

#[cfg(test)]
mod tests;
