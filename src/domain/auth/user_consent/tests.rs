//! Tests that the fingerprint covers every parameter.

use super::{
    ConsentEndpoints, ConsentParameters, JsonPointer, ProviderFacts, RedirectUri, Rotation,
    TokenRequestFormat, UserConsent, seed_hash,
};
use crate::domain::{ConnectionId, Secret, SecretSource, TokenUrl};

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec(), SecretSource::Inline).unwrap()
}

fn url(text: &str) -> TokenUrl {
    TokenUrl::parse(text).unwrap()
}

fn parameters() -> ConsentParameters {
    ConsentParameters {
        grant: ConnectionId::parse("github").unwrap().into(),
        client_id: secret("id").try_into().unwrap(),
        client_secret: None,
        client_auth: None,
        scopes: None,
        scope_separator: ' ',
        endpoints: ConsentEndpoints {
            authorization_url: Some(url("https://id.test/authorize")),
            device_authorization_url: None,
            token_url: url("https://id.test/token"),
            refresh_url: url("https://id.test/token"),
            revocation_url: None,
        },
        refresh_token: None,
        issuer: None,
        redirect_uri: RedirectUri::default(),
        has_pkce: true,
        token_request: TokenRequestFormat::Form,
        authorization_params: Vec::new(),
        token_params: Vec::new(),
        refresh_params: Vec::new(),
        token_path: JsonPointer::default(),
        rotation: Rotation::SingleUse,
        identity: None,
        allowed_private_cidrs: Vec::new(),
        provider: ProviderFacts::default(),
    }
}

fn fingerprint(change: impl FnOnce(&mut ConsentParameters)) -> [u8; 32] {
    let mut parameters = parameters();
    change(&mut parameters);
    *UserConsent::new(parameters).fingerprint()
}

#[test]
fn every_parameter_changes_the_fingerprint() {
    let pair = || vec![("a".to_owned(), "b".to_owned())];
    let all = [
        fingerprint(|_| ()),
        fingerprint(|p| p.grant = ConnectionId::parse("other").unwrap().into()),
        fingerprint(|p| p.client_id = secret("ids").try_into().unwrap()),
        fingerprint(|p| p.client_secret = Some(secret("x").try_into().unwrap())),
        fingerprint(|p| p.refresh_token = Some(secret("x"))),
        fingerprint(|p| p.scopes = Some("read".into())),
        fingerprint(|p| p.scope_separator = ','),
        fingerprint(|p| p.endpoints.refresh_url = url("https://id.test/refresh")),
        fingerprint(|p| p.issuer = Some("https://id.test".into())),
        fingerprint(|p| p.has_pkce = false),
        fingerprint(|p| p.token_request = TokenRequestFormat::Json),
        fingerprint(|p| p.authorization_params = pair()),
        fingerprint(|p| p.token_params = pair()),
        fingerprint(|p| p.refresh_params = pair()),
        fingerprint(|p| p.token_path = JsonPointer::parse("/a").unwrap()),
        fingerprint(|p| p.rotation = Rotation::Reusable),
        fingerprint(|p| p.allowed_private_cidrs = vec!["10.0.0.0/8".parse().unwrap()]),
        fingerprint(|p| p.provider.revoke_page = Some("https://id.test/apps".into())),
    ];
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(fingerprint(|_| ()), fingerprint(|_| ()));
}

#[test]
fn the_fields_that_differ() {
    let differing = |change: &dyn Fn(&mut ConsentParameters)| {
        let mut other = parameters();
        change(&mut other);
        let fields = parameters().differing_fields(&other);
        assert_eq!(fields, other.differing_fields(&parameters()));
        fields
    };
    assert!(differing(&|_| ()).is_empty());
    assert_eq!(
        differing(&|other| {
            other.client_id = secret("other").try_into().unwrap();
            other.refresh_token = Some(secret("x"));
            other.endpoints.refresh_url = url("https://id.test/refresh");
            other.provider.consent_ended_errors = vec!["gone".into()];
        }),
        ["client_id", "refresh_url", "refresh_token", "connector"]
    );
}

#[test]
fn hashes() {
    // SHA-256 of `id.test`, a line feed and `id`, as sha256sum(1) computes it.
    assert_eq!(
        parameters().client(),
        "sha256:d7eceab162f995a9825cdfedd2de84fcd73b6999ef66b33f7a18022a987468d6"
    );
    assert_eq!(
        seed_hash(b"seed"),
        "sha256:19b25856e1c150ca834cffc8b59b23adbd0ec0389e58eb22b3b64768098d002b"
    );
}
