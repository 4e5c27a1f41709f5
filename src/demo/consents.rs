//! The consents of people: requests that wait for a decision, codes, and grants.
//!
//! Everything is in memory and bounded. If there are too many of a kind, the oldest is removed.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::device_requests::{DeviceRequest, DeviceState, UserCode};
use super::expiring::Expiring;
use super::grants::{ConsentedAccess, GrantedTokens, Grants};
use super::oauth_error::OauthError;
use super::random::random_secret;

/// The time that a person has to decide.
const REQUEST_LIFETIME: Duration = Duration::from_secs(600);
/// The lifetime of an authorization code. RFC 6749 §4.1.2 recommends at most ten minutes.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// The maximum number of requests that wait for a decision.
const MAX_REQUESTS: usize = 16;
/// The maximum number of codes that have not expired.
const MAX_CODES: usize = 16;

/// The accounts that can consent. A decision without an account is made by the first one.
pub(super) const ACCOUNTS: [&str; 2] = ["ada@example.com", "grace@example.com"];

/// All consents of a run.
pub(super) struct Consents {
    tables: Mutex<Tables>,
    user_code: UserCode,
}

struct Tables {
    requests: Expiring<WaitingRequest>,
    codes: Expiring<Code>,
    /// The only request of a device. A new one replaces it, because all have the same user code.
    device: Option<DeviceRequest>,
    grants: Grants,
}

/// A valid authorization request (RFC 6749 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthorizationRequest {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    /// The S256 code challenge (RFC 7636 §4.2).
    pub(super) challenge: String,
}

struct WaitingRequest {
    /// The value that the form of the consent page sends back.
    id: Zeroizing<String>,
    request: AuthorizationRequest,
}

struct Code {
    code: Zeroizing<String>,
    request: AuthorizationRequest,
    account: &'static str,
    /// The grant that the code was exchanged for.
    grant: Option<u64>,
}

/// A person's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The person with this account agrees.
    Approve(&'static str),
    Deny,
}

/// A decided request. The code is missing if the person denied it.
#[derive(Debug)]
pub(super) struct DecidedRequest {
    pub(super) request: AuthorizationRequest,
    pub(super) code: Option<Zeroizing<String>>,
}

impl Consents {
    /// Creates an empty state with this user code for all device requests.
    pub(super) fn new(user_code: UserCode) -> Self {
        Self {
            tables: Mutex::new(Tables {
                requests: Expiring::with_capacity(MAX_REQUESTS),
                codes: Expiring::with_capacity(MAX_CODES),
                device: None,
                grants: Grants::default(),
            }),
            user_code,
        }
    }

    /// Returns the user code of device requests.
    pub(super) fn user_code(&self) -> &UserCode {
        &self.user_code
    }

    /// Stores a request until a person decides. Returns the id for the consent page.
    pub(super) fn begin(
        &self,
        request: AuthorizationRequest,
        now: Instant,
    ) -> Result<Zeroizing<String>, OauthError> {
        let id = random_secret()?;
        let waiting = WaitingRequest {
            id: id.clone(),
            request,
        };
        let mut tables = self.tables.lock();
        tables.requests.push(waiting, now, now + REQUEST_LIFETIME);
        Ok(id)
    }

    /// Decides the request with this id, which is then used up. Returns `None` if there is none.
    pub(super) fn decide(
        &self,
        id: &str,
        decision: Decision,
        now: Instant,
    ) -> Result<Option<DecidedRequest>, OauthError> {
        let code = random_secret()?;
        let mut tables = self.tables.lock();
        let Some(waiting) = tables.requests.take(now, |waiting| *waiting.id == id) else {
            return Ok(None);
        };
        let request = waiting.request;
        let Decision::Approve(account) = decision else {
            return Ok(Some(DecidedRequest {
                request,
                code: None,
            }));
        };
        let issued = Code {
            code: code.clone(),
            request: request.clone(),
            account,
            grant: None,
        };
        tables.codes.push(issued, now, now + CODE_LIFETIME);
        let code = Some(code);
        Ok(Some(DecidedRequest { request, code }))
    }

