//! Reads the fields about a provider: its endpoints and quirks. A connector has the same fields.

use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::consent_spec::{IDENTITY, PKCE, ROTATION, SCOPE_SEPARATOR, TOKEN_REQUEST};
use super::field::{Field, join_names};
use super::object::Object;
use super::redaction::quoted;
use super::urls::{check_reachable, read_filled, read_https_url};
use crate::domain::TokenUrl;
use crate::domain::auth::{Identity, JsonPointer, RedirectUri, Rotation, TokenRequestFormat};

/// Parameters that egressd itself sets in one of the requests.
const RESERVED: [&str; 13] = [
    "response_type",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "refresh_token",
];
/// The parameter of the device token request (RFC 8628 section 3.4).
const DEVICE_CODE: &str = "device_code";

type Params = Vec<(String, String)>;

/// The fields about a provider. A field with a problem is `None`.
pub(super) struct ProviderFields {
    pub(super) authorization_url: Option<Option<TokenUrl>>,
    pub(super) device_authorization_url: Option<Option<TokenUrl>>,
    /// `None` also if it is missing, which is reported.
    pub(super) token_url: Option<TokenUrl>,
    pub(super) refresh_url: Option<Option<TokenUrl>>,
    pub(super) revocation_url: Option<Option<TokenUrl>>,
    pub(super) issuer: Option<Option<String>>,
    pub(super) redirect_uri: Option<RedirectUri>,
    pub(super) scope_separator: Option<char>,
    pub(super) has_pkce: Option<bool>,
    pub(super) token_request: Option<TokenRequestFormat>,
    pub(super) authorization_params: Option<Params>,
    pub(super) token_params: Option<Params>,
    pub(super) refresh_params: Option<Params>,
    pub(super) token_path: Option<JsonPointer>,
    pub(super) rotation: Option<Rotation>,
    pub(super) identity: Option<Option<Identity>>,
}

impl ProviderFields {
    /// Reads the fields. `allowed_cidrs` are the ranges that the endpoints may be in.
    pub(super) fn read(object: &Object<'_>, allowed_cidrs: Option<&[IpNet]>) -> Self {
        let url = |name| {
            object.read_optional(name, None, |field| {
                read_endpoint(&field.clone().into_public(), allowed_cidrs).map(Some)
            })
        };
        let params = |name, may_redirect| {
            object.read_optional(name, Params::new(), |field| {
                read_params(field, may_redirect)
            })
        };
        Self {
            authorization_url: url("authorization_url"),
            device_authorization_url: url("device_authorization_url"),
            token_url: url("token_url").flatten(),
            refresh_url: url("refresh_url"),
            revocation_url: url("revocation_url"),
            issuer: object.read_optional("issuer", None, |field| {
                read_issuer(&field.clone().into_public()).map(Some)
            }),
            redirect_uri: object.read_optional("redirect_uri", RedirectUri::default(), |field| {
                read_redirect_uri(&field.clone().into_public())
            }),
            scope_separator: object.read_optional("scope_separator", ' ', |field| {
                field.clone().into_public().read_choice(&SCOPE_SEPARATOR)
            }),
            has_pkce: object.read_optional("pkce", true, |field| {
                field.clone().into_public().read_choice(&PKCE)
            }),
            token_request: object.read_optional(
                "token_request",
                TokenRequestFormat::default(),
                |field| field.clone().into_public().read_choice(&TOKEN_REQUEST),
            ),
            authorization_params: params("authorization_params", false),
            token_params: params("token_params", false),
            refresh_params: params("refresh_params", true),
            token_path: object.read_optional("token_path", JsonPointer::default(), |field| {
                read_pointer(&field.clone().into_public())
            }),
            rotation: object.read_optional(
                "refresh_token_rotation",
                Rotation::default(),
                |field| field.clone().into_public().read_choice(&ROTATION),
            ),
            identity: object.read_optional("identity", None, |field| {
                read_identity(&field.clone().into_public(), allowed_cidrs).map(Some)
            }),
        }
    }
}

/// Reads the URL of an endpoint, whose query may not set a parameter that egressd sets.
fn read_endpoint(field: &Field<'_>, allowed_cidrs: Option<&[IpNet]>) -> Option<TokenUrl> {
    let url = read_https_url(field)?;
    if let Some(name) = url.query().and_then(reserved_parameter) {
        // RFC 6749 §3.1 and §3.2: a request must not have a parameter twice. The value may be a
        // secret, so it is not shown.
        return field.clone().into_secret().reject(
            "reserved_parameter",
            format!("the query sets `{name}`, which egressd sets itself"),
            "remove it from the URL; `client_id`, `client_secret`, `scopes` and `redirect_uri` are fields",
        );
    }
    check_reachable(field, url.host(), allowed_cidrs).map(|()| url)
}

