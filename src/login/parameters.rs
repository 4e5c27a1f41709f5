//! The query of a callback.

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The longest accepted value, in bytes before it is decoded.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// Error: a parameter occurs twice, is too long, or is not valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidQuery;

/// The decoded parameters of a query. Values may be secrets.
pub(super) struct QueryParameters(Vec<(String, Zeroizing<String>)>);

impl QueryParameters {
    /// Parses a query as `application/x-www-form-urlencoded`.
    pub(super) fn parse(query: &str) -> Result<Self, InvalidQuery> {
        let mut parameters: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.len().max(value.len()) > MAX_VALUE_BYTES {
                return Err(InvalidQuery);
            }
            let name = decode(name)?.to_string();
            // RFC 6749 section 3.1: parameters must not occur more than once.
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(InvalidQuery);
            }
            parameters.push((name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// Returns the value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&Zeroizing<String>> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value)
    }
}

fn decode(text: &str) -> Result<Zeroizing<String>, InvalidQuery> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(|decoded| Zeroizing::new(decoded.into_owned()))
        .map_err(|_| InvalidQuery)
}

#[cfg(test)]
mod tests {
    use super::QueryParameters;

    #[test]
    fn each_parameter_occurs_once_and_is_short() {
        let parse = |query: &str| QueryParameters::parse(query);
        let parameters = parse("code=a%2Fb+c&state=&x").ok().unwrap();
        assert_eq!(parameters.get("code").unwrap().as_str(), "a/b c");
        assert_eq!(parameters.get("state").unwrap().as_str(), "");
        assert_eq!(parameters.get("x").unwrap().as_str(), "");
        assert!(parameters.get("error").is_none());
        let fits = format!("code={}", "a".repeat(4096));
        assert!(parse(&fits).is_ok());
        for bad in [
            "code=a&code=a".to_owned(),
            "code=a&co%64e=b".to_owned(),
            "code=%ff".to_owned(),
            format!("{fits}a"),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
