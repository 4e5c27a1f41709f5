//! The secrets of one run of the demo, and the API's checks of them. They are random, and are never
//! written, printed or logged.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::clients::ServiceClient;
use super::consents::Consents;
use super::grants::ConsentedAccess;
use super::random::{random_secret, to_hex};
use super::tokens::IssuedTokens;

/// The header of an API key.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header of the signature of a body.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");

/// The secrets that the demo's connections send.
pub(crate) struct DemoSecrets {
    token: Zeroizing<String>,
    password: Zeroizing<String>,
    api_key: Zeroizing<String>,
    /// A token that the API rejects, as if it had expired.
    stale: Zeroizing<String>,
    client_secret: Zeroizing<String>,
    signing_key: Zeroizing<String>,
}

/// The user name of [`Account::Basic`].
const USERNAME: &str = "billing";
/// The id of the client that gets tokens for itself.
const CLIENT_ID: &str = "crm-sidecar";

impl DemoSecrets {
    /// Generates new secrets. Fails only if the system provides no randomness.
    pub(crate) fn generate() -> io::Result<Self> {
        Ok(Self {
            token: random_secret()?,
            password: random_secret()?,
            api_key: random_secret()?,
            stale: random_secret()?,
            client_secret: random_secret()?,
            signing_key: random_secret()?,
        })
    }

    /// Returns the environment variables that the definitions refer to.
    pub(crate) fn environment_variables(&self) -> [(&'static str, &str); 8] {
        [
            ("NOTES_TOKEN", &self.token),
            ("BILLING_USER", USERNAME),
            ("BILLING_PASSWORD", &self.password),
            ("SEARCH_KEY", &self.api_key),
            ("STALE_TOKEN", &self.stale),
            ("CRM_CLIENT_ID", CLIENT_ID),
            ("CRM_CLIENT_SECRET", &self.client_secret),
            ("HOOKS_SIGNING_KEY", &self.signing_key),
        ]
    }

    /// Returns the client that gets tokens for itself.
    pub(super) fn service_client(&self) -> ServiceClient {
        ServiceClient {
            id: CLIENT_ID,
            secret: self.client_secret.clone(),
        }
    }
}

/// A part of the API, by the kind of its credential. It is the first segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// `/bearer`
    Bearer,
    /// `/basic`
    Basic,
    /// `/api-key`
    ApiKey,
    /// `/oauth`
    Oauth,
    /// `/consent`: requires an access token that a person consented to.
    Consent,
    /// `/signed`: the request is authenticated by the signature of its body, see
    /// [`CredentialChecks::is_signed`].
    Signed,
    /// `/open`: requires no credential.
    Open,
}

/// The credential that authenticated a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VerifiedCredential {
    /// A fixed secret, or none if the account requires none.
    Static,
    /// The access token with this number.
    AccessToken(u64),
    /// An access token that a person consented to.
    Consented(ConsentedAccess),
}

impl Account {
    /// Returns the account with this path segment.
    pub(super) fn from_segment(segment: &str) -> Option<Self> {
        match segment {
            "bearer" => Some(Self::Bearer),
            "basic" => Some(Self::Basic),
            "api-key" => Some(Self::ApiKey),
            "oauth" => Some(Self::Oauth),
            "consent" => Some(Self::Consent),
            "signed" => Some(Self::Signed),
            "open" => Some(Self::Open),
            _ => None,
        }
    }

    /// Returns the value of `WWW-Authenticate` (RFC 9110 §11.6.1). API keys and signatures have no
    /// registered scheme.
    pub(super) fn challenge(self) -> &'static str {
        match self {
            Self::Bearer | Self::Open => "Bearer realm=\"egressd demo\"",
            Self::Basic => "Basic realm=\"egressd demo\", charset=\"UTF-8\"",
            Self::ApiKey => "ApiKey realm=\"egressd demo\"",
            // `invalid_token` makes a client obtain a new token (RFC 6750 §3.1).
            Self::Oauth | Self::Consent => "Bearer realm=\"egressd demo\", error=\"invalid_token\"",
            Self::Signed => "Signature realm=\"egressd demo\"",
        }
    }
}

