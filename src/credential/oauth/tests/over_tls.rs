//! Grants with a real token endpoint: the bytes on the wire, the refused responses, and the cases
//! in which no socket is opened.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::scripted::{taken, text};
use super::tls::{TokenServer, json};
use super::utf8_secret;
use crate::credential::unavailable::{ConnectStep, ErrorCode, InvalidTokenResponse, Reason};
use crate::domain::auth::ClientAuth;

const GOOD: &str = r#"{"access_token": "good-token", "token_type": "Bearer", "expires_in": 3600}"#;

async fn reason_for(answer: String) -> Reason {
    let server = TokenServer::start([answer]).await;
    let grant = server.grant(Handle::current());
    let reason = taken(&grant).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
    reason
}

fn head(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_token_request_as_it_goes_over_the_wire() {
    let server = TokenServer::start([json(GOOD)]).await;
    let grant = server.grant_with(Handle::current(), |terms| {
        terms.scopes = Some("a b".into());
        terms.extra_params = vec![("audience".into(), "x/y".into())];
    });
    let acquired = grant.acquire_token().await.unwrap();
    assert_eq!(acquired.token.header_value(), b"Bearer good-token");
    let body = "grant_type=client_credentials&scope=a+b&audience=x%2Fy";
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("one request: {requests:?}")
    };
    let (head, sent) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(sent, body);
    let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    assert_eq!(lines.remove(0), "post /oauth/token http/1.1");
    lines.sort();
    let host = format!("host: token.test:{}", server.port());
    let agent = concat!("user-agent: egressd/", env!("CARGO_PKG_VERSION"));
    let length = format!("content-length: {}", body.len());
    let expected = [
        "accept: application/json",
        // base64 of `the-client:the-secret`
        "authorization: basic dghllwnsawvuddp0agutc2vjcmv0",
        &length,
        "content-type: application/x-www-form-urlencoded",
        &host,
        agent,
    ];
    assert_eq!(lines, expected, "no Accept-Encoding among them");
}

#[tokio::test]
async fn no_socket_outlives_its_exchange() {
    let server = TokenServer::start([json(GOOD)]).await;
    let grant = server.grant(Handle::current());
    taken(&grant).await.unwrap();
    server.closed(1).await;
}

#[tokio::test]
async fn a_server_with_only_http2_gets_an_http2_request() {
    let server = TokenServer::http2(GOOD).await;
    let grant = server.grant(Handle::current());
    assert_eq!(taken(&grant).await, Ok(("good-token".into(), true)));
    server.closed(1).await;
}

#[tokio::test]
async fn requests_of_several_threads_share_one_call() {
    // F-147
    let credentials = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = TokenServer::start([json(GOOD)]).await;
    let grant = server.grant(credentials.handle().clone());
    let worker = || {
        let grant = Arc::clone(&grant);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                let waiting: Vec<_> = (0..250)
                    .map(|_| {
                        let grant = Arc::clone(&grant);
                        tokio::spawn(
                            async move { grant.acquire_token().await.map(|m| text(&m.token)) },
                        )
                    })
                    .collect();
                for request in waiting {
                    assert_eq!(request.await.unwrap().unwrap(), "good-token");
                }
            });
        })
    };
    let workers = [worker(), worker()];
    let joined = tokio::task::spawn_blocking(|| workers.map(|worker| worker.join().is_ok()));
    assert_eq!(joined.await.unwrap(), [true, true]);
    assert_eq!(server.requests().len(), 1);
    credentials.shutdown_background();
}

#[tokio::test]
async fn statuses() {
    // F-138
    for (status, expected) in [
        ("500 Oops", 500),
        ("503 Busy", 503),
        ("429 Slow down", 429),
        ("401 No", 401),
        ("404 Not Found", 404),
    ] {
        let answer = head(status, "", "<html>");
        assert_eq!(reason_for(answer).await, Reason::Status(expected));
    }
    let named = r#"{"error": "invalid_client"}"#;
    let reason = reason_for(head("500 Oops", "", named)).await;
    assert_eq!(
        reason,
        Reason::Status(500),
        "an error code in a 5xx response does not refuse the client"
    );
}

#[tokio::test]
async fn retry_after_extends_the_backoff() {
    // F-138
    let server = TokenServer::start([head("429 Slow", "Retry-After: 50\r\n", "")]).await;
    let held = server
        .grant(Handle::current())
        .acquire_token()
        .await
        .err()
        .unwrap();
    assert_eq!(held.reason, Reason::Status(429));
    assert!(held.retry_after.as_secs() >= 50, "{held:?}");
}

#[tokio::test]
async fn an_error_keeps_its_code_and_loses_its_description() {
    // F-139
    let body = r#"{"error": "invalid_scope", "error_description": "scope of the-secret"}"#;
    let server = TokenServer::start([head("400 Bad", "", body)]).await;
    let grant = server.grant(Handle::current());
    let reason = taken(&grant).await.unwrap_err();
    assert_eq!(reason, Reason::Refused(ErrorCode::InvalidScope));
    let failure = grant.status().last_failure.unwrap();
    assert_eq!(failure.error_text.as_deref(), Some("invalid_scope"));
}

