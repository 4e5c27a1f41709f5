//! The parts of a credential that are secret: the values that a server obtains by parsing a
//! request.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

/// The length in bytes of the shortest secret that cannot be guessed. Shorter secrets would also
/// match ordinary text in many responses.
pub const SHORTEST_UNGUESSABLE: usize = 16;

/// Bytes that separate the parts of a value: `id:key`, `id|key`, `"key"`, `path/key`.
const SEPARATORS: &[u8] = b":|/\"'{}[]";
/// The prefix of an `Authorization` value in the scheme of RFC 7617.
const BASIC: &[u8] = b"Basic ";

/// A text that no response may contain.
pub struct SecretPart {
    /// The bytes of the text.
    pub text: Zeroizing<Vec<u8>>,
    /// `Some` if the unknown part is short enough to be guessed: the number of bytes before it,
    /// such as those of a user name.
    pub guessable_after: Option<usize>,
}

/// A user name and a password.
pub(super) struct Pair {
    bytes: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl SecretPart {
    /// Creates a secret that an agent cannot guess, not even a part of it.
    pub fn whole(text: &[u8]) -> Self {
        Self {
            text: Zeroizing::new(text.to_vec()),
            guessable_after: None,
        }
    }

    fn guessable(text: &[u8], known: usize) -> Self {
        Self {
            text: Zeroizing::new(text.to_vec()),
            guessable_after: Some(known),
        }
    }

    /// Returns whether responses are searched for this part, and an agent can guess it.
    pub fn can_be_guessed(&self) -> bool {
        self.guessable_after.is_some() && self.text.len() >= SHORTEST_UNGUESSABLE
    }

    /// Returns whether a name precedes the unknown part: `name:123456`.
    pub fn is_named(&self) -> bool {
        let known = self.guessable_after.unwrap_or(0);
        let name = self.text.get(..known).unwrap_or_default();
        name.ends_with(b":") || name.ends_with(b"|")
    }
}

impl Pair {
    /// Joins a user name and a password.
    pub(super) fn new(name: &[u8], password: &[u8]) -> Self {
        Self {
            bytes: Zeroizing::new([name, b":", password].concat()),
            colon: name.len(),
        }
    }

    /// Decodes `user:password` from either alphabet of base64, with or without padding.
    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        let text = without_padding(text);
        let read = |engine: &GeneralPurpose| engine.decode(text).ok();
        let bytes = read(&STANDARD_NO_PAD).or_else(|| read(&URL_SAFE_NO_PAD));
        let bytes = Zeroizing::new(bytes?);
        let colon = bytes.iter().position(|b| *b == b':')?;
        Some(Self { bytes, colon })
    }

    /// Returns the user name.
    pub(super) fn name(&self) -> &[u8] {
        self.bytes.get(..self.colon).unwrap_or_default()
    }

    /// Returns the password.
    pub(super) fn password(&self) -> &[u8] {
        self.bytes.get(self.colon + 1..).unwrap_or_default()
    }

    /// Returns the bytes of the encoded pair, without padding.
    fn encoded(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(STANDARD_NO_PAD.encode(&*self.bytes).into_bytes())
    }

    /// Returns the secret parts of the pair.
    ///
    /// If only the user name is long enough, responses are not searched for any text that also
    /// depends on the password: otherwise "502 or not" would confirm guesses.
    pub(super) fn parts(&self) -> Vec<SecretPart> {
        let (name, password) = (self.name(), self.password());
        let base64 = self.encoded();
        let is_long = |text: &[u8]| text.len() >= SHORTEST_UNGUESSABLE;
        match (is_long(name), is_long(password)) {
            (false, false) => {
                // If the password is empty, the user name is the key, and an agent can guess any
                // part of it.
                let known = if password.is_empty() {
                    0
                } else {
                    self.colon + 1
                };
                let of_base64 = known * 8 / 6;
                let mut parts = vec![
                    SecretPart::guessable(&base64, of_base64),
                    SecretPart::guessable(&self.bytes, known),
                ];
                if !is_long(&base64) && known > 0 {
                    // The pair alone would match ordinary text, but the pair with its scheme does
                    // not.
                    let known = BASIC.len() + of_base64;
                    let header = Zeroizing::new([BASIC, base64.as_slice()].concat());
                    parts.push(SecretPart::guessable(&header, known));
                }
                parts
            }
            (true, false) => {
                let of_name = base64.get(..name.len() * 8 / 6).unwrap_or_default();
                vec![SecretPart::whole(name), SecretPart::whole(of_name)]
            }
            (false, true) => vec![SecretPart::whole(password), SecretPart::whole(&base64)],
            (true, true) => [name, password, &base64].map(SecretPart::whole).into(),
        }
    }
}

