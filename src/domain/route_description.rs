//! Descriptions of routes: what an operator adds to a pattern, so that agents know how to use it.
//! They have no effect on which requests are allowed.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::id::ConnectionId;

/// The longest name of a tool, in bytes: the longest function name that the APIs of language models
/// accept.
pub const TOOL_NAME_MAX_BYTES: usize = 64;
/// The longest description of a route or of a query parameter, in characters: the longest
/// description of a function that OpenAI's API accepts.
pub const DESCRIPTION_MAX_CHARS: usize = 1024;
/// The longest name of a query parameter, in characters.
pub const PARAMETER_NAME_MAX_CHARS: usize = 64;

/// The description of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteDescription {
    /// The name of the route's tool, without the connection's id.
    pub name: Option<RouteName>,
    /// The purpose of the route, as text. Never empty.
    pub description: Option<DescriptionText>,
    /// Query parameters, in the order of the definition. Agents may send others too.
    pub query: Vec<QueryParameter>,
}

impl RouteDescription {
    /// Returns whether the description adds nothing to the pattern.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The descriptions of a connection's routes, by the position of the route in `allowed_routes`.
/// Most connections have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteDescriptions(BTreeMap<usize, RouteDescription>);

impl RouteDescriptions {
    /// Returns the description of the route at this position.
    pub fn get(&self, route: usize) -> Option<&RouteDescription> {
        self.0.get(&route)
    }

    /// Returns all descriptions with the positions of their routes, in the order of the routes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &RouteDescription)> {
        self.0
            .iter()
            .map(|(route, description)| (*route, description))
    }
}

impl FromIterator<(usize, RouteDescription)> for RouteDescriptions {
    fn from_iter<I: IntoIterator<Item = (usize, RouteDescription)>>(described: I) -> Self {
        let described = described.into_iter();
        Self(described.filter(|(_, route)| !route.is_empty()).collect())
    }
}

/// The name of a route's tool, without the connection's id: `[a-z0-9][a-z0-9_-]*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteName(Box<str>);

/// A text that cannot be the name of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a name has 1 to {max_bytes} characters of a-z, 0-9, `_` and `-`, and starts with a letter or a digit"
)]
pub struct InvalidRouteName {
    /// The longest name, in bytes.
    pub max_bytes: usize,
}

impl RouteName {
    /// Returns the length of the longest name in a connection, in bytes. The name of a tool is the
    /// id, `_` and this name. 0 if the id is too long for any name.
    pub fn max_bytes(connection: &ConnectionId) -> usize {
        (TOOL_NAME_MAX_BYTES - 1).saturating_sub(connection.as_str().len())
    }

    /// Parses a name that has at most this number of bytes.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Self, InvalidRouteName> {
        let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let starts = bytes.first().is_some_and(is_alphanumeric);
        let inside = |b: &u8| is_alphanumeric(b) || matches!(b, b'_' | b'-');
        if starts && bytes.iter().all(inside) && bytes.len() <= max_bytes {
            Ok(Self(text.into()))
        } else {
            Err(InvalidRouteName { max_bytes })
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text for agents of 1 to [`DESCRIPTION_MAX_CHARS`] characters, of which one is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionText(Box<str>);

/// A text that is not a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidDescription {
    /// The text is empty, or is white space.
    #[error("the description is empty")]
    Empty,
    /// The text has more than [`DESCRIPTION_MAX_CHARS`] characters.
    #[error("the description has more than {DESCRIPTION_MAX_CHARS} characters")]
    TooLong,
}

impl DescriptionText {
    /// Parses a description. White space around it is removed.
    pub fn parse(text: &str) -> Result<Self, InvalidDescription> {
        if text.chars().nth(DESCRIPTION_MAX_CHARS).is_some() {
            return Err(InvalidDescription::TooLong);
        }
        match text.trim() {
            "" => Err(InvalidDescription::Empty),
            text => Ok(Self(text.into())),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A documented parameter of a route's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryParameter {
    /// The name, unescaped.
    pub name: ParameterName,
    /// The type of the value.
    pub kind: ParameterType,
    /// The effect of the parameter, as text. Never empty.
    pub description: Option<DescriptionText>,
}

/// The name of a query parameter: 1 to [`PARAMETER_NAME_MAX_CHARS`] characters, none of them a
/// control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterName(Box<str>);

/// A text that cannot be the name of a query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the name of a query parameter has 1 to {PARAMETER_NAME_MAX_CHARS} characters, and no control character"
)]
pub struct InvalidParameterName;

impl ParameterName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, InvalidParameterName> {
        let is_long = text.chars().nth(PARAMETER_NAME_MAX_CHARS).is_some();
        if text.is_empty() || is_long || text.contains(char::is_control) {
            return Err(InvalidParameterName);
        }
        Ok(Self(text.into()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The type of a query parameter's value, with the names of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list of texts, each of which is sent as one parameter of this name.
    Array,
}

impl ParameterType {
    /// Returns the name of the type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ConnectionId, DescriptionText, InvalidDescription, ParameterName, RouteDescription,
        RouteDescriptions, RouteName,
    };

    #[test]
    fn a_name_and_its_connection_are_the_name_of_a_tool() {
        // F-280
        let crm = ConnectionId::parse("crm").unwrap();
        let most = RouteName::max_bytes(&crm);
        assert_eq!(most, 60);
        for good in ["a", "9", "list_repos", "a-b_c-", &"a".repeat(60)] {
            assert!(RouteName::parse(good, most).is_ok(), "{good}");
        }
        for bad in ["", "_a", "-a", "A", "a b", "a.b", "ä", &"a".repeat(61)] {
            assert!(RouteName::parse(bad, most).is_err(), "{bad}");
        }
        let long = ConnectionId::parse(&"a".repeat(63)).unwrap();
        assert_eq!(RouteName::max_bytes(&long), 0);
        assert!(RouteName::parse("a", 0).is_err());
    }

    #[test]
    fn descriptions_and_parameters_are_bounded() {
        // F-280
        let parsed = DescriptionText::parse(" a\nb \n").unwrap();
        assert_eq!(parsed.as_str(), "a\nb");
        assert!(DescriptionText::parse(&"é".repeat(1024)).is_ok());
        let long = DescriptionText::parse(&"a".repeat(1025));
        assert_eq!(long, Err(InvalidDescription::TooLong));
        for empty in ["", " ", "\n\t"] {
            let empty = DescriptionText::parse(empty);
            assert_eq!(empty, Err(InvalidDescription::Empty));
        }
        for good in ["page", "$filter", "filter[a b]", "é", &"é".repeat(64)] {
            assert!(ParameterName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "\0", &"a".repeat(65)] {
            assert!(ParameterName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_route_without_any_description_is_a_plain_one() {
        let named = RouteDescription {
            name: Some(RouteName::parse("a", 60).unwrap()),
            ..RouteDescription::default()
        };
        let all = [(0, RouteDescription::default()), (3, named.clone())];
        let all = RouteDescriptions::from_iter(all);
        assert_eq!(all.get(0), None);
        assert_eq!(all.iter().collect::<Vec<_>>(), [(3, &named)]);
    }
}