    /// Exchanges a code for tokens (RFC 6749 §4.1.3). If the code was exchanged before, its grant
    /// ends (§4.1.2).
    pub(super) fn exchange_code(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Instant,
    ) -> Result<GrantedTokens, OauthError> {
        let mut tables = self.tables.lock();
        let Tables { codes, grants, .. } = &mut *tables;
        let Some(issued) = codes.find_mut(now, |issued| *issued.code == code) else {
            let why = "the code is not valid or has expired";
            return Err(OauthError::InvalidGrant(why));
        };
        if let Some(number) = issued.grant {
            grants.end(number);
            let why = "the code was used before, so its grant has ended";
            return Err(OauthError::InvalidGrant(why));
        }
        if issued.request.redirect_uri != redirect_uri {
            let why = "redirect_uri is not that of the authorization request";
            return Err(OauthError::InvalidGrant(why));
        }
        if issued.request.challenge != code_challenge(verifier) {
            let why = "code_verifier does not match the code challenge";
            return Err(OauthError::InvalidGrant(why));
        }
        let tokens = grants.start(issued.account, now)?;
        issued.grant = Some(tokens.grant);
        Ok(tokens)
    }

    /// Exchanges a refresh token for new tokens (RFC 6749 §6).
    pub(super) fn refresh(&self, token: &str, now: Instant) -> Result<GrantedTokens, OauthError> {
        self.tables.lock().grants.refresh(token, now)
    }

    /// Stores the request of a device. Returns its device code.
    pub(super) fn begin_device(&self, now: Instant) -> Result<Zeroizing<String>, OauthError> {
        let (request, device_code) = DeviceRequest::new(now)?;
        self.tables.lock().device = Some(request);
        Ok(device_code)
    }

    /// Decides the request of the device that waits with this user code. Returns `false` if there
    /// is none.
    pub(super) fn decide_device(&self, user_code: &str, decision: Decision, now: Instant) -> bool {
        let state = match decision {
            Decision::Approve(account) => DeviceState::Approved(account),
            Decision::Deny => DeviceState::Denied,
        };
        let mut tables = self.tables.lock();
        let is_code = self.user_code.matches(user_code);
        let device = tables.device.as_mut().filter(|_| is_code);
        device.is_some_and(|device| device.decide(state, now))
    }

    /// Answers a device that asks for its tokens (RFC 8628 §3.4).
    pub(super) fn poll_device(
        &self,
        device_code: &str,
        now: Instant,
    ) -> Result<GrantedTokens, OauthError> {
        let mut tables = self.tables.lock();
        let device = tables.device.as_mut();
        let Some(device) = device.filter(|device| device.has_code(device_code)) else {
            let why = "the device code is not valid, was used or was replaced by a newer one";
            return Err(OauthError::InvalidGrant(why));
        };
        let account = device.poll(now)?;
        tables.device = None;
        tables.grants.start(account, now)
    }

    /// Ends the grant of a token (RFC 7009).
    pub(super) fn revoke(&self, token: &str, now: Instant) {
        self.tables.lock().grants.revoke(token, now);
    }

    /// Returns the access of a valid access token.
    pub(super) fn access(&self, token: &[u8], now: Instant) -> Option<ConsentedAccess> {
        self.tables.lock().grants.access(token, now)
    }
}

/// Returns the S256 code challenge of a verifier (RFC 7636 §4.2).
pub(super) fn code_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

#[cfg(test)]
mod tests {
    use super::{
        ACCOUNTS, AuthorizationRequest, CODE_LIFETIME, Consents, Decision, Instant, MAX_CODES,
        MAX_REQUESTS, OauthError, REQUEST_LIFETIME, code_challenge,
    };
    use crate::demo::device_requests::UserCode;

    const URI: &str = "http://127.0.0.1:4000/callback";
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const APPROVE: Decision = Decision::Approve(ACCOUNTS[0]);

    fn consents() -> Consents {
        Consents::new(UserCode::generate().unwrap())
    }

    fn request() -> AuthorizationRequest {
        AuthorizationRequest {
            redirect_uri: URI.to_owned(),
            state: Some("x".to_owned()),
            challenge: code_challenge(VERIFIER),
        }
    }

