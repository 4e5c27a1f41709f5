//! `filter` (AIP-160): which records a list shows.
//!
//! ```text
//! expression  : sequence {AND sequence}              the EBNF of AIP-160: OR binds tighter than AND,
//! sequence    : factor {factor}                      and what merely stands side by side is joined by AND
//! factor      : term {OR term}
//! term        : {NOT | -} simple
//! simple      : restriction | ( expression )
//! restriction : field operator value | value
//! operator    : = != < <= > >= :
//! ```
//!
//! - A value is a bare word or stands in either kind of quotes; `\"`, `\'`, `\\` and `\*` stand for the second character. AND, OR and NOT are upper case; the same in lower case, bare, is
//!   refused, for it would be searched for as a word.
//! - `=` compares text letter by letter; `*` at an end of the value stands for anything, and is refused within.
//! - `:` on text is *contains* and ignores case; with `*` at one end it is *begins with* or *ends with*. On what is not text it is `=`. `field:*` is true where there is a value.
//! - A value without a field is searched for in every text field, as with `:`.
//! - The names of an enum are taken with or without the letters that all of them begin with, in any case. Enums and booleans have no order.
//! - Times are RFC 3339, quoted or bare; numbers may have a fraction and an exponent.
//! - Where a field has no value every comparison is false, and so `!=`, which is NOT `=`, is true.
//!
//! A filter has at most 2 KiB (the query string's cap for each parameter), 32 parentheses inside each other and 128 restrictions. Reading it costs its length, and judging a record costs
//! at most the restrictions times the record's text: nothing here goes back to try again.

mod condition;
mod grammar;
mod word;

use super::field::{FieldSpec, Record};
use condition::{Condition, RecordValues};

/// Parentheses inside each other.
const MAX_DEPTH: usize = 32;
/// Restrictions in one filter.
const MAX_RESTRICTIONS: usize = 128;

/// A question about a record.
#[derive(Debug)]
pub(super) struct Filter(Option<Expression>);

/// No deeper than the text's parentheses, three levels to each.
#[derive(Debug)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Is(Condition),
}

impl Filter {
    /// Parses a filter; empty text matches everything.
    ///
    /// # Errors
    /// What is wrong, and what was expected there.
    pub(super) fn parse(text: &str, fields: &'static [FieldSpec]) -> Result<Self, String> {
        let expression = grammar::parse(text, fields);
        expression.map(Self).map_err(|error| error.in_filter(text))
    }

    /// Whether the filter admits the record. Reads the record's values once.
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
