//! Tests of the server without sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{AuthorizationServer, Body, Clients, Consents, IssuedTokens, POLL_INTERVAL};
use crate::demo::clients::ServiceClient;
use crate::demo::consents::code_challenge;
use crate::demo::device_requests::UserCode;

const URI: &str = "http://127.0.0.1:4000/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const PUBLIC: &str = "client_id=calendar-app";
const SERVICE: &str = "client_id=service&client_secret=secret";

struct World {
    server: AuthorizationServer,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let service = ServiceClient {
            id: "service",
            secret: Zeroizing::new("secret".to_owned()),
        };
        let server = AuthorizationServer::new(
            "https://server".to_owned(),
            Clients::new(service),
            Arc::new(IssuedTokens::default()),
            Arc::new(Consents::new(UserCode::generate().unwrap())),
        );
        Self {
            server,
            now: Instant::now(),
        }
    }

    fn send(&self, method: &str, target: &str, body: &str) -> (Response<Body>, String) {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let response = self.server.respond_to(&parts, body.as_bytes(), self.now);
        let (head, body) = response.into_parts();
        let mut body = body;
        let mut bytes = Vec::new();
        // The bodies are in memory, so they are ready at once.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        while let Some(frame) = runtime.block_on(body.frame()) {
            bytes.extend(frame.unwrap().into_data().unwrap());
        }
        let text = String::from_utf8(bytes).unwrap();
        (Response::from_parts(head, Body::default()), text)
    }

    /// Sends a form. Returns the status and the body as JSON.
    fn post(&self, path: &str, form: &str) -> (StatusCode, Value) {
        let (head, text) = self.send("POST", path, form);
        let value = serde_json::from_str(&text).unwrap_or(Value::Null);
        (head.status(), value)
    }

    /// Returns the error code of a refused token request.
    fn token_error(&self, form: &str) -> String {
        let (status, answer) = self.post("/token", form);
        assert!(status.is_client_error(), "{status} {answer}");
        text(&answer, "error")
    }

    /// Opens the consent page and sends its form. Returns the URL of the redirect.
    fn decide(&self, decision: &str) -> String {
        let challenge = code_challenge(VERIFIER);
        let (page, html) = self.send(
            "GET",
            &format!(
                "/authorize?response_type=code&{PUBLIC}&redirect_uri={URI}&state=s&code_challenge=\
                 {challenge}&code_challenge_method=S256"
            ),
            "",
        );
        assert_eq!(page.status(), StatusCode::OK);
        assert!(!html.contains("<script"), "{html}");
        let (_, rest) = html.split_once("name=\"request\" value=\"").unwrap();
        let (id, _) = rest.split_once('"').unwrap();
        let form = format!("request={id}&decision={decision}&account=grace@example.com");
        let (redirect, _) = self.send("POST", "/authorize", &form);
        assert_eq!(redirect.status(), StatusCode::SEE_OTHER);
        let (again, _) = self.send("POST", "/authorize", &form);
        assert_eq!(again.status(), StatusCode::BAD_REQUEST);
        redirect.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    fn exchange(&self) -> Value {
        let url = self.decide("approve");
        let (_, rest) = url.split_once("?code=").unwrap();
        let (code, rest) = rest.split_once('&').unwrap();
        assert_eq!(rest, "state=s&iss=https%3A%2F%2Fserver");
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={URI}&code_verifier=\
             {VERIFIER}&{PUBLIC}"
        );
        let (status, answer) = self.post("/token", &form);
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().expect(name).to_owned()
}

fn refresh_form(answer: &Value) -> String {
    let token = text(answer, "refresh_token");
    format!("grant_type=refresh_token&refresh_token={token}&{PUBLIC}")
}

#[test]
fn a_person_consents_in_a_browser() {
    let world = World::new();
    let answer = world.exchange();
    assert_eq!(answer["expires_in"], 120);
    assert_eq!(answer["scope"], "calendar.read");
    let (status, refreshed) = world.post("/token", &refresh_form(&answer));
    assert_eq!(status, StatusCode::OK, "{refreshed}");
    assert_ne!(refreshed["refresh_token"], answer["refresh_token"]);
    // The old refresh token ends the grant.
    let old = refresh_form(&answer);
    assert_eq!(world.token_error(&old), "invalid_grant");
    let newest = refresh_form(&refreshed);
    assert_eq!(world.token_error(&newest), "invalid_grant");
}

#[test]
fn a_denied_request_returns_to_the_client() {
    let url = World::new().decide("deny");
    let expected = format!("{URI}?error=access_denied&state=s&iss=https%3A%2F%2Fserver");
    assert_eq!(url, expected);
}

#[test]
fn an_invalid_request_returns_to_a_known_client_only() {
    let world = World::new();
    let target = format!("/authorize?response_type=code&{PUBLIC}&redirect_uri={URI}");
    let (response, _) = world.send("GET", &target, "");
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let url = response.headers()[LOCATION].to_str().unwrap();
    assert!(url.starts_with(&format!("{URI}?error=invalid_request&")));
    let target = format!("/authorize?response_type=code&{PUBLIC}&redirect_uri=https://other/");
    let (response, _) = world.send("GET", &target, "");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!response.headers().contains_key(LOCATION));
}

