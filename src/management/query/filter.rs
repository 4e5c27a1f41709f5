//! `filter` (AIP-160): the condition for a record to be listed.
//!
//! ```text
//! expression  : sequence {AND sequence}
//! sequence    : factor {factor}
//! factor      : term {OR term}
//! term        : {NOT | -} simple
//! simple      : restriction | ( expression )
//! restriction : field operator value | value
//! operator    : = != < <= > >= :
//! ```
//!
//! As in the EBNF of AIP-160, OR binds tighter than AND, and adjacent factors are joined by AND.
//!
//! - A value is a bare word or is quoted with `"` or `'`. The escapes are `\"`, `\'`, `\\` and
//!   `\*`. The keywords AND, OR and NOT are upper case. A bare lower-case keyword is refused,
//!   because it would otherwise be searched for as a word.
//! - `=` compares text exactly. `*` at an end of the value matches any text. Elsewhere it is
//!   refused.
//! - `:` on text means *contains* and ignores case. With `*` at one end it means *starts with* or
//!   *ends with*. On other kinds it is the same as `=`. `field:*` is true if the field has a value.
//! - A value without a field is searched for in every text field, as with `:`.
//! - The names of an enum may be written without their common prefix, and in upper or lower case.
//!   Enums and booleans have no order.
//! - Times are RFC 3339, quoted or bare. Numbers may have a fraction and an exponent.
//! - If a field has no value, every comparison is false. `!=` means NOT `=`, so it is true.
//!
//! A filter has at most 2 KiB (the limit of every parameter), 32 nested parentheses and 128
//! restrictions. The parser never backtracks over a value, so parsing is linear in the length of
//! the filter. Matching a record takes at most the number of restrictions times the length of the
//! record's text.

mod condition;
mod grammar;
mod word;

use super::field::{FieldSpec, Record};
use condition::{Condition, RecordValues};

/// The maximum depth of parentheses. Limits the recursion of the parser and of
/// [`Expression::matches`].
const MAX_DEPTH: usize = 32;
/// The maximum number of restrictions in a filter.
const MAX_RESTRICTIONS: usize = 128;

/// A condition on records.
#[derive(Debug)]
pub(super) struct Filter(Option<Expression>);

/// A tree with at most three levels for each level of parentheses.
#[derive(Debug)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Is(Condition),
}

impl Filter {
    /// Parses a filter. Empty text matches every record.
    ///
    /// # Errors
    ///
    /// Returns a message with the column, what is wrong there, and what was expected.
    pub(super) fn parse(text: &str, fields: &'static [FieldSpec]) -> Result<Self, String> {
        let expression = grammar::parse(text, fields);
        expression.map(Self).map_err(|error| error.in_filter(text))
    }

    /// Returns whether the record matches. Reads each of the record's values once.
    pub(super) fn matches(&self, record: &impl Record) -> bool {
        let expression = self.0.as_ref();
        expression.is_none_or(|expression| expression.matches(&RecordValues::new(record)))
    }
}

impl Expression {
    fn matches(&self, values: &RecordValues<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(values)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(values)),
            Self::Not(part) => !part.matches(values),
            Self::Is(condition) => condition.matches(values),
        }
    }

    fn negated_if(self, negated: bool) -> Self {
        if negated {
            Self::Not(Box::new(self))
        } else {
            self
        }
    }
}
