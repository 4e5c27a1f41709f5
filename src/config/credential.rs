//! The auth kinds of a definition → [`Auth`]: exactly one.
//!
//! The oneof is read as five optional fields and the tuple is matched, so that two kinds are called two kinds.

use std::sync::Arc;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::field::{Field, listed};
use super::headers;
use super::object::Object;
use super::secret_ref::{ResolveContext, trimmed};
use super::urls::{reachable, url_problem};
use crate::domain::auth::{
    BasicAuth, BearerToken, ClientAuth, ColonInUsername, GrantType, InvalidGrantType, NotUtf8,
    OauthClientCredentials, OauthTerms, SecretPart, Username, Utf8Secret,
};
use crate::domain::{Auth, TokenUrl};

/// The fields of the oneof.
pub(super) const KINDS: [&str; 5] = [
    "oauth_client_credentials",
    "bearer_token",
    "basic_auth",
    "static_headers",
    "no_auth",
];

const STANDARD_PARAMETERS: [&str; 4] = ["grant_type", "client_id", "client_secret", "scope"];

/// Reads the one credential of a connection. `holes` are the ranges that a token URL may reach beside the public ones.
pub(super) fn auth(
    http: &mut Object<'_>,
    context: &ResolveContext<'_>,
    allowed_cidrs: Option<&[IpNet]>,
) -> Option<Auth> {
    let written: Vec<&str> = KINDS.into_iter().filter(|kind| http.has(kind)).collect();
    let mut take = |kind| http.take(kind).map(Field::secret);
    let [oauth, bearer, basic, fixed, none] = KINDS.map(&mut take);
    // Every kind that stands there is read, so that its own mistakes are seen too.
    let read = (
        oauth.map(|field| oauth_client_credentials(&field, context, allowed_cidrs)),
        bearer.map(|field| bearer_token(&field, context)),
        basic.map(|field| basic_auth(&field, context)),
        fixed.map(|field| static_headers(&field, context)),
        none.map(|field| no_auth(&field)),
    );
    match (written.as_slice(), read) {
        ([_], (Some(auth), None, None, None, None)) => auth,
        ([_], (None, Some(auth), None, None, None)) => auth,
        ([_], (None, None, Some(auth), None, None)) => auth,
        ([_], (None, None, None, Some(auth), None)) => auth,
        ([_], (None, None, None, None, Some(auth))) => auth,
        // One without a value, which is reported already.
        ([_], (_, _, _, _, _)) => None,
        // Reported as an unknown field.
        ([], (_, _, _, _, _)) if KINDS.into_iter().any(|kind| http.misspelt(kind)) => None,
        ([], (_, _, _, _, _)) => {
            let message = "no credential: exactly one auth kind is needed";
            let problem = http.field.problem("auth_missing", message);
            let remedy = format!(
                "write one of {}; an API that needs none says `no_auth: {{}}`",
                listed(&KINDS)
            );
            http.field.push(problem.remedy(remedy));
            None
        }
        ([..], (_, _, _, _, _)) => {
            let both = written.join("` and `");
            let message = format!("exactly one auth kind is allowed, but `{both}` are set");
            let problem = http.field.problem("auth_several", message);
            http.field.push(problem.remedy("keep exactly one of them"));
            None
        }
    }
}

