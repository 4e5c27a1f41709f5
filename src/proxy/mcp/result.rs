//! The result of a call: the response's body, and a line that describes the response.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

use super::calls::{BodyEnd, ToolResponse};
use crate::proxy::identify::MAX_TARGET_BYTES;
use crate::tools::InvalidArguments;

/// The bytes that are escaped in a location: those that could be read as its end.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// Returns the result of a call whose arguments do not fit. Nothing was sent.
pub(super) fn from_invalid_arguments(invalid: &InvalidArguments) -> CallToolResult {
    let text = format!("{invalid} Nothing was sent.");
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// Returns the result of a call. The first block is the body, unchanged, so that programs can parse
/// it. The last one has the status, the type, and what is missing.
pub(super) fn from_response(response: &ToolResponse) -> CallToolResult {
    let media_type = media_type(response.content_type.as_ref());
    let shown = Shown::from_body(response, &media_type);
    let mut content = Vec::new();
    let mut structured = None;
    match &shown {
        Shown::Text(text) => {
            if response.end == BodyEnd::Whole && is_json(&media_type) && !hides_text(text) {
                structured = serde_json::from_str::<Value>(text).ok();
            }
            content.push(ContentBlock::text(&**text));
        }
        Shown::Image(data) => content.push(ContentBlock::image(data, &*media_type)),
        Shown::Nothing | Shown::Binary => {}
    }
    content.push(ContentBlock::text(summary(response, &media_type, &shown)));
    let has_failed = response.status.as_u16() >= 400 || matches!(response.end, BodyEnd::Failed(_));
    let mut result = CallToolResult::success(content);
    result.is_error = Some(has_failed);
    // rmcp removes values other than objects for revisions that do not allow them.
    result.structured_content = structured;
    result
}

/// Returns whether a JSON text contains characters in a form that the search for credentials may
/// not recognise, and that parsing would turn into plain text: escapes of printable ASCII
/// characters, or slashes of which only some are escaped.
fn hides_text(json: &str) -> bool {
    let (mut has_plain_slash, mut has_escaped_slash) = (false, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' => has_plain_slash = true,
            b'\\' => match bytes.next() {
                Some(b'/') => has_escaped_slash = true,
                Some(b'u') => {
                    let digits: Vec<u8> = bytes.by_ref().take(4).collect();
                    if matches!(digits[..], [b'0', b'0', b'2'..=b'7', _]) {
                        return true;
                    }
                }
                Some(_) | None => {}
            },
            _ => {}
        }
    }
    has_plain_slash && has_escaped_slash
}

/// The form in which a result contains a body.
enum Shown<'b> {
    /// The body is empty.
    Nothing,
    Text(Cow<'b, str>),
    /// The image in Base64.
    Image(String),
    /// The body is neither text nor an image.
    Binary,
}

impl<'b> Shown<'b> {
    fn from_body(response: &'b ToolResponse, media_type: &str) -> Self {
        let ToolResponse { body, end, .. } = response;
        if body.is_empty() {
            return Self::Nothing;
        }
        if response.is_encoded {
            return Self::Binary;
        }
        if is_image(media_type) {
            // Half an image is of no use.
            return if *end == BodyEnd::Whole {
                Self::Image(BASE64_STANDARD.encode(body))
            } else {
                Self::Binary
            };
        }
        match std::str::from_utf8(body) {
            Ok(text) if !text.contains('\0') => Self::Text(text.into()),
            // The end of the body may be in the middle of a character.
            Err(error) if *end != BodyEnd::Whole && error.error_len().is_none() => {
                let valid = body.get(..error.valid_up_to()).unwrap_or_default();
                Self::Text(String::from_utf8_lossy(valid))
            }
            Ok(_) | Err(_) if is_text(media_type) => Self::Text(String::from_utf8_lossy(body)),
            Ok(_) | Err(_) => Self::Binary,
        }
    }
}

/// Returns the line that describes the response.
fn summary(response: &ToolResponse, media_type: &str, shown: &Shown<'_>) -> String {
    let ToolResponse {
        status, body, end, ..
    } = response;
    let mut text = format!("HTTP {status}");
    if !media_type.is_empty() {
        text += &format!(", content-type: {media_type}");
    }
    if let Some(location) = location(response.location.as_ref()) {
        text += &format!(", location: {location}");
    }
    let total = match end {
        BodyEnd::Cut(total) => *total,
        BodyEnd::Whole | BodyEnd::Failed(_) => Some(body.len() as u64),
    };
    let total = total.map_or_else(
        || format!("more than {} bytes", body.len()),
        |total| format!("{total} bytes"),
    );
    match shown {
        Shown::Nothing => text += ", no body",
        Shown::Binary if matches!(end, BodyEnd::Cut(_)) => {
            text += &format!(
                ", {total}, not shown because a result has at most {} (the operator's setting `mcp.max_result_bytes`)",
                body.len()
            );
        }
        Shown::Binary => text += &format!(", {total}, not shown because this is not text"),
        Shown::Text(_) if matches!(end, BodyEnd::Cut(_)) => {
            text += &format!(
                ", {total}, of which only the first {} are shown (the operator's setting `mcp.max_result_bytes`)",
                body.len()
            );
        }
        Shown::Text(_) | Shown::Image(_) => {}
    }
    if let BodyEnd::Failed(detail) = end {
        text += &format!(". The response is incomplete: {detail}");
    }
    text
}

/// Returns the location, if a request to it is not too long. It cannot be confused with the text
/// around it.
fn location(value: Option<&HeaderValue>) -> Option<String> {
    let escaped = percent_encode(value?.as_bytes(), ESCAPED).to_string();
    (escaped.len() <= MAX_TARGET_BYTES).then_some(escaped)
}

/// Returns the type without parameters, in lower case; empty if there is none that is valid.
fn media_type(value: Option<&HeaderValue>) -> String {
    let text = value.and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"/!#$&-^_.+".contains(&b);
    if essence.len() <= 127 && essence.bytes().all(legal) {
        essence
    } else {
        String::new()
    }
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}

/// Returns whether this is an image that models accept. SVG is text.
fn is_image(media_type: &str) -> bool {
    media_type.starts_with("image/") && !media_type.ends_with("+xml")
}

fn is_text(media_type: &str) -> bool {
    let is_xml = media_type.ends_with("+xml") || media_type == "application/xml";
    media_type.starts_with("text/") || is_json(media_type) || is_xml
}

#[cfg(test)]
mod tests {
    use super::hides_text;

    #[test]
    fn text_that_parsing_would_reveal_is_found() {
        for hidden in [
            r#"{"a": "\u0041bc"}"#,
            r#"["\u007E"]"#,
            r#"["\\\u0020"]"#,
            r#"["a\/b/c"]"#,
        ] {
            assert!(hides_text(hidden), "{hidden}");
        }
        for plain in [
            r#"{"a": "b", "n": [1, true, null]}"#,
            r#"["\"", "\\", "\\u0041", "\n\t\u0000\u001f"]"#,
            r#"["\u00e9\ud83d\ude00"]"#,
            r#"["https://a/b"]"#,
            r#"["https:\/\/a\/b"]"#,
            r#"["\u"#,
            "",
        ] {
            assert!(!hides_text(plain), "{plain}");
        }
    }
}
