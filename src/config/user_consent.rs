//! Reads `oauth_user_consent`: OAuth that a person has consented to.
//!
//! A connector supplies the fields that a definition lacks, except those of the client. The rules
//! that guard against a definition that sends tokens to another host do not bind a connector.

use std::sync::Arc;

use super::auth_context::AuthContext;
use super::consent_spec::CONSENT_CLIENT_AUTH;
use super::field::{Field, join_path};
use super::ids::parsed_id;
use super::object::Object;
use super::provider_fields::{ProviderFields, read_scopes};
use crate::domain::auth::{
    ConsentClientAuth, ConsentEndpoints, ConsentParameters, GrantName, Identity, UserConsent,
    Utf8Secret,
};
use crate::domain::{Auth, Secret, TokenUrl};

/// The longest refresh token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Reads the details of the kind.
pub(super) fn read_user_consent(object: &Object<'_>, context: &AuthContext<'_>) -> Option<Auth> {
    let client = Client::read(object, context);
    let grant = object.read_optional("grant", None, |field| {
        let field = field.clone().into_public();
        let remedy = "write a name such as `github`; it is the name of a file in the token store";
        parsed_id(&field, field.read_text()?, remedy).map(|id| Some(GrantName::from(id)))
    });
    let scopes = object.read_optional("scopes", None, |field| {
        read_scopes(&field.clone().into_public()).map(Some)
    });
    let refresh_token = object.read_optional("refresh_token", None, |field| {
        read_refresh_token(field, context).map(Some)
    });
    let provider = ProviderFields::read(object, context.allowed_cidrs);
    check_flows(object);
    check_pkce(object, provider.has_pkce);
    check_hosts(object, &provider, context);
    let client = client?;
    let token_url = provider.token_url?;
    let parameters = ConsentParameters {
        grant: grant?.or_else(|| context.id.map(GrantName::for_connection))?,
        client_id: client.id,
        client_secret: client.secret,
        client_auth: client.auth,
        scopes: scopes?,
        scope_separator: provider.scope_separator?,
        endpoints: ConsentEndpoints {
            authorization_url: provider.authorization_url?,
            device_authorization_url: provider.device_authorization_url?,
            refresh_url: provider.refresh_url?.unwrap_or_else(|| token_url.clone()),
            token_url,
            revocation_url: provider.revocation_url?,
        },
        refresh_token: refresh_token?,
        issuer: provider.issuer?,
        redirect_uri: provider.redirect_uri?,
        has_pkce: provider.has_pkce?,
        token_request: provider.token_request?,
        authorization_params: provider.authorization_params?,
        token_params: provider.token_params?,
        refresh_params: provider.refresh_params?,
        token_path: provider.token_path?,
        rotation: provider.rotation?,
        identity: provider.identity?,
        // `None` means that the ranges are invalid, which is reported at their own field.
        allowed_private_cidrs: context.allowed_cidrs?.to_vec(),
        provider: context.provider.cloned().unwrap_or_default(),
    };
    Some(Auth::OauthUserConsent(Arc::new(UserConsent::new(
        parameters,
    ))))
}

/// The fields of the client, which no connector supplies, and the place of its credentials.
struct Client {
    id: Utf8Secret,
    secret: Option<Utf8Secret>,
    auth: Option<ConsentClientAuth>,
}

impl Client {
    fn read(object: &Object<'_>, context: &AuthContext<'_>) -> Option<Self> {
        let id = object
            .take_field("client_id")
            .and_then(|field| context.read_form_text(&field));
        let secret = object.read_optional("client_secret", None, |field| {
            context.read_form_text(field).map(Some)
        });
        // The connector's value must not decide whether a secret is sent.
        let has_secret = object.has_field("client_secret");
        let auth = object.read_optional("client_auth", None, |field| {
            let field = field.clone().into_public();
            let auth = field.read_choice(&CONSENT_CLIENT_AUTH)?;
            match (auth, has_secret) {
                (ConsentClientAuth::None, false)
                | (ConsentClientAuth::Basic | ConsentClientAuth::Body, true) => Some(Some(auth)),
                (_, false) if !object.has_field("client_auth") => Some(None),
                (ConsentClientAuth::Basic | ConsentClientAuth::Body, false) => field.reject(
                    "client_auth_without_secret",
                    format!("`{}` needs `client_secret`", auth.as_str()),
                    "write `client_secret`, or remove `client_auth`: a client without a secret sends its id only",
                ),
                (ConsentClientAuth::None, true) => field.reject(
                    "client_auth_with_secret",
                    "with `none`, the client's secret would never be sent",
                    "write `basic` or `body`, or remove `client_secret`",
                ),
            }
        });
        let auth = auth?.or((!has_secret).then_some(ConsentClientAuth::None));
        Some(Self {
            id: id?,
            secret: secret?,
            auth,
        })
    }
}

