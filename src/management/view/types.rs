//! The connection types that can be defined, and the fields of each.

use serde::Serialize;
use utoipa::ToSchema;

/// The name of the only type.
pub(in crate::management) const TYPE_NAME: &str = "CONNECTION_TYPE_HTTP";
/// The tool with which agents use a connection of this type.
pub(super) const TOOL: &str = "TOOL_HTTP_REQUEST";

/// A type of connection that can be defined.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct ConnectionType {
    /// The name of the type: `CONNECTION_TYPE_HTTP`.
    #[serde(rename = "type")]
    pub(in crate::management) type_name: &'static str,
    /// The name for people.
    pub(in crate::management) display_name: &'static str,
    /// A description for people.
    pub(in crate::management) description: &'static str,
    /// The tools with which agents use a connection of this type.
    #[schema(value_type = Vec<String>)]
    available_tools: &'static [&'static str],
    /// The kinds of credential. A definition contains exactly one.
    #[schema(value_type = Vec<AuthKind>)]
    auth_kinds: &'static [AuthKind],
    /// Further secrets of a definition, in addition to its credential.
    #[schema(value_type = Vec<CredentialField>)]
    options: &'static [CredentialField],
}

/// A kind of credential.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuthKind {
    /// The field of `connectionDetails.http` that contains it.
    kind: &'static str,
    /// The name for people.
    display_name: &'static str,
    /// The fields of this kind.
    #[schema(value_type = Vec<CredentialField>)]
    fields: &'static [CredentialField],
}

/// A field of a kind of credential.
#[derive(Serialize, ToSchema)]
struct CredentialField {
    /// The field's name, in camelCase as in `connectionDetails`.
    key: &'static str,
    /// The name for people.
    label: &'static str,
    /// `true` if the field is required.
    required: bool,
    /// `true` if the field is a secret. A definition may refer to its value as `{env: NAME}` or
    /// `{file: PATH}`. The API never shows it.
    secret: bool,
}

const fn field(
    key: &'static str,
    label: &'static str,
    required: bool,
    secret: bool,
) -> CredentialField {
    CredentialField {
        key,
        label,
        required,
        secret,
    }
}

/// The only type.
pub(in crate::management) static HTTP: ConnectionType = ConnectionType {
    type_name: TYPE_NAME,
    display_name: "HTTP",
    description: "An HTTP API: requests are forwarded over HTTPS to one base URL, on allowed routes only, with a credential that the agent never sees",
    available_tools: &[TOOL],
    auth_kinds: AUTH_KINDS,
    options: &[field(
        "webhookSigningSecret",
        "Webhook signing secret",
        false,
        true,
    )],
};

#[rustfmt::skip] // one row a line
const AUTH_KINDS: &[AuthKind] = &[
    AuthKind { kind: "oauthClientCredentials", display_name: "OAuth client credentials", fields: &[
        field("tokenUrl", "Token URL", true, false),
        field("grantType", "Grant type", false, false),
        field("clientId", "Client ID", true, true),
        field("clientSecret", "Client secret", true, true),
        field("scopes", "Scopes", false, false),
        field("extraParams", "Extra parameters", false, false),
        field("clientAuth", "Client authentication", false, false),
    ] },
    AuthKind { kind: "oauthUserConsent", display_name: "OAuth with the consent of a person", fields: &[
        field("clientId", "Client ID", true, true),
        field("clientSecret", "Client secret", false, true),
        field("scopes", "Scopes", false, false),
        field("scopeSeparator", "Scope separator", false, false),
        field("grant", "Grant", false, false),
        field("refreshToken", "Refresh token", false, true),
        field("authorizationUrl", "Authorization URL", false, false),
        field("deviceAuthorizationUrl", "Device authorization URL", false, false),
        field("tokenUrl", "Token URL", true, false),
        field("refreshUrl", "Refresh URL", false, false),
        field("revocationUrl", "Revocation URL", false, false),
        field("issuer", "Issuer", false, false),
        field("redirectUri", "Redirect URI", false, false),
        field("clientAuth", "Client authentication", false, false),
        field("pkce", "PKCE", false, false),
        field("tokenRequest", "Token request", false, false),
        field("authorizationParams", "Authorization parameters", false, false),
        field("tokenParams", "Token parameters", false, false),
        field("refreshParams", "Refresh parameters", false, false),
        field("tokenPath", "Token path", false, false),
        field("refreshTokenRotation", "Refresh token rotation", false, false),
        field("identity", "Identity", false, false),
    ] },
    AuthKind { kind: "bearerToken", display_name: "Bearer token", fields: &[
        field("token", "Token", true, true),
    ] },
    AuthKind { kind: "basicAuth", display_name: "Basic authentication", fields: &[
        field("username", "User name", true, true),
        field("password", "Password", true, true),
    ] },
    AuthKind { kind: "staticHeaders", display_name: "Static headers", fields: &[
        field("headers", "Headers", true, true),
    ] },
    AuthKind { kind: "noAuth", display_name: "No authentication", fields: &[] },
];