/// Returns the secret parts of a header's value.
pub(super) fn parts_of_header(value: &[u8]) -> Vec<SecretPart> {
    let (scheme, credentials) = split_scheme(value);
    // Other schemes use such pairs, too: `ApiKey base64(id:key)`.
    let is_pair = |pair: &Pair| {
        scheme.eq_ignore_ascii_case(BASIC.trim_ascii_end()) || pair.bytes.iter().all(is_text)
    };
    if let Some(pair) = Pair::decode(credentials).filter(is_pair) {
        return pair.parts();
    }
    if let Some(parts) = parts_of_json(credentials) {
        return parts;
    }
    let mut parts = Vec::new();
    for piece in credentials.split(|b| b";,&".contains(b)) {
        let text = parameter(piece.trim_ascii());
        if text.len() < SHORTEST_UNGUESSABLE {
            continue;
        }
        add_text(text, &mut parts);
        let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
        decoded.extend(percent_decode(text));
        if *decoded != text {
            add_text(&decoded, &mut parts);
        }
    }
    if parts.is_empty() {
        // Every secret part of the value is short.
        let known = value.len() - credentials.len();
        parts.push(SecretPart::guessable(value, known));
    }
    parts
}

/// Adds a text, and the parts of it that a server may use on their own.
fn add_text(text: &[u8], parts: &mut Vec<SecretPart>) {
    let atoms = |separators: &'static [u8]| text.split(move |b| separators.contains(b));
    let is_long = |atom: &[u8]| atom.len() >= SHORTEST_UNGUESSABLE;
    // Many keys contain slashes, so a slash does not separate parts here.
    let first = text.iter().position(|b| b":|".contains(b));
    if let Some(first) = first
        && !is_url(text)
        && !atoms(b":|").any(is_long)
    {
        parts.push(SecretPart::guessable(text, first + 1));
        return;
    }
    parts.push(SecretPart::whole(text));
    if is_url(text) || first.is_none() && !text.iter().any(|b| SEPARATORS.contains(b)) {
        return;
    }
    let keys = atoms(SEPARATORS).map(without_padding);
    parts.extend(keys.filter(|atom| is_key(atom)).map(SecretPart::whole));
}

/// Returns the texts of a JSON document. The names of its members are public.
fn parts_of_json(value: &[u8]) -> Option<Vec<SecretPart>> {
    if !matches!(value.first(), Some(b'{' | b'[')) {
        return None;
    }
    let mut parts = vec![SecretPart::whole(value)];
    // Every other piece between quotation marks is a text. Keys have no escaped ones.
    let mut pieces = value.split(|b| *b == b'"').skip(1);
    while let Some(text) = pieces.next() {
        let behind = pieces.next().unwrap_or_default().trim_ascii_start();
        if !behind.starts_with(b":") && is_key(text) && !is_url(text) {
            parts.push(SecretPart::whole(text));
        }
    }
    Some(parts)
}

/// Returns whether a part of a value can be a key on its own. A key has letters of both cases, or
/// digits and letters. Words, host names and the like are public, and responses contain them.
fn is_key(text: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let kinds = [
        has(u8::is_ascii_lowercase),
        has(u8::is_ascii_uppercase),
        has(u8::is_ascii_digit),
    ];
    let kinds = kinds.iter().filter(|has_it| **has_it).count();
    text.len() >= SHORTEST_UNGUESSABLE && kinds >= 2 && !is_host(text)
}

fn is_host(text: &[u8]) -> bool {
    let is_part = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(b);
    let last = text.rsplit(|b| *b == b'.').next().unwrap_or_default();
    last.len() < text.len() && last.iter().all(u8::is_ascii_lowercase) && text.iter().all(is_part)
}

fn is_url(text: &[u8]) -> bool {
    text.windows(3).any(|three| three == b"://")
}

fn is_text(byte: &u8) -> bool {
    byte.is_ascii_graphic() || *byte == b' '
}

/// Splits a header's value into its scheme and its credentials, if it has the form
/// `scheme SP credentials` (RFC 9110 §11.4) with one word or parameters. Otherwise the whole value
/// is the credentials.
fn split_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let none: (&[u8], &[u8]) = (b"", value);
    let Some(at) = value.iter().position(|b| *b == b' ') else {
        return none;
    };
    let (scheme, credentials) = value.split_at_checked(at).unwrap_or(none);
    let credentials = credentials.trim_ascii();
    let is_scheme = scheme
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    let fits = !credentials.contains(&b' ') || credentials.contains(&b'=');
    if is_scheme && fits {
        (scheme, credentials)
    } else {
        none
    }
}

/// Returns the value of `name=value` or `name="value"`. Any other text is itself the value. The
/// padding of base64 is removed, because some encoders omit it.
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
mod tests;
