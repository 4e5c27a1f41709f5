//! Connections with a secret in every field that takes one, and what the API shows of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ConnectionView as View, HTTP, LiveState};
use crate::domain::auth::{
    BasicAuth, BearerToken, ClientAuth, ConsentClientAuth, ConsentEndpoints, ConsentParameters,
    GrantType, Identity, JsonPointer, OauthClientCredentials, OauthParameters, ProviderFacts,
    RedirectUri, Rotation, TokenRequestFormat, UserConsent,
};
use crate::domain::{
    Auth, BaseUrl, Caps, ConfiguredHeader, Connection, ConnectionId, Http2Mode, RouteDescriptions,
    Secret, SecretSource, SensitiveHeader, TokenUrl,
};
use crate::management::tool_cache::ToolCache;
use crate::route::{Pattern, RouteTable};
use crate::snapshot::Snapshot;

fn secret(text: &str) -> Secret {
    let source = SecretSource::Env("PLANTED".into());
    Secret::new(text.as_bytes().to_vec(), source).unwrap()
}

/// Returns one soft-deleted connection of each auth kind. All of their secrets are `planted`.
pub(in crate::management) fn connections(planted: &str) -> Vec<Connection> {
    let url = format!("https://id.test/token?p=policy&key={planted}&{planted}&&tenant=a%26b");
    let oauth = OauthParameters {
        token_url: TokenUrl::parse(&url).unwrap(),
        grant_type: GrantType::parse("account_credentials").unwrap(),
        client_id: secret(planted).try_into().unwrap(),
        client_secret: secret(planted).try_into().unwrap(),
        scopes: Some("a b".into()),
        extra_params: vec![
            ("audience".into(), "https://api.test".into()),
            ("assertion".into(), planted.into()),
        ],
        client_auth: ClientAuth::Body,
        allowed_private_cidrs: Vec::new(),
    };
    let header = SensitiveHeader {
        is_secret: true,
        name: http::HeaderName::from_static("x-api-key"),
        written: "X-API-Key".into(),
        value: secret(planted),
    };
    let auths = [
        Auth::OauthClientCredentials(Arc::new(OauthClientCredentials::new(oauth))),
        Auth::OauthUserConsent(Arc::new(UserConsent::new(consent(planted)))),
        Auth::BearerToken(BearerToken::new(secret(planted))),
        Auth::BasicAuth(BasicAuth::new(
            secret(planted).try_into().unwrap(),
            secret(planted),
        )),
        Auth::StaticHeaders(vec![header]),
        Auth::NoAuth,
    ];
    auths.into_iter().map(|auth| with(auth, planted)).collect()
}

/// Returns the parameters of a consent in which each optional field is set.
fn consent(planted: &str) -> ConsentParameters {
    let url = |path: &str| {
        let url = format!("https://id.test/{path}?tenant=a&key={planted}");
        TokenUrl::parse(&url).unwrap()
    };
    let params = |shown: &str| {
        let hidden = ("login_hint".to_owned(), planted.to_owned());
        vec![(shown.to_owned(), "a".to_owned()), hidden]
    };
    ConsentParameters {
        grant: ConnectionId::parse("shared").unwrap().into(),
        client_id: secret(planted).try_into().unwrap(),
        client_secret: Some(secret(planted).try_into().unwrap()),
        client_auth: Some(ConsentClientAuth::Body),
        scopes: Some("a b".into()),
        scope_separator: ',',
        endpoints: ConsentEndpoints {
            authorization_url: Some(url("authorize")),
            device_authorization_url: Some(url("device")),
            token_url: url("token"),
            refresh_url: url("refresh"),
            revocation_url: Some(url("revoke")),
        },
        refresh_token: Some(secret(planted)),
        issuer: Some("https://id.test".into()),
        redirect_uri: RedirectUri::default(),
        has_pkce: true,
        token_request: TokenRequestFormat::Json,
        authorization_params: params("prompt"),
        token_params: params("audience"),
        refresh_params: params("resource"),
        token_path: JsonPointer::parse("/authed_user").unwrap(),
        rotation: Rotation::Reusable,
        identity: Some(Identity::Url(
            url("me"),
            JsonPointer::parse("/login").unwrap(),
        )),
        allowed_private_cidrs: Vec::new(),
        provider: ProviderFacts::default(),
    }
}

