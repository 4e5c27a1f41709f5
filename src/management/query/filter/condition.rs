//! A compiled restriction: the fields that it reads, and the test of their values.

use std::cell::OnceCell;
use std::cmp::Ordering;

use super::super::field::{FieldKind, FieldSpec, FieldValue, Record, quoted};
use super::word::Word;

/// A comparator of AIP-160; `!=` is the negation of `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    /// `:`, the *has* operator.
    Has,
}

/// A test of one field, or of all text fields.
#[derive(Debug)]
pub(super) struct Condition {
    fields: Vec<usize>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Exact(TextPattern),
    /// Compares in lower case, without the common prefix of an enum's names.
    Folded {
        prefix: String,
        pattern: TextPattern,
    },
    Compare {
        comparator: Comparator,
        operand: FieldValue<'static>,
    },
}

/// Text to compare with. Any text may come before or after it if that end is open.
#[derive(Debug)]
struct TextPattern {
    text: String,
    open_start: bool,
    open_end: bool,
}

/// The values of one record. Its texts are converted to lower case at most once, when a restriction
/// needs them.
pub(super) struct RecordValues<'r> {
    values: Vec<FieldValue<'r>>,
    folded: Vec<OnceCell<String>>,
}

impl Condition {
    /// Compiles `field comparator word`. Returns an error if the field cannot be compared in this
    /// way.
    pub(super) fn new(
        index: usize,
        field: &FieldSpec,
        comparator: Comparator,
        word: &Word,
    ) -> Result<Self, String> {
        let is_equality = matches!(comparator, Comparator::Equal | Comparator::Has);
        let unordered = |what: &str| {
            let name = field.name;
            Err(format!(
                "{name} is {what}, which has no order; use =, != or :"
            ))
        };
        let test = match field.kind {
            _ if comparator == Comparator::Has && word.is_star() => Test::Present,
            FieldKind::Text if comparator == Comparator::Equal => {
                Test::Exact(TextPattern::new(word, word.text.clone(), comparator)?)
            }
            FieldKind::Text if is_equality => Test::folded(word, "", comparator)?,
            FieldKind::Enum { prefix } if is_equality => Test::folded(word, prefix, comparator)?,
            FieldKind::Enum { .. } => return unordered("an enum"),
            FieldKind::Bool if !is_equality => return unordered("a boolean"),
            // The remaining comparators order text, and a wildcard has no order.
            FieldKind::Text if word.has_star() => {
                let why = "`*` is a wildcard with =, != and : only; write \\* for a star";
                return Err(why.to_owned());
            }
            FieldKind::Text | FieldKind::Bool | FieldKind::Time | FieldKind::Number => {
                let operand = parse_operand(field, word)?;
                Test::Compare {
                    comparator,
                    operand,
                }
            }
        };
        let fields = vec![index];
        Ok(Self { fields, test })
    }

    /// Compiles a word without a field, which is searched for in every text field.
    pub(super) fn in_any_text(fields: &[FieldSpec], word: &Word) -> Result<Self, String> {
        let texts = fields.iter().enumerate();
        let texts = texts.filter(|(_, field)| field.kind == FieldKind::Text);
        Ok(Self {
            fields: texts.map(|(index, _)| index).collect(),
            test: Test::folded(word, "", Comparator::Has)?,
        })
    }

    pub(super) fn matches(&self, values: &RecordValues<'_>) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|field| self.test.matches(values, *field))
    }
}

/// Parses the value that a field is compared with.
fn parse_operand(field: &FieldSpec, word: &Word) -> Result<FieldValue<'static>, String> {
    let text = word.text.as_str();
    let (parsed, expected) = match field.kind {
        FieldKind::Bool => (text.parse().ok().map(FieldValue::Bool), "true or false"),
        FieldKind::Time => (
            text.parse().ok().map(FieldValue::Time),
            "a time like 2026-01-31T12:00:00Z (a + in a URL is written %2B)",
        ),
        FieldKind::Number => (parse_number(text).map(FieldValue::Number), "a number"),
        FieldKind::Text | FieldKind::Enum { .. } => {
            (Some(FieldValue::Text(text.to_owned().into())), "text")
        }
    };
    let parsed = parsed.filter(|_| !word.has_star());
    parsed.ok_or_else(|| {
        let (name, written) = (field.name, quoted(&word.written()));
        format!("{name} takes {expected}, not {written}")
    })
}

