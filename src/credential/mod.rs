//! From a connection's auth to the fields that prove it, at request time.
//!
//! One of the two rooms in which a secret is exposed. It fails closed: a credential that cannot be obtained refuses the request, and
//! nothing is sent without it.

use std::fmt;

use crate::domain::{Auth, Connection};
use crate::upstream::Field;

/// Why there is no credential. Says the kind of reason, never a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// This version obtains no OAuth tokens.
    OauthNotSupported,
    /// This version signs no bodies.
    SigningNotSupported,
}

/// Appends the connection's credential to the fields of a request.
pub fn inject<'a>(
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

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OauthNotSupported => "this version of egressd does not obtain OAuth tokens yet",
            Self::SigningNotSupported => "this version of egressd does not sign request bodies yet",
        })
    }
}