    fn approved_code(consents: &Consents, now: Instant) -> String {
        let id = consents.begin(request(), now).unwrap();
        let decided = consents.decide(&id, APPROVE, now).unwrap().unwrap();
        decided.code.unwrap().to_string()
    }

    fn is_invalid_grant<T>(result: &Result<T, OauthError>) -> bool {
        matches!(result, Err(OauthError::InvalidGrant(_)))
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636 appendix B
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(code_challenge(VERIFIER), challenge);
    }

    #[test]
    fn a_request_is_decided_once_and_in_time() {
        let (consents, now) = (consents(), Instant::now());
        let id = consents.begin(request(), now).unwrap();
        let decided = consents.decide(&id, Decision::Deny, now).unwrap().unwrap();
        assert_eq!((decided.request, decided.code), (request(), None));
        assert!(consents.decide(&id, APPROVE, now).unwrap().is_none());
        let id = consents.begin(request(), now).unwrap();
        let late = now + REQUEST_LIFETIME;
        assert!(consents.decide(&id, APPROVE, late).unwrap().is_none());
    }

    #[test]
    fn a_code_needs_its_uri_and_its_verifier() {
        let (consents, now) = (consents(), Instant::now());
        let code = approved_code(&consents, now);
        let other = format!("{VERIFIER}x");
        for (code, uri, verifier) in [
            ("made-up", URI, VERIFIER),
            (&code, "http://127.0.0.1:4001/callback", VERIFIER),
            (&code, URI, &other),
        ] {
            let refused = consents.exchange_code(code, uri, verifier, now);
            assert!(is_invalid_grant(&refused), "{refused:?}");
        }
        let tokens = consents.exchange_code(&code, URI, VERIFIER, now).unwrap();
        let access = consents.access(tokens.access_token.as_bytes(), now);
        assert_eq!(access.unwrap().account, ACCOUNTS[0]);
        let code = approved_code(&consents, now);
        let late = consents.exchange_code(&code, URI, VERIFIER, now + CODE_LIFETIME);
        assert!(is_invalid_grant(&late));
    }

    #[test]
    fn a_repeated_exchange_ends_the_grant() {
        let (consents, now) = (consents(), Instant::now());
        let code = approved_code(&consents, now);
        let tokens = consents.exchange_code(&code, URI, VERIFIER, now).unwrap();
        let again = consents.exchange_code(&code, URI, VERIFIER, now);
        assert!(is_invalid_grant(&again));
        assert_eq!(consents.access(tokens.access_token.as_bytes(), now), None);
        assert!(is_invalid_grant(
            &consents.refresh(&tokens.refresh_token, now)
        ));
    }

    #[test]
    fn a_newer_device_replaces_the_one_that_waits() {
        let (consents, now) = (consents(), Instant::now());
        let user_code = consents.user_code().to_string();
        assert!(!consents.decide_device(&user_code, APPROVE, now));
        let first = consents.begin_device(now).unwrap();
        let second = consents.begin_device(now).unwrap();
        assert!(!consents.decide_device("BCDF-GHJK-L", APPROVE, now));
        assert!(consents.decide_device(&user_code, APPROVE, now));
        assert!(is_invalid_grant(&consents.poll_device(&first, now)));
        let tokens = consents.poll_device(&second, now).unwrap();
        assert!(
            consents
                .access(tokens.access_token.as_bytes(), now)
                .is_some()
        );
        assert!(is_invalid_grant(&consents.poll_device(&second, now)));
        consents.revoke(&tokens.refresh_token, now);
        assert_eq!(consents.access(tokens.access_token.as_bytes(), now), None);
    }

    #[test]
    fn requests_and_codes_are_bounded() {
        let (consents, now) = (consents(), Instant::now());
        let first = consents.begin(request(), now).unwrap();
        let code = approved_code(&consents, now);
        for _ in 0..MAX_REQUESTS {
            consents.begin(request(), now).unwrap();
        }
        assert!(consents.decide(&first, APPROVE, now).unwrap().is_none());
        for _ in 0..MAX_CODES {
            approved_code(&consents, now);
        }
        let refused = consents.exchange_code(&code, URI, VERIFIER, now);
        assert!(is_invalid_grant(&refused));
    }
}
