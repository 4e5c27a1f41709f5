//! Reads the auth kinds of a definition into an [`Auth`]: exactly one must be set.
//!
//! The protobuf `oneof` becomes six optional fields in a file. Each field that is set is read,
//! even if several are set, so that every mistake is reported.

use std::sync::Arc;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::auth_context::AuthContext;
use super::connection_spec::{AUTH_KINDS, CLIENT_AUTH};
use super::field::{Field, join_names};
use super::headers;
use super::object::Object;
use super::secret_ref::{ResolveContext, require_trimmed};
use super::urls::{check_reachable, read_https_url};
use super::user_consent::read_user_consent;
use crate::domain::auth::{
    BasicAuth, BearerToken, ClientAuth, ColonInUsername, GrantType, InvalidGrantType,
    OauthClientCredentials, OauthParameters, SecretPart, Username,
};
use crate::domain::{Auth, TokenUrl};

const STANDARD_PARAMETERS: [&str; 4] = ["grant_type", "client_id", "client_secret", "scope"];

/// Reads the details of one auth kind.
type Reader = fn(&Object<'_>, &AuthContext<'_>) -> Option<Auth>;

const READERS: [(&str, Reader); 6] = [
    ("oauth_client_credentials", read_oauth_client_credentials),
    ("oauth_user_consent", read_user_consent),
    ("bearer_token", |object, context| {
        read_bearer_token(object, context.resolve)
    }),
    ("basic_auth", |object, context| {
        read_basic_auth(object, context.resolve)
    }),
    ("static_headers", |object, context| {
        read_static_headers(object, context.resolve)
    }),
    ("no_auth", |_, _| Some(Auth::NoAuth)),
];

/// Reads the one credential of a connection.
pub(super) fn read_auth(http: &Object<'_>, context: &AuthContext<'_>) -> Option<Auth> {
    let mut kinds = Vec::new();
    let mut auth = None;
    for (kind, read) in READERS {
        if http.has_field(kind) {
            kinds.push(kind);
            // Even if too many are set, each is read, so that every mistake is reported.
            auth = http
                .read_object(kind)
                .and_then(|object| read(&object, context));
        }
    }
    match kinds.as_slice() {
        [_] => auth,
        // The misspelling is reported as an unknown field; a second problem would not help.
        [] if AUTH_KINDS
            .into_iter()
            .any(|kind| http.has_misspelling_of(kind)) =>
        {
            None
        }
        [] => {
            let message = "no credential: exactly one auth kind is needed";
            let problem = http.field.problem("auth_missing", message);
            let remedy = format!(
                "write one of {}; for an API that needs no credential, write `no_auth: {{}}`",
                join_names(&AUTH_KINDS)
            );
            http.field.push(problem.remedy(remedy));
            None
        }
        several => {
            let several = several.join("` and `");
            let message = format!("exactly one auth kind is allowed, but `{several}` are set");
            let problem = http.field.problem("auth_several", message);
            http.field.push(problem.remedy("keep exactly one of them"));
            None
        }
    }
}

fn read_bearer_token(object: &Object<'_>, context: &ResolveContext<'_>) -> Option<Auth> {
    let token = object.take_field("token")?;
    let secret = require_trimmed(&token, context.read_secret(&token)?)?;
    for scheme in ["Bearer ", "Basic "] {
        // The upstream would get `Bearer Bearer …`, and its 401 would hide the cause.
        if secret.begins_with(scheme) {
            let message =
                format!("the token begins with `{scheme}`, but egressd adds `Bearer ` itself");
            let remedy = "write the bare token; a whole header value belongs in `static_headers`";
            token
                .clone()
                .into_secret()
                .warn("token_with_scheme", message, remedy);
        }
    }
    Some(Auth::BearerToken(BearerToken::new(secret)))
}

fn read_basic_auth(object: &Object<'_>, context: &ResolveContext<'_>) -> Option<Auth> {
    let username = object
        .take_field("username")
        .and_then(|field| read_username(&field, context));
    let password = object
        .take_field("password")
        .and_then(|field| context.read_secret_or_empty(&field));
    let pair = BasicAuth::new(username?, password?);
    // If the password is empty, the user name is the key.
    if pair.password().len() != 0 {
        warn_of_guessable(&object.field, &pair.parts());
    }
    Some(Auth::BasicAuth(pair))
}

