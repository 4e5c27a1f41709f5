//! The refusals that report a failure of an exchange.

use super::{Hints, Refusal};
use crate::credential::{Reason, Unavailable};
use crate::domain::ConnectionId;
use crate::domain::address::ForbiddenAddress;
use crate::proxy::code::RefusalCode;
use crate::proxy::error::{AgentFault, ExchangeError};
use crate::upstream::Failure;
use crate::upstream::failure::{ConnectFault, DnsFault, TlsFault};

impl From<ExchangeError> for Refusal {
    fn from(error: ExchangeError) -> Self {
        let (code, cause) = match error {
            ExchangeError::Upstream(failure) => upstream_code(failure),
            ExchangeError::ConnectTimeout(_) => {
                upstream_code(Failure::Connect(ConnectFault::Timeout))
            }
            ExchangeError::Reflected => (RefusalCode::CredentialReflected, None),
            ExchangeError::Unsearchable => (
                RefusalCode::CredentialReflected,
                Some("unsearchable_charset"),
            ),
            ExchangeError::Exposed => (RefusalCode::CredentialExposed, None),
            ExchangeError::Panicked => (RefusalCode::InternalError, None),
            ExchangeError::DeadlineExceeded(_) => (RefusalCode::UpstreamTimeout, None),
            ExchangeError::Draining => (RefusalCode::Draining, None),
            ExchangeError::ResponseTooLarge { .. } => (RefusalCode::ResponseTooLarge, None),
            ExchangeError::Agent(AgentFault::TooLarge { .. }) => {
                (RefusalCode::RequestTooLarge, None)
            }
            ExchangeError::Agent(AgentFault::Idle(_) | AgentFault::DeadlineExceeded(_)) => {
                (RefusalCode::RequestTimeout, None)
            }
            ExchangeError::Agent(
                AgentFault::Malformed | AgentFault::FrameFlood(_) | AgentFault::Gone,
            ) => (RefusalCode::MalformedRequest, None),
        };
        let mut detail = error_sentence(error);
        if let Some(advice) = advice(error) {
            detail.push(' ');
            detail.push_str(advice);
        }
        let mut refusal = Self::new(code, detail);
        refusal.proxy_status = error.proxy_status();
        refusal.cause = cause;
        refusal.hints = limit_hints(error).map(Box::new);
        refusal.is_retryable &= !is_permanent(error);
        refusal.agent_gone = error == ExchangeError::Agent(AgentFault::Gone);
        refusal
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        ExchangeError::from(failure).into()
    }
}

impl From<AgentFault> for Refusal {
    fn from(fault: AgentFault) -> Self {
        ExchangeError::from(fault).into()
    }
}

/// Returns the code and the cause for a failure of the upstream.
fn upstream_code(failure: Failure) -> (RefusalCode, Option<&'static str>) {
    match failure {
        Failure::AddressRefused(_) | Failure::OwnListener => (RefusalCode::AddressRefused, None),
        // A timeout is a 504 at every step. Other failures of a step are a 502.
        Failure::Dns(DnsFault::Timeout(_)) => (RefusalCode::UpstreamTimeout, Some("dns")),
        Failure::Connect(ConnectFault::Timeout) => (RefusalCode::UpstreamTimeout, Some("connect")),
        Failure::Tls(TlsFault::Timeout(_)) => (RefusalCode::UpstreamTimeout, Some("tls")),
        Failure::Dns(_) => (RefusalCode::UpstreamUnreachable, Some("dns")),
        Failure::Connect(_) => (RefusalCode::UpstreamUnreachable, Some("connect")),
        Failure::Tls(TlsFault::CertificateRequired) => (
            RefusalCode::UpstreamUnreachable,
            Some("certificate_required"),
        ),
        Failure::Tls(_) => (RefusalCode::UpstreamUnreachable, Some("tls")),
        Failure::Closed | Failure::Protocol(_) => (RefusalCode::UpstreamProtocolError, None),
        Failure::TooLarge { .. } => (RefusalCode::ResponseTooLarge, None),
        Failure::CredentialExpired => (RefusalCode::CredentialUnavailable, None),
        Failure::ResourcesExhausted => (RefusalCode::Overloaded, Some("shortage")),
        Failure::RequestBody => (RefusalCode::MalformedRequest, None),
        Failure::Misdirected | Failure::Panicked => (RefusalCode::InternalError, None),
    }
}

