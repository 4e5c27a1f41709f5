//! Requests to the provider: the code exchange, the device flow, a revocation, and the look-up of
//! the account. They use the client of `serve`: HTTPS only, the address guard, no redirects, at
//! most 64 KiB and 10 s.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderName, Method, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use zeroize::Zeroizing;

use super::failure::LoginFailure;
use super::provider_endpoint::ProviderEndpoint;
use super::session::Session;
use crate::credential::oauth::consent::answer::{AnswerRules, FailedAnswer, TokenAnswer};
use crate::credential::oauth::consent::request::{client_auth, write_token_request};
use crate::credential::oauth::exchange::{NoResponse, TokenExchange, TokenResponse};
use crate::credential::{ErrorCode, Reason};
use crate::domain::TokenUrl;
use crate::domain::auth::ConsentClientAuth;
use crate::token_store::TokenText;
use crate::upstream::{DEFAULT_USER_AGENT, ExchangeOptions, Field, Framing, RequestHead};

/// The time limit of an account look-up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit of the look-up of the token endpoint's addresses before a flow.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest response to an account look-up, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The fields of requests whose values are secrets.
const SECRET_FIELDS: [&str; 5] = [
    "code",
    "code_verifier",
    "device_code",
    "refresh_token",
    "token",
];

static ACCEPT_NAME: HeaderName = ACCEPT;
static AUTHORIZATION_NAME: HeaderName = AUTHORIZATION;
static USER_AGENT_NAME: HeaderName = USER_AGENT;

/// The result of a flow.
pub(super) struct Obtained {
    pub(super) answer: TokenAnswer,
    /// The body of the answer, which may name the account.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// The place of the client's credentials that worked. `None` if no request was sent.
    pub(super) client_auth: Option<ConsentClientAuth>,
}

/// A token request that failed.
pub(super) enum TokenFailure {
    /// There is no complete response.
    NoResponse(NoResponse),
    /// The response, which has this status, has no token.
    Answer(FailedAnswer, StatusCode),
}

/// The place of the client's credentials in requests. If the definition does not state it, the
/// header is tried first, then once the body.
pub(super) struct ClientAuthChoice {
    pub(super) current: ConsentClientAuth,
    may_change: bool,
}

impl ClientAuthChoice {
    pub(super) fn new(session: &Session<'_>) -> Self {
        let current = client_auth(session.consent(), None);
        Self {
            current,
            may_change: session.consent().client_auth.is_none()
                && current == ConsentClientAuth::Basic,
        }
    }

    /// Switches to the body after `invalid_client`. Returns `false` if that was tried already.
    pub(super) fn try_other(&mut self) -> bool {
        let may_change = std::mem::replace(&mut self.may_change, false);
        if may_change {
            self.current = ConsentClientAuth::Body;
        }
        may_change
    }
}

impl TokenFailure {
    pub(super) fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Answer(answer, _)
            if answer.reason == Reason::Refused(ErrorCode::InvalidClient))
    }

    /// Returns whether a byte of the request may have reached the endpoint.
    pub(super) fn was_sent(&self) -> bool {
        match self {
            Self::NoResponse(none) => none.was_sent,
            Self::Answer(..) => true,
        }
    }

    /// Describes the failure of a request to this endpoint for the person.
    pub(super) fn into_failure(self, endpoint: ProviderEndpoint<'_>, remedy: &str) -> LoginFailure {
        let what = "no token was obtained";
        let (answer, status) = match self {
            Self::NoResponse(NoResponse { reason, .. }) => {
                return LoginFailure::from_reason(what, &endpoint.describe(reason), reason, remedy);
            }
            Self::Answer(answer, status) => (answer, status.as_u16()),
        };
        let error = answer.error_text.as_deref();
        let why = match (answer.reason, error) {
            // A code that OAuth does not define: usually the answer of another resource.
            (Reason::Refused(ErrorCode::Other), Some(error)) => format!(
                "{} and the error `{error}`; check `{}`",
                endpoint.describe(Reason::Status(status)),
                endpoint.field
            ),
            (reason, Some(error)) if !reason.to_string().contains(error) => {
                format!(
                    "{reason}; the provider's error is `{error}`, with status {status} of `{}`",
                    endpoint.field
                )
            }
            (reason, _) => format!("{reason}, with status {status} of `{}`", endpoint.field),
        };
        LoginFailure::from_reason(what, &why, answer.reason, remedy)
    }
}

