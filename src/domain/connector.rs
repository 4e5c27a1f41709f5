//! The public facts of an API that a connector states. A definition refers to a connector by its
//! slug.

use std::fmt;

use jiff::civil::Date;

use super::id::ConnectionId;

/// The name of a connector. It has the syntax of a connection id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorSlug(ConnectionId);

/// The facts that are shown to operators, and those that `egressd login` needs. The endpoints of an
/// OAuth connector are in the definitions that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    /// The name by which definitions refer to the connector.
    pub slug: ConnectorSlug,
    /// The name for people.
    pub display_name: String,
    /// A description of the API. May be empty.
    pub description: String,
    /// The kind of credential.
    pub auth_type: ConnectorAuth,
    /// The day on which the data was last compared with the documentation.
    pub checked: Date,
    /// The address of the documentation. It is never dialled.
    pub docs: String,
    /// The address of a page at which a person can revoke the credential. It may contain
    /// placeholders.
    pub revoke_page: Option<String>,
    /// The values that a person enters. Empty for OAuth.
    pub credential_fields: Vec<CredentialField>,
}

/// The kind of credential of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorAuth {
    /// A person consents.
    Oauth,
    /// A person enters a key.
    ApiKey,
    /// The API needs no credential.
    None,
}

/// A value that a person enters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialField {
    /// The field of a definition that holds the value.
    pub key: CredentialKey,
    /// The name for people.
    pub label: String,
    /// `true` if the API needs the value. For programs that read the catalogue; `egressd login`
    /// asks for each value that a definition reads from a file.
    pub is_required: bool,
    /// `true` if the value is a secret. For programs that read the catalogue; `egressd login` shows
    /// only the input of a user name.
    pub is_secret: bool,
    /// The text that `egressd login` writes in front of the value. May be empty.
    pub prefix: String,
}

/// A field of a definition that holds a part of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialKey {
    /// `bearerToken.token`
    BearerToken,
    /// `basicAuth.username`
    Username,
    /// `basicAuth.password`
    Password,
    /// `staticHeaders.NAME`
    Header(Box<str>),
}

impl ConnectorSlug {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<ConnectionId> for ConnectorSlug {
    fn from(id: ConnectionId) -> Self {
        Self(id)
    }
}

impl fmt::Display for ConnectorSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ConnectorAuth {
    /// Returns the value of `auth_type` in a connector file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::ApiKey => "api_key",
            Self::None => "none",
        }
    }
}

impl CredentialKey {
    const BEARER: &str = "bearerToken.token";
    const USERNAME: &str = "basicAuth.username";
    const PASSWORD: &str = "basicAuth.password";
    const HEADER: &str = "staticHeaders.";

    /// Parses a key. Returns `None` if no auth kind has this field.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            Self::BEARER => Some(Self::BearerToken),
            Self::USERNAME => Some(Self::Username),
            Self::PASSWORD => Some(Self::Password),
            text => {
                let name = text.strip_prefix(Self::HEADER)?;
                let is_valid = http::HeaderName::try_from(name).is_ok();
                is_valid.then(|| Self::Header(name.into()))
            }
        }
    }

    /// Returns the name of the auth kind, as a definition writes it.
    pub fn auth_kind(&self) -> &'static str {
        match self {
            Self::BearerToken => "bearer_token",
            Self::Username | Self::Password => "basic_auth",
            Self::Header(_) => "static_headers",
        }
    }

    /// Returns the last part of the key, in lower case: the name of the file that holds the value
    /// ends with it.
    pub fn file_name(&self) -> String {
        match self {
            Self::BearerToken => "token".to_owned(),
            Self::Username => "username".to_owned(),
            Self::Password => "password".to_owned(),
            Self::Header(name) => name.to_ascii_lowercase(),
        }
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BearerToken => f.write_str(Self::BEARER),
            Self::Username => f.write_str(Self::USERNAME),
            Self::Password => f.write_str(Self::PASSWORD),
            Self::Header(name) => write!(f, "{}{name}", Self::HEADER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CredentialKey;

    #[test]
    fn keys_of_credential_fields() {
        for text in [
            "bearerToken.token",
            "basicAuth.username",
            "basicAuth.password",
            "staticHeaders.X-API-Key",
        ] {
            assert_eq!(CredentialKey::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "bearerToken",
            "staticHeaders.",
            "staticHeaders.a b",
            "noAuth.x",
            "",
        ] {
            assert_eq!(CredentialKey::parse(text), None, "{text}");
        }
        let header = CredentialKey::parse("staticHeaders.DD-API-KEY").unwrap();
        assert_eq!(header.file_name(), "dd-api-key");
    }
}
