//! From a connection's auth to the fields that prove it, at request time.
//!
//! One of the two rooms in which a secret is exposed. It fails closed: a credential that cannot be obtained refuses the request, and
//! nothing is sent without it.

mod login;
pub mod oauth;
pub mod reflection;
mod unavailable;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::domain::{Auth, Connection};
use crate::signing::SigningKey;
use crate::upstream::Field;
pub use login::{Login, NoRandomness};
use oauth::{Grant, Grants, Status, Token};
use reflection::{Needles, Scan};
pub use unavailable::{ErrorCode, InvalidAnswer, Reason, Step, Unavailable};

static AUTHORIZATION_NAME: HeaderName = AUTHORIZATION;

/// The credentials of all connections, shared by all workers.
pub struct Credentials {
    grants: Grants,
    known: Mutex<HashMap<u64, Arc<Credential>>>,
}

/// What a connection's requests prove themselves with: made once for each connection of a generation, and what is derived from it kept.
pub struct Credential {
    grant: Option<Arc<Grant>>,
    signing_key: Option<SigningKey>,
    /// What every response is searched for; an access token has its own.
    needles: Option<Arc<Needles>>,
    is_searched_for: bool,
}

impl Credentials {
    /// Credentials whose tokens come from these grants.
    pub fn new(grants: Grants) -> Self {
        Self {
            grants,
            known: Mutex::default(),
        }
    }

    /// The credential of a connection. `key` tells connections of all generations apart.
    ///
    /// Takes a lock that all workers share: a request asks its own worker's map first.
    pub fn of(&self, key: u64, connection: &Connection) -> Arc<Credential> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let credential = known.entry(key).or_insert_with(|| {
            let grant = match &connection.auth {
                Auth::OauthClientCredentials(credentials) => {
                    let grant = self.grants.of(credentials);
                    grant.belongs_to(&connection.id);
                    Some(grant)
                }
                Auth::BearerToken(_)
                | Auth::BasicAuth(_)
                | Auth::StaticHeaders(_)
                | Auth::NoAuth => None,
            };
            let secret = connection.webhook_signing_secret.as_ref();
            let needles = reflection::of_connection(connection).map(Arc::new);
            Arc::new(Credential {
                is_searched_for: reflection::may_search(connection, needles.as_deref()),
                needles,
                grant,
                signing_key: secret.map(SigningKey::new),
            })
        });
        Arc::clone(credential)
    }

    /// Lets go of what belongs to none of these connections, tokens included. Whoever holds a credential keeps it. Which are live is asked for where nobody can
    /// add one meanwhile: of a grant that was let go of too early there would soon be two.
    pub fn keep_only(&self, live: impl FnOnce() -> Vec<(u64, Arc<Connection>)>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut keys, mut fingerprints) = (HashSet::new(), HashSet::new());
        for (key, connection) in live() {
            keys.insert(key);
            if let Auth::OauthClientCredentials(credentials) = &connection.auth {
                fingerprints.insert(*credentials.fingerprint());
            }
        }
        known.retain(|key, _| keys.contains(key));
        self.grants.keep_only(&fingerprints);
    }

    /// The state of a connection's grant, for operators. `None` where it has none, or where none of its requests has asked for a token yet. Makes nothing
    /// and keeps nothing: to ask of every connection costs little.
    pub fn status(&self, connection: &Connection) -> Option<Status> {
        match &connection.auth {
            Auth::OauthClientCredentials(credentials) => {
                self.grants.find(credentials).map(|grant| grant.status())
            }
            Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_) | Auth::NoAuth => {
                None
            }
        }
    }
}

impl Credential {
    /// Where its tokens come from, if it is one of tokens.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// The key of the webhook signature, where bodies are signed.
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.as_ref()
    }

    /// Whether responses are searched for a secret of the connection, and have to come uncompressed for that.
    pub fn is_searched_for(&self) -> bool {
        self.is_searched_for
    }

    /// A search through the response to a request that went up with these tokens. `None` where there is nothing to search for.
    pub fn scan<'t>(&self, tokens: impl IntoIterator<Item = &'t Token>) -> Option<Scan> {
        if !self.is_searched_for {
            return None;
        }
        let of_tokens = tokens
            .into_iter()
            .filter_map(|token| token.needles().cloned());
        Scan::over(self.needles.clone().into_iter().chain(of_tokens))
    }

    /// Appends the connection's credential to the fields of a request. `token` is there for those of tokens.
    pub fn inject<'a>(
        &'a self,
        connection: &'a Connection,
        token: Option<&'a Token>,
        fields: &mut Vec<Field<'a>>,
    ) -> Result<(), Unavailable> {
        match connection.auth.fixed_headers() {
            Some(headers) => fields.extend(headers.iter().map(|header| Field {
                name: &header.name,
                value: header.value.expose(),
                sensitive: true,
            })),
            None => fields.push(Field {
                name: &AUTHORIZATION_NAME,
                value: token.ok_or(unavailable_now(Reason::Internal))?.header(),
                sensitive: true,
            }),
        }
        Ok(())
    }
}

/// For reasons that are not remembered.
fn unavailable_now(reason: Reason) -> Unavailable {
    Unavailable {
        reason,
        retry_after: Duration::from_secs(30),
    }
}
