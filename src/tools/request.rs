//! The request that a call of a tool sends.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::Tool;
use super::arguments::{InvalidArguments, check, list_or_one};
use super::schema::{BODY, METHOD, QUERY};

/// The bytes that RFC 6570 escapes in `{name}`: all but the unreserved ones (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The bytes that are escaped in `{+name}`. A `%` begins an escape, because the value is already
/// escaped where necessary.
const ESCAPED_IN_REMAINDER: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A request on the route of a tool.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolRequest {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The body; `None` if the request has none.
    pub body: Option<ToolBody>,
}

/// The body of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolBody {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The body itself.
    pub bytes: Vec<u8>,
}

impl Tool {
    /// Returns the request of a call with these arguments.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments do not fit the schema.
    pub fn to_request(
        &self,
        arguments: &Map<String, Value>,
    ) -> Result<ToolRequest, InvalidArguments> {
        check(&self.input_schema, arguments)?;
        let method = match self.method {
            Some(method) => method.to_owned(),
            None => text_argument(arguments, METHOD)?.to_owned(),
        };
        let mut target = expand_path(&self.path, arguments)?;
        if let Some(Value::Object(query)) = arguments.get(QUERY) {
            append_query(query, &mut target);
        }
        Ok(ToolRequest {
            method,
            target,
            body: arguments.get(BODY).map(encode_body),
        })
    }
}

/// Expands a URI template with `{name}` and `{+name}`.
fn expand_path(template: &str, arguments: &Map<String, Value>) -> Result<String, InvalidArguments> {
    let mut path = String::with_capacity(template.len());
    let mut pieces = template.split('{');
    path.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, literal) = piece.split_once('}').unwrap_or((piece, ""));
        let (name, escaped) = match name.strip_prefix('+') {
            Some(name) => (name, ESCAPED_IN_REMAINDER),
            None => (name, ESCAPED),
        };
        path.extend(utf8_percent_encode(
            text_argument(arguments, name)?,
            escaped,
        ));
        path.push_str(literal);
    }
    Ok(path)
}

fn text_argument<'a>(
    arguments: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a str, InvalidArguments> {
    // The schema requires every argument that the method and the path are made of.
    let text = arguments.get(name).and_then(Value::as_str);
    text.ok_or_else(|| InvalidArguments(format!("`{name}` is missing.")))
}

/// Appends parameters to a path. A list repeats its parameter, and `null` leaves it out.
fn append_query(query: &Map<String, Value>, target: &mut String) {
    let mut sign = '?';
    for (name, value) in query {
        for value in list_or_one(value).iter().filter(|value| !value.is_null()) {
            let text = value.as_str();
            let text = text.map_or_else(|| value.to_string().into(), Cow::Borrowed);
            target.push(sign);
            target.extend(utf8_percent_encode(name, ESCAPED));
            target.push('=');
            target.extend(utf8_percent_encode(&text, ESCAPED));
            sign = '&';
        }
    }
}

fn encode_body(body: &Value) -> ToolBody {
    // Models often write JSON as a string.
    let text = body.as_str();
    let is_json = text.is_none_or(is_json_structure);
    let text = text.map_or_else(|| body.to_string(), str::to_owned);
    ToolBody {
        content_type: if is_json {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        },
        bytes: text.into_bytes(),
    }
}

fn is_json_structure(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{ToolBody, ToolRequest};
    use crate::tools::tests::tool;
    use serde_json::{Value, json};

    #[track_caller]
    fn request(pattern: &str, arguments: &Value) -> ToolRequest {
        let arguments = arguments.as_object().unwrap();
        tool(pattern).to_request(arguments).unwrap()
    }

    #[test]
    fn paths_and_queries_are_escaped() {
        let query = json!({"a b": "c&d=é", "list": ["1", "2"], "none": []});
        let made = request(
            "GET /f/{id}/{path...}",
            &json!({"id": "a?b%", "path": "x/y%20z ä", "query": query}),
        );
        assert_eq!(
            made,
            ToolRequest {
                method: "GET".to_owned(),
                target: "/crm/f/a%3Fb%25/x/y%20z%20%C3%A4?a%20b=c%26d%3D%C3%A9&list=1&list=2"
                    .to_owned(),
                body: None,
            }
        );
        let made = request("/any/", &json!({"rest": "", "method": "PUT"}));
        assert_eq!(
            (made.method.as_str(), made.target.as_str()),
            ("PUT", "/crm/any/")
        );
    }

    #[test]
    fn bodies_are_json_or_text() {
        for (body, content_type, bytes) in [
            (
                json!({"a": [1, null]}),
                "application/json",
                r#"{"a":[1,null]}"#,
            ),
            (json!([]), "application/json", "[]"),
            (json!("{\"a\": 1}"), "application/json", "{\"a\": 1}"),
            (json!("{a"), "text/plain; charset=utf-8", "{a"),
            (json!("1"), "text/plain; charset=utf-8", "1"),
            (json!(""), "text/plain; charset=utf-8", ""),
        ] {
            let made = request("POST /a", &json!({"body": body}));
            let bytes = bytes.as_bytes().to_vec();
            let expected = ToolBody {
                content_type,
                bytes,
            };
            assert_eq!(made.body, Some(expected), "{body}");
        }
    }

    #[test]
    fn messages_name_the_argument_and_what_it_must_be() {
        for (pattern, arguments, message) in [
            ("GET /u/{id}", json!({}), "`id` is missing."),
            ("GET /u/{id}", json!({"id": 1}), "`id` must be a string."),
            ("GET /u/{id}", json!({"id": ""}), "`id` must not be empty."),
            (
                "GET /u/{id}",
                json!({"id": "a/b"}),
                r"`id` does not match the pattern `^[^/\\\x00-\x1f\x7f]+$`.",
            ),
            (
                "GET /u",
                json!({"query": {"q": 1}}),
                "`query.q` must be a string or a list.",
            ),
            (
                "GET /u",
                json!({"body": {}}),
                "`body` is not an argument; the arguments are `query`.",
            ),
            (
                "POST /u",
                json!({"body": 1}),
                "`body` must be an object or a list or a string.",
            ),
            (
                "/u",
                json!({"method": "get"}),
                r#"`method` must be one of "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"."#,
            ),
        ] {
            let arguments = arguments.as_object().unwrap();
            let error = tool(pattern).to_request(arguments).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