/// The credentials that the API expects.
pub(super) struct CredentialChecks {
    bearer: HeaderValue,
    basic: HeaderValue,
    api_key: HeaderValue,
    tokens: Arc<IssuedTokens>,
    consents: Arc<Consents>,
    signing_key: Zeroizing<String>,
}

impl CredentialChecks {
    /// Creates checks for these secrets and the issued tokens.
    pub(super) fn new(
        keys: &DemoSecrets,
        tokens: Arc<IssuedTokens>,
        consents: Arc<Consents>,
    ) -> io::Result<Self> {
        let pair = Zeroizing::new(format!("{USERNAME}:{}", *keys.password));
        let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Ok(Self {
            bearer: sensitive_value(&Zeroizing::new(format!("Bearer {}", *keys.token)))?,
            basic: sensitive_value(&Zeroizing::new(format!("Basic {}", *pair)))?,
            api_key: sensitive_value(&keys.api_key)?,
            tokens,
            consents,
            signing_key: keys.signing_key.clone(),
        })
    }

    /// Returns the verified credential if the request has exactly the account's credential, once.
    pub(super) fn verify(
        &self,
        account: Account,
        headers: &HeaderMap,
    ) -> Option<VerifiedCredential> {
        let (name, expected) = match account {
            Account::Bearer => (AUTHORIZATION, &self.bearer),
            Account::Basic => (AUTHORIZATION, &self.basic),
            Account::ApiKey => (API_KEY, &self.api_key),
            Account::Oauth => {
                let number = self
                    .tokens
                    .token_number(bearer_token(headers)?, Instant::now())?;
                return Some(VerifiedCredential::AccessToken(number));
            }
            Account::Consent => {
                let access = self
                    .consents
                    .access(bearer_token(headers)?, Instant::now())?;
                return Some(VerifiedCredential::Consented(access));
            }
            // The signature can be checked only once the body has been read.
            Account::Signed | Account::Open => return Some(VerifiedCredential::Static),
        };
        // Not compared in constant time: the secrets are as short-lived as the demo.
        (single_value(headers, &name)? == expected).then_some(VerifiedCredential::Static)
    }

    /// Returns whether the signature of the body arrived, once: `sha256=` and the HMAC-SHA256 in
    /// lower-case hexadecimal.
    pub(super) fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(self.signing_key.as_bytes()) else {
            return false;
        };
        let code = mac.chain_update(body).finalize().into_bytes();
        let expected = format!("sha256={}", to_hex(&code));
        single_value(headers, &SIGNATURE).is_some_and(|value| *value == expected)
    }
}

/// Returns the token of `Authorization: Bearer`.
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = single_value(headers, &AUTHORIZATION)?.as_bytes();
    value.strip_prefix(b"Bearer ")
}

/// Returns the value of a header that occurs exactly once.
fn single_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut arrived = headers.get_all(name).iter();
    let first = arrived.next()?;
    arrived.next().is_none().then_some(first)
}