#[test]
fn a_person_approves_a_device() {
    let mut world = World::new();
    let (status, device) = world.post("/device_authorization", PUBLIC);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(device["verification_uri"], "https://server/device");
    assert_eq!(device["interval"], POLL_INTERVAL.as_secs());
    let (code, user_code) = (text(&device, "device_code"), text(&device, "user_code"));
    let poll = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={code}&{PUBLIC}"
    );
    assert_eq!(world.token_error(&poll), "authorization_pending");
    assert_eq!(world.token_error(&poll), "slow_down");
    let complete = text(&device, "verification_uri_complete");
    let target = complete.strip_prefix("https://server").unwrap();
    let (_, html) = world.send("GET", target, "");
    assert!(html.contains(&format!("value=\"{user_code}\"")), "{html}");
    let wrong = world.post("/device", "user_code=BCDF&decision=approve");
    assert_eq!(wrong.0, StatusCode::BAD_REQUEST);
    let approval = format!("user_code={user_code}&decision=approve");
    assert_eq!(world.post("/device", &approval).0, StatusCode::OK);
    assert_eq!(world.post("/device", &approval).0, StatusCode::BAD_REQUEST);
    world.now += 2 * POLL_INTERVAL;
    let (status, answer) = world.post("/token", &poll);
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        world.post("/token", &refresh_form(&answer)).0,
        StatusCode::OK
    );
}

#[test]
fn a_device_that_is_denied_or_too_late_gets_no_token() {
    for (decision, wait, error) in [
        ("deny", POLL_INTERVAL, "access_denied"),
        ("approve", Duration::from_secs(600), "expired_token"),
    ] {
        let mut world = World::new();
        let (_, device) = world.post("/device_authorization", PUBLIC);
        let (code, user_code) = (text(&device, "device_code"), text(&device, "user_code"));
        let form = format!("user_code={user_code}&decision={decision}");
        assert_eq!(world.post("/device", &form).0, StatusCode::OK);
        world.now += wait;
        let poll = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={code}&{PUBLIC}"
        );
        assert_eq!(world.token_error(&poll), error);
    }
}

#[test]
fn a_revoked_token_ends_the_grant() {
    let world = World::new();
    for name in ["refresh_token", "access_token"] {
        let answer = world.exchange();
        let form = format!(
            "token={}&token_type_hint={name}&{PUBLIC}",
            text(&answer, name)
        );
        assert_eq!(world.post("/revoke", &form).0, StatusCode::OK);
        assert_eq!(world.token_error(&refresh_form(&answer)), "invalid_grant");
        // An unknown token is no error.
        assert_eq!(world.post("/revoke", &form).0, StatusCode::OK);
    }
    for (form, error) in [
        (PUBLIC, "invalid_request"),
        ("token=x", "invalid_client"),
        (&format!("token=x&{SERVICE}"), "unauthorized_client"),
    ] {
        assert_eq!(text(&world.post("/revoke", form).1, "error"), error);
    }
}

#[test]
fn each_client_has_its_grant_types() {
    let world = World::new();
    let credentials = "grant_type=client_credentials";
    let (status, answer) = world.post("/token", &format!("{credentials}&{SERVICE}"));
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["scope"], "contacts.read contacts.write");
    assert_eq!(answer["expires_in"], 3600);
    for (form, error) in [
        (format!("{credentials}&{PUBLIC}"), "unauthorized_client"),
        (format!("{credentials}&client_id=service"), "invalid_client"),
        (
            format!("{credentials}&scope=admin&{SERVICE}"),
            "invalid_scope",
        ),
        (
            format!("grant_type=refresh_token&refresh_token=x&{SERVICE}"),
            "unauthorized_client",
        ),
        (
            format!("grant_type=password&{SERVICE}"),
            "unsupported_grant_type",
        ),
        (SERVICE.to_owned(), "invalid_request"),
        (
            format!("{credentials}&{credentials}&{SERVICE}"),
            "invalid_request",
        ),
    ] {
        assert_eq!(world.token_error(&form), error, "{form}");
    }
    // Requests of other grant types and broken ones are not counted.
    assert_eq!(world.server.tokens.requests(), 4);
}

#[test]
fn other_methods_and_paths_are_refused() {
    let world = World::new();
    for (method, path, status, allowed) in [
        (
            "GET",
            "/token",
            StatusCode::METHOD_NOT_ALLOWED,
            Some("POST"),
        ),
        (
            "GET",
            "/revoke",
            StatusCode::METHOD_NOT_ALLOWED,
            Some("POST"),
        ),
        (
            "PUT",
            "/authorize",
            StatusCode::METHOD_NOT_ALLOWED,
            Some("GET, POST"),
        ),
        (
            "DELETE",
            "/device",
            StatusCode::METHOD_NOT_ALLOWED,
            Some("GET, POST"),
        ),
        ("GET", "/", StatusCode::NOT_FOUND, None),
        ("POST", "/token/", StatusCode::NOT_FOUND, None),
    ] {
        let (response, _) = world.send(method, path, "");
        let allow = response.headers().get(ALLOW);
        let allow = allow.map(|value| value.to_str().unwrap());
        assert_eq!(
            (response.status(), allow),
            (status, allowed),
            "{method} {path}"
        );
    }
}
