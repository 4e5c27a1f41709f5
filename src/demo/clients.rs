//! The clients of the authorization server, and their authentication (RFC 6749 §2.3.1): HTTP Basic
//! or parameters of the body, but not both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::form::{self, Parameters};
use super::oauth_error::OauthError;

/// The id of the client that acts for people who consent. It has no secret.
pub(super) const PUBLIC_CLIENT_ID: &str = "calendar-app";

/// The clients.
pub(super) struct Clients {
    service: ServiceClient,
}

/// The client that gets tokens for itself.
pub(super) struct ServiceClient {
    pub(super) id: &'static str,
    pub(super) secret: Zeroizing<String>,
}

/// A client that a request identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The client that gets tokens for itself. It has proved its identity with its secret.
    Service,
    /// The public client that acts for people who consent.
    Public,
}

impl Clients {
    pub(super) fn new(service: ServiceClient) -> Self {
        Self { service }
    }

    /// Returns the client of a request.
    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<Client, OauthError> {
        let in_form = |name| form.get(name).map(String::as_str);
        let basic = basic_credentials(headers)?;
        let id_in_form = in_form("client_id").unwrap_or_default();
        let (id, secret) = match (&basic, in_form("client_secret")) {
            (Some(_), Some(_)) => {
                let why = "the client must authenticate in the header or in the body, not in both";
                return Err(OauthError::InvalidRequest(why));
            }
            (Some((id, secret)), None) => (id.as_str(), secret.as_str()),
            (None, Some(secret)) => (id_in_form, secret),
            (None, None) if id_in_form == PUBLIC_CLIENT_ID => return Ok(Client::Public),
            (None, None) => return Err(OauthError::InvalidClient),
        };
        if id == self.service.id && secret == self.service.secret.as_str() {
            Ok(Client::Service)
        } else {
            Err(OauthError::InvalidClient)
        }
    }
}

/// Returns the id and the secret of `Authorization: Basic`, which are form-encoded inside it
/// (§2.3.1). Another scheme is an error.
fn basic_credentials(
    headers: &HeaderMap,
) -> Result<Option<(String, Zeroizing<String>)>, OauthError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let pair = || {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        // The name of a scheme is case-insensitive (RFC 9110 §11.1).
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let pair = Zeroizing::new(String::from_utf8(pair).ok()?);
        let (id, secret) = pair.split_once(':')?;
        Some((form::decode(id)?, Zeroizing::new(form::decode(secret)?)))
    };
    pair().map(Some).ok_or(OauthError::InvalidClient)
}

#[cfg(test)]
mod tests {
    use super::{
        AUTHORIZATION, Client, Clients, HeaderMap, OauthError, STANDARD, ServiceClient, Zeroizing,
        form,
    };

    use base64::Engine as _;

    /// Returns the client of a form and, if `pair` is not empty, these Basic credentials.
    fn authenticate(body: &str, pair: &str) -> Result<Client, OauthError> {
        let clients = Clients::new(ServiceClient {
            id: "us er",
            secret: Zeroizing::new("s:e%c".to_owned()),
        });
        let mut headers = HeaderMap::new();
        if !pair.is_empty() {
            let basic = format!("basic {}", STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, basic.parse().unwrap());
        }
        let form = form::parse_parameters(body.as_bytes()).unwrap();
        clients.authenticate(&headers, &form)
    }

    #[test]
    fn a_client_authenticates_in_the_header_or_in_the_body() {
        let inside = "client_id=us+er&client_secret=s%3Ae%25c";
        assert_eq!(authenticate("", "us+er:s%3Ae%25c"), Ok(Client::Service));
        // The id alone does not authenticate, so it may be in the body in addition to the header.
        assert_eq!(
            authenticate("client_id=us+er", "us%20er:s%3Ae%25c"),
            Ok(Client::Service)
        );
        assert_eq!(authenticate(inside, ""), Ok(Client::Service));
        assert!(matches!(
            authenticate(inside, "us+er:s%3Ae%25c"),
            Err(OauthError::InvalidRequest(_))
        ));
        for (body, pair) in [
            ("", ""),
            ("", "us+er:wrong"),
            ("", "us er"),
            ("", "other:s%3Ae%25c"),
            // A pair that is not form-encoded.
            ("", "us+er:s:e%c"),
            ("client_id=us+er", ""),
            ("client_secret=s%3Ae%25c", ""),
            ("client_id=us+er&client_secret=wrong", ""),
        ] {
            let refused = authenticate(body, pair);
            assert_eq!(refused, Err(OauthError::InvalidClient), "{body} {pair}");
        }
    }

    #[test]
    fn the_public_client_has_no_secret() {
        let id = "client_id=calendar-app";
        assert_eq!(authenticate(id, ""), Ok(Client::Public));
        let with_secret = format!("{id}&client_secret=x");
        let refused = Err(OauthError::InvalidClient);
        assert_eq!(authenticate(&with_secret, ""), refused);
        assert_eq!(authenticate("", "calendar-app:"), refused);
    }

    #[test]
    fn another_scheme_does_not_authenticate() {
        let clients = Clients::new(ServiceClient {
            id: "id",
            secret: Zeroizing::new("secret".to_owned()),
        });
        let headers = HeaderMap::from_iter([(AUTHORIZATION, "Bearer x".parse().unwrap())]);
        let form = form::parse_parameters(b"client_id=id&client_secret=secret").unwrap();
        assert_eq!(
            clients.authenticate(&headers, &form),
            Err(OauthError::InvalidClient)
        );
    }
}