fn sensitive_value(text: &str) -> io::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(io::Error::other)?;
    // `HeaderValue` then hides the value in `Debug` output.
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::{
        API_KEY, Account, Consents, CredentialChecks, DemoSecrets, Hmac, IssuedTokens, SIGNATURE,
        Sha256, VerifiedCredential,
    };
    use crate::demo::consents::{ACCOUNTS, Decision};
    use crate::demo::device_requests::UserCode;
    use hmac::{KeyInit as _, Mac as _};
    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue};

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn bearer(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, header(&format!("Bearer {token}")))])
    }

    fn consents() -> Arc<Consents> {
        Arc::new(Consents::new(UserCode::generate().unwrap()))
    }

    /// Returns an access token that the second account consented to.
    fn consented_token(consents: &Consents) -> String {
        let now = Instant::now();
        let code = consents.begin_device(now).unwrap();
        let user_code = consents.user_code().to_string();
        assert!(consents.decide_device(&user_code, Decision::Approve(ACCOUNTS[1]), now));
        let tokens = consents.poll_device(&code, now).unwrap();
        tokens.access_token.to_string()
    }

    #[test]
    fn only_the_accounts_own_credential_is_accepted() {
        let keys = DemoSecrets::generate().unwrap();
        let tokens = Arc::new(IssuedTokens::default());
        let issued = tokens.issue(Instant::now()).unwrap();
        let consents = consents();
        let consented = consented_token(&consents);
        let checks = CredentialChecks::new(&keys, tokens, consents).unwrap();
        let consent = checks.verify(Account::Consent, &bearer(&consented));
        assert!(
            matches!(consent, Some(VerifiedCredential::Consented(access)) if access.account == ACCOUNTS[1]),
            "{consent:?}"
        );
        let with = |name, value: &HeaderValue| HeaderMap::from_iter([(name, value.clone())]);
        let stale = header(&format!("Bearer {}", *keys.stale));
        let token = header(&format!("Bearer {}", *issued));
        let mut twice = with(AUTHORIZATION, &checks.bearer);
        twice.append(AUTHORIZATION, stale.clone());
        let plain = Some(VerifiedCredential::Static);
        for (account, headers, verified) in [
            (Account::Bearer, with(AUTHORIZATION, &checks.bearer), plain),
            (Account::Basic, with(AUTHORIZATION, &checks.basic), plain),
            (Account::ApiKey, with(API_KEY, &checks.api_key), plain),
            (
                Account::Oauth,
                with(AUTHORIZATION, &token),
                Some(VerifiedCredential::AccessToken(1)),
            ),
            (Account::Open, HeaderMap::new(), plain),
            (Account::Bearer, HeaderMap::new(), None),
            (Account::Basic, HeaderMap::new(), None),
            (Account::ApiKey, HeaderMap::new(), None),
            (Account::Oauth, HeaderMap::new(), None),
            (Account::Bearer, with(AUTHORIZATION, &stale), None),
            (Account::Bearer, with(AUTHORIZATION, &token), None),
            (Account::Bearer, with(AUTHORIZATION, &checks.basic), None),
            (Account::Oauth, with(AUTHORIZATION, &checks.bearer), None),
            (Account::Oauth, bearer(&consented), None),
            (Account::Consent, with(AUTHORIZATION, &token), None),
            (Account::Consent, HeaderMap::new(), None),
            (Account::Bearer, twice, None),
        ] {
            assert_eq!(
                checks.verify(account, &headers),
                verified,
                "{account:?} {headers:?}"
            );
        }
    }

    #[test]
    fn a_signature_covers_the_bytes_with_the_key() {
        let keys = DemoSecrets::generate().unwrap();
        let checks = CredentialChecks::new(&keys, Arc::default(), consents()).unwrap();
        let sign = |key: &str, body: &[u8]| {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
            let code = mac.chain_update(body).finalize().into_bytes();
            code.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let body: &[u8] = b"{\"event\": \"ping\"}\n\xff";
        let good: String = sign(&keys.signing_key, body);
        let signed = |value: String| {
            let headers = HeaderMap::from_iter([(SIGNATURE, header(&value))]);
            checks.is_signed(&headers, body)
        };
        assert!(signed(format!("sha256={good}")));
        for bad in [
            good.clone(),
            format!("sha256={}", good.to_uppercase()),
            format!("sha256={}", good.get(..62).unwrap()),
            format!("sha256={good}00"),
            format!("sha256={}", good.get(..63).unwrap()),
            format!("sha256={}", sign(&keys.signing_key, &body[1..])),
            format!("sha256={}", sign(&keys.stale, body)),
            "sha256=".to_owned(),
        ] {
            assert!(!signed(bad.clone()), "{bad}");
        }
        assert!(!checks.is_signed(&HeaderMap::new(), body));
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(SIGNATURE, header(&format!("sha256={good}")));
        }
        assert!(!checks.is_signed(&twice, body));
    }

    #[test]
    fn secrets_are_long_and_random() {
        let (a, b) = (
            DemoSecrets::generate().unwrap(),
            DemoSecrets::generate().unwrap(),
        );
        assert_eq!(a.token.len(), 48);
        assert_ne!(*a.token, *b.token);
        assert_ne!(*a.token, *a.stale);
    }
}
