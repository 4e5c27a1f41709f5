//! One restriction, compiled: which fields are looked at, and what is asked of their values.

use std::cmp::Ordering;

use jiff::Timestamp;
use memchr::memmem;

use super::super::field::{FieldKind, FieldSpec, FieldValue, Record, quoted};
use super::word::Word;

/// A comparison; `!=` is the opposite of `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    /// `:`
    Has,
}

/// A question about one field, or about all that hold text.
#[derive(Debug)]
pub(super) struct Condition {
    fields: Vec<usize>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Text { pattern: Pattern, folds: bool },
    Enum { prefix: String, pattern: Pattern },
    Compare { operator: Operator, with: Operand },
}

/// What a value is compared with.
#[derive(Debug)]
enum Operand {
    Text(String),
    Time(Timestamp),
    Bool(bool),
    Number(i64),
    Fraction(f64),
}

/// Text with nothing, or anything, before and after.
#[derive(Debug)]
enum Pattern {
    Whole(String),
    Start(String),
    End(String),
    Inside(Box<memmem::Finder<'static>>),
}

/// One record while it is judged: what was read of it, and its text in one case.
pub(super) struct Reading<'r, R> {
    record: &'r R,
    fields: Vec<Field<'r>>,
}

#[derive(Clone, Default)]
struct Field<'r> {
    value: Option<FieldValue<'r>>,
    folded: Option<String>,
}

impl Condition {
    /// What `field operator word` asks, or why it makes no sense.
    pub(super) fn of(
        place: usize,
        field: &FieldSpec,
        operator: Operator,
        word: &Word,
    ) -> Result<Self, String> {
        let test = if operator == Operator::Has && word.is_star() {
            Test::Present
        } else {
            test(field, operator, word)?
        };
        let fields = vec![place];
        Ok(Self { fields, test })
    }

    /// What a word without a field asks: whether it is in some text.
    pub(super) fn anywhere(fields: &[FieldSpec], word: &Word) -> Result<Self, String> {
        let places = fields.iter().enumerate();
        let of_text = places.filter(|(_, field)| field.kind == FieldKind::Text);
        Ok(Self {
            fields: of_text.map(|(place, _)| place).collect(),
            test: Test::Text {
                pattern: Pattern::folded(word, Operator::Has)?,
                folds: true,
            },
        })
    }

    pub(super) fn admits<R: Record>(&self, reading: &mut Reading<'_, R>) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|field| self.test.admits(reading, *field))
    }
}

fn test(field: &FieldSpec, operator: Operator, word: &Word) -> Result<Test, String> {
    let equal = matches!(operator, Operator::Equal | Operator::Has);
    let unordered = |what: &str| {
        let name = field.name;
        Err(format!("{name} is {what}, which has no order: =, != or :"))
    };
    let with = match field.kind {
        FieldKind::Text if equal => {
            let folds = operator == Operator::Has;
            let pattern = if folds {
                Pattern::folded(word, operator)?
            } else {
                Pattern::of(word, word.text.clone(), operator)?
            };
            return Ok(Test::Text { pattern, folds });
        }
        FieldKind::Enum { prefix } if equal => {
            return Ok(Test::Enum {
                prefix: folded(prefix),
                pattern: Pattern::of_name(word, prefix, operator)?,
            });
        }
        FieldKind::Enum { .. } => return unordered("one of a few names"),
        FieldKind::Bool if !equal => return unordered("true or false"),
        FieldKind::Text if word.has_star() => {
            return Err("`*` stands for anything with =, != and : only; \\* is a star".to_owned());
        }
        FieldKind::Text => Operand::Text(word.text.clone()),
        FieldKind::Bool | FieldKind::Time | FieldKind::Number => Operand::of(field, word)?,
    };
    Ok(Test::Compare { operator, with })
}

impl Operand {
    fn of(field: &FieldSpec, word: &Word) -> Result<Self, String> {
        let text = word.text.as_str();
        let plain = !word.has_star();
        let (found, wanted) = match field.kind {
            FieldKind::Bool => {
                let truth = text.parse().ok().map(Self::Bool);
                (truth, "true or false")
            }
            FieldKind::Time => (
                text.parse().ok().map(Self::Time),
                "a time like 2026-01-31T12:00:00Z (a + in a URL is written %2B)",
            ),
            FieldKind::Number => (Self::number(text), "a number"),
            FieldKind::Text | FieldKind::Enum { .. } => (Some(Self::Text(text.to_owned())), "text"),
        };
        let name = field.name;
        let found = found.filter(|_| plain);
        found.ok_or_else(|| format!("{name} takes {wanted}, not {}", quoted(&word.written())))
    }