fn bearer_token(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Auth> {
    let mut object = field.object()?;
    let token = object.require("token", "write `token: {env: NAME}`");
    object.finish();
    let token = token?;
    let secret = trimmed(&token, context.secret(&token)?)?;
    for scheme in ["Bearer ", "Basic "] {
        if secret.begins_with(scheme) {
            let message =
                format!("the token begins with `{scheme}`, after the `Bearer ` that egressd adds");
            let problem = token.clone().secret().problem("token_with_scheme", message);
            let remedy = "write the bare token; a whole header value belongs into `static_headers`";
            token.push(problem.warning().remedy(remedy));
        }
    }
    Some(Auth::BearerToken(BearerToken::new(secret)))
}

fn basic_auth(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Auth> {
    let mut object = field.object()?;
    let name = object.require("username", "write `username: …`");
    let password = object.require(
        "password",
        "write `password: {env: NAME}`, or `password: ''` where the user name is the key",
    );
    object.finish();
    let username = name.and_then(|field| username(&field, context));
    let password = password.and_then(|field| context.secret_or_empty(&field));
    let pair = BasicAuth::new(username?, password?);
    // If the password is empty, the user name is the key.
    if pair.password().len() != 0 {
        warn_of_guessable(field, &pair.parts());
    }
    Some(Auth::BasicAuth(pair))
}

fn username(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Username> {
    let username = Username::try_from(context.secret(field)?);
    if let Err(ColonInUsername) = username {
        field.report(
            "invalid_username",
            "the user name holds a colon, which basic authentication cannot carry (RFC 7617)",
            "write a user name without `:`",
        );
    }
    username.ok()
}

/// Warns about a pair whose user name and password are both short enough to be guessed. Other short
/// values are often no keys.
fn warn_of_guessable(field: &Field<'_>, parts: &[SecretPart]) {
    let is_pair = parts.len() > 1 && parts.iter().all(|part| part.guessable_after.is_some());
    if !is_pair && !parts.iter().any(SecretPart::is_named) {
        return;
    }
    let consequence = if parts.iter().any(SecretPart::can_be_guessed) {
        "where the API returns what agents write, an agent could guess it, so the first response that holds it closes the connection (503 `credential_exposed`)"
    } else if is_pair {
        "responses are not searched for so short a pair, because ordinary text would match it"
    } else {
        return;
    };
    let field = field.clone().secret();
    let problem = field.problem(
        "guessable_password",
        format!("the password has fewer than 16 bytes: {consequence}"),
    );
    field.push(
        problem
            .warning()
            .remedy("use a password of 16 bytes or more, or another kind of credential"),
    );
}

fn static_headers(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Auth> {
    let mut object = field.object()?;
    let map = object.require("headers", "write `headers: {X-API-Key: {env: NAME}}`");
    object.finish();
    let headers = headers::sensitive(&map?, context)?;
    for header in &headers {
        warn_of_guessable(field, &header.parts());
    }
    Some(Auth::StaticHeaders(headers))
}

fn no_auth(field: &Field<'_>) -> Option<Auth> {
    field.object()?.finish();
    Some(Auth::NoAuth)
}

fn oauth_client_credentials(
    field: &Field<'_>,
    context: &ResolveContext<'_>,
    allowed_cidrs: Option<&[IpNet]>,
) -> Option<Auth> {
    let mut object = field.object()?;
    let url = object.require("token_url", "write `token_url: https://…`");
    let id = object.require("client_id", "write `client_id: …`");
    let secret = object.require("client_secret", "write `client_secret: {env: NAME}`");
    let grant = object.take("grant_type").map(|field| grant_type(&field));
    let scopes = object
        .take("scopes")
        .map(|field| field.text().map(str::to_owned));
    let params = object
        .take("extra_params")
        .map(|field| extra_params(&field));
    let client_auth = object
        .take("client_auth")
        .map(|field| field.choice(&[("basic", ClientAuth::Basic), ("body", ClientAuth::Body)]));
    object.finish();
    let url = url.and_then(|field| token_url(&field.public(), allowed_cidrs));
    let id = id.and_then(|field| form_text(&field, context));
    let secret = secret.and_then(|field| form_text(&field, context));
    let terms = OauthTerms {
        token_url: url?,
        grant_type: grant.unwrap_or_else(|| Some(GrantType::default()))?,
        client_id: id?,
        client_secret: secret?,
        scopes: scopes.map_or(Some(None), |scopes| scopes.map(Some))?,
        extra_params: params.unwrap_or_else(|| Some(Vec::new()))?,
        client_auth: client_auth.unwrap_or_else(|| Some(ClientAuth::default()))?,
        // Bad ranges are reported where they stand.
        allowed_private_cidrs: allowed_cidrs?.to_vec(),
    };
    let credentials = OauthClientCredentials::new(terms);
    Some(Auth::OauthClientCredentials(Arc::new(credentials)))
}

/// A secret that goes into a form.
fn form_text(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Utf8Secret> {
    let secret = Utf8Secret::try_from(context.secret(field)?);
    if let Err(NotUtf8) = secret {
        field.clone().secret().report(
            "invalid_secret",
            "the value is no UTF-8, which a token request cannot carry (RFC 6749)",
            "write or store it as UTF-8 text",
        );
    }
    secret.ok()
}

fn token_url(field: &Field<'_>, allowed_cidrs: Option<&[IpNet]>) -> Option<TokenUrl> {
    let text = field.text()?;
    let url = match TokenUrl::parse(text) {
        Ok(url) => url,
        Err(invalid) => {
            url_problem(field, text, invalid);
            return None;
        }
    };
    if let Some(name) = url.query().and_then(standard_parameter) {
        // RFC 6749 §2.3.1 and §3.2: a URL must not contain a client secret, nor a parameter twice.
        field.clone().secret().report(
            "reserved_parameter",
            format!("the query sets `{name}`, which the token request sets itself"),
            "take it out of the URL; `grant_type`, `client_id`, `client_secret` and `scopes` are fields",
        );
        return None;
    }
    reachable(field, url.host(), allowed_cidrs).map(|()| url)
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

fn grant_type(field: &Field<'_>) -> Option<GrantType> {
    let why = match GrantType::parse(field.text()?) {
        Ok(grant) => return Some(grant),
        Err(why) => why,
    };
    let (message, remedy) = match why {
        InvalidGrantType::Characters => (
            "must be 1 to 256 visible ASCII characters",
            "write the grant type as the provider spells it, or leave the field out",
        ),
        InvalidGrantType::NeedsUser => (
            "is a grant that a user takes part in, which egressd cannot do",
            "use a grant of the client's own: leave the field out for `client_credentials`",
        ),
    };
    field.report("invalid_grant_type", message, remedy);
    None
}

/// Parameters beside the standard ones. Their values may be secrets.
fn extra_params(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let mut whole = true;
    let mut params = Vec::new();
    for (name, value) in field.free_map()? {
        if STANDARD_PARAMETERS.contains(&name) {
            value.report(
                "reserved_parameter",
                format!("`{name}` is set by the grant itself"),
                "take it out; `grant_type`, `client_id`, `client_secret` and `scopes` are fields",
            );
            whole = false;
        }
        match value.text() {
            Some(text) => params.push((name.to_owned(), text.to_owned())),
            None => whole = false,
        }
    }
    whole.then_some(params)
}
