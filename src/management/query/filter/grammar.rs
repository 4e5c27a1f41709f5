//! The parser, from text to [`Expression`]. It reads the text once, and goes back only over white
//! space and keywords. It checks the depth before it descends.

use winnow::Parser as _;
use winnow::combinator::{alt, not, opt, terminated};
use winnow::stream::{LocatingSlice, Location as _, Stateful, Stream as _};
use winnow::token::one_of;

use super::super::field::{FieldSpec, find_field, unknown_field};
use super::condition::{Comparator, Condition};
use super::word::{
    FilterError, Input, ParseResult, ParserState, Word, is_bare, is_bare_in_name, parse_name,
    parse_value, peek, skip_space,
};
use super::{Expression, MAX_DEPTH, MAX_RESTRICTIONS};

const CONDITION: &str = "a condition";

/// Parses a filter. Returns `None` if it is empty.
pub(super) fn parse(text: &str, fields: &'static [FieldSpec]) -> ParseResult<Option<Expression>> {
    let state = ParserState {
        fields,
        open_parentheses: 0,
        restrictions: 0,
    };
    let mut input = Stateful {
        input: LocatingSlice::new(text),
        state,
    };
    skip_space(&mut input)?;
    if peek(&input).is_none() {
        return Ok(None);
    }
    let found = parse_expression(&mut input)?;
    match peek(&input) {
        None => Ok(Some(found)),
        Some(_) => Err(FilterError::expected(
            &input,
            "the end, because no `(` is open",
        )),
    }
}

/// Parses `expression` and `sequence` together, since both are joined by AND. Stops before `)` or
/// at the end.
fn parse_expression(input: &mut Input<'_>) -> ParseResult<Expression> {
    let mut all = vec![parse_factor(input)?];
    loop {
        let gap = skip_space(input)?;
        if matches!(peek(input), None | Some(')')) {
            break;
        }
        if gap == 0 {
            return Err(FilterError::expected(
                input,
                "white space, `)` or the end after a condition",
            ));
        }
        if parse_keyword(input, "AND")? {
            skip_space(input)?;
        }
        all.push(parse_factor(input)?);
    }
    Ok(join(all, Expression::All))
}

fn parse_factor(input: &mut Input<'_>) -> ParseResult<Expression> {
    let mut any = vec![parse_term(input)?];
    loop {
        let before = input.checkpoint();
        if skip_space(input)? == 0 || !parse_keyword(input, "OR")? {
            input.reset(&before);
            return Ok(join(any, Expression::Any));
        }
        skip_space(input)?;
        any.push(parse_term(input)?);
    }
}

fn parse_term(input: &mut Input<'_>) -> ParseResult<Expression> {
    // A loop and not a recursion, so that a long sequence of `-` cannot exhaust the stack.
    let mut negated = false;
    loop {
        if parse_keyword(input, "NOT")? {
            skip_space(input)?;
        } else if opt(one_of::<_, _, FilterError>('-'))
            .parse_next(input)?
            .is_none()
        {
            break;
        }
        negated = !negated;
    }
    Ok(parse_simple(input)?.negated_if(negated))
}

fn parse_simple(input: &mut Input<'_>) -> ParseResult<Expression> {
    // Otherwise a leading AND or OR would be read as a word to search for.
    for word in ["AND", "OR"] {
        let at = input.current_token_start();
        if parse_keyword(input, word)? {
            let message = format!("expected {CONDITION}, found {word}");
            return Err(FilterError::new(at, message));
        }
    }
    match peek(input) {
        Some('(') => parse_composite(input),
        Some('!') => Err(FilterError::expected(input, "NOT or - before a condition")),
        Some('&' | '|') => Err(FilterError::expected(input, "AND or OR between conditions")),
        Some('\\' | '"' | '\'') => parse_restriction(input),
        Some(letter) if is_bare_in_name(letter) => parse_restriction(input),
        Some(_) | None => Err(FilterError::expected(input, CONDITION)),
    }
}

