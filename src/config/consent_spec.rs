//! The fields of `oauth_user_consent` and of connector files. A connector may have the fields about
//! a provider, and a definition those about the client, too.

use serde_json::{Value, json};

use super::spec::Kind::{Flag, List, Object, Objects, Value as Other};
use super::spec::{ObjectSpec, field, one_of, secret, text, text_like, texts};
use crate::domain::auth::{ConsentClientAuth, Rotation, TokenRequestFormat};
use crate::domain::connector::ConnectorAuth;

pub(super) const CONSENT_CLIENT_AUTH: [(&str, ConsentClientAuth); 3] = [
    (ConsentClientAuth::Basic.as_str(), ConsentClientAuth::Basic),
    (ConsentClientAuth::Body.as_str(), ConsentClientAuth::Body),
    (ConsentClientAuth::None.as_str(), ConsentClientAuth::None),
];
pub(super) const PKCE: [(&str, bool); 2] = [("s256", true), ("off", false)];
pub(super) const SCOPE_SEPARATOR: [(&str, char); 2] = [(" ", ' '), (",", ',')];
pub(super) const TOKEN_REQUEST: [(&str, TokenRequestFormat); 2] = [
    (TokenRequestFormat::Form.as_str(), TokenRequestFormat::Form),
    (TokenRequestFormat::Json.as_str(), TokenRequestFormat::Json),
];
pub(super) const ROTATION: [(&str, Rotation); 2] = [
    (Rotation::SingleUse.as_str(), Rotation::SingleUse),
    (Rotation::Reusable.as_str(), Rotation::Reusable),
];
pub(super) const CONNECTOR_AUTH: [(&str, ConnectorAuth); 3] = [
    (ConnectorAuth::Oauth.as_str(), ConnectorAuth::Oauth),
    (ConnectorAuth::ApiKey.as_str(), ConnectorAuth::ApiKey),
    (ConnectorAuth::None.as_str(), ConnectorAuth::None),
];

/// Lists these fields, and then those about a provider.
macro_rules! with_provider_fields {
    ($($first:expr,)*) => {
        &[
            $($first,)*
            field("authorization_url", Other(url), "Page at which a person consents."),
            field("device_authorization_url", Other(url), "Endpoint of the device flow (RFC 8628)."),
            field("token_url", Other(url), "Endpoint at which a code is exchanged.")
                .required("write `token_url: https://…`")
                .or_connector(),
            field("refresh_url", Other(url),
                "Endpoint at which a token is refreshed; `token_url` if absent."),
            field("revocation_url", Other(url),
                "Endpoint at which `egressd logout` revokes a token (RFC 7009)."),
            field("issuer", Other(|| text_like("^https://")),
                "Value of `iss` that the callback must have (RFC 9207)."),
            field("redirect_uri", Other(|| text_like("^https?://[^?#@]+$")),
                "URI to which the provider sends the browser: `http://` with a loopback host, or `https://`. `http://127.0.0.1/callback` if absent."),
            field("scope_separator", Other(|| one_of(&SCOPE_SEPARATOR)),
                "Separator of the scopes in requests."),
            field("client_auth", Other(|| one_of(&CONSENT_CLIENT_AUTH)),
                "Where the client's id and secret are sent. If absent, `egressd login` finds it."),
            field("pkce", Other(|| one_of(&PKCE)), "Code challenge of a login (RFC 7636)."),
            field("token_request", Other(|| one_of(&TOKEN_REQUEST)), "Format of token requests."),
            field("authorization_params", Other(texts), "Parameters that are added to the authorization URL."),
            field("token_params", Other(texts),
                "Parameters that are added to the code exchange and to the device token request."),
            field("refresh_params", Other(texts), "Parameters that are added to the refresh request."),
            field("token_path", Other(|| text_like("^(/[^/]*){0,3}$")),
                "JSON Pointer to the object with the tokens in an answer."),
            field("refresh_token_rotation", Other(|| one_of(&ROTATION)),
                "Whether the provider accepts a refresh token once or many times."),
            field("identity", Object(&IDENTITY), "Where `egressd login` finds the name of the account."),
        ]
    };
}

