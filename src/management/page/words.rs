//! Numbers and times as people read them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// `1,234,567`
pub(super) struct Count(pub(super) u64);

/// `12.3 MiB`
pub(super) struct Bytes(pub(super) u64);

/// `3 d 4 h`: the two largest units, the second one only where it says something.
pub(super) struct Span(pub(super) Duration);

/// `just now`, `3 min ago`, `in 3 min`
pub(super) struct Relative {
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut tenths = u128::from(self.0) * 10;
        let mut unit = "B";
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if tenths < 10_235 {
                break;
            }
            tenths = (tenths + 512) / 1024;
            unit = larger;
        }
        if tenths >= 1000 {
            write!(f, "{} {unit}", (tenths + 5) / 10)
        } else {
            write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match () {
            () if days > 0 && days < 10 && hours % 24 > 0 => {
                write!(f, "{days} d {} h", hours % 24)
            }
            () if days > 0 => write!(f, "{days} d"),
            () if hours > 0 && minutes % 60 > 0 => write!(f, "{hours} h {} min", minutes % 60),
            () if hours > 0 => write!(f, "{hours} h"),
            () if minutes > 0 => write!(f, "{minutes} min"),
            () => write!(f, "{seconds} s"),
        }
    }
}

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let away = self.at.duration_since(self.now);
        let span = Span(away.unsigned_abs());
        match (span.0.as_secs(), away.is_negative()) {
            (0, _) => f.write_str("just now"),
            (_, true) => write!(f, "{span} ago"),
            (_, false) => write!(f, "in {span}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Count, Relative, Span};
    use jiff::Timestamp;
    use std::time::Duration;

    #[test]
    fn counts_and_bytes() {
        for (count, said) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(Count(count).to_string(), said);
        }
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1.0 MiB"),
            (10 << 20, "10.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), said);
        }
    }

    #[test]
    fn times() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (3660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), said);
        }
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (second, said) in [
            (1_000_000, "just now"),
            (999_997, "3 s ago"),
            (1_000_120, "in 2 min"),
        ] {
            let at = Timestamp::from_second(second).unwrap();
            assert_eq!(Relative { at, now }.to_string(), said);
        }
    }
}
