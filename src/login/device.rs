//! The device flow (RFC 8628): a person enters a code on any device, and egressd polls.

mod polling;

use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::authorization::requested_scopes;
use super::endpoint::{ClientAuthChoice, Obtained, TokenFailure};
use super::failure::{LoginFailure, denied};
use super::json::{seconds_at, text_at};
use super::provider_endpoint::ProviderEndpoint;
use super::session::{Session, timed_out};
use crate::credential::Reason;
use crate::credential::oauth::consent::answer::AnswerClass;
use crate::credential::oauth::response::sanitize;
use polling::{PollOutcome, PollSchedule};

const GRANT_TYPE: &[u8] = b"urn:ietf:params:oauth:grant-type:device_code";
/// The longest time for which a person is waited for.
const MAX_WAIT: Duration = Duration::from_secs(30 * 60);

/// Error codes of a person who denied the consent. The second one is Microsoft's.
const DENIED: [&str; 2] = ["access_denied", "authorization_declined"];
/// Error codes of a device code that has expired.
const EXPIRED: [&str; 2] = ["expired_token", "code_expired"];

/// The answer to a device authorization request.
struct DeviceAuthorization {
    device_code: Zeroizing<String>,
    user_code: Box<str>,
    verification_uri: Box<str>,
    expires_in: Duration,
    interval: Option<u64>,
}

impl Session<'_> {
    /// Shows the address and the code, and polls until the person has decided.
    pub(super) async fn obtain_by_device(&mut self) -> Result<Obtained, LoginFailure> {
        let mut auth = ClientAuthChoice::new(self);
        let device = self.authorize_device(&mut auth).await?;
        self.note(&format!(
            "open {} on any device, and enter the code {}",
            device.verification_uri, device.user_code
        ));
        let limit = device.expires_in.min(MAX_WAIT).min(self.options.timeout);
        let until = Instant::now() + limit;
        let fields = [
            ("grant_type", GRANT_TYPE),
            ("device_code", device.device_code.as_bytes()),
        ];
        let consent = self.consent();
        let mut schedule = PollSchedule::new(device.interval);
        loop {
            let next = Instant::now() + schedule.wait();
            if next > until {
                tokio::time::sleep_until(until).await;
                return Err(timed_out());
            }
            tokio::time::sleep_until(next).await;
            let url = &consent.endpoints.token_url;
            let sent = self.request_token(url, auth.current, &fields, &consent.token_params);
            let failure = match sent.await {
                Ok(obtained) => return Ok(obtained),
                Err(failure) => failure,
            };
            match poll_outcome(&failure) {
                Some(outcome) => schedule.record(outcome),
                None if failure.is_invalid_client() && auth.try_other() => {}
                None => return Err(device_failure(failure, ProviderEndpoint::token(consent))),
            }
        }
    }

    async fn authorize_device(
        &self,
        auth: &mut ClientAuthChoice,
    ) -> Result<DeviceAuthorization, LoginFailure> {
        let consent = self.consent();
        let Some(url) = &consent.endpoints.device_authorization_url else {
            return Err(LoginFailure::usage(
                "the definition has no `device_authorization_url`",
            ));
        };
        let scopes = requested_scopes(consent).unwrap_or_default();
        let mut fields: Vec<(&str, &[u8])> = Vec::new();
        if !scopes.is_empty() {
            fields.push(("scope", scopes.as_bytes()));
        }
        let what = "the device flow could not be started";
        let endpoint = ProviderEndpoint {
            field: "device_authorization_url",
            url,
        };
        loop {
            let response = self
                .post(url, auth.current, &fields, &[])
                .await
                .map_err(|failure| failure.into_failure(endpoint, "nothing was stored"))?;
            let error = text_at(&response.body, "/error");
            match error {
                Some(code) if code.as_str() == "invalid_client" && auth.try_other() => {}
                Some(code) => {
                    return Err(LoginFailure::refused(format!(
                        "{what} ({}); check the client and its scopes at the provider",
                        sanitize(&code)
                    )));
                }
                None if response.status.is_success() => {
                    return parse_authorization(&response.body)
                        .map_err(|why| LoginFailure::refused(format!("{what}: {why}")));
                }
                None => {
                    let reason = Reason::Status(response.status.as_u16());
                    let remedy = "check `device_authorization_url`";
                    let why = endpoint.describe(reason);
                    return Err(LoginFailure::from_reason(what, &why, reason, remedy));
                }
            }
        }
    }
}

