//! The words of a filter: bare ones and quoted ones, with their escapes and the `*` at their ends. Also how a fault in a filter is told.

use winnow::Parser as _;
use winnow::combinator::opt;
use winnow::error::ParserError;
use winnow::stream::{LocatingSlice, Location as _, Stateful, Stream};
use winnow::token::{any, one_of, take_while};

use super::super::field::{FieldSpec, quoted};

/// The rest of a filter, and where the parser stands.
pub(super) type Input<'a> = Stateful<LocatingSlice<&'a str>, Scope>;
pub(super) type Parsed<T> = Result<T, Fault>;

/// What the parser knows apart from the text.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) fields: &'static [FieldSpec],
    /// Open parentheses.
    pub(super) depth: usize,
    /// Restrictions so far.
    pub(super) restrictions: usize,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte at which it shows.
    at: usize,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Something else was expected here than what stands here.
    Expected(&'static str),
    /// Anything else.
    Told(String),
}

impl Fault {
    /// What should stand at the input's next character.
    pub(super) fn expected(input: &Input<'_>, what: &'static str) -> Self {
        Self {
            at: input.current_token_start(),
            what: What::Expected(what),
        }
    }

    pub(super) fn told(&self, text: &str) -> String {
        let (before, rest) = text.split_at_checked(self.at).unwrap_or((text, ""));
        let column = before.chars().count() + 1;
        match &self.what {
            What::Told(what) => format!("column {column}: {what}"),
            What::Expected(what) => {
                let found = match rest.chars().next() {
                    None => "the end".to_owned(),
                    Some(found) if found.is_whitespace() => "white space".to_owned(),
                    Some(found) => quoted(found.encode_utf8(&mut [0; 4])),
                };
                format!("column {column}: expected {what}, found {found}")
            }
        }
    }

    pub(super) fn at(at: usize, what: impl Into<String>) -> Self {
        Self {
            at,
            what: What::Told(what.into()),
        }
    }
}

/// The parsers of the library fail without a word; each of ours that may fail says what it wants.
impl<'a> ParserError<Input<'a>> for Fault {
    type Inner = Self;

    fn from_input(input: &Input<'a>) -> Self {
        Self::expected(input, "something else")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// A word without its quotes and escapes.
#[derive(Debug)]
pub(super) struct Word {
    /// Where it begins.
    pub(super) at: usize,
    /// Without a `*` that stands for anything.
    pub(super) text: String,
    pub(super) is_quoted: bool,
    /// Anything may come before.
    pub(super) open_start: bool,
    /// Anything may come after.
    pub(super) open_end: bool,
    /// There is a `*` that is neither escaped nor at an end.
    pub(super) has_inner_star: bool,
}

impl Word {
    /// Whether there is a `*` in it that is not escaped.
    pub(super) fn has_star(&self) -> bool {
        self.open_start || self.open_end || self.has_inner_star
    }

    /// Whether it is `*`.
    pub(super) fn is_star(&self) -> bool {
        self.text.is_empty() && self.has_star()
    }

    /// As it was written, without quotes and escapes.
    pub(super) fn written(&self) -> String {
        let star = |open: bool| if open { "*" } else { "" };
        format!(
            "{}{}{}",
            star(self.open_start),
            self.text,
            star(self.open_end)
        )
    }

    fn of(at: usize, is_quoted: bool, letters: &[Letter]) -> Self {
        let star = |letter: &Letter| *letter == Letter::Star;
        let open_start = letters.first().is_some_and(star);
        let open_end = letters.last().is_some_and(star);
        let inner = letters
            .get(usize::from(open_start)..letters.len().saturating_sub(usize::from(open_end)))
            .unwrap_or_default();
        Self {
            at,
            text: inner.iter().map(|letter| letter.char()).collect(),
            is_quoted,
            open_start,
            open_end,
            has_inner_star: inner.iter().any(star),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    /// A `*` that is not escaped.
    Star,
    Plain(char),
}

impl Letter {
    fn of(letter: char) -> Self {
        if letter == '*' {
            Self::Star
        } else {
            Self::Plain(letter)
        }
    }

    fn char(self) -> char {
        match self {
            Self::Star => '*',
            Self::Plain(letter) => letter,
        }
    }
}

/// White space; how much of it there was.
pub(super) fn space(input: &mut Input<'_>) -> Parsed<usize> {
    take_while(0.., char::is_whitespace)
        .map(str::len)
        .parse_next(input)
}

/// The next character, which stays there.
pub(super) fn next(input: &Input<'_>) -> Option<char> {
    input.input.peek_token()
}

/// A field's name, or a value without a field: bare up to an operator.
pub(super) fn name(input: &mut Input<'_>) -> Parsed<Word> {
    word(input, |letter| is_bare(letter) && letter != ':')
}

/// A value behind an operator: bare ones may hold colons, as times do.
pub(super) fn value(input: &mut Input<'_>) -> Parsed<Word> {
    word(input, is_bare)
}

/// Whether a bare word goes on with it. The operators' characters, parentheses, quotes and commas need quotes around them; so does `~`, which elsewhere asks for a
/// regular expression, and would be taken for a letter.
pub(super) fn is_bare(letter: char) -> bool {
    !letter.is_whitespace() && !"()\"',<>=!~".contains(letter)
}

fn word(input: &mut Input<'_>, is_bare: fn(char) -> bool) -> Parsed<Word> {
    let at = input.current_token_start();
    let quote = opt(one_of(['"', '\''])).parse_next(input)?;
    let mut letters = Vec::new();
    loop {
        match next(input) {
            None if quote.is_some() => {
                return Err(Fault::at(at, "these quotes are never closed"));
            }
            Some(letter) if quote == Some(letter) => {
                any.parse_next(input)?;
                break;
            }
            Some('\\') => letters.push(escaped(input)?),
            Some(letter) if quote.is_some() || is_bare(letter) => {
                letters.push(Letter::of(any.parse_next(input)?));
            }
            Some(_) | None => break,
        }
    }
    if letters.is_empty() && quote.is_none() {
        return Err(Fault::expected(input, "a word or something in quotes"));
    }
    Ok(Word::of(at, quote.is_some(), &letters))
}

fn escaped(input: &mut Input<'_>) -> Parsed<Letter> {
    any.parse_next(input)?;
    let letter = opt(one_of(['"', '\'', '\\', '*'])).parse_next(input)?;
    let letter = letter.ok_or_else(|| Fault::expected(input, "`\"`, `'`, `*` or `\\` after `\\`"));
    letter.map(Letter::Plain)
}
