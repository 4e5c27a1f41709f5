//! Reads the answer to a token request of a consent: a refresh, a code exchange or a device flow.
//! Pure functions of its status and its bytes.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::credential::oauth::json_object::JsonObject;
use crate::credential::oauth::policy::DEFAULT_LIFE;
use crate::credential::oauth::response::{Seconds, check_token_type, parse_seconds, sanitize};
use crate::credential::unavailable::{ErrorCode, InvalidTokenResponse, Reason};
use crate::domain::auth::{ConsentParameters, JsonPointer};
use crate::reflection::{Patterns, ResponseScan};
use crate::token_store::{RefreshedTokens, TokenText, scalar_members};

/// Error codes which state that the consent has ended, so that a person has to act. A connector can
/// add more.
const CONSENT_ENDED: [&str; 7] = [
    "invalid_grant",
    "bad_refresh_token",
    "invalid_refresh_token",
    "token_revoked",
    "interaction_required",
    "login_required",
    "consent_required",
];

/// Error codes that RFC 6749 section 5.2 and RFC 8628 section 3.5 define.
const DEFINED_CODES: [&str; 10] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "authorization_pending",
    "slow_down",
    "access_denied",
    "expired_token",
];

/// The longest list of scopes. A document has 64 KiB, and its tokens need up to half of them.
const MAX_SCOPES_BYTES: usize = 8 * 1024;

/// The class of an answer, which determines what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerClass {
    /// The answer has a token.
    Success,
    /// The provider does not accept the refresh token. This is final only if it is confirmed.
    ConsentEnded,
    /// The provider refuses the request for another reason, which an operator can correct.
    Refused,
    /// The provider has not processed the request.
    Limited,
    /// The provider may have processed the request, so its refresh token may be spent.
    Ambiguous,
}

/// The parts of a definition that an answer is read with.
#[derive(Clone, Copy)]
pub struct AnswerRules<'a> {
    /// The place of the tokens.
    pub token_path: &'a JsonPointer,
    /// Error codes of the class [`AnswerClass::ConsentEnded`], besides the general ones.
    pub consent_ended_errors: &'a [String],
}

/// A successful answer. Has no `Debug`, because it holds tokens.
pub struct TokenAnswer {
    /// The access token.
    pub access_token: TokenText,
    /// The life of the access token. `None` if the answer does not state it.
    pub expires_in: Option<Duration>,
    /// `true` if `expires_in` is present but could not be read, so that a default life is assumed.
    pub is_life_assumed: bool,
    /// The refresh token. `None` if it is absent, null or empty.
    pub refresh_token: Option<TokenText>,
    /// The life of the refresh token.
    pub refresh_token_expires_in: Option<Duration>,
    /// The granted scopes, as the provider separates them.
    pub scopes: Option<String>,
    /// The scalar members for people.
    pub members: Map<String, Value>,
}

/// An answer without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAnswer {
    /// The class, which is not [`AnswerClass::Success`].
    pub class: AnswerClass,
    /// The reason, in words that an agent may read.
    pub reason: Reason,
    /// The error code, cleaned and shortened, for people.
    pub error_text: Option<Box<str>>,
}

impl<'a> AnswerRules<'a> {
    /// Returns the rules of a definition.
    pub fn from_parameters(parameters: &'a ConsentParameters) -> Self {
        Self {
            token_path: &parameters.token_path,
            consent_ended_errors: &parameters.provider.consent_ended_errors,
        }
    }

    /// Reads an answer.
    pub fn read(self, status: StatusCode, body: &[u8]) -> Result<TokenAnswer, FailedAnswer> {
        let object = JsonObject::parse(body);
        let tokens = object.as_ref().map(|top| Tokens {
            top,
            nested: top.object_at(self.token_path),
        });
        let code = tokens.as_ref().and_then(Tokens::error_code);
        let failed = |class, reason| FailedAnswer {
            class,
            reason,
            error_text: code.as_deref().map(sanitize),
        };
        let invalid = |why| failed(AnswerClass::Ambiguous, Reason::Invalid(why));
        let class = self.classify(status, code.as_deref());
        if class != AnswerClass::Success {
            let reason = failure_reason(class, status, code.as_deref());
            return Err(failed(class, reason));
        }
        let tokens = tokens.ok_or_else(|| invalid(InvalidTokenResponse::Json))?;
        tokens.read().map_err(invalid)
    }

    /// Returns the class of an answer with this status and error code. A success may still lack a
    /// valid token.
    fn classify(self, status: StatusCode, code: Option<&str>) -> AnswerClass {
        let ends_consent = |code: &str| {
            CONSENT_ENDED.contains(&code)
                || self.consent_ended_errors.iter().any(|other| other == code)
        };
        match code {
            _ if status == StatusCode::TOO_MANY_REQUESTS => AnswerClass::Limited,
            Some(code) if ends_consent(code) => AnswerClass::ConsentEnded,
            _ if status.is_server_error() => AnswerClass::Ambiguous,
            Some(_) => AnswerClass::Refused,
            None if status.is_success() => AnswerClass::Success,
            None if status.is_client_error() => AnswerClass::Refused,
            // A redirect, which is not followed.
            None => AnswerClass::Ambiguous,
        }
    }
}

