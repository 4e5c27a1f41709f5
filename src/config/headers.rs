//! The two free maps of header names: `headers` (not secret by intention, yet never shown) and `static_headers.headers`.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};

use super::connection_spec::HEADER_VALUE;
use super::field::Field;
use super::redaction;
use super::secret_ref::{ResolveContext, require_trimmed};
use crate::domain::agent_headers::{Family, family};
use crate::domain::auth::is_public;
use crate::domain::headers::{Reserved, reserved};
use crate::domain::{Auth, ConfiguredHeader, SensitiveHeader};

/// `headers`: what every request carries beside the credential.
pub(super) fn read_configured(
    field: &Field<'_>,
    auth: Option<&Auth>,
) -> Option<Vec<ConfiguredHeader>> {
    let mut whole = true;
    let mut headers = Vec::new();
    // An operator may have put a key here in spite of the field's purpose.
    let field = field.clone().into_secret();
    for HeaderEntry {
        name,
        written,
        item,
    } in header_entries(&field, &mut whole)?
    {
        let is_alike = |set: &HeaderName| with_hyphens(set) == with_hyphens(&name);
        if let Some(why) = reserved(&with_hyphens(&name)) {
            report_reserved(&item, &name, why);
            whole = false;
        } else if auth.is_some_and(|auth| auth.header_names().any(is_alike)) {
            let shown = redaction::shown_header(name.as_str());
            let message = format!("{shown} is set by the connection's credential");
            item.report(
                "reserved_header",
                message,
                "take it out; the credential wins anyway",
            );
            whole = false;
        } else if is_usually_secret(&name) {
            warn_of_credential(&item, &name);
        }
        match item
            .read_text()
            .and_then(|text| read_header_value(&item, text))
        {
            Some(value) => headers.push(ConfiguredHeader {
                name,
                written: written.into(),
                value,
            }),
            None => whole = false,
        }
    }
    whole.then_some(headers)
}

/// Returns whether a header of this name usually carries a secret, and not an account's name.
fn is_usually_secret(name: &HeaderName) -> bool {
    let last = name.as_str().rsplit(['-', '_']).next().unwrap_or_default();
    family(name.as_str()) == Some(Family::Credential)
        && !["email", "id", "user", "username"].contains(&last)
}

fn warn_of_credential(item: &Field<'_>, name: &HeaderName) {
    let shown = redaction::shown_header(name.as_str());
    let message =
        format!("{shown} usually carries a credential, and this value is not kept as one");
    let remedy = "use `static_headers: {headers: {…}}`, which takes several, and `{env: NAME}`";
    item.warn("credential_in_headers", message, remedy);
}

/// `static_headers.headers`: the credential itself.
pub(super) fn read_sensitive(
    field: &Field<'_>,
    context: &ResolveContext<'_>,
) -> Option<Vec<SensitiveHeader>> {
    let mut whole = true;
    let mut headers = Vec::new();
    let entries = header_entries(field, &mut whole)?;
    if entries.is_empty() && whole {
        return field.reject(
            "empty",
            "holds no header, so it would authenticate nothing",
            "write `{X-API-Key: {env: NAME}}`; an API that needs no credential says `no_auth: {}`",
        );
    }
    for HeaderEntry {
        name,
        written,
        item,
    } in entries
    {
        if let Some(why) = reserved(&with_hyphens(&name)).filter(|why| !why.is_credential()) {
            report_reserved(&item, &name, why);
            whole = false;
        }
        let Some((item, is_secret)) = unwrap_value(&item) else {
            whole = false;
            continue;
        };
        let value = if is_secret && !is_public(&name) {
            context.read_secret(&item)
        } else {
            context.read_value(&item)
        };
        match value.and_then(|value| require_trimmed(&item, value)) {
            Some(value) => headers.push(SensitiveHeader {
                name,
                written: written.into(),
                value,
                is_secret,
            }),
            None => whole = false,
        }
    }
    whole.then_some(headers)
}

/// `allow_agent_headers`: headers of credentials and resources that agents may send themselves.
/// `set`: the names that the connection itself sets.
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
            let message = format!("{shown} is listed twice; case makes no difference");
            item.report("duplicate_header", message, "keep one of the two");
        } else {
            names.push(name);
        }
    }
    (names.len() == items.len()).then_some(names)
}