#[tokio::test]
async fn an_error_that_repeats_the_secret_is_not_quoted() {
    let long = "x".repeat(240);
    for (secret, error) in [
        ("the-secret", "no: the-secret".to_owned()),
        // The value that basic authentication sent: `the-client:the-secret`.
        ("the-secret", "dGhlLWNsaWVudDp0aGUtc2VjcmV0".to_owned()),
        (
            "a+secret/of some length",
            "a%2Bsecret%2Fof%20some%20length".to_owned(),
        ),
        (
            "a-secret-of-some-length",
            "YS1zZWNyZXQtb2Ytc29tZS1sZW5ndGg=".to_owned(),
        ),
        // Longer than the part that is kept.
        (
            "a-secret-of-some-length",
            format!("{long}a-secret-of-some-length"),
        ),
        // Complete only after control characters are removed.
        (
            "a-secret-of-some-length",
            "a-secret\\u0007-of-some-length".to_owned(),
        ),
    ] {
        let body = format!(r#"{{"error": "{error}"}}"#);
        let server = TokenServer::start([head("400 Bad", "", &body)]).await;
        let grant = server.grant_with(Handle::current(), |terms| {
            terms.client_secret = utf8_secret(secret);
        });
        let reason = taken(&grant).await.unwrap_err();
        assert_eq!(reason, Reason::Refused(ErrorCode::Other));
        let failure = grant.status().last_failure.unwrap();
        assert_eq!(failure.error_text, None, "{error}");
    }
}

#[tokio::test]
async fn basic_is_followed_by_the_body_in_one_fetch() {
    // F-154
    let refused = head("401 No", "", r#"{"error": "invalid_client"}"#);
    let server = TokenServer::start([refused, json(GOOD)]).await;
    let grant = server.grant(Handle::current());
    assert_eq!(taken(&grant).await, Ok(("good-token".into(), true)));
    let requests = server.requests();
    assert!(
        requests[0]
            .to_ascii_lowercase()
            .contains("\r\nauthorization: basic")
    );
    assert!(
        !requests[1]
            .to_ascii_lowercase()
            .contains("\r\nauthorization:")
    );
    assert!(requests[1].ends_with("&client_id=the-client&client_secret=the-secret"));
    let status = grant.status();
    assert_eq!((status.requests_ok, status.requests_failed), (1, 1));
}

#[tokio::test]
async fn the_configured_style_is_the_only_one_if_it_is_the_body() {
    let refused = head("401 No", "", r#"{"error": "invalid_client"}"#);
    let server = TokenServer::start([refused]).await;
    let grant = server.grant_with(Handle::current(), |terms| {
        terms.client_auth = ClientAuth::Body;
    });
    let reason = taken(&grant).await.unwrap_err();
    assert_eq!(reason, Reason::Refused(ErrorCode::InvalidClient));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn invalid_responses_are_rejected() {
    // F-140
    let large = "x".repeat(65 * 1024);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{GOOD}");
    for (answer, why) in [
        (cut, InvalidTokenResponse::Http),
        (json("<html></html>"), InvalidTokenResponse::Json),
        (json("[]"), InvalidTokenResponse::Json),
        (json(r#"{"error": ""}"#), InvalidTokenResponse::AccessToken),
        (
            "HTTP/1.1 204 Nothing\r\n\r\n".into(),
            InvalidTokenResponse::Json,
        ),
        (json(&large), InvalidTokenResponse::TooLarge),
        (chunked, InvalidTokenResponse::TooLarge),
        (
            head("200 OK", "Content-Encoding: gzip\r\n", GOOD),
            InvalidTokenResponse::Compressed,
        ),
        ("HTTP/9\r\n\r\n".into(), InvalidTokenResponse::Http),
    ] {
        assert_eq!(reason_for(answer).await, Reason::Invalid(why));
    }
    let moved = head(
        "302 Found",
        "Location: https://token.test/elsewhere\r\n",
        GOOD,
    );
    assert_eq!(reason_for(moved).await, Reason::Status(302), "not followed");
}

#[tokio::test]
async fn an_endpoint_that_hangs_up() {
    // F-138
    let reason = reason_for(String::new()).await;
    assert_eq!(reason, Reason::Unreachable(ConnectStep::Closed));
}

#[tokio::test]
async fn forbidden_addresses_are_not_dialled() {
    // F-156
    let server = TokenServer::start([json(GOOD)]).await;
    let grant = server.grant_with(Handle::current(), |terms| {
        terms.allowed_private_cidrs = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let reason = taken(&grant).await.unwrap_err();
    assert!(matches!(reason, Reason::AddressRefused(_)), "{reason:?}");
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn an_untrusted_endpoint_gets_nothing() {
    let (server, other) = (
        TokenServer::start([json(GOOD)]).await,
        TokenServer::start([]).await,
    );
    let grants = other.grants(Handle::current());
    let grant = grants.get_or_create_grant(&server.credentials(|_| ()));
    let reason = taken(&grant).await.unwrap_err();
    assert_eq!(reason, Reason::Unreachable(ConnectStep::Tls));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_same_credentials_share_a_grant_and_others_do_not() {
    // F-152, F-155
    let server = TokenServer::start([json(GOOD)]).await;
    let grants = server.grants(Handle::current());
    let one = grants.get_or_create_grant(&server.credentials(|_| ()));
    taken(&one).await.unwrap();
    let reloaded = grants.get_or_create_grant(&server.credentials(|_| ()));
    assert!(Arc::ptr_eq(&one, &reloaded));
    assert_eq!(taken(&reloaded).await, Ok(("good-token".into(), false)));
    let scoped =
        grants.get_or_create_grant(&server.credentials(|terms| terms.scopes = Some("a".into())));
    assert_eq!(taken(&scoped).await, Ok(("good-token".into(), true)));
    assert_eq!(server.requests().len(), 2);
}
