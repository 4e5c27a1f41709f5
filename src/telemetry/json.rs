//! One JSON object a line, written straight into a buffer.
//!
//! Invariant: the line is ASCII without control characters, whatever a text holds. What is neither is escaped (RFC 8259 §7), DEL, C1 controls, line separators and
//! direction marks among them, so that a terminal or a pager shows a hostile text as what it is.

use std::io::Write as _;
use std::time::Duration;

use jiff::Timestamp;

/// An object in the making. Keys are ours: they need no escapes.
pub(super) struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> JsonLine<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// The end of the object, and of the line.
    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        string(text, self.value(key));
    }

    /// `null` where there is none.
    pub(super) fn text_or_null(&mut self, key: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    pub(super) fn texts<'t>(&mut self, key: &str, texts: impl Iterator<Item = &'t str>) {
        let out = self.value(key);
        out.push(b'[');
        for (at, text) in texts.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            string(text, out);
        }
        out.push(b']');
    }

    pub(super) fn number(&mut self, key: &str, number: u64) {
        decimal(number, 1, self.value(key));
    }

    pub(super) fn boolean(&mut self, key: &str, is_so: bool) {
        let word: &[u8] = if is_so { b"true" } else { b"false" };
        self.value(key).extend_from_slice(word);
    }

    /// `null` where there is none.
    pub(super) fn number_or_null(&mut self, key: &str, number: Option<u64>) {
        match number {
            Some(number) => self.number(key, number),
            None => self.null(key),
        }
    }

    /// Milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, key: &str, duration: Duration) {
        millis(duration, self.value(key));
    }

    pub(super) fn time(&mut self, key: &str, at: Timestamp, clock: &mut TimeFormatter) {
        let out = self.value(key);
        out.push(b'"');
        clock.write(at, out);
        out.push(b'"');
    }

    pub(super) fn null(&mut self, key: &str) {
        self.value(key).extend_from_slice(b"null");
    }

    fn value(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// Writes times as RFC 3339 has them, to the microsecond. Most lines share their second with the one before.
#[derive(Default)]
pub(super) struct TimeFormatter {
    second: Option<i64>,
    shown: String,
}

impl TimeFormatter {
    pub(super) fn write(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        if self.second != Some(at.as_second()) {
            self.second = Some(at.as_second());
            let whole = Timestamp::from_second(at.as_second()).unwrap_or_default();
            self.shown = whole.to_string();
        }
        out.extend_from_slice(self.shown.trim_end_matches('Z').as_bytes());
        out.push(b'.');
        let micros = at.subsec_microsecond().unsigned_abs();
        decimal(u64::from(micros), 6, out);
        out.push(b'Z');
    }
}

/// Milliseconds with three decimals.
pub(super) fn millis(duration: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    decimal(micros / 1000, 1, out);
    out.push(b'.');
    decimal(micros % 1000, 3, out);
}

/// With at least so many digits, 20 at most.
pub(super) fn decimal(mut number: u64, at_least: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if number == 0 && used >= at_least {
            break;
        }
        // Below ten.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    // Nearly always the whole text.
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.extend_from_slice(plain.as_bytes());
        let mut characters = special.chars();
        if let Some(character) = characters.next() {
            escape(character, out);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        other => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                // A vector takes everything.
                let _written = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonLine, TimeFormatter, decimal};
    use jiff::Timestamp;
    use std::time::Duration;

    #[test]
    fn whatever_a_text_holds_the_line_is_plain_and_means_it() {
        for text in [
            "",
            "plain",
            "\u{1b}[31m\r\n\0\u{7f}",
            "\"quoted\\\"",
            "é\u{85}\u{9b}\u{2028}\u{202e}\u{feff}𝄞\u{e0041}",
            "ends with é",
        ] {
            let mut line = Vec::new();
            let mut object = JsonLine::begin(&mut line);
            object.text("a", text);
            object.texts("b", [text, "x"].into_iter());
            object.end();
            let line = String::from_utf8(line).unwrap();
            let inner = line.strip_suffix('\n').unwrap();
            assert!(inner.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
            let read: serde_json::Value = serde_json::from_str(inner).unwrap();
            assert_eq!(read, serde_json::json!({"a": text, "b": [text, "x"]}));
        }
    }

    #[test]
    fn numbers() {
        for (number, at_least, shown) in [
            (0, 1, "0"),
            (7, 6, "000007"),
            (1234, 1, "1234"),
            (u64::MAX, 1, "18446744073709551615"),
        ] {
            let mut out = Vec::new();
            decimal(number, at_least, &mut out);
            assert_eq!(out, shown.as_bytes());
        }
        let mut line = Vec::new();
        let mut object = JsonLine::begin(&mut line);
        object.millis("ms", Duration::from_nanos(1_500_999));
        object.number_or_null("none", None);
        object.end();
        assert_eq!(line, b"{\"ms\":1.500,\"none\":null}\n");
    }

    #[test]
    fn times() {
        let mut clock = TimeFormatter::default();
        for (nanos, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (999_999_999, "1970-01-01T00:00:00.999999Z"),
            (1_785_000_000_000_001_000, "2026-07-25T17:20:00.000001Z"),
        ] {
            let mut out = Vec::new();
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            clock.write(at, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
    }
}
