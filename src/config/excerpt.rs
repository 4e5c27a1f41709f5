//! The piece of the operator's file that is shown with a problem.
//!
//! Invariant kept here: an excerpt is cut by an allow-list. It contains the key and the value that
//! the caller may show, the text between them, and the indentation and brackets before them. A
//! secret in the same line is left out.

use std::ops::Range;

use super::problem::Excerpt;

/// The maximum length of an excerpt, in characters.
const MAX_SHOWN: usize = 160;
/// The number of bytes before and after the mark that are searched for the ends of the line. A line
/// may be a megabyte long.
const WINDOW: usize = 512;

/// Cuts the piece of the line around `mark` that contains `key` and `shown`. If `mark` is not in
/// that piece, because the value may not be shown, the key is marked instead.
pub(super) fn cut_excerpt(
    text: &str,
    mark: Range<usize>,
    key: Option<Range<usize>>,
    shown: Option<Range<usize>>,
) -> Option<Excerpt> {
    let line = line_around(text, mark.start)?;
    let on_line = |token: &Range<usize>| line.contains(&token.start);
    let within = |token: &Range<usize>| token.start..token.end.min(line.end);
    let key = key.filter(on_line).map(|token| within(&token));
    let shown = shown.filter(on_line).map(|token| within(&token));
    let tokens = || key.iter().chain(&shown);
    let first = tokens().map(|token| token.start).min()?;
    let last = tokens().map(|token| token.end).max()?;
    let mark = within(&mark);
    let marked = if first <= mark.start && mark.end <= last {
        mark
    } else {
        key.clone()?
    };
    let before = text.get(line.start..first)?;
    let frame = |c: char| c.is_whitespace() || matches!(c, '-' | '{' | '[' | '"' | '\'');
    let starts = line.start == 0 || text.get(..line.start)?.ends_with('\n');
    let whole_start = starts && before.chars().all(frame);
    let before = if whole_start { before } else { "… " };
    let piece: String = text.get(first..last)?.chars().take(MAX_SHOWN).collect();
    let text = format!("{before}{piece}");
    let shift = |at: usize| text.floor_char_boundary(before.len() + at - first);
    let range = shift(marked.start)..shift(marked.end);
    Some(Excerpt {
        text,
        mark: range,
        whole_start,
    })
}

/// Returns the range of the line around a byte, without its line feed, cut to the window.
fn line_around(text: &str, at: usize) -> Option<Range<usize>> {
    let from = text.floor_char_boundary(at.saturating_sub(WINDOW));
    let to = text.ceil_char_boundary(at.saturating_add(WINDOW));
    let start = text
        .get(from..at)?
        .rfind('\n')
        .map_or(from, |found| from + found + 1);
    let end = text
        .get(at..to)?
        .find(['\n', '\r'])
        .map_or(to, |found| at + found);
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::cut_excerpt;

    /// Returns the excerpt, and its marked part.
    fn shown(text: &str, mark: &str, key: &str, value: Option<&str>) -> Option<(String, String)> {
        let range = |part: &str| text.find(part).map(|at| at..at + part.len());
        let excerpt = cut_excerpt(text, range(mark)?, range(key), value.and_then(range))?;
        let marked = excerpt.text.get(excerpt.mark.clone())?.to_owned();
        Some((excerpt.text, marked))
    }

    fn pair(text: &str, mark: &str) -> Option<(String, String)> {
        Some((text.to_owned(), mark.to_owned()))
    }

    #[test]
    fn a_value_with_its_key() {
        let text = "a: 1\n  - key: wrong # c\nb: 2";
        assert_eq!(
            shown(text, "wrong", "key", Some("wrong")),
            pair("  - key: wrong", "wrong")
        );
    }

    #[test]
    fn a_secret_value_is_cut_off_and_the_key_is_marked() {
        assert_eq!(
            shown("key: hidden", "hidden", "key", None),
            pair("key", "key")
        );
    }

    #[test]
    fn neighbours_are_left_out() {
        let text = r#"{"token": "hidden", "key": 5, "other": "hidden"}"#;
        assert_eq!(
            shown(text, "5", "\"key\"", Some("5")),
            pair("… \"key\": 5", "5")
        );
    }

    #[test]
    fn a_value_on_another_line_stands_alone() {
        assert_eq!(
            shown("key:\n  wrong", "wrong", "key", Some("wrong")),
            pair("  wrong", "wrong")
        );
        assert_eq!(shown("key:\n  hidden", "hidden", "key", None), None);
    }

    #[test]
    fn long_and_wide_text_is_cut_at_characters() {
        let long = format!("key: {}", "é".repeat(2000));
        let excerpt = cut_excerpt(&long, 5..4005, Some(0..3), Some(5..4005)).unwrap();
        assert_eq!(excerpt.text.chars().count(), 160);
        let far = format!("{}x", "é".repeat(2000));
        assert_eq!(
            cut_excerpt(&far, 4000..4001, None, Some(4000..4001))
                .unwrap()
                .text,
            "… x"
        );
        assert_eq!(cut_excerpt("a", 5..9, None, Some(5..9)), None);
    }
}
