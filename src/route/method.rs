//! The seven methods of patterns, and sets of them. No other method can be represented, so none can
//! be allowed by mistake.

use std::fmt;

/// A request method that a pattern may name. Methods are case-sensitive (RFC 9110, section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `GET`. A pattern with this method admits HEAD too.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH` (RFC 5789).
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
}

impl Method {
    /// All seven, in the order in which sets list them.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
    ];

    /// Returns the method with exactly this name, or `None` for any other token, including `get`.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str().as_bytes() == name)
    }

    /// Returns the name as a request line contains it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodSet(u8);

impl MethodSet {
    /// No method.
    pub const EMPTY: Self = Self(0);

    /// All seven.
    pub const ALL: Self = Self(0x7f);

    /// Returns the methods that a pattern with this method admits: GET admits HEAD too, no method
    /// admits all seven.
    #[must_use]
    pub const fn admitted_by(method: Option<Method>) -> Self {
        match method {
            None => Self::ALL,
            Some(Method::Get) => Self(Method::Get.bit() | Method::Head.bit()),
            Some(other) => Self(other.bit()),
        }
    }

    /// Returns whether `method` is in the set.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// Returns whether every method of `other` is in the set.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the methods that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the methods that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the methods in the order of [`Method::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL
            .into_iter()
            .filter(move |&method| self.contains(method))
    }

    /// Returns the value of an `Allow` header (RFC 9110, section 10.2.1): `GET, HEAD, POST`.
    #[must_use]
    pub fn allow_value(self) -> String {
        self.iter()
            .map(Method::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str().as_bytes()), Some(method));
        }
        for other in ["", "get", "Get", "GETS", "CONNECT", "TRACE", "GET ", "*"] {
            assert_eq!(Method::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn get_admits_head_and_head_alone_does_not_admit_get() {
        let get = MethodSet::admitted_by(Some(Method::Get));
        let head = MethodSet::admitted_by(Some(Method::Head));
        assert_eq!(get.allow_value(), "GET, HEAD");
        assert_eq!(head.allow_value(), "HEAD");
        assert!(get.contains_all(head));
        assert!(!head.contains_all(get));
        assert_eq!(get.intersection(head), head);
    }

    #[test]
    fn no_method_admits_the_seven() {
        let all = MethodSet::admitted_by(None);
        assert_eq!(all, MethodSet::ALL);
        assert_eq!(
            all.allow_value(),
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        );
        assert!(MethodSet::EMPTY.is_empty());
        assert_eq!(MethodSet::EMPTY.union(all), all);
        assert_eq!(MethodSet::EMPTY.allow_value(), "");
    }
}
