//! A short hash of the definitions of a generation, by which the configurations of two processes
//! can be compared.
//!
//! Invariant: no value that may be a secret is hashed, because anyone who reads the hash could
//! check guesses against it. Of credentials the hash covers the kinds and the sources of the
//! secrets; of `headers` and `extra_params`, only the names.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::ConnectionEntry;
use crate::domain::auth::{ConsentParameters, Identity, OauthParameters};
use crate::domain::connector::ConnectorSlug;
use crate::domain::{Auth, Connection, Secret};

/// The number of bytes of the hash that are shown.
const SHOWN: usize = 6;

/// Returns the hash of these entries, which does not depend on their order.
pub(super) fn fingerprint<'e>(entries: impl Iterator<Item = &'e ConnectionEntry>) -> Box<str> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|entry| entry.connection.id.as_str());
    let mut parts = DefinitionHasher(Sha256::new());
    for entry in entries {
        parts.entry(entry);
    }
    let mut text = String::new();
    for byte in parts.0.finalize().iter().take(SHOWN) {
        // Writing to a `String` cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text.into()
}

/// Hashes texts, each preceded by its length, so that two different lists never have the same
/// input.
struct DefinitionHasher(Sha256);

impl DefinitionHasher {
    fn add(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn list<T: AsRef<str>>(&mut self, texts: impl ExactSizeIterator<Item = T>) {
        self.0.update((texts.len() as u64).to_be_bytes());
        texts.for_each(|text| self.add(text.as_ref()));
    }

    fn secret_source(&mut self, secret: &Secret) {
        self.add(&secret.source().to_string());
    }

    fn entry(&mut self, entry: &ConnectionEntry) {
        // All fields are named, so that a new one cannot be forgotten here.
        let Connection {
            id,
            display_name,
            description,
            connector,
            base_url,
            routes,
            route_descriptions,
            headers,
            auth,
            webhook_signing_secret,
            caps,
            allowed_private_cidrs,
            allow_cookies,
            allow_agent_headers,
            allow_encoded_slash,
            reflection_guard,
            reuse_after_body,
            http2,
            enabled,
            delete_time,
        } = &*entry.connection;
        self.add(id.as_str());
        self.add(display_name);
        self.add(description);
        self.list(connector.iter().map(ConnectorSlug::as_str));
        self.add(&base_url.to_string());
        self.list(routes.patterns().iter().map(|route| route.as_str()));
        self.list(route_descriptions.iter().map(|route| format!("{route:?}")));
        self.list(headers.iter().map(|header| &*header.written));
        self.auth(auth);
        // Hashes whether there is a secret, so that none and one are distinct.
        self.list(webhook_signing_secret.iter().map(|_| ""));
        webhook_signing_secret
            .iter()
            .for_each(|key| self.secret_source(key));
        self.add(&format!("{caps:?}"));
        self.list(allowed_private_cidrs.iter().map(ToString::to_string));
        self.list(allow_agent_headers.iter());
        let switches = [
            allow_cookies,
            allow_encoded_slash,
            reflection_guard,
            reuse_after_body,
            enabled,
        ];
        self.add(&format!("{switches:?} {http2:?} {delete_time:?}"));
    }

    fn auth(&mut self, auth: &Auth) {
        self.add(auth.kind());
        match auth {
            Auth::OauthClientCredentials(grant) => self.terms(grant.terms()),
            Auth::OauthUserConsent(consent) => self.consent(consent.parameters()),
            Auth::BearerToken(bearer) => self.secret_source(bearer.token()),
            Auth::BasicAuth(basic) => {
                self.secret_source(basic.username());
                self.secret_source(basic.password());
            }
            Auth::StaticHeaders(headers) => {
                self.list(headers.iter().map(|header| &*header.written));
                for header in headers {
                    self.secret_source(&header.value);
                    self.add(&format!("{}", header.is_secret));
                }
            }
            Auth::NoAuth => {}
        }
    }

    fn terms(&mut self, terms: &OauthParameters) {
        let OauthParameters {
            token_url,
            grant_type,
            client_id,
            client_secret,
            scopes,
            extra_params,
            client_auth,
            // The connection's field of this name is hashed with the connection.
            allowed_private_cidrs: _,
        } = terms;
        // Omits the query, whose values may be secrets like those of `extra_params`.
        self.add(&token_url.to_string());
        self.add(grant_type.as_str());
        self.secret_source(client_id);
        self.secret_source(client_secret);
        self.list(scopes.iter());
        self.list(extra_params.iter().map(|(name, _)| name));
        self.add(&format!("{client_auth:?}"));
    }

    fn consent(&mut self, parameters: &ConsentParameters) {
        let ConsentParameters {
            grant,
            client_id,
            client_secret,
            client_auth,
            scopes,
            scope_separator,
            endpoints,
            refresh_token,
            issuer,
            redirect_uri,
            has_pkce,
            token_request,
            authorization_params,
            token_params,
            refresh_params,
            token_path,
            rotation,
            identity,
            // The connection's field of this name is hashed with the connection.
            allowed_private_cidrs: _,
            provider,
        } = parameters;
        self.add(grant.as_str());
        self.secret_source(client_id);
        for secret in [client_secret.as_deref(), refresh_token.as_ref()] {
            self.list(secret.iter().map(|_| ""));
            secret.iter().for_each(|secret| self.secret_source(secret));
        }
        self.list(scopes.iter());
        // Omits the queries, as above.
        self.list(
            endpoints
                .all()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .iter(),
        );
        for params in [authorization_params, token_params, refresh_params] {
            self.list(params.iter().map(|(name, _)| name));
        }
        let identity = identity.as_ref().map(|identity| match identity {
            Identity::Url(url, pointer) => format!("{url} {}", pointer.as_str()),
            Identity::Answer(pointer) => pointer.as_str().to_owned(),
        });
        self.add(&format!(
            "{client_auth:?} {scope_separator:?} {issuer:?} {redirect_uri} {has_pkce} \
             {token_request:?} {token_path:?} {rotation:?} {identity:?} {:?} {:?}",
            provider.consent_ended_errors, provider.revoke_page
        ));
    }
}
