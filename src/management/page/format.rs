//! Formats of numbers and times for people.

use std::time::Duration;

use jiff::Timestamp;

/// Formats a number as `1,234,567`.
pub(super) fn group_digits(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a number of bytes as `12.3 MiB`. Integers only: `u64::MAX` bytes are beyond the
/// precision of `f64`.
pub(super) fn byte_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // From 1023.5 on, a value is rounded to 1024, which is 1.0 of the next unit.
        if tenths < 10_235 {
            break;
        }
        tenths = (tenths + 512) / 1024;
        unit = larger;
    }
    if tenths >= 1000 {
        format!("{} {unit}", (tenths + 5) / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Formats a duration as `3 d 4 h`: the two largest units, without the second one if it is zero or,
/// from 10 days on, insignificant.
pub(super) fn rough_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 && days < 10 && hours % 24 > 0 => format!("{days} d {} h", hours % 24),
        () if days > 0 => format!("{days} d"),
        () if hours > 0 && minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        () if hours > 0 => format!("{hours} h"),
        () if minutes > 0 => format!("{minutes} min"),
        () => format!("{seconds} s"),
    }
}

/// Formats a time as `just now`, `3 min ago` or `in 3 min`.
pub(super) fn relative_time(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    let span = distance.unsigned_abs();
    match (span.as_secs(), distance.is_negative()) {
        (0, _) => "just now".to_owned(),
        (_, true) => format!("{} ago", rough_duration(span)),
        (_, false) => format!("in {}", rough_duration(span)),
    }
}

#[cfg(test)]
mod tests {
    use super::{byte_size, group_digits, relative_time, rough_duration};
    use jiff::Timestamp;
    use std::time::Duration;

    #[test]
    fn counts_and_bytes() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(group_digits(count), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            // Rounded up to the next unit.
            (1_048_575, "1.0 MiB"),
            (10 << 20, "10.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(byte_size(bytes), text);
        }
    }

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (3660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(rough_duration(Duration::from_secs(seconds)), text);
        }
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (second, text) in [
            (1_000_000, "just now"),
            (999_997, "3 s ago"),
            (1_000_120, "in 2 min"),
        ] {
            let at = Timestamp::from_second(second).unwrap();
            assert_eq!(relative_time(at, now), text);
        }
    }
}