#[rustfmt::skip] // short rows
pub(super) static OAUTH_USER_CONSENT: ObjectSpec = ObjectSpec::new("OauthUserConsent",
    "OAuth that a person consents to with `egressd login`. A connector supplies the fields that are absent, except those of the client.",
    with_provider_fields![
        field("client_id", Other(|| secret(1)), "").required("write `client_id: …`"),
        field("client_secret", Other(|| secret(1)), "Without it, the client is public."),
        field("scopes", Other(text), "Separated by spaces, whatever the provider uses."),
        field("grant", Other(|| text_like(r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")),
            "Name of the file in the token store; the connection's id if absent. Connections may share one."),
        field("refresh_token", Other(|| secret(1)), "Starts the grant without a login."),
    ],
).example("{client_id: …, authorization_url: https://…, token_url: https://…}");

#[rustfmt::skip] // short rows
pub(super) static IDENTITY: ObjectSpec = ObjectSpec::new("Identity",
    "Place of the account's name: `url` and `pointer`, or `answer`.", &[
    field("url", Other(url), "URL that returns JSON for the new access token."),
    field("pointer", Other(|| text_like("^(/[^/]*){0,3}$")), "JSON Pointer to the name in that JSON."),
    field("answer", Other(|| text_like("^(/[^/]*){0,3}$")), "JSON Pointer to the name in the token answer."),
]).example("{url: https://…, pointer: /…}");

// Connector files have no JSON Schema.

#[rustfmt::skip] // short rows
pub(super) static CONNECTOR: ObjectSpec = ObjectSpec::new("", "", &[
    field("slug", Other(text), "").required("write `slug: …`, such as `github`"),
    field("display_name", Other(text), "").required("write `display_name: …`"),
    field("description", Other(text), ""),
    field("auth_type", Other(|| one_of(&CONNECTOR_AUTH)), "")
        .required("write `auth_type: oauth`, `api_key` or `none`"),
    field("checked", Other(text), "")
        .required("write `checked: 2026-11-30`, the date of the comparison with the documentation"),
    field("docs", Other(text), "").required("write `docs: https://…`"),
    field("revoke_page", Other(text), ""),
    field("setup", List(text), ""),
    field("placeholders", Other(text), ""),
    field("base_url", Other(text), "").required("write `base_url: https://…`"),
    field("headers", Other(texts), ""),
    field("oauth_user_consent", Object(&CONNECTOR_CONSENT), ""),
    field("select_account_params", Other(texts), ""),
    field("consent_ended_errors", List(text), ""),
    field("credential_fields", Objects(&CREDENTIAL_FIELD), ""),
    field("scopes", Other(text), ""),
    field("routes", Object(&CONNECTOR_ROUTES), "").required("write `routes: {read: [GET /…]}`"),
]);

static CONNECTOR_CONSENT: ObjectSpec = ObjectSpec::new("", "", with_provider_fields![]);

#[rustfmt::skip] // short rows
pub(super) static CREDENTIAL_FIELD: ObjectSpec = ObjectSpec::new("", "", &[
    field("key", Other(text), "").required("write `key: bearerToken.token`"),
    field("label", Other(text), "").required("write `label: …`"),
    field("required", Flag(true), ""),
    field("secret", Flag(true), ""),
    field("prefix", Other(text), ""),
]).example("{key: bearerToken.token, label: …}");

#[rustfmt::skip] // short rows
static CONNECTOR_ROUTES: ObjectSpec = ObjectSpec::new("", "", &[
    field("read", List(text), "").required("write `read: [GET /…]`"),
    field("write", List(text), ""),
]).example("{read: [GET /…]}");

#[rustfmt::skip] // short rows
pub(super) static PLACEHOLDER: ObjectSpec = ObjectSpec::new("", "", &[
    field("description", Other(text), "").required("write `description: …`"),
    field("default", Other(text), ""),
]).example("{description: …}");

fn url() -> Value {
    json!({"type": "string", "pattern": r"^https://[^/?#@\\]+(/[^?#\\]*)?(\?[^#\\]*)?$"})
}