fn with(auth: Auth, planted: &str) -> Connection {
    let header = |written: &str, value: &str| ConfiguredHeader {
        name: http::HeaderName::try_from(written).unwrap(),
        written: written.into(),
        value: http::HeaderValue::try_from(value).unwrap(),
    };
    Connection {
        id: ConnectionId::parse(&auth.kind().replace('_', "-")).unwrap(),
        display_name: "Name".into(),
        description: "Words".into(),
        connector: None,
        base_url: BaseUrl::parse("https://api.test:8443/base/").unwrap(),
        routes: RouteTable::compile(vec![Pattern::parse("GET /{id}").unwrap()]).0,
        route_descriptions: RouteDescriptions::default(),
        headers: vec![header("X-Tenant-ID", "acme"), header("X-Session", planted)],
        auth,
        webhook_signing_secret: Some(secret(planted)),
        caps: Caps::default(),
        allowed_private_cidrs: vec!["10.0.0.0/8".parse().unwrap()],
        allow_cookies: false,
        allow_agent_headers: vec![http::HeaderName::from_static("x-api-key")],
        allow_encoded_slash: true,
        reflection_guard: true,
        reuse_after_body: false,
        http2: Http2Mode::Prefer,
        enabled: false,
        delete_time: Some("2026-01-02T03:04:05.6789Z".parse().unwrap()),
    }
}

/// Returns the JSON of each connection, without the two times of loading.
fn shown(connections: Vec<Connection>) -> Vec<Value> {
    let snapshot = Snapshot::new(connections);
    let tools = ToolCache::default();
    let entries = snapshot.entries().iter();
    entries
        .map(|entry| {
            let view = View::with_details(entry, LiveState::default(), tools.get(entry));
            let mut shown = serde_json::to_value(&view).unwrap();
            for time in ["createTime", "updateTime"] {
                let time = shown.as_object_mut().unwrap().remove(time).unwrap();
                assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
            }
            shown
        })
        .collect()
}

#[test]
fn neither_a_secret_nor_its_length_is_shown() {
    // F-188
    // Secrets of two lengths result in the same JSON.
    let short = shown(connections("canary"));
    let long = shown(connections(&"another-canary".repeat(9)));
    assert_eq!(short, long);
    for view in &short {
        assert!(!view.to_string().contains("canary"), "{view}");
    }
    assert_eq!(short.len(), 6);
}

/// The expected details of the first of [`connections`].
fn whole_details() -> Value {
    json!({"http": {
        "baseUrl": "https://api.test:8443/base",
        "allowedRoutes": ["GET /{id}"],
        "headers": {"X-Tenant-ID": "acme", "X-Session": "[redacted]"},
        "oauthClientCredentials": {
            // F-249
            "tokenUrl": "https://id.test/token?p=policy&key=[redacted]&[redacted]&&tenant=a%26b",
            "grantType": "account_credentials",
            "clientId": "[redacted]",
            "clientSecret": "[redacted]",
            "scopes": "a b",
            "extraParams": {"audience": "https://api.test", "assertion": "[redacted]"},
            "clientAuth": "body",
        },
        "webhookSigningSecret": "[redacted]",
        "maxResponseSizeBytes": "10485760",
        "timeoutSeconds": 30,
        "allowedPrivateCidrs": ["10.0.0.0/8"],
        "allowCookies": false,
        "allowAgentHeaders": ["x-api-key"],
        "allowEncodedSlash": true,
        "reflectionGuard": true,
        "reuseAfterBody": false,
        "maxConcurrentRequests": 64,
        "http2": "prefer",
    }})
}

