//! From a connection's auth to the fields that prove it, at request time.
//!
//! One of the two rooms in which a secret is exposed. It fails closed: a credential that cannot be obtained refuses the request, and
//! nothing is sent without it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Auth, Connection};
use crate::upstream::Field;

/// The credentials of all connections, shared by all workers.
#[derive(Default)]
pub struct Credentials {
    known: Mutex<HashMap<u64, Arc<Credential>>>,
}

/// What a connection's requests prove themselves with: made once for each connection of a generation, and what is derived from it kept.
#[derive(Default)]
pub struct Credential {}

/// Why there is no credential. Says the kind of reason, never a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// This version obtains no OAuth tokens.
    OauthNotSupported,
    /// This version signs no bodies.
    SigningNotSupported,
}

impl Credentials {
    /// The credential of a connection. `key` tells connections of all generations apart.
    ///
    /// Takes a lock that all workers share: a request asks its own worker's map first.
    pub fn of(&self, key: u64, _connection: &Connection) -> Arc<Credential> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key).or_default())
    }
}

impl Credential {
    /// Appends the connection's credential to the fields of a request.
    pub fn inject<'a>(
        &'a self,
        connection: &'a Connection,
        fields: &mut Vec<Field<'a>>,
    ) -> Result<(), Unavailable> {
        if connection.webhook_signing_secret.is_some() {
            return Err(Unavailable::SigningNotSupported);
        }
        match &connection.auth {
            Auth::OauthClientCredentials(_) => Err(Unavailable::OauthNotSupported),
            Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_) | Auth::NoAuth => {
                let headers = connection.auth.fixed_headers().unwrap_or_default();
                fields.extend(headers.iter().map(|header| Field {
                    name: &header.name,
                    value: header.value.expose(),
                    sensitive: true,
                }));
                Ok(())
            }
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OauthNotSupported => "this version of egressd does not obtain OAuth tokens yet",
            Self::SigningNotSupported => "this version of egressd does not sign request bodies yet",
        })
    }
}
