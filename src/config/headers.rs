//! Reads the two mappings of header names: `headers` and `static_headers.headers`. The values of
//! `headers` are not meant to be secret, but they are never shown either.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};

use super::connection_spec::HEADER_VALUE;
use super::field::Field;
use super::redaction;
use super::secret_ref::{ResolveContext, require_trimmed};
use crate::domain::agent_headers::{HeaderCategory, family};
use crate::domain::auth::is_public;
use crate::domain::headers::{ReservedHeader, reserved};
use crate::domain::{Auth, ConfiguredHeader, SensitiveHeader};

/// Reads `headers`, which are added to every request in addition to the credential.
pub(super) fn read_configured(
    field: &Field<'_>,
    auth: Option<&Auth>,
) -> Option<Vec<ConfiguredHeader>> {
    // Operators put keys here in spite of the field's purpose, so the values are not shown.
    let field = field.clone().into_secret();
    read_headers(&field, |name, written, item| {
        // `X_Key` must not replace the credential in `X-Key` at an upstream that reads both as one.
        let is_alike = |set: &HeaderName| with_hyphens(set) == with_hyphens(&name);
        let mut is_allowed = true;
        if let Some(why) = reserved(&with_hyphens(&name)) {
            report_reserved(item, &name, why);
            is_allowed = false;
        } else if auth.is_some_and(|auth| auth.header_names().any(is_alike)) {
            let shown = redaction::shown_header(name.as_str());
            let message = format!("the connection's credential sets {shown}");
            let remedy = "remove it; only the credential's value would be sent";
            item.report("reserved_header", message, remedy);
            is_allowed = false;
        } else if is_usually_secret(&name) {
            warn_of_credential(item, &name);
        }
        let value = read_header_value(item, item.read_text()?)?;
        is_allowed.then_some(ConfiguredHeader {
            name,
            written: written.into(),
            value,
        })
    })
}

/// Returns whether a header of this name usually carries a secret, and not an account's name.
fn is_usually_secret(name: &HeaderName) -> bool {
    let last = name.as_str().rsplit(['-', '_']).next().unwrap_or_default();
    family(name.as_str()) == Some(HeaderCategory::Credential)
        && !["email", "id", "user", "username"].contains(&last)
}

fn warn_of_credential(item: &Field<'_>, name: &HeaderName) {
    let shown = redaction::shown_header(name.as_str());
    let message = format!(
        "{shown} usually carries a credential, but here its value is not treated as a secret"
    );
    let remedy =
        "use `static_headers: {headers: {…}}`, which accepts several headers, with `{env: NAME}`";
    item.warn("credential_in_headers", message, remedy);
}

/// Reads `static_headers.headers`, which are the credential itself.
pub(super) fn read_sensitive(
    field: &Field<'_>,
    context: &ResolveContext<'_>,
) -> Option<Vec<SensitiveHeader>> {
    let headers = read_headers(field, |name, written, item| {
        let why = reserved(&with_hyphens(&name)).filter(|why| !why.is_credential());
        if let Some(why) = why {
            report_reserved(item, &name, why);
        }
        let (item, is_secret) = unwrap_value(item)?;
        // `Accept`, `User-Agent` and the like need no warning about a secret in the file.
        let value = if is_secret && !is_public(&name) {
            context.read_secret(&item)?
        } else {
            context.read_value(&item)?
        };
        let value = require_trimmed(&item, value)?;
        why.is_none().then_some(SensitiveHeader {
            name,
            written: written.into(),
            value,
            is_secret,
        })
    })?;
    if headers.is_empty() {
        return field.reject(
            "empty",
            "contains no header, so requests would have no credential",
            "write `{X-API-Key: {env: NAME}}`; for an API that needs no credential, write `no_auth: {}`",
        );
    }
    Some(headers)
}

/// Reads `allow_agent_headers`: headers of credentials and resources that agents may send
/// themselves. `set` are the names that the connection itself sets.
pub(super) fn read_agent_headers(
    field: &Field<'_>,
    set: &[&HeaderName],
) -> Option<Vec<HeaderName>> {
    let items = field.read_list()?;
    let mut names: Vec<HeaderName> = Vec::new();
    for item in &items {
        let Some(name) = read_agent_header(item, set) else {
            continue;
        };
        if names
            .iter()
            .any(|listed| with_hyphens(listed) == with_hyphens(&name))
        {
            let shown = redaction::shown_header(name.as_str());
            let message = format!("{shown} is listed twice; the case of names is ignored");
            item.report("duplicate_header", message, "keep one of the two");
        } else {
            names.push(name);
        }
    }
    (names.len() == items.len()).then_some(names)
}

