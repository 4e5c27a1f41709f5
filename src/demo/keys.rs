//! The keys of one run, and the gates that ask for them. Random at every start; never written, printed or logged.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

/// Random bytes of a key; printed in hexadecimal it is twice as long.
const KEY_BYTES: usize = 24;

/// The header of the account that takes an API key.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What the demo's connections present.
pub(crate) struct Keys {
    token: Zeroizing<String>,
    password: Zeroizing<String>,
    api_key: Zeroizing<String>,
    /// One that no gate takes.
    stale: Zeroizing<String>,
}

/// The user of the basic account.
const USERNAME: &str = "billing";

impl Keys {
    /// New ones. Fails only if the system has no randomness to give.
    pub(crate) fn random() -> io::Result<Self> {
        Ok(Self {
            token: random()?,
            password: random()?,
            api_key: random()?,
            stale: random()?,
        })
    }

    /// As the variables that the definitions name.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("NOTES_TOKEN", &self.token),
            ("BILLING_USER", USERNAME),
            ("BILLING_PASSWORD", &self.password),
            ("SEARCH_KEY", &self.api_key),
            ("STALE_TOKEN", &self.stale),
        ]
    }
}

fn random() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut *bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Ok(Zeroizing::new(
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect(),
    ))
}

/// One part of the API for each kind of credential: the first segment of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// `/bearer`
    Bearer,
    /// `/basic`
    Basic,
    /// `/api-key`
    ApiKey,
    /// `/open`: asks for nothing.
    Open,
}

impl Account {
    /// The account of a first segment.
    pub(super) fn find(segment: &str) -> Option<Self> {
        match segment {
            "bearer" => Some(Self::Bearer),
            "basic" => Some(Self::Basic),
            "api-key" => Some(Self::ApiKey),
            "open" => Some(Self::Open),
            _ => None,
        }
    }

    /// What `WWW-Authenticate` says (RFC 9110 §11.6.1); a key in a header of its own has no registered scheme.
    pub(super) fn challenge(self) -> &'static str {
        match self {
            Self::Bearer | Self::Open => "Bearer realm=\"egressd demo\"",
            Self::Basic => "Basic realm=\"egressd demo\", charset=\"UTF-8\"",
            Self::ApiKey => "ApiKey realm=\"egressd demo\"",
        }
    }
}

/// What has to arrive.
pub(super) struct Gates {
    bearer: HeaderValue,
    basic: HeaderValue,
    api_key: HeaderValue,
}

impl Gates {
    pub(super) fn new(keys: &Keys) -> io::Result<Self> {
        let pair = Zeroizing::new(format!("{USERNAME}:{}", *keys.password));
        let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Ok(Self {
            bearer: value(&Zeroizing::new(format!("Bearer {}", *keys.token)))?,
            basic: value(&Zeroizing::new(format!("Basic {}", *pair)))?,
            api_key: value(&keys.api_key)?,
        })
    }

    /// Whether exactly the account's credential arrived, once.
    pub(super) fn admit(&self, account: Account, headers: &HeaderMap) -> bool {
        let (name, expected) = match account {
            Account::Bearer => (AUTHORIZATION, &self.bearer),
            Account::Basic => (AUTHORIZATION, &self.basic),
            Account::ApiKey => (API_KEY, &self.api_key),
            Account::Open => return true,
        };
        let mut arrived = headers.get_all(name).iter();
        arrived.next() == Some(expected) && arrived.next().is_none()
    }
}

fn value(text: &str) -> io::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(io::Error::other)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{API_KEY, Account, Gates, Keys};
    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn only_the_accounts_own_credential_is_taken() {
        let keys = Keys::random().unwrap();
        let gates = Gates::new(&keys).unwrap();
        let with = |name, value: &HeaderValue| HeaderMap::from_iter([(name, value.clone())]);
        let stale = HeaderValue::from_str(&format!("Bearer {}", *keys.stale)).unwrap();
        let mut twice = with(AUTHORIZATION, &gates.bearer);
        twice.append(AUTHORIZATION, stale.clone());
        for (account, headers, admitted) in [
            (Account::Bearer, with(AUTHORIZATION, &gates.bearer), true),
            (Account::Basic, with(AUTHORIZATION, &gates.basic), true),
            (Account::ApiKey, with(API_KEY, &gates.api_key), true),
            (Account::Open, HeaderMap::new(), true),
            (Account::Bearer, HeaderMap::new(), false),
            (Account::Basic, HeaderMap::new(), false),
            (Account::ApiKey, HeaderMap::new(), false),
            (Account::Bearer, with(AUTHORIZATION, &stale), false),
            (Account::Bearer, with(AUTHORIZATION, &gates.basic), false),
            (Account::Bearer, twice, false),
        ] {
            assert_eq!(
                gates.admit(account, &headers),
                admitted,
                "{account:?} {headers:?}"
            );
        }
    }

    #[test]
    fn keys_are_long_and_never_the_same() {
        let (a, b) = (Keys::random().unwrap(), Keys::random().unwrap());
        assert_eq!(a.token.len(), 48);
        assert_ne!(*a.token, *b.token);
        assert_ne!(*a.token, *a.stale);
    }
}