impl Session<'_> {
    /// Sends a token request once, except that the client's credentials are sent in the other place
    /// after `invalid_client`.
    pub(super) async fn obtain_token(
        &self,
        url: &TokenUrl,
        fields: &[(&str, &[u8])],
        additional: &[(String, String)],
    ) -> Result<Obtained, TokenFailure> {
        let mut auth = ClientAuthChoice::new(self);
        loop {
            let sent = self.request_token(url, auth.current, fields, additional);
            match sent.await {
                Err(failure) if failure.is_invalid_client() && auth.try_other() => {}
                ended => return ended,
            }
        }
    }

    /// Sends one token request, with additional parameters of the definition.
    pub(super) async fn request_token(
        &self,
        url: &TokenUrl,
        auth: ConsentClientAuth,
        fields: &[(&str, &[u8])],
        additional: &[(String, String)],
    ) -> Result<Obtained, TokenFailure> {
        let response = self.post(url, auth, fields, additional).await?;
        let status = response.status;
        let answered = AnswerRules::from_parameters(self.consent())
            .read(response.status, &response.body)
            .map_err(|failed| {
                let fields = fields.iter();
                let secrets = fields.filter(|(name, _)| SECRET_FIELDS.contains(name));
                let mut secrets: Vec<&[u8]> = secrets.map(|(_, value)| *value).collect();
                if let Some(secret) = &self.consent().client_secret {
                    secrets.push(secret.expose());
                }
                TokenFailure::Answer(failed.without_secrets(&response.body, &secrets), status)
            })?;
        Ok(Obtained {
            answer: answered,
            body: response.body,
            client_auth: Some(auth),
        })
    }

    /// Sends a request with the client's credentials once.
    pub(super) async fn post(
        &self,
        url: &TokenUrl,
        auth: ConsentClientAuth,
        fields: &[(&str, &[u8])],
        additional: &[(String, String)],
    ) -> Result<TokenResponse, TokenFailure> {
        let request = write_token_request(self.consent(), auth, fields, additional).ok_or(
            TokenFailure::NoResponse(NoResponse {
                reason: Reason::Internal,
                was_sent: false,
            }),
        )?;
        let ranges = &self.consent().allowed_private_cidrs;
        TokenExchange::new(Arc::clone(&self.client), url, ranges)
            .send(request)
            .await
            .map_err(TokenFailure::NoResponse)
    }

    /// Warns if the name of the token endpoint has no address that may be dialled, so that a person
    /// does not consent in vain. Sends nothing to the endpoint. A slow answer is no reason to wait.
    pub(super) async fn warn_of_token_endpoint(&mut self) {
        let consent = self.consent();
        let url = &consent.endpoints.token_url;
        let endpoint = self.client.endpoint(url, &consent.allowed_private_cidrs);
        let checked = tokio::time::timeout(CHECK_TIMEOUT, self.client.check_endpoint(&endpoint));
        if let Ok(Err(failure)) = checked.await {
            let why = ProviderEndpoint::token(consent).describe(failure.into());
            self.note(&format!(
                "warning: {why}; the login will fail after the consent unless this is corrected"
            ));
        }
    }

    /// Fetches a document of the API with an access token and the headers of the connection.
    pub(super) async fn get(
        &self,
        url: &TokenUrl,
        token: &TokenText,
    ) -> Result<Zeroizing<Vec<u8>>, Reason> {
        let exchange = self.exchange_get(url, token);
        let answered = tokio::time::timeout(TIMEOUT, exchange).await;
        answered.unwrap_or(Err(Reason::Timeout))
    }

    async fn exchange_get(
        &self,
        url: &TokenUrl,
        token: &TokenText,
    ) -> Result<Zeroizing<Vec<u8>>, Reason> {
        let bearer = Zeroizing::new([b"Bearer ", token.expose()].concat());
        let mut fields = vec![Field {
            name: &AUTHORIZATION_NAME,
            value: &bearer,
            sensitive: true,
        }];
        let configured = &self.connection.headers;
        fields.extend(configured.iter().map(|header| Field {
            name: &header.name,
            value: header.value.as_bytes(),
            sensitive: false,
        }));
        let defaults: [(&HeaderName, &str); 2] = [
            (&ACCEPT_NAME, "application/json"),
            (&USER_AGENT_NAME, DEFAULT_USER_AGENT),
        ];
        for (name, value) in defaults {
            if !configured.iter().any(|header| header.name == name) {
                fields.push(Field {
                    name,
                    value: value.as_bytes(),
                    sensitive: false,
                });
            }
        }
        let head = RequestHead {
            method: &Method::GET,
            target: &[url.target().as_bytes()],
            authority: url.authority(),
            fields: &fields,
            framing: Framing::Absent,
        };
        let endpoint = self
            .client
            .endpoint(url, &self.connection.allowed_private_cidrs);
        let body = Empty::<Bytes>::new().map_err(|never| match never {});
        let options = ExchangeOptions {
            cap: MAX_RESPONSE_BYTES as u64,
            sent_flag: &AtomicBool::new(false),
            credential_expiry: None,
            may_reuse_socket: true,
        };
        let response = self.client.exchange_once(&endpoint, &head, body, options);
        let (parts, mut body) = response.await?.into_parts();
        if parts.status != StatusCode::OK {
            return Err(Reason::Status(parts.status.as_u16()));
        }
        let mut all = Zeroizing::new(Vec::with_capacity(MAX_RESPONSE_BYTES));
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                all.extend_from_slice(&data);
            }
        }
        Ok(all)
    }
}
