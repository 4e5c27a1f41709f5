//! Times of a document: RFC 3339.

use jiff::Timestamp;
use jiff::civil::DateTime;

/// The digits of a fraction that a time keeps.
const MAX_FRACTION: usize = 9;

/// Parses a time of RFC 3339. A time at the end of the year 9999 that `jiff` cannot represent
/// becomes the latest one that it can.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let (moment, rest) = text.split_at_checked(19)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("0", rest),
    };
    if !is_moment(moment) || fraction.is_empty() || !is_zone(zone) {
        return None;
    }
    let fraction = fraction.get(..MAX_FRACTION).unwrap_or(fraction);
    match format!("{moment}.{fraction}{zone}").parse() {
        Ok(time) => Some(time),
        // `Timestamp::MAX` is a day before the end of the year, so that every zone can show it.
        Err(_) if moment.starts_with("9999-12-3") => {
            moment.parse::<DateTime>().ok().map(|_| Timestamp::MAX)
        }
        Err(_) => None,
    }
}

/// Returns whether the text has the form `2026-11-28T10:00:00`.
fn is_moment(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00";
    text.len() == form.len()
        && form
            .iter()
            .zip(text.bytes())
            .all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte.eq_ignore_ascii_case(form),
            })
}

/// Returns whether the text is `Z`, or has the form `+01:00`.
fn is_zone(text: &str) -> bool {
    match text.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', hours @ .., b':', _, _] if hours.len() == 2 => {
            let (hours, minutes) = (text.get(1..3), text.get(4..6));
            let is_below = |part: Option<&str>, limit: u8| {
                part.filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|part| part.parse::<u8>().ok())
                    .is_some_and(|number| number < limit)
            };
            is_below(hours, 24) && is_below(minutes, 60)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_time;
    use jiff::Timestamp;

    #[test]
    fn times_have_the_form_of_rfc_3339() {
        // F-308
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01t00:00:01z", 1),
            ("1970-01-01T00:00:01.999Z", 1),
            ("1970-01-01T00:00:01.12345678901234567890Z", 1),
            ("1969-12-31T23:59:59Z", -1),
            ("2026-11-28T10:00:00Z", 1_795_860_000),
        ] {
            let time = parse_time(text).map(|time| time.as_nanosecond().div_euclid(1_000_000_000));
            assert_eq!(time, Some(seconds), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "1795860000",
            "2026-11-28",
            "2026-11-28T10:00:00",
            "2026-11-28 10:00:00Z",
            "2026-11-28T10:00Z",
            "2026-11-28T10:00:00.Z",
            "2026-11-28T10:00:00+0100",
            "2026-11-28T10:00:00+24:00",
            "2026-11-28T10:00:00+01:00[Europe/Paris]",
            "2026-13-28T10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2026-11-28T24:00:00Z",
            "2026-11-28T10:00:00Z ",
            "２026-11-28T10:00:00Z",
            "+002026-11-28T10:00:00Z",
            "9999-12-32T10:00:00Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_end_of_the_year_9999_is_the_latest_time() {
        // F-308
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T00:00:00-12:00"] {
            assert_eq!(parse_time(text), Some(Timestamp::MAX), "{text}");
        }
    }
}