/// Returns the limit that an exchange has exceeded, if it is one of size or time.
fn limit_hints(error: ExchangeError) -> Option<Hints> {
    Some(match error {
        ExchangeError::ResponseTooLarge { cap, announced } => Hints::size(cap, announced),
        ExchangeError::Agent(AgentFault::TooLarge { cap, declared }) => {
            Hints::size(cap.bytes, declared)
        }
        ExchangeError::DeadlineExceeded(limit)
        | ExchangeError::ConnectTimeout(limit)
        | ExchangeError::Upstream(
            Failure::Dns(DnsFault::Timeout(limit)) | Failure::Tls(TlsFault::Timeout(limit)),
        )
        | ExchangeError::Agent(AgentFault::Idle(limit) | AgentFault::DeadlineExceeded(limit)) => {
            Hints::timeout(limit)
        }
        ExchangeError::Upstream(_)
        | ExchangeError::Agent(
            AgentFault::Malformed | AgentFault::FrameFlood(_) | AgentFault::Gone,
        )
        | ExchangeError::Reflected
        | ExchangeError::Unsearchable
        | ExchangeError::Exposed
        | ExchangeError::Draining
        | ExchangeError::Panicked => return None,
    })
}

/// Returns whether a failure with a retryable code lasts until the upstream or the configuration is
/// changed.
fn is_permanent(error: ExchangeError) -> bool {
    matches!(
        error,
        ExchangeError::Upstream(Failure::Tls(
            TlsFault::Certificate(_) | TlsFault::CertificateRequired
        ))
    )
}

/// Returns what the agent or the operator can do about an error, as a sentence. `None` if the
/// error itself or `retryable` states it.
fn advice(error: ExchangeError) -> Option<&'static str> {
    use ExchangeError::{Reflected, ResponseTooLarge, Unsearchable, Upstream};
    if let Upstream(Failure::AddressRefused(ForbiddenAddress::NotGlobal(_))) = error {
        return Some(
            "The operator can allow the range in the connection's `allowed_private_cidrs`.",
        );
    }
    if is_permanent(error) {
        return Some("Retrying does not help; the operator can run `egressd probe <id>`.");
    }
    if matches!(
        error,
        ResponseTooLarge { .. } | Upstream(Failure::TooLarge { .. })
    ) {
        return Some("Request less, such as a smaller page.");
    }
    matches!(error, Reflected | Unsearchable)
        .then_some("Do not repeat the request; use another route.")
}

fn error_sentence(error: ExchangeError) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text + "."
}

impl Refusal {
    /// Creates the refusal of a request whose connection has no credential at the moment.
    #[cold]
    pub(in crate::proxy) fn without_credential(
        unavailable: Unavailable,
        connection: &ConnectionId,
    ) -> Self {
        let Unavailable {
            reason,
            retry_after,
        } = unavailable;
        if let Reason::NeedsConsent(why) = reason {
            let mut refusal = Self::new(
                RefusalCode::ConsentRequired,
                format!(
                    "connection `{connection}` has no valid consent; a person must run `egressd \
                     login {connection}` where egressd is configured; do not retry, report this to \
                     your operator"
                ),
            );
            refusal.cause = Some(why.as_str());
            return refusal;
        }
        // At least one second: a `Retry-After` of 0 would invite an immediate retry.
        let seconds = retry_after.as_millis().div_ceil(1000).max(1);
        let code = if reason == Reason::ResourcesExhausted {
            RefusalCode::Overloaded
        } else {
            RefusalCode::CredentialUnavailable
        };
        let mut refusal = Self::new(
            code,
            format!("The request was not sent: {reason}. Try again in {seconds} s."),
        );
        refusal.cause = reason.cause();
        refusal.retry_after = u32::try_from(seconds).ok();
        refusal
    }

    /// Creates the refusal of a request that waited for a token until its deadline.
    #[cold]
    pub(in crate::proxy) fn token_awaited_too_long() -> Self {
        let mut refusal = Self::new(
            RefusalCode::CredentialUnavailable,
            "The request was not sent: no token was obtained within the connection's timeout.",
        );
        refusal.cause = Reason::Timeout.cause();
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AgentFault, ConnectionId, DnsFault, ExchangeError, ForbiddenAddress, Refusal, RefusalCode,
        TlsFault,
    };
    use crate::credential::{ConsentReason, Reason, Unavailable};
    use crate::upstream::Failure;
    use http::Method;
    use std::time::Duration;

    #[test]
    fn a_shortage_of_resources_is_an_overload_of_the_proxy() {
        // F-270
        let unavailable = |reason| Unavailable {
            reason,
            retry_after: Duration::from_millis(1500),
        };
        let connection = ConnectionId::parse("crm").unwrap();
        let refuse = |reason| Refusal::without_credential(unavailable(reason), &connection);
        let to_endpoint = refuse(Failure::ResourcesExhausted.into());
        for refusal in [Refusal::from(Failure::ResourcesExhausted), to_endpoint] {
            assert_eq!(refusal.code(), RefusalCode::Overloaded);
            assert_eq!(refusal.proxy_status, "connection_limit_reached");
            assert_eq!(refusal.cause, Some("shortage"));
            assert!(refusal.retry_after.is_some());
        }
        let other = refuse(Reason::Timeout);
        assert_eq!(other.code(), RefusalCode::CredentialUnavailable);
    }

