//! Chooses the representation that an agent prefers (RFC 9110 §12.5.1): of the list of connections,
//! and of a refusal.

use std::str::from_utf8;

use http::HeaderValue;

use super::list_syntax::split_unquoted;

/// A representation of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Representation {
    /// `application/json`
    Json,
    /// `text/markdown`
    Markdown,
}

/// The weight of a representation in thousandths, and how exactly the media range names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    weight: u16,
    specificity: u8,
}

/// Returns Markdown if `Accept` gives it a higher weight, or the same weight in a more specific
/// media range (`text/markdown, */*`). Otherwise returns JSON, even if neither is accepted, because
/// any representation is more useful than an error.
pub(super) fn preferred_representation<'a>(
    accept: impl IntoIterator<Item = &'a HeaderValue>,
) -> Representation {
    let (mut json, mut markdown) = (Preference::default(), Preference::default());
    for (range, weight) in media_ranges(accept) {
        json.add_range(range, ["application/json", "application/*"], weight);
        markdown.add_range(range, ["text/markdown", "text/*"], weight);
    }
    if markdown.weight > 0 && markdown > json {
        Representation::Markdown
    } else {
        Representation::Json
    }
}

/// Returns whether `Accept` admits a JSON type, but not `application/problem+json`. Some clients
/// parse a response only if it has a type that they accept.
pub(super) fn excludes_problem_json<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> bool {
    let (mut problem, mut json) = (Preference::default(), Preference::default());
    let mut admits_other_json = false;
    for (range, weight) in media_ranges(accept) {
        problem.add_range(range, ["application/problem+json", "application/*"], weight);
        json.add_range(range, ["application/json", "application/*"], weight);
        admits_other_json |= weight > 0 && is_other_json(range);
    }
    problem.weight == 0 && (json.weight > 0 || admits_other_json)
}

/// Returns whether a media range names a JSON type other than `application/json`, such as
/// `application/vnd.github+json` (RFC 6839 §3.1).
fn is_other_json(range: &str) -> bool {
    let (_, subtype) = range.split_once('/').unwrap_or_default();
    let suffix = subtype
        .rsplit_once('+')
        .map_or(subtype, |(_, suffix)| suffix);
    suffix.eq_ignore_ascii_case("json")
}

/// Returns the media ranges of `Accept` with their weights in thousandths. Leaves out ranges with
/// an invalid weight.
fn media_ranges<'a>(
    accept: impl IntoIterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = (&'a str, u16)> {
    let fields = accept.into_iter().filter_map(|field| field.to_str().ok());
    let elements = fields.flat_map(|field| split_unquoted(field.as_bytes(), b','));
    elements.filter_map(|element| {
        let parts = split_unquoted(element, b';');
        let mut parts = parts.filter_map(|part| from_utf8(part).ok());
        let range = parts.next().unwrap_or_default();
        Some((range, weight(parts)?))
    })
}

impl Preference {
    /// Adds a media range. The most specific range decides, whatever the weights are. Of two
    /// equally specific ranges, the higher weight counts.
    fn add_range(&mut self, range: &str, [exact, family]: [&str; 2], weight: u16) {
        let specificity = match range {
            range if range.eq_ignore_ascii_case(exact) => 3,
            range if range.eq_ignore_ascii_case(family) => 2,
            "*/*" => 1,
            _ => return,
        };
        if (specificity, weight) > (self.specificity, self.weight) {
            *self = Self {
                weight,
                specificity,
            };
        }
    }
}

/// Returns the weight of an element, in thousandths, from its `q` parameter. The weight is 1000 if
/// there is none, and `None` if it is invalid (RFC 9110 §12.4.2). Other parameters are ignored.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let value = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("q").then_some(value)
    });
    let Some(value) = value else {
        return Some(1000);
    };
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    if digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{digits:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Representation, excludes_problem_json, preferred_representation};
    use http::HeaderValue;

    fn preferred(fields: &[&str]) -> Representation {
        let values: Vec<_> = fields
            .iter()
            .map(|field| HeaderValue::from_bytes(field.as_bytes()).unwrap())
            .collect();
        preferred_representation(&values)
    }

    #[test]
    fn markdown_if_it_is_preferred() {
        for accept in [
            "text/markdown",
            "Text/MARKDOWN",
            "text/markdown;charset=utf-8",
            "text/markdown; variant=GFM; q=0.5",
            "text/*",
            "text/markdown, */*",
            "text/markdown, text/html, */*",
            "*/*, text/markdown",
            "application/json;q=0.9, text/markdown",
            "application/json;q=0.899,text/markdown ; Q=0.9",
            "application/json;q=0, */*",
            "application/json;q=0, text/*;q=0.001",
            "text/html;x=\"a,b;q=0\", text/markdown;q=0.7, application/json;q=0.3",
            "application/*;q=0.5, text/*;q=0.6",
            ", ,text/markdown,",
        ] {
            assert_eq!(preferred(&[accept]), Representation::Markdown, "{accept}");
        }
        assert_eq!(
            preferred(&["application/json;q=0.5", "text/markdown"]),
            Representation::Markdown
        );
    }

    #[test]
    fn problem_json_is_excluded_if_only_other_json_types_are_admitted() {
        let excludes =
            |accept: &str| excludes_problem_json([&HeaderValue::from_str(accept).unwrap()]);
        for accept in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.github+json",
            "text/json;q=0.1",
            "text/html, application/json;q=0.5",
            "application/json, application/problem+json;q=0",
            "application/problem+json;q=0, */*",
            "application/json, */*;q=0",
            "application/json, text/event-stream",
        ] {
            assert!(excludes(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "application/json, */*;q=0.1",
            "application/json, text/plain, */*",
            "application/json, application/*;q=0.001",
            "application/json, application/problem+json;q=0.1",
            "application/problem+json",
            // No JSON type at all: any document is better than none.
            "text/html",
            "application/xml, application/jsonl",
            "application/json;q=0",
            "application/json;q=0, application/problem+json;q=0",
            "application/*;q=0",
            "application/json;q=x",
        ] {
            assert!(!excludes(accept), "{accept}");
        }
        assert!(!excludes_problem_json([]));
    }

    #[test]
    fn json_otherwise() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "text/markdown;q=0",
            "text/markdown;q=0.0, */*",
            "text/markdown;q=0, text/*",
            "text/markdown, application/json",
            "application/json, text/markdown",
            "text/markdown;q=0.5, */*;q=0.6",
            "text/markdown;q=0.5, application/json;q=0.50",
            "text/markdown;q=0.5, application/*",
            "text/html, application/xhtml+xml, */*;q=0.8",
            "text/plain",
            "text/markdownx",
            "x-text/markdown",
            "text/markdown;q=1.001",
            "text/markdown;q=2",
            "text/markdown;q=0.5000",
            "text/markdown;q=",
            "text/markdown;q=-1",
            "text/markdown;q=.5",
            "text/html;x=\"text/markdown, text/markdown\"",
            "text/html;x=\"\\\", text/markdown",
            "application/json;q=0",
        ] {
            assert_eq!(preferred(&[accept]), Representation::Json, "{accept}");
        }
        assert_eq!(preferred(&[]), Representation::Json);
        assert_eq!(
            preferred(&["text/markdown;q=0.4", "application/json;q=0.5"]),
            Representation::Json
        );
        let raw = HeaderValue::from_bytes(b"text/markdown\xff").unwrap();
        assert_eq!(preferred_representation([&raw]), Representation::Json);
    }
}
