//! JSON log lines: one object per line, in printable ASCII.
//!
//! Every other character is escaped (RFC 8259 §7). Among them are DEL, C1 controls, line separators
//! and direction marks, with which a hostile text could change what a terminal or a pager displays.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

use crate::domain::ConnectionId;

/// Appends a value as one line.
pub(super) fn write_line(line: &impl Serialize, into: &mut Vec<u8>) {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *into, LineFormatter);
    // A vector accepts every byte, and all keys are strings.
    let _written = line.serialize(&mut serializer);
    into.push(b'\n');
}

/// Escapes all characters that are not printable ASCII, and writes every float as a number of
/// milliseconds with three decimals. Log lines have no other floats.
struct LineFormatter;

impl Formatter for LineFormatter {
    #[inline]
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Values are whole microseconds divided by 1,000 (`Millis`), and rounding restores them.
        let micros = (value * 1e3).round() as u64;
        write!(writer, "{}.{:03}", micros / 1000, micros % 1000)
    }

    #[inline]
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // `serde_json` has already split off quotes, backslashes and C0 controls. What is left is
        // nearly always plain.
        if fragment
            .bytes()
            .fold(true, |is_plain, byte| is_plain & (byte <= b'~'))
        {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.bytes().position(|byte| !matches!(byte, b' '..=b'~')) {
            let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            for unit in characters
                .next()
                .unwrap_or_default()
                .encode_utf16(&mut [0; 2])
            {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    #[inline]
    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let control = match escape {
            CharEscape::Quote => return writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => return writer.write_all(b"\\\\"),
            CharEscape::Solidus => b'/',
            CharEscape::Backspace => 0x08,
            CharEscape::FormFeed => 0x0c,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(control) => control,
        };
        write!(writer, "\\u{control:04x}")
    }
}

/// A duration in milliseconds, with microsecond precision.
pub(super) struct Millis(pub(super) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_micros() as f64 / 1e3)
    }
}

/// A timestamp in RFC 3339, with microsecond precision.
pub(super) struct Time(pub(super) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn serialize_millis<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Millis(*duration).serialize(serializer)
}

/// Implemented here because `domain` does not depend on serde.
impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Serializes name-value pairs as fields of the line.
pub(super) fn serialize_pairs<S: Serializer>(
    pairs: &[(&'static str, Box<str>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

#[cfg(test)]
mod tests {
    use super::{Millis, Time, write_line};
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn format_line(value: &impl serde::Serialize) -> String {
        let mut line = Vec::new();
        write_line(value, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn every_text_becomes_printable_ascii_and_parses_back() {
        for text in [
            "",
            "plain",
            "\u{1b}[31m\r\n\0\u{7f}",
            "\"quoted\\\"",
            "é\u{85}\u{9b}\u{2028}\u{202e}\u{feff}𝄞\u{e0041}",
        ] {
            let object = json!({"a": text, "b": [text, "x"]});
            let line = format_line(&object);
            let inner = line.strip_suffix('\n').unwrap();
            let plain = |byte: u8| matches!(byte, b' '..=b'~');
            assert!(inner.bytes().all(plain), "{line}");
            assert_eq!(serde_json::from_str::<Value>(inner).unwrap(), object);
        }
    }

    #[test]
    fn special_characters_are_escaped_by_number() {
        assert_eq!(
            format_line(&"\u{8}\t\n\u{c}\r\u{1b}\"\\/\u{7f}é𝄞"),
            "\"\\u0008\\u0009\\u000a\\u000c\\u000d\\u001b\\\"\\\\/\\u007f\\u00e9\\ud834\\udd1e\"\n"
        );
    }

    #[test]
    fn milliseconds_have_three_decimals() {
        for (duration, shown) in [
            (Duration::ZERO, "0.000"),
            (Duration::from_nanos(1_500_999), "1.500"),
            (Duration::from_micros(7), "0.007"),
            (Duration::new(86_400 * 365, 123_456_789), "31536000123.456"),
        ] {
            assert_eq!(Millis(duration).to_string(), shown);
            assert_eq!(format_line(&Millis(duration)), format!("{shown}\n"));
        }
    }

    #[test]
    fn times_have_microseconds() {
        for (nanos, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (999_999_999, "1970-01-01T00:00:00.999999Z"),
            (1_785_000_000_000_001_000, "2026-07-25T17:20:00.000001Z"),
        ] {
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            assert_eq!(Time(at).to_string(), shown);
            assert_eq!(format_line(&Time(at)), format!("\"{shown}\"\n"));
        }
    }
}