/// Returns the first reserved parameter that a query sets, in any encoding.
fn reserved_parameter(query: &str) -> Option<&'static str> {
    let mut names = query.split('&').map(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).collect::<Vec<u8>>()
    });
    names.find_map(|name| reserved_name(std::str::from_utf8(&name).ok()?))
}

/// Returns the reserved parameter of this name.
fn reserved_name(name: &str) -> Option<&'static str> {
    let mut reserved = RESERVED.into_iter().chain([DEVICE_CODE]);
    reserved.find(|reserved| *reserved == name)
}

/// Reads scopes, which are separated by spaces whatever the provider uses.
pub(super) fn read_scopes(field: &Field<'_>) -> Option<String> {
    let text = field.read_text()?;
    if text.contains(',') {
        let remedy = "separate them by spaces; `scope_separator: \",\"` sends them with commas";
        return field.reject(
            "invalid_scopes",
            "scopes are separated by spaces here",
            remedy,
        );
    }
    // RFC 6749 §3.3: `scope-token`.
    let is_legal = |b: u8| b == b' ' || (b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    let scopes: Vec<&str> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.is_empty() || !text.bytes().all(is_legal) {
        let message = "is not a list of scopes: visible ASCII characters, separated by spaces";
        let remedy = "write scopes such as `read:user repo`, or remove the field";
        return field.reject("invalid_scopes", message, remedy);
    }
    Some(scopes.join(" "))
}

fn read_issuer(field: &Field<'_>) -> Option<String> {
    let text = field.read_text()?;
    // RFC 9207 §2: `https`, without query and fragment. It is compared byte by byte, so it is
    // neither parsed nor converted.
    let is_legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\');
    let host = text.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || !text.bytes().all(is_legal) {
        let message = "is not an issuer: an `https://` URL without query and fragment";
        let remedy = "write the issuer exactly as the provider sends it in `iss`";
        return field.reject("invalid_issuer", message, remedy);
    }
    Some(text.to_owned())
}

fn read_redirect_uri(field: &Field<'_>) -> Option<RedirectUri> {
    let text = read_filled(field)?;
    match RedirectUri::parse(text) {
        Ok(uri) => Some(uri),
        Err(invalid) => {
            let message = format!("{} {invalid}", quoted(text));
            let remedy = "write a URI such as `http://127.0.0.1/callback`, exactly as it is registered at the provider";
            field.reject("invalid_redirect_uri", message, remedy)
        }
    }
}

fn read_pointer(field: &Field<'_>) -> Option<JsonPointer> {
    match JsonPointer::parse(field.read_text()?) {
        Ok(pointer) => Some(pointer),
        Err(invalid) => {
            let remedy = "write a JSON Pointer (RFC 6901) such as `/authed_user`";
            field.reject("invalid_pointer", invalid.to_string(), remedy)
        }
    }
}

/// Reads parameters that are added to a request. Their values may be secrets.
fn read_params(field: &Field<'_>, may_redirect: bool) -> Option<Params> {
    let mut params = Params::new();
    let mut whole = true;
    for (name, value) in field.read_map()? {
        let is_allowed = name == "redirect_uri" && may_redirect;
        if let Some(name) = reserved_name(name).filter(|_| !is_allowed) {
            let fields = join_names(&["client_id", "client_secret", "scopes", "redirect_uri"]);
            value.report(
                "reserved_parameter",
                format!("egressd sets the parameter `{name}` itself"),
                format!("remove it; write what it stands for in {fields} where it is a field"),
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

fn read_identity(field: &Field<'_>, allowed_cidrs: Option<&[IpNet]>) -> Option<Identity> {
    let object = field.read_object(&IDENTITY)?;
    let url = object.take_field("url");
    let pointer = object.take_field("pointer");
    let answer = object.take_field("answer");
    let forms = "write `{url: https://…, pointer: /login}` or `{answer: /account}`";
    match (url, pointer, answer) {
        (Some(url), Some(pointer), None) => {
            // Any parameter is allowed in its query.
            let read = read_https_url(&url);
            let pointer = read_pointer(&pointer);
            let read = read?;
            check_reachable(&url, read.host(), allowed_cidrs)?;
            Some(Identity::Url(read, pointer?))
        }
        (None, None, Some(answer)) => read_pointer(&answer).map(Identity::Answer),
        (None, None, None) => field.reject("missing_field", "has no value", forms),
        (Some(_), None, None) => field.reject("missing_field", "`pointer` is missing", forms),
        (None, Some(_), None) => field.reject("missing_field", "`url` is missing", forms),
        (_, _, Some(_)) => {
            let message = "`answer` excludes `url` and `pointer`";
            field.reject("identity_several", message, forms)
        }
    }
}
