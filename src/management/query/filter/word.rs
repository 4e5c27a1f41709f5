//! The words of a filter, bare or quoted, with their escapes and the `*` at their ends. Also the
//! errors of filters.

use winnow::Parser as _;
use winnow::combinator::opt;
use winnow::error::ParserError;
use winnow::stream::{LocatingSlice, Location as _, Stateful, Stream};
use winnow::token::{any, one_of, take_while};

use super::super::field::{FieldSpec, quoted};

/// The remaining input, and the state of the parser.
pub(super) type Input<'a> = Stateful<LocatingSlice<&'a str>, ParserState>;
pub(super) type ParseResult<T> = Result<T, FilterError>;

#[derive(Debug)]
pub(super) struct ParserState {
    pub(super) fields: &'static [FieldSpec],
    pub(super) open_parentheses: usize,
    pub(super) restrictions: usize,
}

/// The reason why a text is not a valid filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilterError {
    /// The byte offset of the error.
    offset: usize,
    message: String,
}

impl FilterError {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { offset, message }
    }

    /// Creates an error at the next character: what was expected, and what was found.
    pub(super) fn expected(input: &Input<'_>, what: &str) -> Self {
        let found = match peek(input) {
            None => "the end".to_owned(),
            Some(found) if found.is_whitespace() => "white space".to_owned(),
            Some(found) => quoted(found.encode_utf8(&mut [0; 4])),
        };
        let message = format!("expected {what}, found {found}");
        Self::new(input.current_token_start(), message)
    }

    /// Returns the message with the column in `filter`.
    pub(super) fn in_filter(&self, filter: &str) -> String {
        let before = filter.get(..self.offset).unwrap_or(filter);
        let column = before.chars().count() + 1;
        format!("column {column}: {}", self.message)
    }
}

/// winnow's combinators create errors without a message. Every combinator here that can fail is
/// wrapped in `opt`, or runs after `peek` has seen its character, so no such error is returned.
impl<'a> ParserError<Input<'a>> for FilterError {
    type Inner = Self;

    fn from_input(input: &Input<'a>) -> Self {
        Self::new(input.current_token_start(), String::new())
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// A word, without its quotes and escapes.
#[derive(Debug)]
pub(super) struct Word {
    /// The byte offset of its start.
    pub(super) offset: usize,
    /// The text, without an unescaped `*` at its ends.
    pub(super) text: String,
    pub(super) is_quoted: bool,
    /// Any text may come before it: the word starts with `*`.
    pub(super) open_start: bool,
    /// Any text may come after it: the word ends with `*`.
    pub(super) open_end: bool,
    /// The word contains an unescaped `*` that is not at an end.
    pub(super) has_inner_star: bool,
}

/// A character of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Letter {
    character: char,
    is_escaped: bool,
}

impl Letter {
    fn is_star(&self) -> bool {
        self.character == '*' && !self.is_escaped
    }
}

impl Word {
    fn new(offset: usize, is_quoted: bool, letters: &[Letter]) -> Self {
        let open_start = letters.first().is_some_and(Letter::is_star);
        let open_end = letters.last().is_some_and(Letter::is_star);
        let end = letters.len().saturating_sub(usize::from(open_end));
        let inner = letters
            .get(usize::from(open_start)..end)
            .unwrap_or_default();
        Self {
            offset,
            text: inner.iter().map(|letter| letter.character).collect(),
            is_quoted,
            open_start,
            open_end,
            has_inner_star: inner.iter().any(Letter::is_star),
        }
    }

    /// Returns whether the word contains an unescaped `*`.
    pub(super) fn has_star(&self) -> bool {
        self.open_start || self.open_end || self.has_inner_star
    }

    /// Returns whether the word consists of `*` alone.
    pub(super) fn is_star(&self) -> bool {
        self.text.is_empty() && self.has_star()
    }

    /// Returns the word as it was written, without quotes and escapes.
    pub(super) fn written(&self) -> String {
        let star = |open: bool| if open { "*" } else { "" };
        let (start, end) = (star(self.open_start), star(self.open_end));
        format!("{start}{}{end}", self.text)
    }
}

/// Skips white space, and returns how much of it there was.
pub(super) fn skip_space(input: &mut Input<'_>) -> ParseResult<usize> {
    take_while(0.., char::is_whitespace)
        .map(str::len)
        .parse_next(input)
}

/// Returns the next character without consuming it.
pub(super) fn peek(input: &Input<'_>) -> Option<char> {
    input.input.peek_token()
}

/// Parses a field's name, or a value without a field: bare up to a comparator.
pub(super) fn parse_name(input: &mut Input<'_>) -> ParseResult<Word> {
    parse_word(input, is_bare_in_name)
}

/// Parses a value after a comparator. A bare value may contain colons, as times do.
pub(super) fn parse_value(input: &mut Input<'_>) -> ParseResult<Word> {
    parse_word(input, is_bare)
}

/// Returns whether a bare word can contain the character. The characters of comparators,
/// parentheses, quotes and commas must be quoted. So must `~`: other filter languages use it for
/// regular expressions, and here it would be read as a letter.
pub(super) fn is_bare(letter: char) -> bool {
    !letter.is_whitespace() && !"()\"',<>=!~".contains(letter)
}

pub(super) fn is_bare_in_name(letter: char) -> bool {
    is_bare(letter) && letter != ':'
}

fn parse_word(input: &mut Input<'_>, is_bare: fn(char) -> bool) -> ParseResult<Word> {
    let offset = input.current_token_start();
    let quote = opt(one_of(['"', '\''])).parse_next(input)?;
    let mut letters = Vec::new();
    loop {
        match peek(input) {
            None if quote.is_some() => {
                return Err(FilterError::new(offset, "this quote is never closed"));
            }
            Some(letter) if quote == Some(letter) => {
                any.parse_next(input)?;
                break;
            }
            Some('\\') => letters.push(Letter {
                character: parse_escaped(input)?,
                is_escaped: true,
            }),
            Some(letter) if quote.is_some() || is_bare(letter) => letters.push(Letter {
                character: any.parse_next(input)?,
                is_escaped: false,
            }),
            Some(_) | None => break,
        }
    }
    if letters.is_empty() && quote.is_none() {
        return Err(FilterError::expected(input, "a word or quoted text"));
    }
    Ok(Word::new(offset, quote.is_some(), &letters))
}

fn parse_escaped(input: &mut Input<'_>) -> ParseResult<char> {
    any.parse_next(input)?;
    let letter = opt(one_of(['"', '\'', '\\', '*'])).parse_next(input)?;
    letter.ok_or_else(|| FilterError::expected(input, "`\"`, `'`, `*` or `\\` after `\\`"))
}