fn read_agent_header(item: &Field<'_>, set: &[&HeaderName]) -> Option<HeaderName> {
    let text = item.read_text()?;
    // An asterisk is legal in a name, but it is meant as a pattern.
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    let Some(name) = name.filter(|_| !text.contains('*')) else {
        let remedy =
            "write one name without its value, such as `X-API-Key`; patterns are not possible";
        return item.reject("invalid_header", "is not the name of a header", remedy);
    };
    let shown = redaction::shown_header(name.as_str());
    if set
        .iter()
        .any(|set| with_hyphens(set) == with_hyphens(&name))
    {
        let message = format!("{shown} is set by the connection, so the agent's is always dropped");
        let remedy = "take it out of one of the two places";
        return item.reject("reserved_header", message, remedy);
    }
    match family(name.as_str()) {
        Some(family) if family.can_be_listed() => {}
        None => {
            let message = format!("{shown} passes without being listed");
            item.warn("needless_header", message, "take it out");
        }
        Some(Family::Cookie) => {
            let message = format!("{shown} is never taken from an agent by this field");
            return item.reject("reserved_header", message, "write `allow_cookies: true`");
        }
        Some(other) => {
            let message = format!(
                "{shown} is never taken from an agent (it states: {})",
                other.states()
            );
            let remedy = "take it out; set it for every request with `headers` or an auth kind if the API needs it";
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
    let (value, is_secret) = (object.get("value"), object.read_flag("secret"));
    Some((value?, is_secret?))
}

/// One entry with a legal name.
struct HeaderEntry<'a> {
    name: HeaderName,
    /// The name as it stands in the file.
    written: &'a str,
    item: Field<'a>,
}

/// The entries with legal names, each name once whatever its case.
fn header_entries<'a>(field: &Field<'a>, whole: &mut bool) -> Option<Vec<HeaderEntry<'a>>> {
    let mut seen: HashMap<HeaderName, u32> = HashMap::new();
    let mut entries = Vec::new();
    for (name, item) in field.read_map()? {
        let Ok(legal) = HeaderName::from_bytes(name.as_bytes()) else {
            // Whoever writes `X-API-Key: …` as one text puts the key into the name.
            let problem = field.problem("invalid_header", "holds a name that no header may have");
            let place = item.node.place;
            let problem = if place.line > 0 {
                problem.at(place.line, place.column)
            } else {
                problem
            };
            let mut problem =
                problem.remedy("write letters, digits and `-`, then `: ` and the value");
            problem.excerpt = None;
            field.push(problem);
            *whole = false;
            continue;
        };
        let line = item.node.place.line;
        if let Some(first) = seen.get(&legal) {
            item.report(
                "duplicate_header",
                format!(
                    "{} stands twice, first in line {first}; case makes no difference",
                    redaction::shown_header(legal.as_str())
                ),
                "keep one of the two",
            );
            *whole = false;
            continue;
        }
        seen.insert(legal.clone(), line);
        entries.push(HeaderEntry {
            name: legal,
            written: name,
            item,
        });
    }
    Some(entries)
}

/// As some upstreams read a name: with `-` for `_`.
fn with_hyphens(name: &HeaderName) -> HeaderName {
    let dashed = name.as_str().replace('_', "-");
    HeaderName::try_from(dashed).unwrap_or_else(|_| name.clone())
}

fn report_reserved(field: &Field<'_>, name: &HeaderName, why: Reserved) {
    let (reason, remedy) = match why {
        Reserved::Framing => (
            "decides where a message goes or how it is framed",
            "take it out; egressd sets it",
        ),
        Reserved::HopByHop => (
            "speaks of one socket only",
            "take it out; it would not reach the upstream's application",
        ),
        Reserved::Credential => (
            "carries a credential",
            "use an auth kind: `bearer_token`, `basic_auth` or `static_headers`",
        ),
        Reserved::Ours => ("is set by egressd itself", "take it out"),
    };
    let shown = redaction::shown_header(name.as_str());
    field.report("reserved_header", format!("{shown} {reason}"), remedy);
}

fn read_header_value(field: &Field<'_>, text: &str) -> Option<HeaderValue> {
    let outer = text.trim_matches([' ', '\t']) != text;
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(value) if !outer => Some(value),
        Ok(_) | Err(_) => field.reject(
            "invalid_header",
            "the value holds a line break, another control character, or white space at an end",
            "write the value in one line, without white space at its ends",
        ),
    }
}
