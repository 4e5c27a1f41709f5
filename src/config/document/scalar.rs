//! Scalars in the core schema of YAML 1.2.

use granit_parser::ScalarStyle;
use zeroize::Zeroizing;

use super::Value;

/// Parses a scalar with the core schema of YAML 1.2, in which `no` and `on` are texts. A number
/// keeps its spelling.
pub(super) fn parse_scalar(text: &str, style: ScalarStyle) -> Value {
    let owned = || Zeroizing::new(text.to_owned());
    if style != ScalarStyle::Plain {
        return Value::Text(owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(owned()),
        _ => Value::Text(owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, digit: fn(char) -> bool| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(digit))
    };
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let special = matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    );
    special
        || radix("0x", |c| c.is_ascii_hexdigit())
        || radix("0o", |c| c.is_digit(8))
        || (starts && unsigned.parse::<f64>().is_ok())
}
