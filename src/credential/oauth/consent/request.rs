//! Writes a token request of a consent: a refresh, a code exchange or a device flow, with the
//! client's credentials in the place and the format that the provider expects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use crate::credential::oauth::request::TokenRequest;
use crate::domain::auth::{ConsentClientAuth, ConsentParameters, TokenRequestFormat};

/// The bytes that `application/x-www-form-urlencoded` leaves unchanged. A space becomes `+`.
const FORM_SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b' ');

/// The parameters of a request, in order. Values may be secrets.
type Fields<'a> = Vec<(&'a str, &'a [u8])>;

/// Returns the place of the client's credentials in a request: the place in the definition, else
/// the one that was stored with the grant, else the header.
pub fn client_auth(
    parameters: &ConsentParameters,
    stored: Option<ConsentClientAuth>,
) -> ConsentClientAuth {
    if parameters.client_secret.is_none() {
        return ConsentClientAuth::None;
    }
    let stored = stored.filter(|stored| *stored != ConsentClientAuth::None);
    parameters
        .client_auth
        .or(stored)
        .unwrap_or(ConsentClientAuth::Basic)
}

/// Writes the request that spends a refresh token (RFC 6749 section 6). Returns `None` on an
/// internal error.
pub fn write_refresh_request(
    parameters: &ConsentParameters,
    auth: ConsentClientAuth,
    refresh_token: &[u8],
) -> Option<TokenRequest> {
    let fields = [
        ("grant_type", &b"refresh_token"[..]),
        ("refresh_token", refresh_token),
    ];
    write_token_request(parameters, auth, &fields, &parameters.refresh_params)
}

