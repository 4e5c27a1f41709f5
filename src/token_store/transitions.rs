//! The functions that return the next version of a document: a consent, a refresh, a refusal, a
//! logout.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::document::{Refusal, RefusalReason, StoredGrant, Version};
use super::parse::MAX_SEQUENCE;
use super::token_text::TokenText;
use crate::domain::auth::ConsentClientAuth;

/// The number of hashes of configured refresh tokens that a document keeps: the newest ones.
const MAX_SEEDS: usize = 32;
/// The number of members of a token answer that a document keeps.
const MAX_ANSWER_MEMBERS: usize = 32;
/// The longest string among them, in bytes.
const MAX_ANSWER_STRING: usize = 1024;
/// Parts of the names of members that are not kept, because their values can be secrets.
const SECRET_NAME_PARTS: [&str; 3] = ["token", "secret", "key"];
/// The least time between two consents of a grant.
const CONSENT_STEP: SignedDuration = SignedDuration::from_millis(1);

/// A consent that `login` has obtained.
pub struct NewConsent {
    /// See [`crate::domain::auth::ConsentParameters::client`].
    pub client: String,
    /// The access token.
    pub access_token: TokenText,
    /// The life of the access token from the answer on. `None` if the answer does not state it.
    pub expires_in: Option<Duration>,
    /// The refresh token.
    pub refresh_token: Option<TokenText>,
    /// The life of the refresh token from the answer on.
    pub refresh_token_expires_in: Option<Duration>,
    /// The granted scopes.
    pub scopes: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The place of the client's credentials that worked.
    pub client_auth: Option<ConsentClientAuth>,
    /// The hash of the configured refresh token (see [`crate::domain::auth::seed_hash`]), which
    /// must not start another grant after this consent.
    pub seed: Option<String>,
    /// See [`scalar_members`].
    pub answer: Map<String, Value>,
}

/// A successful answer to a refresh request.
pub struct RefreshedTokens {
    /// The access token.
    pub access_token: TokenText,
    /// The life of the access token from the answer on. `None` if the answer does not state it.
    pub expires_in: Option<Duration>,
    /// The refresh token in the answer. `None` keeps the previous one.
    pub refresh_token: Option<TokenText>,
    /// The life of the refresh token from the answer on.
    pub refresh_token_expires_in: Option<Duration>,
    /// The granted scopes in the answer. `None` keeps the previous ones.
    pub scopes: Option<String>,
    /// See [`scalar_members`]. An empty map keeps the previous members.
    pub answer: Map<String, Value>,
}

impl StoredGrant {
    /// Returns the document of a new consent. It is newer than the previous document, even if the
    /// wall clock was set back. `previous` is the document that was read under the lock.
    pub fn from_consent(consent: NewConsent, previous: Option<&Self>, now: Timestamp) -> Self {
        let mut document = Self {
            client: Some(consent.client),
            access_token: Some(consent.access_token),
            expires_at: consent.expires_in.map(|life| add(now, life)),
            refresh_token: consent.refresh_token,
            refresh_token_expires_at: consent.refresh_token_expires_in.map(|life| add(now, life)),
            scopes: consent.scopes,
            account: consent.account,
            client_auth: consent.client_auth,
            answer: answer_text(&consent.answer),
            ..Self::connected_after(previous, now)
        };
        document.version.sequence = 1;
        document.add_seed(consent.seed);
        document
    }

    /// Returns a document that a configured refresh token starts. It has no access token, and its
    /// sequence is 0 because it is not written before the first refresh.
    pub fn from_seed(
        client: String,
        refresh_token: TokenText,
        hash: String,
        previous: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let mut document = Self {
            client: Some(client),
            refresh_token: Some(refresh_token),
            ..Self::connected_after(previous, now)
        };
        document.add_seed(Some(hash));
        document
    }

