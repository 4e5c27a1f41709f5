//! Rewrites `Refresh`, which browsers and some API clients follow like `Location`.

use super::resolver::Resolver;
use super::{Rewritten, has_parent_segment, is_undelimited};

/// Rewrites the reference of `5; url=…`. The result has one form, because clients differ in how
/// they read quotes and what follows them.
pub(super) fn rewrite(resolver: &Resolver<'_>, value: &[u8]) -> Rewritten {
    let Some((seconds, reference)) = parse(value) else {
        return Rewritten::dropped();
    };
    let Some(reference) = reference else {
        return Some(seconds.to_vec()).into();
    };
    let reference = resolver.resolve(reference);
    // Some clients search for the last `url=`, and some take it for a part of the reference.
    let is_clear = |reference: &Vec<u8>| {
        is_undelimited(reference) && !names_url(reference) && !has_parent_segment(reference)
    };
    let reference = reference.filter(is_clear);
    let whole = reference.map(|reference| [seconds, b"; url=", &reference].concat());
    whole.into()
}

/// Splits a value into the seconds and the reference, if it has one. `None` if the value is not
/// valid. Only the text before the reference has the tolerance of the HTML Standard.
fn parse(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let value = value.trim_ascii();
    let is_number = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let end = value.iter().position(|b| !is_number(b));
    let (seconds, rest) = value.split_at_checked(end.unwrap_or(value.len()))?;
    if !seconds.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let text = rest.trim_ascii_start();
    let reference = match text {
        [b';' | b',', reference @ ..] => reference.trim_ascii_start(),
        // White space separates, too.
        _ if text.is_empty() || text.len() < rest.len() => text,
        _ => return None,
    };
    if reference.is_empty() {
        return Some((seconds, None));
    }
    let reference = after_url(reference).unwrap_or(reference);
    Some((seconds, Some(unquoted(reference)?)))
}

/// Returns the text after `url` and an equals sign.
fn after_url(text: &[u8]) -> Option<&[u8]> {
    let (name, rest) = text.split_at_checked(3)?;
    let rest = name.eq_ignore_ascii_case(b"url").then_some(rest)?;
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?;
    Some(rest.trim_ascii_start())
}

/// Returns the text between quotes, or the unchanged text if there are none. `None` if the quotes
/// are not the first and the last character.
fn unquoted(text: &[u8]) -> Option<&[u8]> {
    match text {
        [quote @ (b'"' | b'\''), inner @ .., last] if quote == last => {
            (!inner.contains(quote)).then_some(inner)
        }
        [b'"' | b'\'', ..] => None,
        _ => Some(text),
    }
}

fn names_url(reference: &[u8]) -> bool {
    let mut places = reference.windows(4);
    places.any(|four| four.eq_ignore_ascii_case(b"url="))
}
