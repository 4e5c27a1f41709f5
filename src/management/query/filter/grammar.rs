//! From text to [`Expression`]. One pass, one character ahead; parentheses are counted before they are followed.

use winnow::Parser as _;
use winnow::combinator::{alt, not, opt, terminated};
use winnow::stream::{LocatingSlice, Location as _, Stateful, Stream as _};
use winnow::token::one_of;

use super::super::field::{FieldSpec, find, unknown};
use super::condition::{Condition, Operator};
use super::word::{Fault, Input, Parsed, Scope, Word, is_bare, name, next, space, value};
use super::{DEEPEST, Expression, MOST};

const CONDITION: &str = "a condition";

/// The question that the text asks; `None` where it is empty.
pub(super) fn parse(text: &str, fields: &'static [FieldSpec]) -> Parsed<Option<Expression>> {
    let scope = Scope {
        fields,
        depth: 0,
        restrictions: 0,
    };
    let mut input = Stateful {
        input: LocatingSlice::new(text),
        state: scope,
    };
    space(&mut input)?;
    if next(&input).is_none() {
        return Ok(None);
    }
    let found = expression(&mut input)?;
    match next(&input) {
        None => Ok(Some(found)),
        Some(_) => Err(Fault::expected(&input, "the end: no `(` is open")),
    }
}

/// `expression` and `sequence` at once: both join by AND. Ends before `)` or at the end.
fn expression(input: &mut Input<'_>) -> Parsed<Expression> {
    let mut all = vec![factor(input)?];
    loop {
        let gap = space(input)?;
        if matches!(next(input), None | Some(')')) {
            break;
        }
        if gap == 0 {
            return Err(Fault::expected(
                input,
                "white space, `)` or the end after a condition",
            ));
        }
        if keyword(input, "AND")? {
            space(input)?;
        }
        all.push(factor(input)?);
    }
    Ok(only(all, Expression::All))
}

fn factor(input: &mut Input<'_>) -> Parsed<Expression> {
    let mut any = vec![term(input)?];
    loop {
        let before = input.checkpoint();
        if space(input)? == 0 || !keyword(input, "OR")? {
            input.reset(&before);
            return Ok(only(any, Expression::Any));
        }
        space(input)?;
        any.push(term(input)?);
    }
}

fn term(input: &mut Input<'_>) -> Parsed<Expression> {
    let mut negated = false;
    loop {
        if keyword(input, "NOT")? {
            space(input)?;
        } else if opt(one_of::<_, _, Fault>('-')).parse_next(input)?.is_none() {
            break;
        }
        negated = !negated;
    }
    let found = simple(input)?;
    Ok(if negated {
        Expression::Not(Box::new(found))
    } else {
        found
    })
}

fn simple(input: &mut Input<'_>) -> Parsed<Expression> {
    for word in ["AND", "OR"] {
        let at = input.current_token_start();
        if keyword(input, word)? {
            return Err(Fault::at(at, format!("expected {CONDITION}, found {word}")));
        }
    }
    match next(input) {
        Some('(') => composite(input),
        Some('!') => Err(Fault::expected(input, "NOT or - in front of a condition")),
        Some('&' | '|') => Err(Fault::expected(input, "AND or OR between conditions")),
        Some('\\' | '"' | '\'') => restriction(input),
        Some(letter) if is_bare(letter) && letter != ':' => restriction(input),
        Some(_) | None => Err(Fault::expected(input, CONDITION)),
    }
}

fn composite(input: &mut Input<'_>) -> Parsed<Expression> {
    let at = input.current_token_start();
    if input.state.depth == DEEPEST {
        let what = format!("more than {DEEPEST} parentheses inside each other");
        return Err(Fault::at(at, what));
    }
    one_of('(').parse_next(input)?;
    input.state.depth += 1;
    space(input)?;
    let found = expression(input)?;
    if opt(one_of::<_, _, Fault>(')')).parse_next(input)?.is_none() {
        return Err(Fault::at(at, "this parenthesis is never closed"));
    }
    input.state.depth -= 1;
    Ok(found)
}

fn restriction(input: &mut Input<'_>) -> Parsed<Expression> {
    input.state.restrictions += 1;
    if input.state.restrictions > MOST {
        let what = format!("more than {MOST} conditions");
        return Err(Fault::at(input.current_token_start(), what));
    }
    let left = name(input)?;
    if next(input) == Some('(') && !left.is_quoted {
        return Err(Fault::at(left.at, "there are no functions here"));
    }
    let before = input.checkpoint();
    space(input)?;
    let Some((operator, negated)) = operator(input)? else {
        input.reset(&before);
        return anywhere(input, &left);
    };
    let fields = input.state.fields;
    // A `*` in a name belongs to it: no field has one.
    let (place, field) = find(fields, &left.text)
        .filter(|_| !left.has_star())
        .ok_or_else(|| Fault::at(left.at, unknown(fields, &left.written())))?;
    space(input)?;
    if !next(input).is_some_and(|letter| is_bare(letter) || matches!(letter, '"' | '\'')) {
        return Err(Fault::expected(input, "a value"));
    }
    let right = value(input)?;
    let condition = Condition::of(place, field, operator, &right);
    let found = Expression::Is(condition.map_err(|why| Fault::at(right.at, why))?);
    Ok(if negated {
        Expression::Not(Box::new(found))
    } else {
        found
    })
}

/// A value without a field.
fn anywhere(input: &Input<'_>, word: &Word) -> Parsed<Expression> {
    if !word.is_quoted {
        for keyword in ["AND", "OR", "NOT"] {
            if word.text.eq_ignore_ascii_case(keyword) {
                let what =
                    format!("{keyword} is written in capitals; put a word to search for in quotes");
                return Err(Fault::at(word.at, what));
            }
        }
    }
    let condition = Condition::anywhere(input.state.fields, word);
    let condition = condition.map_err(|why| Fault::at(word.at, why))?;
    Ok(Expression::Is(condition))
}

/// The operator, and whether it is turned into its opposite: `!=` is NOT `=`.
fn operator(input: &mut Input<'_>) -> Parsed<Option<(Operator, bool)>> {
    let operators = alt((
        "<=".value((Operator::AtMost, false)),
        ">=".value((Operator::AtLeast, false)),
        "!=".value((Operator::Equal, true)),
        "<".value((Operator::Less, false)),
        ">".value((Operator::Greater, false)),
        "=".value((Operator::Equal, false)),
        ":".value((Operator::Has, false)),
    ));
    opt(operators).parse_next(input)
}

/// Takes the keyword, if it stands there as a word of its own.
fn keyword(input: &mut Input<'_>, word: &'static str) -> Parsed<bool> {
    let end = not(one_of(|letter: char| is_bare(letter) && letter != ':'));
    let found = opt(terminated(word, end)).parse_next(input)?;
    Ok(found.is_some())
}

/// The one part, or what joins them.
fn only(parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match <[Expression; 1]>::try_from(parts) {
        Ok([part]) => part,
        Err(parts) => join(parts),
    }
}