/// Reads a refresh token that starts the grant.
fn read_refresh_token(field: &Field<'_>, context: &AuthContext<'_>) -> Option<Secret> {
    let secret = context.resolve.read_secret(field)?;
    let is_visible = secret.is_visible_ascii();
    if secret.len() <= MAX_TOKEN_BYTES && is_visible {
        return Some(secret);
    }
    field.clone().into_secret().reject(
        "invalid_secret",
        "a refresh token has 1 to 16384 visible ASCII characters",
        "write the bare token; `egressd login` is the usual way to obtain one",
    )
}

/// Reports a definition without a way to obtain a grant.
fn check_flows(object: &Object<'_>) {
    let ways = [
        "authorization_url",
        "device_authorization_url",
        "refresh_token",
    ];
    if ways.iter().any(|name| object.provides(name)) {
        return;
    }
    let message = "there is no way to obtain a consent: `authorization_url` is missing";
    let problem = object.field.problem("missing_field", message);
    let remedy =
        "write `authorization_url: https://…`, or `device_authorization_url`, or `refresh_token`";
    let path = join_path(&object.field.path, "authorization_url");
    object.field.push(problem.field(path).remedy(remedy));
}

/// Rejects a public client without a code challenge: any process that sees its code could use it.
fn check_pkce(object: &Object<'_>, has_pkce: Option<bool>) {
    if has_pkce != Some(false) {
        return;
    }
    let own = object.peek_own("pkce");
    let field = own.as_ref().unwrap_or(&object.field).clone().into_public();
    if !object.has_field("client_secret") {
        field.report(
            "pkce_off",
            "without `client_secret`, a login needs PKCE, because anyone who sees the code could use it",
            "write `pkce: s256`, or `client_secret`",
        );
    } else if own.is_some() {
        field.warn(
            "pkce_off",
            "`off` leaves the code of a login unprotected against a process that sees it",
            "remove the field, unless the provider rejects a code challenge",
        );
    }
}

/// Rejects a definition that sends a token to a host that is neither that of the token URL nor that
/// of the base URL. A connector may name others.
fn check_hosts(object: &Object<'_>, provider: &ProviderFields, context: &AuthContext<'_>) {
    let (Some(token_url), Some(base_url)) = (&provider.token_url, context.base_url) else {
        return;
    };
    let is_known = |url: &TokenUrl| [token_url.host(), base_url.host()].contains(&url.host());
    let refresh = provider.refresh_url.as_ref().and_then(Option::as_ref);
    let identity = match &provider.identity {
        Some(Some(Identity::Url(url, _))) => Some(url),
        _ => None,
    };
    let revocation = provider.revocation_url.as_ref().and_then(Option::as_ref);
    for (name, url, token) in [
        ("refresh_url", refresh, "the refresh token"),
        ("revocation_url", revocation, "the tokens of a logout"),
        ("identity", identity, "an access token"),
    ] {
        let Some(field) = object.peek_own(name) else {
            continue;
        };
        let Some(url) = url.filter(|url| !is_known(url)) else {
            continue;
        };
        let field = field.into_public();
        let field = match name {
            "identity" => field.peek_entry("url").unwrap_or(field),
            _ => field,
        };
        let message = format!(
            "{token} would be sent to another host than those of `token_url` and `base_url`: `{}`",
            url.host()
        );
        let remedy = "write a URL on one of these hosts";
        field.report("foreign_host", message, remedy);
    }
}