fn read_agent_header(item: &Field<'_>, set: &[&HeaderName]) -> Option<HeaderName> {
    let text = item.read_text()?;
    // An asterisk is legal in a header's name (RFC 9110 §5.6.2), but here it is meant as a pattern.
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    let Some(name) = name.filter(|_| !text.contains('*')) else {
        let remedy =
            "write one name without its value, such as `X-API-Key`; patterns are not supported";
        return item.reject("invalid_header", "is not a valid header name", remedy);
    };
    let shown = redaction::shown_header(name.as_str());
    if set
        .iter()
        .any(|set| with_hyphens(set) == with_hyphens(&name))
    {
        let message =
            format!("the connection sets {shown}, so the agent's header is always dropped");
        let remedy = "remove it from one of the two fields";
        return item.reject("reserved_header", message, remedy);
    }
    match family(name.as_str()) {
        Some(family) if family.can_be_listed() => {}
        None => {
            let message = format!("{shown} is passed on without being listed");
            item.warn("needless_header", message, "remove it");
        }
        Some(HeaderCategory::Cookie) => {
            let message = format!("{shown} cannot be allowed by this field");
            return item.reject("reserved_header", message, "write `allow_cookies: true`");
        }
        Some(other) => {
            let message = format!(
                "{shown} is never accepted from an agent (it states: {})",
                other.states()
            );
            let remedy = "remove it; if the API needs it, set it with `headers` or an auth kind for every request";
            return item.reject("reserved_header", message, remedy);
        }
    }
    Some(name)
}

/// Returns a header's value and whether it is secret. `{value: …, secret: false}` marks it as
/// public; any other value is secret.
fn unwrap_value<'a>(item: &Field<'a>) -> Option<(Field<'a>, bool)> {
    if !item.has_key("value") && !item.has_key("secret") {
        // A text, an `{env: …}` or `{file: …}` reference, or a mistake in one.
        return Some((item.clone(), true));
    }
    let object = item.read_object(&HEADER_VALUE)?;
    let (value, is_secret) = (object.take_field("value"), object.read_flag("secret"));
    Some((value?, is_secret?))
}

/// Reads the entries of a mapping from names of headers. Names that differ only in case are
/// duplicates. `read` is called with the name, the name as it is written, and the value. Returns
/// `None` if any entry has a problem.
fn read_headers<'a, T>(
    field: &Field<'a>,
    mut read: impl FnMut(HeaderName, &'a str, &Field<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut lines: HashMap<HeaderName, u32> = HashMap::new();
    let entries = field.read_map()?;
    let entries = entries.into_iter().map(|(written, item)| {
        let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else {
            report_invalid_name(field, &item);
            return None;
        };
        if let Some(first) = lines.get(&name) {
            let shown = redaction::shown_header(name.as_str());
            let message = format!(
                "{shown} is set twice, first in line {first}; the case of names is ignored"
            );
            return item.reject("duplicate_header", message, "keep one of the two");
        }
        lines.insert(name.clone(), item.node.place.line);
        read(name, written, &item)
    });
    // All are read before the result is decided, so that every problem is reported.
    let read: Vec<Option<T>> = entries.collect();
    read.into_iter().collect()
}

/// Reports a key that is not the name of a header, without the key: an operator who writes
/// `X-API-Key: …` as one text puts the secret into it.
fn report_invalid_name(field: &Field<'_>, item: &Field<'_>) {
    let mut problem = field.problem("invalid_header", "contains an invalid header name");
    let place = item.node.place;
    if place.line > 0 {
        problem = problem.at(place.line, place.column);
    }
    problem.excerpt = None;
    field.push(problem.remedy("write a name of letters, digits and `-`, then `: ` and the value"));
}

/// Returns the name with `-` for `_`. CGI maps both to one variable (RFC 3875 §4.1.18), so an
/// upstream that uses CGI cannot distinguish the two names.
fn with_hyphens(name: &HeaderName) -> HeaderName {
    let dashed = name.as_str().replace('_', "-");
    HeaderName::try_from(dashed).unwrap_or_else(|_| name.clone())
}

fn report_reserved(field: &Field<'_>, name: &HeaderName, why: ReservedHeader) {
    let (reason, remedy) = match why {
        ReservedHeader::Framing => (
            "controls where a request goes or how it is framed",
            "remove it; egressd sets it",
        ),
        ReservedHeader::HopByHop => (
            "applies to one socket only",
            "remove it; it would not reach the upstream's application",
        ),
        ReservedHeader::Credential => (
            "carries a credential",
            "use an auth kind: `bearer_token`, `basic_auth` or `static_headers`",
        ),
        ReservedHeader::Ours => ("is set by egressd itself", "remove it"),
    };
    let shown = redaction::shown_header(name.as_str());
    field.report("reserved_header", format!("{shown} {reason}"), remedy);
}

fn read_header_value(field: &Field<'_>, text: &str) -> Option<HeaderValue> {
    // Recipients strip white space around a value (RFC 9110 §5.5), so it would be lost.
    let outer = text.trim_matches([' ', '\t']) != text;
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(value) if !outer => Some(value),
        Ok(_) | Err(_) => field.reject(
            "invalid_header",
            "the value contains a line break or another control character, or white space at an end",
            "write the value on one line, without white space at its ends",
        ),
    }
}
