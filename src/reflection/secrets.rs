//! Lists the secrets of a connection: the values in its definition, and the values that a server
//! obtains by parsing a request.

use std::sync::{Arc, OnceLock};

use percent_encoding::percent_decode_str;
use thiserror::Error;
use zeroize::Zeroizing;

use super::encodings::{self, Encoding};
use crate::domain::auth::{ConsentParameters, Identity, SecretPart};
use crate::domain::{Auth, Connection, ConnectionId, Secret};

/// The length of the shortest beginning by which guesses are recognised. A shorter one would match
/// ordinary text.
const SHORTEST_BEGINNING: usize = 4;

/// A secret in all encodings that a response may contain.
pub(super) struct SearchedSecret {
    pub(super) encodings: Vec<Arc<Encoding>>,
    /// The encodings in UTF-16 and UTF-32.
    wide: Vec<Arc<Encoding>>,
    /// The beginnings of its encodings that do not depend on the unknown part. Empty if guesses are
    /// not recognised.
    pub(super) beginnings: Vec<Encoding>,
    pub(super) label: Arc<Label>,
}

/// The facts about a secret that may be reported when it is found.
#[derive(Default)]
pub struct Label {
    /// The connection that the secret belongs to, if known.
    pub owner: Option<ConnectionId>,
    /// The kind of secret, in `snake_case`.
    pub kind: &'static str,
    /// The configured header that carries the secret.
    pub header: Option<Box<str>>,
    /// `Some` if the secret can be guessed. The cell is set when the secret is found.
    pub(super) guessable: Option<Arc<OnceLock<Exposure>>>,
    /// `true` if guesses can be recognised in any text, because their beginning is long enough.
    pub(super) recognises_guesses: bool,
}

/// Error: the response contains a secret.
pub struct Reflected {
    /// The secrets that have the encoding that was found. They belong to several connections if
    /// these share a secret.
    pub secrets: Vec<Arc<Label>>,
    /// `true` if only a guess of the secrets was found.
    pub is_guess: bool,
}

/// The response in which a guessable credential was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "a response of `{connection}` held the credential of `{owner}`, which is short enough to be guessed: the connection is closed until a reload changes the credential, or until a restart"
)]
pub struct Exposure {
    /// The connection that the credential belongs to.
    pub owner: ConnectionId,
    /// The connection that the response came through.
    pub connection: ConnectionId,
}

impl SearchedSecret {
    /// Builds the encodings of a secret. Returns `None` if the secret is too short to search for.
    pub(super) fn new(secret: &[u8], label: Label) -> Option<Self> {
        let searched = Self::with_label(secret, Arc::new(label));
        (!searched.encodings.is_empty()).then_some(searched)
    }

    /// Builds the encodings of a secret without a label.
    pub(super) fn unlabelled(secret: &[u8]) -> Self {
        Self::with_label(secret, Arc::default())
    }

    fn with_label(secret: &[u8], label: Arc<Label>) -> Self {
        let shared = |encodings: Vec<Encoding>| encodings.into_iter().map(Arc::new).collect();
        Self {
            encodings: shared(encodings::encodings_of(secret)),
            wide: shared(encodings::wide_encodings_of(secret)),
            beginnings: Vec::new(),
            label,
        }
    }

    /// Adds the beginnings by which guesses of the secret are recognised.
    fn guessed_after(mut self, known: &[u8]) -> Self {
        self.beginnings = encodings::beginnings_of(known);
        self
    }

    /// Returns the same secret with only those encodings that are valid header names, in lower
    /// case.
    pub(super) fn for_header_names(&self) -> Self {
        // RFC 9110 §5.6.2.
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let tokens = self
            .encodings
            .iter()
            .filter(|encoding| encoding.iter().all(is_token));
        let lower =
            |encoding: &Arc<Encoding>| Arc::new(Zeroizing::new(encoding.to_ascii_lowercase()));
        Self {
            encodings: tokens.map(lower).collect(),
            wide: Vec::new(),
            beginnings: Vec::new(),
            label: Arc::clone(&self.label),
        }
    }

    pub(super) fn all_encodings(&self) -> impl Iterator<Item = &Arc<Encoding>> {
        self.encodings.iter().chain(&self.wide)
    }
}

impl Label {
    /// Returns whether all guesses of the secret are refused: the secret was found in an earlier
    /// response, and its guesses are recognised.
    pub(super) fn refuses_guesses(&self) -> bool {
        let exposed = self.guessable.as_ref();
        self.recognises_guesses && exposed.is_some_and(|exposed| exposed.get().is_some())
    }

