//! Turns the auth of a connection into the header fields that prove it, at request time.
//!
//! This is one of the two modules that read the bytes of secrets; the other is `reflection`. If a
//! credential cannot be obtained, the request is refused and nothing is sent.

mod login;
pub mod oauth;
pub mod signing;
mod unavailable;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;

use crate::credential::signing::{SignatureValue, SigningKey};
use crate::domain::{Auth, Connection, ConnectionId};
use crate::reflection::{ConnectionSecrets, Exposure, Reflected, ReflectionGuard, ResponseScan};
use crate::telemetry::metrics::{ReflectionCounts, TokenCounters};
use crate::telemetry::problem_log::ResponsePart;
use crate::upstream::Field;
pub use login::Login;
use oauth::ConnectionStatus;
use oauth::{Grant, GrantStatus, Grants, Token};
pub use unavailable::{
    ConnectStep, ConsentReason, ErrorCode, InvalidTokenResponse, Reason, Unavailable,
};

static AUTHORIZATION_NAME: HeaderName = AUTHORIZATION;

/// The credentials of all connections, shared by all workers.
pub struct Credentials {
    grants: Grants,
    guard: Arc<ReflectionGuard>,
    by_connection: Mutex<HashMap<u64, Arc<Credential>>>,
}

/// The credential of one connection. Created once for each connection of a generation, so that
/// derived values such as the signing key are computed once.
pub struct Credential {
    grant: Option<Arc<Grant>>,
    signing_key: Option<SigningKey>,
    connection: ConnectionId,
    guard: Arc<ReflectionGuard>,
    secrets: Arc<ConnectionSecrets>,
    is_search_enabled: bool,
}

impl Credentials {
    /// Creates the credentials. Their tokens come from these grants.
    pub fn new(grants: Grants) -> Self {
        Self {
            guard: Arc::clone(grants.guard()),
            grants,
            by_connection: Mutex::default(),
        }
    }

    /// Returns the credential of a connection, and creates it if needed. `key` is the key of the
    /// connection's snapshot entry, which is unique across generations.
    ///
    /// Takes a lock that all workers share, so a request looks into the map of its own worker
    /// first.
    pub fn get_or_create_credential(&self, key: u64, connection: &Connection) -> Arc<Credential> {
        let mut credentials = self.by_connection.lock();
        let credential = credentials.entry(key).or_insert_with(|| {
            let grant = match &connection.auth {
                Auth::OauthClientCredentials(credentials) => {
                    Some(self.grants.get_or_create_grant(credentials))
                }
                // Without a token store, requests are refused.
                Auth::OauthUserConsent(consent) => self.grants.get_or_create_consent_grant(consent),
                Auth::BearerToken(_)
                | Auth::BasicAuth(_)
                | Auth::StaticHeaders(_)
                | Auth::NoAuth => None,
            };
            if let Some(grant) = &grant {
                grant.add_owner(&connection.id);
            }
            let secret = connection.webhook_signing_secret.as_ref();
            Arc::new(Credential {
                grant,
                signing_key: secret.map(SigningKey::new),
                connection: connection.id.clone(),
                guard: Arc::clone(&self.guard),
                secrets: self.guard.get_or_create_secrets(key, connection),
                is_search_enabled: crate::reflection::is_search_enabled(connection),
            })
        });
        Arc::clone(credential)
    }

    /// Registers the secrets of these connections, so that responses are searched for them from now
    /// on. Call it before any of them is used.
    pub fn register_secrets<'c>(
        &self,
        connections: impl IntoIterator<Item = (u64, &'c Connection)>,
    ) {
        self.guard.register_secrets(connections);
    }

    /// Returns the number of responses that held a secret, by connection.
    pub fn reflection_counts(&self) -> ReflectionCounts {
        self.guard.counts()
    }

    /// Returns the reason why a connection refuses all requests, if a response held a credential
    /// that can be guessed. `key` is that of [`Credentials::get_or_create_credential`].
    pub fn exposure(&self, key: u64) -> Option<Exposure> {
        self.guard.exposure(key)
    }

    /// Drops the credentials and tokens that belong to no live connection. A request that holds a
    /// credential keeps it. `live` is called under the lock, when no credential can be added.
    /// Otherwise a grant could be dropped too early, and a second one would be created.
    pub fn retain_live(&self, live: impl FnOnce() -> Vec<(u64, Arc<Connection>)>) {
        let mut credentials = self.by_connection.lock();
        let (mut keys, mut fingerprints) = (HashSet::new(), HashSet::new());
        let live = live();
        self.guard
            .register_secrets(live.iter().map(|(key, connection)| (*key, &**connection)));
        for (key, connection) in live {
            keys.insert(key);
            fingerprints.extend(token_fingerprint(&connection.auth));
        }
        credentials.retain(|key, _| keys.contains(key));
        self.guard.retain_live(&keys);
        self.grants.retain_live(&fingerprints);
    }

