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
use condition::{Condition, Reading};

/// Parentheses inside each other.
const DEEPEST: usize = 32;
/// Restrictions in one filter.
const MOST: usize = 128;

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
    /// Reads a filter; empty text admits everything.
    ///
    /// # Errors
    /// Where it is wrong, and what was expected there.
    pub(super) fn parse(text: &str, fields: &'static [FieldSpec]) -> Result<Self, String> {
        grammar::parse(text, fields)
            .map(Self)
            .map_err(|fault| fault.told(text))
    }

    /// Whether the record, which has this many fields, is among those asked for. Reads each field at most once.
    pub(super) fn admits<R: Record>(&self, record: &R, fields: usize) -> bool {
        let Some(expression) = &self.0 else {
            return true;
        };
        expression.admits(&mut Reading::of(record, fields))
    }
}

impl Expression {
    fn admits<R: Record>(&self, reading: &mut Reading<'_, R>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.admits(reading)),
            Self::Any(parts) => parts.iter().any(|part| part.admits(reading)),
            Self::Not(part) => !part.admits(reading),
            Self::Is(condition) => condition.admits(reading),
        }
    }
}
