//! What is secret of a connection: not only what its definition holds, but what a server holds once it has parsed a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::SHORTEST;
use super::forms::{self, Form};
use crate::domain::{Auth, Connection, ConnectionId, SensitiveHeader};

/// One secret in all forms in which a response may hold it.
pub(super) struct Searched {
    pub(super) forms: Vec<Arc<Form>>,
    /// Those in UTF-16 and UTF-32.
    wide: Vec<Arc<Form>>,
    pub(super) label: Arc<Label>,
}

/// What may be told of a secret that was found.
#[derive(Default)]
pub struct Label {
    /// The connection that it belongs to, if that is known.
    pub owner: Option<ConnectionId>,
    /// What it is, in `snake_case`.
    pub kind: &'static str,
    /// The configured header that carries it.
    pub header: Option<Box<str>>,
    /// Set when it is found, where it can be guessed.
    pub(super) guessable: Option<Arc<AtomicBool>>,
}

/// A text to search for.
struct Part {
    text: Form,
    /// Whether the part of it that nobody knows is shorter than [`SHORTEST`].
    is_guessable: bool,
}

impl Searched {
    /// `None` if the secret is too short.
    pub(super) fn new(secret: &[u8], label: Label) -> Option<Self> {
        let searched = Self::of(secret, Arc::new(label));
        (!searched.forms.is_empty()).then_some(searched)
    }

    /// A secret of which nothing else is known.
    pub(super) fn unlabelled(secret: &[u8]) -> Self {
        Self::of(secret, Arc::default())
    }

    fn of(secret: &[u8], label: Arc<Label>) -> Self {
        let shared = |forms: Vec<Form>| forms.into_iter().map(Arc::new).collect();
        Self {
            forms: shared(forms::of_secret(secret)),
            wide: shared(forms::wide_of_secret(secret)),
            label,
        }
    }

    pub(super) fn all_forms(&self) -> impl Iterator<Item = &Arc<Form>> {
        self.forms.iter().chain(&self.wide)
    }
}

impl Label {
    /// Whether the secret can be guessed. From now on nobody may try.
    pub(super) fn expose(&self) -> bool {
        let Some(exposed) = &self.guessable else {
            return false;
        };
        exposed.store(true, Relaxed);
        true
    }
}

/// The secrets that a connection's definition holds. An access token is not among them. `exposed` is set when a secret is found that can be guessed.
pub(super) fn of_connection(
    connection: &Connection,
    exposed: &Arc<AtomicBool>,
) -> Vec<Arc<Searched>> {
    let mut secrets = Vec::new();
    let mut add = |kind, header: Option<&str>, parts: Vec<Part>| {
        for part in parts {
            let label = Label {
                owner: Some(connection.id.clone()),
                kind,
                header: header.map(Into::into),
                guessable: part.is_guessable.then(|| Arc::clone(exposed)),
            };
            secrets.extend(Searched::new(&part.text, label).map(Arc::new));
        }
    };
    match &connection.auth {
        Auth::NoAuth => {}
        Auth::OauthClientCredentials(credentials) => {
            let secret = credentials.terms().client_secret.expose();
            add("client_secret", None, vec![whole(secret)]);
        }
        Auth::BearerToken(bearer) => {
            let token = vec![whole(bearer.token().expose())];
            add(connection.auth.kind(), Some("Authorization"), token);
        }
        Auth::BasicAuth(basic) => {
            let (name, password) = (basic.username().expose(), basic.password().expose());
            let parts = of_pair(name, password);
            add(connection.auth.kind(), Some("Authorization"), parts);
        }
        Auth::StaticHeaders(headers) => {
            for header in headers.iter().filter(|header| header.is_searched_for()) {
                let kind = connection.auth.kind();
                add(kind, Some(&header.written), of_header(header));
            }
        }
    }
    if let Some(secret) = &connection.webhook_signing_secret {
        add("webhook_signing_secret", None, vec![whole(secret.expose())]);
    }
    secrets
}

fn whole(text: &[u8]) -> Part {
    Part {
        text: Zeroizing::new(text.to_vec()),
        is_guessable: false,
    }
}

fn guessable(text: &[u8]) -> Part {
    Part {
        text: Zeroizing::new(text.to_vec()),
        is_guessable: true,
    }
}

/// What is secret of `Authorization: Basic`.
///
/// Where only the user name is long enough, nothing is searched for that also depends on the password: 502 or not would tell of each guess whether it is right.
fn of_pair(name: &[u8], password: &[u8]) -> Vec<Part> {
    let pair = Zeroizing::new([name, b":", password].concat());
    let base64 = Zeroizing::new(STANDARD_NO_PAD.encode(&*pair).into_bytes());
    match (name.len() >= SHORTEST, password.len() >= SHORTEST) {
        (false, false) => vec![guessable(&base64), guessable(&pair)],
        (true, false) => {
            let of_name = base64.get(..name.len() * 8 / 6).unwrap_or_default();
            vec![whole(name), whole(of_name)]
        }
        (false, true) => vec![whole(password), whole(&base64)],
        (true, true) => vec![whole(name), whole(password), whole(&base64)],
    }
}

