//! Sends a refresh token.
//!
//! A refresh token that is accepted once must not be sent before its successor can be saved. So a
//! [`RefreshRequest`] contains a [`SpendPermit`]: a reservation in the token store, or the proof
//! that the definition states that refresh tokens are reusable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{AnswerClass, AnswerRules, FailedAnswer, TokenAnswer};
use super::request::write_refresh_request;
use crate::credential::oauth::exchange::{NoResponse, TokenExchange};
use crate::credential::unavailable::Reason;
use crate::domain::auth::{ConsentClientAuth, ConsentParameters, Rotation, UserConsent};
use crate::token_store::{Reservation, TokenText};
use crate::upstream::Client;

/// The endpoint at which a grant is refreshed, or a script in tests.
pub(super) trait RefreshEndpoint: Send + Sync {
    /// Sends a refresh token once.
    fn refresh<'a>(&'a self, request: RefreshRequest<'a>) -> RefreshFuture<'a>;
}

pub(super) type RefreshFuture<'a> =
    Pin<Box<dyn Future<Output = Result<TokenAnswer, RefreshFailure>> + Send + 'a>>;

/// A refresh token that is about to be sent.
pub(super) struct RefreshRequest<'a> {
    pub(super) token: &'a TokenText,
    pub(super) auth: ConsentClientAuth,
    /// The right to send the token.
    #[expect(
        dead_code,
        reason = "a proof for the compiler, and a lock that is held"
    )]
    pub(super) permit: SpendPermit<'a>,
}

/// The right to send a refresh token.
pub(super) enum SpendPermit<'a> {
    /// The next document can be saved.
    #[expect(dead_code, reason = "held while the token is sent")]
    Reserved(&'a Reservation),
    /// The token stays valid.
    Reusable(ReusableTokens),
}

/// Proof that the refresh tokens of a definition are reusable.
#[derive(Clone, Copy)]
pub(super) struct ReusableTokens(());

impl ReusableTokens {
    /// Returns the proof, if the definition states it.
    pub(super) fn from_parameters(parameters: &ConsentParameters) -> Option<Self> {
        match parameters.rotation {
            Rotation::Reusable => Some(Self(())),
            Rotation::SingleUse => None,
        }
    }
}

/// The failure of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefreshFailure {
    pub(super) answer: FailedAnswer,
    /// The waiting time that the endpoint requests.
    pub(super) retry_after: Option<Duration>,
}

/// The refresh URL of one definition.
pub(super) struct HttpRefreshEndpoint {
    exchange: TokenExchange,
    consent: Arc<UserConsent>,
}

impl HttpRefreshEndpoint {
    pub(super) fn new(client: Arc<Client>, consent: Arc<UserConsent>) -> Self {
        let parameters = consent.parameters();
        let url = &parameters.endpoints.refresh_url;
        Self {
            exchange: TokenExchange::new(client, url, &parameters.allowed_private_cidrs),
            consent,
        }
    }

    async fn send(
        &self,
        token: &TokenText,
        auth: ConsentClientAuth,
    ) -> Result<TokenAnswer, RefreshFailure> {
        let parameters = self.consent.parameters();
        let request = write_refresh_request(parameters, auth, token.expose());
        let request = request.ok_or(NoResponse {
            reason: Reason::Internal,
            was_sent: false,
        })?;
        let response = self.exchange.send(request).await?;
        let rules = AnswerRules::from_parameters(parameters);
        rules
            .read(response.status, &response.body)
            .map_err(|answer| {
                let secret = parameters.client_secret.as_ref();
                let secrets: Vec<_> = std::iter::once(token.expose())
                    .chain(secret.map(|secret| secret.expose()))
                    .collect();
                RefreshFailure {
                    answer: answer.without_secrets(&response.body, &secrets),
                    retry_after: response.retry_after(),
                }
            })
    }
}

impl RefreshEndpoint for HttpRefreshEndpoint {
    fn refresh<'a>(&'a self, request: RefreshRequest<'a>) -> RefreshFuture<'a> {
        Box::pin(async move {
            // The permit is held until the answer has arrived.
            let request = request;
            self.send(request.token, request.auth).await
        })
    }
}

impl From<NoResponse> for RefreshFailure {
    fn from(none: NoResponse) -> Self {
        Self {
            answer: FailedAnswer {
                class: match none.was_sent {
                    true => AnswerClass::Ambiguous,
                    false => AnswerClass::Limited,
                },
                reason: none.reason,
                error_text: None,
            },
            retry_after: None,
        }
    }
}