fn parse_number(text: &str) -> Option<f64> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole as f64);
    }
    // `f64::from_str` also accepts `inf` and `nan`, which are not numbers of AIP-160.
    let digits = text.trim_start_matches('-');
    let number: f64 = text.parse().ok()?;
    (digits.starts_with(|c: char| c.is_ascii_digit()) && number.is_finite()).then_some(number)
}

impl Comparator {
    fn is_satisfied_by(self, order: Ordering) -> bool {
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
    /// Creates a test that ignores case. The prefix may be written or left out.
    fn folded(word: &Word, prefix: &str, comparator: Comparator) -> Result<Self, String> {
        let (prefix, text) = (fold(prefix), fold(&word.text));
        let short = text.strip_prefix(&*prefix).filter(|_| !word.open_start);
        let text = short.unwrap_or(&text).to_owned();
        let pattern = TextPattern::new(word, text, comparator)?;
        Ok(Self::Folded { prefix, pattern })
    }

    fn matches(&self, values: &RecordValues<'_>, field: usize) -> bool {
        match self {
            Self::Present => *values.value(field) != FieldValue::Absent,
            Self::Exact(pattern) => values.text(field).is_some_and(|text| pattern.matches(text)),
            Self::Folded { prefix, pattern } => values
                .folded(field)
                .is_some_and(|text| pattern.matches(text.strip_prefix(&**prefix).unwrap_or(text))),
            Self::Compare {
                comparator,
                operand,
            } => {
                let value = values.value(field);
                let order = value.partial_cmp(operand);
                *value != FieldValue::Absent
                    && order.is_some_and(|order| comparator.is_satisfied_by(order))
            }
        }
    }
}

impl TextPattern {
    fn new(word: &Word, text: String, comparator: Comparator) -> Result<Self, String> {
        if word.has_inner_star {
            return Err("`*` is a wildcard at an end only; write \\* for a star".to_owned());
        }
        // Without a star, `:` means *contains*: both ends are open.
        let contains = comparator == Comparator::Has && !word.has_star();
        Ok(Self {
            text,
            open_start: word.open_start || contains,
            open_end: word.open_end || contains,
        })
    }

    fn matches(&self, text: &str) -> bool {
        let wanted = self.text.as_str();
        match (self.open_start, self.open_end) {
            (false, false) => text == wanted,
            (false, true) => text.starts_with(wanted),
            (true, false) => text.ends_with(wanted),
            (true, true) => text.contains(wanted),
        }
    }
}

impl<'r> RecordValues<'r> {
    pub(super) fn new(record: &'r impl Record) -> Self {
        let values = record.values();
        let folded = vec![OnceCell::new(); values.len()];
        Self { values, folded }
    }

    fn value(&self, field: usize) -> &FieldValue<'r> {
        self.values.get(field).unwrap_or(&FieldValue::Absent)
    }

    fn text(&self, field: usize) -> Option<&str> {
        match self.value(field) {
            FieldValue::Text(text) => Some(text),
            FieldValue::Absent | FieldValue::Time(_) => None,
            FieldValue::Bool(_) | FieldValue::Number(_) => None,
        }
    }

    fn folded(&self, field: usize) -> Option<&str> {
        let text = self.text(field)?;
        Some(self.folded.get(field)?.get_or_init(|| fold(text)))
    }
}

/// Returns the text in lower case, character by character. `str::to_lowercase` maps a final sigma
/// by its context, so a part of a text could differ from the same part within the whole.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}