    /// Returns an empty document with a later consent than the previous one, and with what outlasts
    /// a consent: seeds and unknown members.
    fn connected_after(previous: Option<&Self>, now: Timestamp) -> Self {
        let now_or_later = round(now);
        let latest = previous.and_then(Self::connected_at);
        let next = latest.and_then(|latest| latest.checked_add(CONSENT_STEP).ok());
        let connected_at = next.map_or(now_or_later, |next| next.max(now_or_later));
        Self {
            version: Version {
                connected_at: Some(connected_at),
                sequence: 0,
            },
            // `connected_at` may be ahead of the clock, to be later than the previous consent. The
            // lives of the tokens must not count from such a time.
            refreshed_at: (connected_at > now_or_later).then_some(now_or_later),
            seeds: previous
                .map(|previous| previous.seeds.clone())
                .unwrap_or_default(),
            unknown: previous
                .map(|previous| previous.unknown.clone())
                .unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Returns the document after a successful refresh.
    pub fn refreshed(&self, tokens: RefreshedTokens, now: Timestamp) -> Self {
        let is_replaced = tokens.refresh_token.is_some();
        let stated_end = tokens.refresh_token_expires_in.map(|life| add(now, life));
        // The end of a token that was replaced does not apply to the next one.
        let kept_end = self
            .refresh_token_expires_at
            .filter(|_| !is_replaced || tokens.refresh_token == self.refresh_token);
        Self {
            refreshed_at: Some(round(now)),
            access_token: Some(tokens.access_token),
            expires_at: tokens.expires_in.map(|life| add(now, life)),
            refresh_token: tokens.refresh_token.or_else(|| self.refresh_token.clone()),
            refresh_token_expires_at: stated_end.or(kept_end),
            scopes: tokens.scopes.or_else(|| self.scopes.clone()),
            answer: answer_text(&tokens.answer).or_else(|| self.answer.clone()),
            refusal: None,
            ..self.next_version()
        }
    }

    /// Returns the document with the name of the account.
    pub fn with_account(&self, account: String) -> Self {
        Self {
            account: Some(account),
            ..self.next_version()
        }
    }

    /// Returns the document after the provider has refused the refresh token for good.
    pub fn refused(&self, reason: RefusalReason, now: Timestamp) -> Self {
        Self {
            refusal: Some(Refusal {
                at: round(now),
                reason,
            }),
            ..self.next_version()
        }
    }

    /// Returns the document after a logout, without tokens. With the hash of the configured refresh
    /// token, that token does not start the grant again.
    pub fn revoked(
        previous: Option<&Self>,
        client: String,
        seed: Option<String>,
        now: Timestamp,
    ) -> Self {
        let base = match previous {
            Some(previous) => previous.next_version(),
            None => Self::connected_after(None, now).next_version(),
        };
        let mut document = Self {
            client: Some(client),
            access_token: None,
            expires_at: None,
            refresh_token: None,
            refresh_token_expires_at: None,
            refusal: None,
            revoked_at: Some(round(now)),
            ..base
        };
        document.add_seed(seed);
        document
    }

    fn next_version(&self) -> Self {
        let mut next = self.clone();
        next.version.sequence = next.version.sequence.saturating_add(1).min(MAX_SEQUENCE);
        next
    }

    fn add_seed(&mut self, hash: Option<String>) {
        let Some(hash) = hash else { return };
        self.seeds.retain(|seed| *seed != hash);
        self.seeds.push(hash);
        let surplus = self.seeds.len().saturating_sub(MAX_SEEDS);
        self.seeds.drain(..surplus);
    }
}

/// Returns the members of a token answer that a document keeps for people: at most 32 scalars whose
/// names and lengths do not suggest a secret.
pub fn scalar_members<'a>(
    members: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Map<String, Value> {
    let is_kept = |(name, value): &(&str, &Value)| {
        let name = name.to_ascii_lowercase();
        let is_short = name.len() <= MAX_ANSWER_STRING;
        is_short && !SECRET_NAME_PARTS.iter().any(|part| name.contains(part)) && is_scalar(value)
    };
    let kept = members.into_iter().filter(is_kept).take(MAX_ANSWER_MEMBERS);
    kept.map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= MAX_ANSWER_STRING,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn answer_text(answer: &Map<String, Value>) -> Option<Zeroizing<String>> {
    if answer.is_empty() {
        return None;
    }
    serde_json::to_string(answer).ok().map(Zeroizing::new)
}

/// Returns the time that is stored. Milliseconds distinguish two consents in one second.
fn round(time: Timestamp) -> Timestamp {
    let whole = jiff::TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(jiff::RoundMode::Trunc);
    time.round(whole).unwrap_or(time)
}

fn add(now: Timestamp, life: Duration) -> Timestamp {
    let end = SignedDuration::try_from(life)
        .ok()
        .and_then(|life| now.checked_add(life).ok());
    end.map_or(Timestamp::MAX, round)
}