#[test]
fn a_whole_connection() {
    let all = shown(connections("canary"));
    assert_eq!(all[0]["connectionDetails"], whole_details());
    assert_eq!(
        all[0]["credentialSources"],
        json!({
            "headers.X-Session": "inline",
            "oauthClientCredentials.clientId": "env:PLANTED",
            "oauthClientCredentials.clientSecret": "env:PLANTED",
            "oauthClientCredentials.extraParams.assertion": "inline",
            "webhookSigningSecret": "env:PLANTED",
        })
    );
    assert_eq!(
        all[0]["toolConfigurations"],
        json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}])
    );
    let scalars = all[0].as_object().unwrap().iter();
    let scalars: serde_json::Map<_, _> = scalars
        .filter(|(name, _)| !name.contains("tool") && !name.starts_with("c"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert_eq!(
        Value::Object(scalars),
        json!({
            "name": "connections/oauth-client-credentials",
            "displayName": "Name",
            "description": "Words",
            "deleteTime": "2026-01-02T03:04:05.678Z",
            "readOnly": true,
            "status": "connected",
        })
    );
    assert_eq!(all[0]["connectionStatus"], json!({"code": 0}));
    assert_eq!(
        all[0]["tools"][0]["slug"],
        "oauth-client-credentials_get_id"
    );
}

#[test]
fn the_consent_of_a_person() {
    let all = shown(connections("canary"));
    let url = |path: &str| format!("https://id.test/{path}?tenant=a&key=[redacted]");
    assert_eq!(
        all[1]["connectionDetails"]["http"]["oauthUserConsent"],
        json!({
            "grant": "shared",
            "clientId": "[redacted]",
            "clientSecret": "[redacted]",
            "clientAuth": "body",
            "scopes": "a b",
            "scopeSeparator": ",",
            "refreshToken": "[redacted]",
            "authorizationUrl": url("authorize"),
            "deviceAuthorizationUrl": url("device"),
            "tokenUrl": url("token"),
            "refreshUrl": url("refresh"),
            "revocationUrl": url("revoke"),
            "issuer": "https://id.test",
            "redirectUri": "http://127.0.0.1/callback",
            "pkce": "s256",
            "tokenRequest": "json",
            "authorizationParams": {"prompt": "a", "login_hint": "[redacted]"},
            "tokenParams": {"audience": "a", "login_hint": "[redacted]"},
            "refreshParams": {"resource": "a", "login_hint": "[redacted]"},
            "tokenPath": "/authed_user",
            "refreshTokenRotation": "reusable",
            "identity": {"url": url("me"), "pointer": "/login"},
        })
    );
    let sources = &all[1]["credentialSources"];
    assert_eq!(sources["oauthUserConsent.refreshToken"], "env:PLANTED");
    let mut stored = consent("canary");
    stored.refresh_token = None;
    let auth = Auth::OauthUserConsent(Arc::new(UserConsent::new(stored)));
    let stored = shown(vec![with(auth, "canary")]);
    let consent = &stored[0]["connectionDetails"]["http"]["oauthUserConsent"];
    assert_eq!(consent["refreshToken"], "[redacted]");
    let of_store = &stored[0]["credentialSources"]["oauthUserConsent.refreshToken"];
    assert_eq!(of_store, "store:shared");
    assert_eq!(sources["oauthUserConsent.tokenParams.login_hint"], "inline");
}

#[test]
fn the_auth_kinds() {
    let redacted = "[redacted]";
    let views = shown(connections("canary"));
    let [_, _, after_oauth @ ..] = &views[..] else {
        panic!("no connection");
    };
    let expected = [
        (
            "bearerToken",
            json!({"token": redacted}),
            vec!["bearerToken.token"],
        ),
        (
            "basicAuth",
            json!({"username": redacted, "password": redacted}),
            vec!["basicAuth.password", "basicAuth.username"],
        ),
        (
            "staticHeaders",
            json!({"headers": {"X-API-Key": redacted}}),
            vec!["staticHeaders.headers.X-API-Key"],
        ),
        ("noAuth", json!({}), vec![]),
    ];
    assert_eq!(after_oauth.len(), expected.len());
    for (view, (kind, fields, sources)) in after_oauth.iter().zip(expected) {
        assert_eq!(view["connectionDetails"]["http"][kind], fields);
        let named = view["credentialSources"].as_object().unwrap();
        let beside = ["headers.X-Session", "webhookSigningSecret"];
        let named = named.keys().filter(|name| !beside.contains(&name.as_str()));
        assert_eq!(named.collect::<Vec<_>>(), sources);
    }
}

/// The auth kinds and fields of the type are those that connections have.
#[test]
fn a_type_offers_what_connections_have() {
    let http = serde_json::to_value(&HTTP).unwrap();
    let kinds = http["authKinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 6);
    let views = shown(connections("canary"));
    assert_eq!(views.len(), kinds.len());
    for (view, kind) in views.iter().zip(kinds) {
        let name = kind["kind"].as_str().unwrap();
        let shown = view["connectionDetails"]["http"][name].as_object();
        let shown: Vec<_> = shown.unwrap_or_else(|| panic!("{name}")).keys().collect();
        let mut offered: Vec<_> = kind["fields"].as_array().unwrap().iter().collect();
        offered.sort_by_key(|field| field["key"].as_str());
        let offered: Vec<_> = offered.iter().map(|f| f["key"].as_str().unwrap()).collect();
        assert_eq!(shown, offered, "{name}");
    }
}