/// Writes a token request with these parameters, the client's credentials and additional
/// parameters of the definition. Its URL is a placeholder, which the sender must ignore. Returns
/// `None` on an internal error.
pub fn write_token_request(
    parameters: &ConsentParameters,
    auth: ConsentClientAuth,
    fields: &[(&str, &[u8])],
    additional: &[(String, String)],
) -> Option<TokenRequest> {
    let id = parameters.client_id.expose();
    let secret = parameters.client_secret.as_ref();
    let secret = secret.map(|secret| secret.expose());
    let mut all: Fields<'_> = fields.to_vec();
    for (name, value) in additional {
        all.push((name, value.as_bytes()));
    }
    let mut request = Request::new(Vec::new());
    *request.method_mut() = Method::POST;
    match auth {
        ConsentClientAuth::Basic => {
            let header = basic_header(id, secret.unwrap_or_default())?;
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        ConsentClientAuth::Body => {
            all.push(("client_id", id));
            all.extend(secret.map(|secret| ("client_secret", secret)));
        }
        ConsentClientAuth::None => all.push(("client_id", id)),
    }
    let (content_type, body) = match parameters.token_request {
        TokenRequestFormat::Form => ("application/x-www-form-urlencoded", form(&all)),
        TokenRequestFormat::Json => ("application/json", json(&all)?),
    };
    *request.body_mut() = body;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    Some(request)
}

/// Returns the credentials of the client as HTTP Basic. Both halves are encoded as forms first (RFC
/// 6749 section 2.3.1).
fn basic_header(id: &[u8], secret: &[u8]) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(Vec::with_capacity(3 * (id.len() + secret.len()) + 1));
    push_encoded(&mut pair, id);
    pair.push(b':');
    push_encoded(&mut pair, secret);
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Writes the parameters as a form. The sender wipes the result.
fn form(fields: &Fields<'_>) -> Vec<u8> {
    let length = |(name, value): &(&str, &[u8])| 3 * (name.len() + value.len()) + 2;
    // The buffer never grows, so no unwiped copy remains.
    let mut form = Vec::with_capacity(fields.iter().map(length).sum());
    for (name, value) in fields {
        if !form.is_empty() {
            form.push(b'&');
        }
        push_encoded(&mut form, name.as_bytes());
        form.push(b'=');
        push_encoded(&mut form, value);
    }
    form
}

fn push_encoded(out: &mut Vec<u8>, bytes: &[u8]) {
    for piece in percent_encode(bytes, FORM_SAFE) {
        out.extend(
            piece
                .bytes()
                .map(|byte| if byte == b' ' { b'+' } else { byte }),
        );
    }
}

/// Writes the parameters as a JSON object of strings. The sender wipes the result. A name that
/// occurs again replaces nothing: definitions cannot contain the names of `fields`.
fn json(fields: &Fields<'_>) -> Option<Vec<u8>> {
    // An escape has at most six bytes.
    let length = |(name, value): &(&str, &[u8])| 6 * (name.len() + value.len()) + 6;
    let mut json = Vec::with_capacity(2 + fields.iter().map(length).sum::<usize>());
    json.push(b'{');
    for (name, value) in fields {
        if json.len() > 1 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, name).ok()?;
        json.push(b':');
        serde_json::to_writer(&mut json, std::str::from_utf8(value).ok()?).ok()?;
    }
    json.push(b'}');
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::{client_auth, write_refresh_request};
    use crate::credential::oauth::consent::tests::parameters;
    use crate::credential::oauth::tests::utf8_secret;
    use crate::domain::auth::{ConsentClientAuth, TokenRequestFormat};

    #[test]
    fn a_refresh_request_as_a_form() {
        let mut parameters = parameters();
        parameters.client_id = utf8_secret("a:b c");
        parameters.client_secret = Some(utf8_secret("p+q%r&ü"));
        parameters.scopes = Some("not sent".into());
        parameters.refresh_params = vec![("redirect_uri".into(), "http://127.0.0.1/cb".into())];
        let write = |auth| write_refresh_request(&parameters, auth, b"r=1&2").unwrap();
        let basic = write(ConsentClientAuth::Basic);
        let common = "grant_type=refresh_token&refresh_token=r%3D1%262\
            &redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb";
        // base64 of `a%3Ab+c:p%2Bq%25r%26%C3%BC`
        assert_eq!(
            basic.headers()["authorization"],
            "Basic YSUzQWIrYzpwJTJCcSUyNXIlMjYlQzMlQkM="
        );
        assert!(basic.headers()["authorization"].is_sensitive());
        assert_eq!(basic.body(), common.as_bytes());
        assert_eq!(basic.headers()["accept"], "application/json");
        let body = write(ConsentClientAuth::Body);
        let pair = "&client_id=a%3Ab+c&client_secret=p%2Bq%25r%26%C3%BC";
        assert_eq!(body.body(), format!("{common}{pair}").as_bytes());
        assert!(!body.headers().contains_key("authorization"));
        let public = write(ConsentClientAuth::None);
        assert_eq!(
            public.body(),
            format!("{common}&client_id=a%3Ab+c").as_bytes()
        );
    }

    #[test]
    fn a_refresh_request_as_json() {
        let mut parameters = parameters();
        parameters.token_request = TokenRequestFormat::Json;
        let request = write_refresh_request(&parameters, ConsentClientAuth::Body, br#"r"\"#);
        let request = request.unwrap();
        assert_eq!(request.headers()["content-type"], "application/json");
        let written: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        let expected = serde_json::json!({
            "grant_type": "refresh_token", "refresh_token": "r\"\\",
            "client_id": "the-client", "client_secret": "the-secret",
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn the_definition_decides_before_the_store() {
        use ConsentClientAuth::{Basic, Body, None as Public};
        let mut parameters = parameters();
        for (defined, stored, used) in [
            (None, None, Basic),
            (None, Some(Body), Body),
            (None, Some(Public), Basic),
            (Some(Basic), Some(Body), Basic),
        ] {
            parameters.client_auth = defined;
            assert_eq!(client_auth(&parameters, stored), used);
        }
        parameters.client_secret = None;
        assert_eq!(client_auth(&parameters, Some(Body)), Public);
    }
}