    /// Returns the state of a connection's grant, for operators. `None` if the connection uses no
    /// tokens, or if its grant does not exist yet. Creates nothing.
    pub fn grant_status(&self, connection: &Connection) -> Option<GrantStatus> {
        self.find_grant(connection).map(|grant| grant.status())
    }

    /// Returns the status of a connection. Reads no file and sends nothing.
    pub fn connection_status(&self, connection: &Connection) -> ConnectionStatus {
        if let Some(disabled) = ConnectionStatus::disabled(connection) {
            return disabled;
        }
        let grant = self.find_grant(connection);
        grant.map_or(ConnectionStatus::CONNECTED, |grant| {
            grant.connection_status()
        })
    }

    /// Adopts what other processes save in the token store, until the future is dropped.
    pub async fn watch_token_store(&self) {
        self.grants.watch_store().await;
    }

    /// Completes the refreshes under way, and saves what is only in memory. Called once, after the
    /// last request has ended.
    pub async fn finish_grants(&self) {
        self.grants.finish().await;
    }

    /// Returns the counters of a connection's token requests. `None` if it uses no tokens.
    pub fn get_or_create_counters(&self, connection: &Connection) -> Option<Arc<TokenCounters>> {
        match &connection.auth {
            Auth::OauthClientCredentials(credentials) => Some(
                self.grants
                    .get_or_create_counters(credentials.fingerprint()),
            ),
            Auth::OauthUserConsent(consent) => Some(
                self.grants
                    .get_or_create_consent_counters(consent.fingerprint()),
            ),
            Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_) | Auth::NoAuth => {
                None
            }
        }
    }

    /// Returns the grant of a connection, if one exists. Creates nothing.
    pub fn find_grant(&self, connection: &Connection) -> Option<Arc<Grant>> {
        self.grants.find_grant(token_fingerprint(&connection.auth)?)
    }
}

/// Returns the fingerprint of the parameters that tokens are obtained with, or `None` if the kind
/// uses no tokens.
fn token_fingerprint(auth: &Auth) -> Option<&[u8; 32]> {
    match auth {
        Auth::OauthClientCredentials(credentials) => Some(credentials.fingerprint()),
        Auth::OauthUserConsent(consent) => Some(consent.fingerprint()),
        Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_) | Auth::NoAuth => None,
    }
}

impl Credential {
    /// Returns the source of the tokens, or `None` if the credential uses no tokens.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// Returns the connection that the credential belongs to.
    pub fn connection_id(&self) -> &ConnectionId {
        &self.connection
    }

    /// Returns the key of the webhook signature, or `None` if bodies are not signed.
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.as_ref()
    }

    /// Returns whether responses are searched for secrets. If so, egressd requests responses that
    /// can be searched (uncompressed, in a known charset).
    pub fn is_response_searched(&self) -> bool {
        // An access token does not exist before it is obtained, and most are long enough to be
        // searched for.
        self.is_search_enabled && (self.grant.is_some() || !self.guard.is_empty())
    }

    /// Starts a search through the response to a request that was sent with this signature. Returns
    /// `None` if there is nothing to search for. The patterns include every secret of the request,
    /// because secrets are registered before they are sent.
    pub fn start_scan(&self, signature: Option<&SignatureValue>) -> Option<ResponseScan> {
        if !self.is_search_enabled {
            return None;
        }
        let all = self.guard.patterns();
        if all.is_empty() && signature.is_none() {
            return None;
        }
        let mut scan = ResponseScan::new(all);
        if let Some(signature) = signature {
            scan.add_signature(signature.digest());
        }
        Some(scan)
    }

    /// Extends a search in progress to the secrets that were added since it began.
    pub fn update_scan(&self, scan: &mut ResponseScan) -> Result<(), Reflected> {
        self.guard.update_scan(scan)
    }

    /// Counts and logs a secret that was found in a response of this connection.
    /// [`Credential::is_exposed`] returns whether it can be guessed.
    pub fn report_reflection(&self, place: ResponsePart, reflected: &Reflected) {
        self.guard
            .report(&self.connection, &self.secrets, place, reflected);
    }

    /// Returns whether a response held a secret of this connection that agents can guess. The
    /// connection then refuses all requests: otherwise an agent could send guesses until one is
    /// refused, which reveals the secret.
    pub fn is_exposed(&self) -> bool {
        self.secrets.are_exposed()
    }

    /// Appends the connection's credential to the header fields of a request. `token` is required
    /// if the credential uses tokens.
    ///
    /// # Errors
    ///
    /// Returns `Unavailable::INTERNAL` if a required token is missing, so that no request is sent
    /// without its credential.
    pub fn inject_headers<'a>(
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
                value: token.ok_or(Unavailable::INTERNAL)?.header_value(),
                sensitive: true,
            }),
        }
        Ok(())
    }
}
