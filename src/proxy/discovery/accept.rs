//! Which of two forms an agent prefers (RFC 9110 §12.5.1).

use http::HeaderValue;

/// A form that the listing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/json`
    Json,
    /// `text/markdown`
    Markdown,
}

/// How much something is wanted: the weight in thousandths, then how exactly it was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    weight: u16,
    exactness: u8,
}

/// Markdown where it is preferred: a higher weight, or the same by a closer name (`text/markdown, */*`). Else JSON, also where neither is wanted: an answer in
/// another form than asked for says more than none.
pub(super) fn preferred<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Form {
    let (mut json, mut markdown) = (Wanted::default(), Wanted::default());
    let fields = accept.into_iter().filter_map(|field| field.to_str().ok());
    for element in fields.flat_map(|field| Parts::of(field, b',')) {
        let mut parts = Parts::of(element, b';');
        let range = parts.next().unwrap_or_default();
        let Some(weight) = weight(parts) else {
            continue;
        };
        note(
            &mut json,
            range,
            ["application/json", "application/*"],
            weight,
        );
        note(&mut markdown, range, ["text/markdown", "text/*"], weight);
    }
    if markdown.weight > 0 && markdown > json {
        Form::Markdown
    } else {
        Form::Json
    }
}

/// The closest name decides, whatever the others weigh; of two equal ones the heavier.
fn note(wanted: &mut Wanted, range: &str, names: [&str; 2], weight: u16) {
    let [exact, family] = names;
    let exactness = match range {
        range if range.eq_ignore_ascii_case(exact) => 3,
        range if range.eq_ignore_ascii_case(family) => 2,
        "*/*" => 1,
        _ => return,
    };
    if (exactness, weight) > (wanted.exactness, wanted.weight) {
        *wanted = Wanted { weight, exactness };
    }
}

/// The `q` among an element's parameters: 1 where there is none, `None` where it is none of RFC 9110 §12.4.2. Other parameters do not matter: there is one
/// JSON, and one Markdown.
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

/// The parts of a list, without outer space; a separator inside a quoted string separates nothing.
struct Parts<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str, separator: u8) -> Self {
        Self {
            rest: Some(text),
            separator,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.bytes().position(|b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b if b == self.separator && !quoted => return true,
                _ => {}
            }
            false
        });
        let (part, rest) = match end.and_then(|end| rest.split_at_checked(end)) {
            // The separator is one byte.
            Some((part, rest)) => (part, rest.get(1..)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(part.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, preferred};
    use http::HeaderValue;

    fn of(fields: &[&str]) -> Form {
        let values: Vec<_> = fields
            .iter()
            .map(|field| HeaderValue::from_bytes(field.as_bytes()).unwrap())
            .collect();
        preferred(&values)
    }

    #[test]
    fn markdown_where_it_is_preferred() {
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
            assert_eq!(of(&[accept]), Form::Markdown, "{accept}");
        }
        assert_eq!(
            of(&["application/json;q=0.5", "text/markdown"]),
            Form::Markdown
        );
    }

    #[test]
    fn json_everywhere_else() {
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
            assert_eq!(of(&[accept]), Form::Json, "{accept}");
        }
        assert_eq!(of(&[]), Form::Json);
        assert_eq!(
            of(&["text/markdown;q=0.4", "application/json;q=0.5"]),
            Form::Json
        );
        let raw = HeaderValue::from_bytes(b"text/markdown\xff").unwrap();
        assert_eq!(preferred([&raw]), Form::Json);
    }
}