fn parse_composite(input: &mut Input<'_>) -> ParseResult<Expression> {
    let at = input.current_token_start();
    if input.state.open_parentheses == MAX_DEPTH {
        let what = format!("more than {MAX_DEPTH} nested parentheses");
        return Err(FilterError::new(at, what));
    }
    one_of('(').parse_next(input)?;
    input.state.open_parentheses += 1;
    skip_space(input)?;
    let found = parse_expression(input)?;
    if opt(one_of::<_, _, FilterError>(')'))
        .parse_next(input)?
        .is_none()
    {
        return Err(FilterError::new(at, "this parenthesis is never closed"));
    }
    input.state.open_parentheses -= 1;
    Ok(found)
}

fn parse_restriction(input: &mut Input<'_>) -> ParseResult<Expression> {
    input.state.restrictions += 1;
    if input.state.restrictions > MAX_RESTRICTIONS {
        let what = format!("more than {MAX_RESTRICTIONS} conditions");
        return Err(FilterError::new(input.current_token_start(), what));
    }
    let left = parse_name(input)?;
    if peek(input) == Some('(') && !left.is_quoted {
        // AIP-160 leaves functions to each service. This one has none.
        return Err(FilterError::new(left.offset, "functions are not supported"));
    }
    let before = input.checkpoint();
    skip_space(input)?;
    let Some((comparator, negated)) = parse_comparator(input)? else {
        input.reset(&before);
        return search_word(input, &left);
    };
    let fields = input.state.fields;
    // No field has a `*` in its name, so an unescaped star makes the name unknown.
    let (index, field) = find_field(fields, &left.text)
        .filter(|_| !left.has_star())
        .ok_or_else(|| FilterError::new(left.offset, unknown_field(fields, &left.written())))?;
    skip_space(input)?;
    if !peek(input).is_some_and(|letter| is_bare(letter) || matches!(letter, '"' | '\'')) {
        return Err(FilterError::expected(input, "a value"));
    }
    let right = parse_value(input)?;
    let condition = Condition::new(index, field, comparator, &right);
    let found = condition.map_err(|why| FilterError::new(right.offset, why))?;
    Ok(Expression::Is(found).negated_if(negated))
}

/// Parses a value without a field.
fn search_word(input: &Input<'_>, word: &Word) -> ParseResult<Expression> {
    if !word.is_quoted {
        for keyword in ["AND", "OR", "NOT"] {
            if word.text.eq_ignore_ascii_case(keyword) {
                let what =
                    format!("write {keyword} in upper case, or in quotes to search for the word");
                return Err(FilterError::new(word.offset, what));
            }
        }
    }
    let condition = Condition::in_any_text(input.state.fields, word);
    let condition = condition.map_err(|why| FilterError::new(word.offset, why))?;
    Ok(Expression::Is(condition))
}

/// Parses a comparator. The flag is `true` if the restriction is negated: `!=` means NOT `=`.
fn parse_comparator(input: &mut Input<'_>) -> ParseResult<Option<(Comparator, bool)>> {
    let comparators = alt((
        "<=".value((Comparator::AtMost, false)),
        ">=".value((Comparator::AtLeast, false)),
        "!=".value((Comparator::Equal, true)),
        "<".value((Comparator::Less, false)),
        ">".value((Comparator::Greater, false)),
        "=".value((Comparator::Equal, false)),
        ":".value((Comparator::Has, false)),
    ));
    opt(comparators).parse_next(input)
}

/// Consumes the keyword, if the input starts with it as a word of its own.
fn parse_keyword(input: &mut Input<'_>, word: &'static str) -> ParseResult<bool> {
    let end = not(one_of(is_bare_in_name));
    let found = opt(terminated(word, end)).parse_next(input)?;
    Ok(found.is_some())
}

/// Joins several parts with an operator. A single part is returned unchanged.
fn join(parts: Vec<Expression>, operator: fn(Vec<Expression>) -> Expression) -> Expression {
    match <[Expression; 1]>::try_from(parts) {
        Ok([part]) => part,
        Err(parts) => operator(parts),
    }
}