fn read_username(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Username> {
    let username = Username::try_from(context.read_secret(field)?);
    if let Err(ColonInUsername) = username {
        field.report(
            "invalid_username",
            "the user name contains a colon, which basic authentication does not allow (RFC 7617)",
            "write a user name without `:`",
        );
    }
    username.ok()
}

/// Warns about a pair whose user name and password are both short enough to be guessed. Other short
/// values are often not secret.
fn warn_of_guessable(field: &Field<'_>, parts: &[SecretPart]) {
    let is_pair = parts.len() > 1 && parts.iter().all(|part| part.guessable_after.is_some());
    if !is_pair && !parts.iter().any(SecretPart::is_named) {
        return;
    }
    let consequence = if parts.iter().any(SecretPart::can_be_guessed) {
        "if the API returns what agents write, an agent could guess it, so the first response that contains it closes the connection (503 `credential_exposed`)"
    } else if is_pair {
        "responses are not searched for such a short pair, because ordinary text would match it"
    } else {
        return;
    };
    let field = field.clone().into_secret();
    let message = format!("the password has fewer than 16 bytes: {consequence}");
    let remedy = "use a password of 16 bytes or more, or another kind of credential";
    field.warn("guessable_password", message, remedy);
}

fn read_static_headers(object: &Object<'_>, context: &ResolveContext<'_>) -> Option<Auth> {
    let headers = headers::read_sensitive(&object.take_field("headers")?, context)?;
    for header in &headers {
        warn_of_guessable(&object.field, &header.parts());
    }
    Some(Auth::StaticHeaders(headers))
}

fn read_oauth_client_credentials(object: &Object<'_>, context: &AuthContext<'_>) -> Option<Auth> {
    let allowed_cidrs = context.allowed_cidrs;
    let url = object.take_field("token_url");
    let url = url.and_then(|field| read_token_url(&field.into_public(), allowed_cidrs));
    let id = object
        .take_field("client_id")
        .and_then(|field| context.read_form_text(&field));
    let secret = object
        .take_field("client_secret")
        .and_then(|field| context.read_form_text(&field));
    let grant_type = object.read_optional("grant_type", GrantType::default(), read_grant_type);
    let scopes = object.read_optional("scopes", None, |field| {
        Some(Some(field.read_text()?.to_owned()))
    });
    let params = object.read_optional("extra_params", Vec::new(), read_extra_params);
    let client_auth = object.read_optional("client_auth", ClientAuth::default(), |field| {
        field.read_choice(&CLIENT_AUTH)
    });
    let terms = OauthParameters {
        token_url: url?,
        grant_type: grant_type?,
        client_id: id?,
        client_secret: secret?,
        scopes: scopes?,
        extra_params: params?,
        client_auth: client_auth?,
        // `None` means that the ranges are invalid, which is reported at their own field.
        allowed_private_cidrs: allowed_cidrs?.to_vec(),
    };
    let credentials = OauthClientCredentials::new(terms);
    Some(Auth::OauthClientCredentials(Arc::new(credentials)))
}

fn read_token_url(field: &Field<'_>, allowed_cidrs: Option<&[IpNet]>) -> Option<TokenUrl> {
    let url = read_https_url(field)?;
    if let Some(name) = url.query().and_then(standard_parameter) {
        // RFC 6749 §2.3.1 and §3.2: a URL must not contain a client secret, nor a parameter twice.
        // The value may be that secret, so it is not shown.
        field.clone().into_secret().report(
            "reserved_parameter",
            format!("the query sets `{name}`, which the token request sets itself"),
            "remove it from the URL; `grant_type`, `client_id`, `client_secret` and `scopes` are fields",
        );
        return None;
    }
    check_reachable(field, url.host(), allowed_cidrs).map(|()| url)
}

/// Returns the first standard parameter that a query sets, in any encoding.
fn standard_parameter(query: &str) -> Option<&'static str> {
    let mut names = query.split('&').map(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).collect::<Vec<u8>>()
    });
    names.find_map(|name| {
        let mut standard = STANDARD_PARAMETERS.into_iter();
        standard.find(|standard| standard.as_bytes() == name)
    })
}

fn read_grant_type(field: &Field<'_>) -> Option<GrantType> {
    let why = match GrantType::parse(field.read_text()?) {
        Ok(grant) => return Some(grant),
        Err(why) => why,
    };
    let (message, remedy) = match why {
        InvalidGrantType::Characters => (
            "must be 1 to 256 visible ASCII characters",
            "write the grant type as the provider spells it, or leave the field out",
        ),
        InvalidGrantType::NeedsUser => (
            "is a grant that needs a user, which this auth kind does not support",
            "use a grant without a user, or `oauth_user_consent`; without the field, `client_credentials` is used",
        ),
    };
    field.reject("invalid_grant_type", message, remedy)
}

/// Reads the parameters that are added to the standard ones. Their values may be secrets.
fn read_extra_params(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let mut whole = true;
    let mut params = Vec::new();
    for (name, value) in field.read_map()? {
        if STANDARD_PARAMETERS.contains(&name) {
            value.report(
                "reserved_parameter",
                format!("the token request sets `{name}` itself"),
                "remove it; `grant_type`, `client_id`, `client_secret` and `scopes` are fields",
            );
            whole = false;
        }
        match value.read_text() {
            Some(text) => params.push((name.to_owned(), text.to_owned())),
            None => whole = false,
        }
    }
    whole.then_some(params)
}