    fn number(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse() {
            return Some(Self::Number(whole));
        }
        // Not `inf` or `nan`.
        let begins = text.trim_start_matches('-').bytes().next()?;
        let fraction: f64 = text.parse().ok()?;
        (begins.is_ascii_digit() && fraction.is_finite()).then_some(Self::Fraction(fraction))
    }

    /// How a value stands to this; nothing where they are of different kinds.
    fn compare(&self, value: &FieldValue<'_>) -> Option<Ordering> {
        match (value, self) {
            (FieldValue::Text(value), Self::Text(with)) => Some((**value).cmp(with.as_str())),
            (FieldValue::Time(value), Self::Time(with)) => Some(value.cmp(with)),
            (FieldValue::Bool(value), Self::Bool(with)) => Some(value.cmp(with)),
            (FieldValue::Number(value), Self::Number(with)) => Some(value.cmp(with)),
            (FieldValue::Number(value), Self::Fraction(with)) => (*value as f64).partial_cmp(with),
            (
                FieldValue::Absent
                | FieldValue::Text(_)
                | FieldValue::Time(_)
                | FieldValue::Bool(_)
                | FieldValue::Number(_),
                _,
            ) => None,
        }
    }
}

impl Operator {
    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Equal | Self::Has => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

impl Test {
    fn admits<R: Record>(&self, reading: &mut Reading<'_, R>, field: usize) -> bool {
        match self {
            Self::Present => *reading.value(field) != FieldValue::Absent,
            Self::Text {
                pattern,
                folds: true,
            } => reading
                .folded(field)
                .is_some_and(|text| pattern.admits(text)),
            Self::Text {
                pattern,
                folds: false,
            } => text(reading.value(field)).is_some_and(|text| pattern.admits(text)),
            Self::Enum { prefix, pattern } => reading
                .folded(field)
                .is_some_and(|name| pattern.admits(name.strip_prefix(&**prefix).unwrap_or(name))),
            Self::Compare { operator, with } => with
                .compare(reading.value(field))
                .is_some_and(|order| operator.admits(order)),
        }
    }
}

impl Pattern {
    fn of(word: &Word, text: String, operator: Operator) -> Result<Self, String> {
        if word.has_inner_star {
            return Err("`*` stands for anything at an end only; \\* is a star".to_owned());
        }
        // Without a star, `:` is open at both ends.
        let contains = operator == Operator::Has && !word.has_star();
        Ok(
            match (word.open_start || contains, word.open_end || contains) {
                (false, false) => Self::Whole(text),
                (false, true) => Self::Start(text),
                (true, false) => Self::End(text),
                (true, true) => {
                    let finder = memmem::Finder::new(text.as_bytes());
                    Self::Inside(Box::new(finder.into_owned()))
                }
            },
        )
    }

    fn folded(word: &Word, operator: Operator) -> Result<Self, String> {
        Self::of(word, folded(&word.text), operator)
    }

    /// A name of an enum, without what all of them begin with.
    fn of_name(word: &Word, prefix: &str, operator: Operator) -> Result<Self, String> {
        let name = folded(&word.text);
        let short = name.strip_prefix(&*folded(prefix));
        let short = short.map(str::to_owned).filter(|_| !word.open_start);
        Self::of(word, short.unwrap_or(name), operator)
    }

    fn admits(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => text == whole,
            Self::Start(start) => text.starts_with(&**start),
            Self::End(end) => text.ends_with(&**end),
            Self::Inside(finder) => finder.find(text.as_bytes()).is_some(),
        }
    }
}

impl<'r, R: Record> Reading<'r, R> {
    pub(super) fn of(record: &'r R, fields: usize) -> Self {
        let fields = vec![Field::default(); fields];
        Self { record, fields }
    }

    fn value(&mut self, place: usize) -> &FieldValue<'r> {
        let record = self.record;
        match self.fields.get_mut(place) {
            Some(field) => field.value.get_or_insert_with(|| record.value(place)),
            None => &FieldValue::Absent,
        }
    }

    fn folded(&mut self, place: usize) -> Option<&str> {
        text(self.value(place))?;
        let field = self.fields.get_mut(place)?;
        if field.folded.is_none() {
            field.folded = text(field.value.as_ref()?).map(folded);
        }
        field.folded.as_deref()
    }
}

fn text<'v>(value: &'v FieldValue<'_>) -> Option<&'v str> {
    match value {
        FieldValue::Text(text) => Some(text),
        FieldValue::Absent | FieldValue::Time(_) | FieldValue::Bool(_) | FieldValue::Number(_) => {
            None
        }
    }
}

/// In lower case, letter by letter, so that a part of a text is folded as it is within the whole.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}