    /// Closes the connection that the secret belongs to, if the secret can be guessed. `connection`
    /// is the connection that the response came through. If this method returns something, the
    /// caller closes that connection, too.
    pub(super) fn record_exposure(&self, connection: &ConnectionId) -> Option<Exposure> {
        let exposure = Exposure {
            owner: self.owner.clone()?,
            connection: connection.clone(),
        };
        let is_first = self.guessable.as_ref()?.set(exposure.clone()).is_ok();
        (is_first || !self.recognises_guesses).then_some(exposure)
    }
}

/// Returns the secrets in a connection's definition. Access tokens are not among them. `exposed` is
/// set when a secret that can be guessed is found.
pub(super) fn secrets_of_connection(
    connection: &Connection,
    exposed: &Arc<OnceLock<Exposure>>,
) -> Vec<Arc<SearchedSecret>> {
    let mut secrets = Vec::new();
    let mut add = |kind, header: Option<&str>, parts: Vec<SecretPart>| {
        for part in parts {
            let label = Label {
                owner: Some(connection.id.clone()),
                kind,
                header: header.map(Into::into),
                guessable: part.guessable_after.map(|_| Arc::clone(exposed)),
                recognises_guesses: part.guessable_after >= Some(SHORTEST_BEGINNING),
            };
            let recognised = label.recognises_guesses;
            let known = part.guessable_after.filter(|_| recognised).unwrap_or(0);
            let known = part.text.get(..known).unwrap_or_default();
            let searched = SearchedSecret::new(&part.text, label);
            secrets.extend(searched.map(|searched| Arc::new(searched.guessed_after(known))));
        }
    };
    match &connection.auth {
        Auth::NoAuth => {}
        Auth::OauthClientCredentials(credentials) => {
            let terms = credentials.terms();
            let secret = SecretPart::whole(terms.client_secret.expose());
            add("client_secret", None, vec![secret]);
            let parameters = secret_parameters(&terms.extra_params);
            add("extra_params", None, parameters);
            let query = terms.token_url.query().unwrap_or_default();
            add("token_url", None, secret_query_values(query));
        }
        Auth::OauthUserConsent(consent) => {
            for (kind, parts) in secrets_of_consent(consent.parameters()) {
                add(kind, None, parts);
            }
        }
        Auth::BearerToken(bearer) => {
            let token = vec![SecretPart::whole(bearer.token().expose())];
            add(connection.auth.kind(), Some("Authorization"), token);
        }
        Auth::BasicAuth(basic) => {
            add(connection.auth.kind(), Some("Authorization"), basic.parts());
        }
        Auth::StaticHeaders(headers) => {
            for header in headers {
                let kind = connection.auth.kind();
                add(kind, Some(&header.written), header.parts());
            }
        }
    }
    if let Some(secret) = &connection.webhook_signing_secret {
        add(
            "webhook_signing_secret",
            None,
            vec![SecretPart::whole(secret.expose())],
        );
    }
    secrets
}

/// Returns the secrets in the parameters of a consent, each with its kind. The client's id is
/// public.
fn secrets_of_consent(parameters: &ConsentParameters) -> Vec<(&'static str, Vec<SecretPart>)> {
    let whole = |secret: Option<&Secret>| {
        let parts = secret.map(|secret| SecretPart::whole(secret.expose()));
        parts.into_iter().collect()
    };
    let identity = match &parameters.identity {
        Some(Identity::Url(url, _)) => Some(url),
        Some(Identity::Answer(_)) | None => None,
    };
    let urls = parameters.endpoints.all().chain(identity);
    let queries = urls.flat_map(|url| secret_query_values(url.query().unwrap_or_default()));
    vec![
        ("client_secret", whole(parameters.client_secret.as_deref())),
        ("refresh_token", whole(parameters.refresh_token.as_ref())),
        (
            "authorization_params",
            secret_parameters(&parameters.authorization_params),
        ),
        ("token_params", secret_parameters(&parameters.token_params)),
        (
            "refresh_params",
            secret_parameters(&parameters.refresh_params),
        ),
        ("token_url", queries.collect()),
    ]
}