/// What is secret of a configured header.
fn of_header(header: &SensitiveHeader) -> Vec<Part> {
    if let Some(pair) = header.basic_pair() {
        return of_pair(pair.username(), pair.password());
    }
    let value = header.value.expose();
    let mut parts = Vec::new();
    for piece in credentials(value)
        .unwrap_or(value)
        .split(|b| b";,&".contains(b))
    {
        let text = parameter(piece.trim_ascii());
        if text.len() < SHORTEST {
            continue;
        }
        parts.push(whole(text));
        let mut decoded: Form = Zeroizing::new(Vec::with_capacity(text.len()));
        decoded.extend(percent_decode(text));
        if *decoded != text {
            parts.push(whole(&decoded));
        }
    }
    if parts.is_empty() {
        // All that is secret of it is short.
        parts.push(guessable(value));
    }
    parts
}

/// What follows the scheme where a header's value is `scheme SP credentials` (RFC 9110 §11.4): one word, or parameters.
fn credentials(value: &[u8]) -> Option<&[u8]> {
    let at = value.iter().position(|b| *b == b' ')?;
    let (scheme, credentials) = value.split_at_checked(at)?;
    let credentials = credentials.trim_ascii();
    let is_scheme = scheme
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    let fits = !credentials.contains(&b' ') || credentials.contains(&b'=');
    (is_scheme && fits).then_some(credentials)
}

/// The value of `name=value` or `name="value"`; any other text is one itself. Some leave the padding of base64 out.
fn parameter(text: &[u8]) -> &[u8] {
    let named = text.iter().position(|b| *b == b'=').and_then(|at| {
        let (name, value) = text.split_at_checked(at)?;
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"-_. ".contains(b);
        let value = value.get(1..)?.trim_ascii();
        let unquoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        let value = without_padding(unquoted.unwrap_or(value));
        (name.iter().all(is_name) && !value.is_empty()).then_some(value)
    });
    named.unwrap_or_else(|| without_padding(text))
}

fn without_padding(mut base64: &[u8]) -> &[u8] {
    while let Some(rest) = base64.strip_suffix(b"=") {
        base64 = rest;
    }
    base64
}

#[cfg(test)]
mod tests {
    use super::of_header;
    use crate::domain::{Secret, SecretSource, SensitiveHeader};
    use http::header::AUTHORIZATION;

    /// The texts to search for; those that can be guessed with a `?` behind them.
    fn parts(value: &str) -> Vec<String> {
        let header = SensitiveHeader {
            name: AUTHORIZATION,
            written: "Authorization".into(),
            value: Secret::new(value.as_bytes().to_vec(), SecretSource::Inline).unwrap(),
            is_secret: true,
        };
        let text = |part: super::Part| {
            let mark = if part.is_guessable { "?" } else { "" };
            format!("{}{mark}", String::from_utf8_lossy(&part.text))
        };
        of_header(&header).into_iter().map(text).collect()
    }

    #[test]
    fn parts_are_what_a_server_has_parsed() {
        // F-208, F-209
        for (value, expected) in [
            ("key-0123456789abcdef", &["key-0123456789abcdef"][..]),
            ("Token other-0123456789ab", &["other-0123456789ab"]),
            (
                "Token token=\"named-0123456789/abcdef==\"",
                &["named-0123456789/abcdef"],
            ),
            (
                "a=first-0123456789abc; b=second-0123456789ab; theme=dark",
                &["first-0123456789abc", "second-0123456789ab"],
            ),
            (
                "sid=s%3Azxcvbnmasdfghjkl",
                &["s%3Azxcvbnmasdfghjkl", "s:zxcvbnmasdfghjkl"],
            ),
            (
                "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
                &["QWxhZGRpbjpvcGVuIHNlc2FtZQ"],
            ),
            ("Token short-secret", &["Token short-secret?"]),
            // user:123456
            (
                "Basic YWdlbnQ6MTIzNDU2Nw==",
                &["YWdlbnQ6MTIzNDU2Nw?", "agent:1234567?"],
            ),
            // sk_live_0123456789:x
            (
                "basic c2tfbGl2ZV8wMTIzNDU2Nzg5Ong=",
                &["sk_live_0123456789", "c2tfbGl2ZV8wMTIzNDU2Nzg5"],
            ),
        ] {
            assert_eq!(parts(value), expected, "{value}");
        }
    }
}
