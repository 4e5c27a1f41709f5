//! The endpoints of a provider, with the fields of the definition that name them, for messages.

use crate::credential::{ConnectStep, Reason};
use crate::domain::TokenUrl;
use crate::domain::auth::ConsentParameters;

/// An endpoint of the provider.
#[derive(Clone, Copy)]
pub(super) struct ProviderEndpoint<'u> {
    /// The field of the definition that names it.
    pub(super) field: &'static str,
    /// Its URL.
    pub(super) url: &'u TokenUrl,
}

impl<'u> ProviderEndpoint<'u> {
    /// Returns the token endpoint.
    pub(super) fn token(consent: &'u ConsentParameters) -> Self {
        Self {
            field: "token_url",
            url: &consent.endpoints.token_url,
        }
    }

    /// Describes for the person why there is no usable answer.
    pub(super) fn describe(&self, reason: Reason) -> String {
        let place = format!("`{}` of `{}`", self.url.authority(), self.field);
        match reason {
            Reason::Unreachable(ConnectStep::Dns) => {
                format!("the name {place} could not be resolved")
            }
            Reason::Unreachable(ConnectStep::Connect) => {
                format!("the host {place} could not be reached")
            }
            Reason::Unreachable(ConnectStep::Tls) => format!(
                "the TLS handshake with {place} failed; if its certificate is not trusted, add its authority to `egress.ca_files`"
            ),
            Reason::Unreachable(ConnectStep::Closed) => {
                format!("{place} closed the connection before it had answered")
            }
            Reason::AddressRefused(kind) => format!(
                "{place} has a forbidden address ({kind}); if it is the right host, add the address to `allowed_private_cidrs`"
            ),
            Reason::Timeout => format!("{place} did not answer in time"),
            Reason::Status(status) | Reason::RefusedStatus(status) => {
                format!("{place} answered with status {status}")
            }
            Reason::Refused(_)
            | Reason::Invalid(_)
            | Reason::StoreUnwritable
            | Reason::StoreBusy
            | Reason::NeedsConsent(_)
            | Reason::ResourcesExhausted
            | Reason::Internal => reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ProviderEndpoint;
    use crate::credential::{ConnectStep, Reason};
    use crate::domain::TokenUrl;

    #[test]
    fn a_reason_names_the_host_and_the_field() {
        // F-342 (a)
        let url = TokenUrl::parse("https://login.corp.test/token").unwrap();
        let endpoint = ProviderEndpoint {
            field: "token_url",
            url: &url,
        };
        for reason in [
            Reason::Unreachable(ConnectStep::Dns),
            Reason::Unreachable(ConnectStep::Connect),
            Reason::Unreachable(ConnectStep::Tls),
            Reason::Unreachable(ConnectStep::Closed),
            Reason::AddressRefused("loopback"),
            Reason::Timeout,
            Reason::Status(503),
        ] {
            let text = endpoint.describe(reason);
            assert!(text.contains("`login.corp.test` of `token_url`"), "{text}");
        }
        let tls = endpoint.describe(Reason::Unreachable(ConnectStep::Tls));
        assert!(tls.contains("`egress.ca_files`"), "{tls}");
    }
}