fn failure_reason(class: AnswerClass, status: StatusCode, code: Option<&str>) -> Reason {
    match (class, code.map(ErrorCode::parse)) {
        (AnswerClass::ConsentEnded | AnswerClass::Refused, Some(code)) => {
            match status == StatusCode::UNAUTHORIZED && code == ErrorCode::Other {
                true => Reason::Refused(ErrorCode::OtherUnauthorized),
                false => Reason::Refused(code),
            }
        }
        (AnswerClass::Refused, None) => Reason::RefusedStatus(status.as_u16()),
        _ => Reason::Status(status.as_u16()),
    }
}

/// The members of an answer.
struct Tokens<'a, 'b> {
    top: &'a JsonObject<'b>,
    /// The object at `token_path`. Some providers have it only in their first answer.
    nested: Option<JsonObject<'b>>,
}

impl<'b> Tokens<'_, 'b> {
    fn object(&self) -> &JsonObject<'b> {
        self.nested.as_ref().unwrap_or(self.top)
    }

    fn error_code(&self) -> Option<String> {
        let code = self.top.text("error");
        // HubSpot names the error in `status`. Others have a `status` in successful answers.
        code.or_else(|| match self.object().get("access_token") {
            Some(_) => None,
            None => self.top.text("status"),
        })
    }

    fn read(&self) -> Result<TokenAnswer, InvalidTokenResponse> {
        let object = self.object();
        let access_token = object.get("access_token");
        let access_token = access_token.ok_or(InvalidTokenResponse::AccessToken)?;
        let access_token = TokenText::from_json(access_token)
            .map_err(|_invalid| InvalidTokenResponse::AccessToken)?;
        check_token_type(object)?;
        let life = parse_seconds(object, "expires_in");
        Ok(TokenAnswer {
            access_token,
            expires_in: match life {
                Seconds::Absent => None,
                Seconds::Unreadable => Some(DEFAULT_LIFE),
                Seconds::Count(count) => Some(Duration::from_secs(count)),
            },
            is_life_assumed: life == Seconds::Unreadable,
            refresh_token: self.refresh_token()?,
            refresh_token_expires_in: match parse_seconds(object, "refresh_token_expires_in") {
                Seconds::Absent | Seconds::Unreadable | Seconds::Count(0) => None,
                Seconds::Count(count) => Some(Duration::from_secs(count)),
            },
            scopes: scopes(object).or_else(|| scopes(self.top)),
            members: self.members(),
        })
    }

    fn refresh_token(&self) -> Result<Option<TokenText>, InvalidTokenResponse> {
        match self.object().get("refresh_token") {
            None => Ok(None),
            Some(raw) if matches!(raw.get(), "null" | r#""""#) => Ok(None),
            Some(raw) => TokenText::from_json(raw)
                .map(Some)
                .map_err(|_invalid| InvalidTokenResponse::RefreshToken),
        }
    }

    fn members(&self) -> Map<String, Value> {
        let values: Vec<_> = self.top.values().collect();
        scalar_members(values.iter().map(|(name, value)| (*name, value)))
    }
}

/// Returns the granted scopes: `scope`, or else the list `scopes`, which HubSpot has instead.
/// Scopes without end are ignored, because a document with them could not be saved.
fn scopes(object: &JsonObject<'_>) -> Option<String> {
    let scopes = object.text("scope").or_else(|| {
        let list = object.get("scopes")?;
        let scopes: Vec<String> = serde_json::from_str(list.get()).ok()?;
        Some(scopes.join(" "))
    });
    scopes.filter(|scopes| scopes.len() <= MAX_SCOPES_BYTES)
}

impl TokenAnswer {
    /// Returns the tokens for the next version of a stored grant.
    pub fn into_refreshed(self) -> RefreshedTokens {
        RefreshedTokens {
            access_token: self.access_token,
            expires_in: self.expires_in,
            refresh_token: self.refresh_token,
            refresh_token_expires_in: self.refresh_token_expires_in,
            scopes: self.scopes,
            answer: self.members,
        }
    }
}

impl FailedAnswer {
    /// Removes the error text if the body contains one of these secrets, in any encoding that
    /// responses are searched for. Codes that the RFCs define are known words and stay.
    #[must_use]
    pub fn without_secrets(mut self, body: &[u8], secrets: &[&[u8]]) -> Self {
        let has_secret = |text: &[u8]| {
            let patterns = Patterns::from_secrets(secrets.iter().copied());
            let scan = patterns.map(|patterns| ResponseScan::new(Arc::new(patterns)));
            let mut secrets = secrets.iter();
            secrets.any(|secret| {
                text.windows(secret.len().max(1))
                    .any(|part| part == *secret)
            }) || scan.is_some_and(|scan| scan.find(text).is_err())
        };
        self.error_text = self.error_text.filter(|text| {
            DEFINED_CODES.contains(&&**text) || !(has_secret(body) || has_secret(text.as_bytes()))
        });
        self
    }
}

#[cfg(test)]
mod tests;