    #[test]
    fn a_consent_is_a_matter_of_a_person() {
        // F-304
        let connection = ConnectionId::parse("github").unwrap();
        let unavailable = Unavailable {
            reason: Reason::NeedsConsent(ConsentReason::NeverConnected),
            retry_after: Duration::ZERO,
        };
        let refusal = Refusal::without_credential(unavailable, &connection);
        assert_eq!(refusal.code(), RefusalCode::ConsentRequired);
        assert_eq!(
            refusal.detail(),
            "connection `github` has no valid consent; a person must run `egressd login github` where \
             egressd is configured; do not retry, report this to your operator"
        );
        assert_eq!(refusal.cause, Some("never_connected"));
        assert_eq!(refusal.proxy_status, "http_request_denied");
        assert_eq!(refusal.retry_after, None);
        assert!(!refusal.is_retryable);
    }

    #[test]
    fn only_an_address_that_the_setting_can_allow_leads_to_it() {
        for (forbidden, is_named) in [
            (ForbiddenAddress::NotGlobal("private"), true),
            (ForbiddenAddress::Never("cloud metadata"), false),
        ] {
            let refusal = Refusal::from(Failure::AddressRefused(forbidden));
            let names_setting = refusal.detail().contains("`allowed_private_cidrs`");
            assert_eq!(names_setting, is_named, "{}", refusal.detail());
        }
    }

    #[test]
    fn a_retry_of_a_sent_request_must_be_safe() {
        let deadline = ExchangeError::DeadlineExceeded(Duration::from_secs(5));
        for error in [
            deadline,
            Failure::Closed.into(),
            Failure::Tls(TlsFault::Alert).into(),
            AgentFault::Idle(Duration::from_secs(5)).into(),
            ExchangeError::Panicked,
        ] {
            for (method, is_safe) in [
                (Method::GET, true),
                (Method::HEAD, true),
                (Method::OPTIONS, true),
                (Method::PUT, true),
                (Method::DELETE, true),
                (Method::POST, false),
                (Method::PATCH, false),
                (Method::TRACE, false),
                (Method::from_bytes(b"get").unwrap(), false),
            ] {
                let unsent = Refusal::from(error);
                assert!(unsent.is_retryable && !unsent.was_sent);
                let refusal = unsent.after_sending(&method);
                assert!(refusal.was_sent);
                assert_eq!(refusal.is_retryable, is_safe, "{error} {method}");
                let warns = refusal.detail().ends_with("check before repeating it.");
                assert_eq!(warns, !is_safe, "{method}: {}", refusal.detail());
            }
        }
    }

    #[test]
    fn a_retry_that_cannot_help_is_not_advised() {
        for error in [
            Failure::Tls(TlsFault::Certificate("expired")).into(),
            Failure::Tls(TlsFault::CertificateRequired).into(),
            ExchangeError::ResponseTooLarge {
                cap: 1,
                announced: None,
            },
        ] {
            let refusal = Refusal::from(error);
            assert!(!refusal.is_retryable);
            let before = refusal.detail().to_owned();
            assert_eq!(refusal.after_sending(&Method::POST).detail(), before);
        }
    }

    #[test]
    fn every_timeout_states_the_time_that_has_passed() {
        let limit = Duration::from_secs(7);
        for (error, cause) in [
            (Failure::from(DnsFault::Timeout(limit)).into(), Some("dns")),
            (ExchangeError::ConnectTimeout(limit), Some("connect")),
            (Failure::from(TlsFault::Timeout(limit)).into(), Some("tls")),
            (ExchangeError::DeadlineExceeded(limit), None),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!(refusal.code(), RefusalCode::UpstreamTimeout);
            assert_eq!(refusal.cause, cause);
            let hints = refusal.hints.unwrap();
            assert_eq!(hints.timeout_seconds, Some(7), "{error}");
        }
    }

    #[test]
    fn a_connect_timeout_names_its_setting() {
        let refusal = Refusal::from(ExchangeError::ConnectTimeout(Duration::from_secs(5)));
        assert_eq!(refusal.code(), RefusalCode::UpstreamTimeout);
        assert_eq!(refusal.cause, Some("connect"));
        assert_eq!(refusal.proxy_status, "connection_timeout");
        assert_eq!(
            refusal.detail(),
            "The upstream did not accept the connection in time (`egress.connect_timeout_seconds` is 5)."
        );
    }
}