/// Returns the values of parameters whose names show that they are secret. Other values, such as
/// those of `audience` or `account_id`, are public, and many responses contain them.
fn secret_parameters(parameters: &[(String, String)]) -> Vec<SecretPart> {
    let secret = parameters.iter().filter(|(name, _)| is_secret_name(name));
    secret
        .map(|(_, value)| SecretPart::whole(value.as_bytes()))
        .collect()
}

/// Returns the secret values of a query, as written and decoded.
fn secret_query_values(query: &str) -> Vec<SecretPart> {
    let mut parts = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        if !is_secret_name(&name) {
            continue;
        }
        parts.push(SecretPart::whole(value.as_bytes()));
        let mut decoded = Zeroizing::new(Vec::with_capacity(value.len()));
        decoded.extend(percent_decode_str(value));
        if *decoded != value.as_bytes() {
            parts.push(SecretPart::whole(&decoded));
        }
    }
    parts
}

/// Words of parameter names that carry secrets: `client_assertion`, `refresh_token`, `code` (the
/// key of an Azure function), `apiKey`, ….
const SECRET_WORDS: [&str; 12] = [
    "assertion",
    "code",
    "credential",
    "key",
    "otp",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Returns whether a parameter of this name carries a secret. The last word decides: the value of
/// `client_assertion_type` is public (RFC 7521 §4.2).
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
    let last = last.strip_suffix('s').unwrap_or(last);
    SECRET_WORDS.contains(&last)
        || ["apikey", "secret", "password", "token"]
            .iter()
            .any(|word| last.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::{is_secret_name, secret_query_values, secrets_of_consent};
    use crate::domain::auth::{
        ConsentEndpoints, ConsentParameters, JsonPointer, ProviderFacts, RedirectUri, Rotation,
        TokenRequestFormat,
    };
    use crate::domain::{ConnectionId, Secret, SecretSource, TokenUrl};

    #[test]
    fn the_secrets_of_a_consent() {
        let secret =
            |text: &str| Secret::new(text.as_bytes().to_vec(), SecretSource::Inline).unwrap();
        let url = |text: &str| TokenUrl::parse(text).unwrap();
        let params = |value: &str| {
            let public = ("prompt".to_owned(), "consent".to_owned());
            vec![("api_key".to_owned(), value.to_owned()), public]
        };
        let parameters = ConsentParameters {
            grant: ConnectionId::parse("a").unwrap().into(),
            client_id: secret("the-id").try_into().unwrap(),
            client_secret: Some(secret("the-secret").try_into().unwrap()),
            client_auth: None,
            scopes: None,
            scope_separator: ' ',
            endpoints: ConsentEndpoints {
                authorization_url: None,
                device_authorization_url: None,
                token_url: url("https://id.test/token"),
                refresh_url: url("https://id.test/token?api_key=k4"),
                revocation_url: None,
            },
            refresh_token: Some(secret("the-seed")),
            issuer: None,
            redirect_uri: RedirectUri::default(),
            has_pkce: true,
            token_request: TokenRequestFormat::Form,
            authorization_params: params("k1"),
            token_params: params("k2"),
            refresh_params: params("k3"),
            token_path: JsonPointer::default(),
            rotation: Rotation::SingleUse,
            identity: None,
            allowed_private_cidrs: Vec::new(),
            provider: ProviderFacts::default(),
        };
        let found = secrets_of_consent(&parameters);
        let texts = found.iter().flat_map(|(_, parts)| parts);
        let texts: Vec<_> = texts.map(|part| part.text.as_slice()).collect();
        let expected: [&[u8]; 6] = [b"the-secret", b"the-seed", b"k1", b"k2", b"k3", b"k4"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_name_of_a_parameter_decides_whether_it_is_secret() {
        // F-207
        for name in [
            "password",
            "client_assertion",
            "refresh_token",
            "subject_token",
            "X-Api-Key",
            "apiKey",
            "code",
            "clientSecret",
            "credentials",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "audience",
            "resource",
            "account_id",
            "client_assertion_type",
            "requested_token_type",
            "p",
            "",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values_of_a_query_are_searched_for_in_both_spellings() {
        // F-207
        let query = "p=B2C_1_sign_in_policy&code=key%2F0123456789abcdef&x";
        let parts = secret_query_values(query);
        let texts: Vec<_> = parts.iter().map(|part| part.text.as_slice()).collect();
        assert_eq!(
            texts,
            [
                b"key%2F0123456789abcdef".as_slice(),
                b"key/0123456789abcdef"
            ]
        );
    }
}