fn parse_authorization(body: &[u8]) -> Result<DeviceAuthorization, &'static str> {
    let text = |name| text_at(body, name);
    let device_code = text("/device_code").ok_or("the answer has no `device_code`")?;
    let user_code = text("/user_code").ok_or("the answer has no `user_code`")?;
    // Google's name is older than the RFC.
    let uri = text("/verification_uri").or_else(|| text("/verification_url"));
    let uri = sanitize(&uri.ok_or("the answer has no `verification_uri`")?);
    // F-349
    if !uri.starts_with("https://") {
        return Err("the verification address does not begin with `https://`");
    }
    let expires_in = seconds_at(body, "/expires_in");
    Ok(DeviceAuthorization {
        device_code,
        user_code: sanitize(&user_code),
        verification_uri: uri,
        expires_in: expires_in.map_or(MAX_WAIT, Duration::from_secs),
        interval: seconds_at(body, "/interval"),
    })
}

/// Returns what a failed poll means for the next one, or `None` if there is none.
fn poll_outcome(failure: &TokenFailure) -> Option<PollOutcome> {
    match failure {
        // The address guard refuses the next request as well.
        TokenFailure::NoResponse(none) if matches!(none.reason, Reason::AddressRefused(_)) => None,
        TokenFailure::NoResponse(_) => Some(PollOutcome::NetworkError),
        TokenFailure::Answer(answer, _) => match answer.error_text.as_deref() {
            Some("authorization_pending") => Some(PollOutcome::Pending),
            Some("slow_down") => Some(PollOutcome::SlowDown),
            Some(code) if DENIED.contains(&code) || EXPIRED.contains(&code) => None,
            // At a status of 500 and above, another code is that of a server in trouble, and states
            // nothing about the consent.
            Some(_) | None => match answer.class {
                AnswerClass::Limited | AnswerClass::Ambiguous => Some(PollOutcome::NetworkError),
                AnswerClass::Success | AnswerClass::ConsentEnded | AnswerClass::Refused => None,
            },
        },
    }
}

fn device_failure(failure: TokenFailure, endpoint: ProviderEndpoint<'_>) -> LoginFailure {
    if let TokenFailure::Answer(answer, _) = &failure {
        match answer.error_text.as_deref() {
            Some(code) if DENIED.contains(&code) => return denied(code),
            Some(code) if EXPIRED.contains(&code) => {
                return LoginFailure::refused(
                    "the code has expired; nothing was stored; run the command again",
                );
            }
            Some(_) | None => {}
        }
    }
    failure.into_failure(endpoint, "run the command again")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::{DENIED, EXPIRED, PollOutcome, parse_authorization, poll_outcome};
    use crate::credential::Reason;
    use crate::credential::oauth::consent::answer::AnswerRules;
    use crate::credential::oauth::exchange::NoResponse;
    use crate::domain::auth::JsonPointer;
    use crate::login::endpoint::TokenFailure;

    #[test]
    fn the_verification_address_is_https_and_cleaned() {
        // F-349
        let body = |uri: &str| {
            format!(
                r#"{{"device_code": "d", "user_code": "AB\u001b[31mCD", {uri}, "interval": "7"}}"#
            )
        };
        let good = body(r#""verification_url": "https://p.test/\u202edevice""#);
        let parsed = parse_authorization(good.as_bytes()).ok().unwrap();
        assert_eq!(&*parsed.verification_uri, "https://p.test/device");
        assert_eq!(&*parsed.user_code, "AB[31mCD");
        assert_eq!(parsed.interval, Some(7));
        assert_eq!(parsed.expires_in, Duration::from_secs(1800));
        for bad in [
            r#""verification_uri": "http://p.test/""#,
            r#""verification_uri": """#,
            r#""x": 1"#,
        ] {
            assert!(parse_authorization(body(bad).as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_code_decides_before_the_status() {
        // F-348
        let rules = AnswerRules {
            token_path: &JsonPointer::parse("").unwrap(),
            consent_ended_errors: &[],
        };
        let outcome = |status: u16, code: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let body = format!(r#"{{"error": "{code}"}}"#);
            let read = rules.read(status, body.as_bytes());
            poll_outcome(&TokenFailure::Answer(read.err().unwrap(), status))
        };
        for status in [200, 400, 403, 428, 500, 503] {
            let pending = Some(PollOutcome::Pending);
            assert_eq!(outcome(status, "authorization_pending"), pending);
            assert_eq!(outcome(status, "slow_down"), Some(PollOutcome::SlowDown));
            for ended in DENIED.into_iter().chain(EXPIRED) {
                assert_eq!(outcome(status, ended), None, "{status} {ended}");
            }
            // RFC 8628 section 3.5: any other error ends the polling.
            let expected = (status >= 500).then_some(PollOutcome::NetworkError);
            assert_eq!(outcome(status, "Service Unavailable"), expected);
        }
    }

    #[test]
    fn an_address_that_is_refused_is_not_polled_again() {
        // F-342 (a)
        let outcome = |reason| {
            let was_sent = false;
            poll_outcome(&TokenFailure::NoResponse(NoResponse { reason, was_sent }))
        };
        assert_eq!(outcome(Reason::AddressRefused("loopback")), None);
        assert_eq!(outcome(Reason::Timeout), Some(PollOutcome::NetworkError));
    }
}
