//! The limits of one connection: bytes, seconds and concurrent requests; and the ceilings, which
//! are the largest limits that definitions may set. All their bounds and defaults are defined only
//! here.

use std::time::Duration;

use thiserror::Error;

/// Error: a number is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be a whole number from {min} to {max}")]
pub struct OutOfRange {
    /// The smallest valid value.
    pub min: u64,
    /// The largest valid value.
    pub max: u64,
}

fn check_range(value: u64, min: u64, max: u64) -> Result<u64, OutOfRange> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(OutOfRange { min, max })
    }
}

/// The most bytes that a response body may contain (`max_response_size_bytes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseCap(u64);

impl ResponseCap {
    /// The largest value that any setting permits: 1 GiB.
    pub const MAX: u64 = 1 << 30;
    /// The default, and the ceiling unless a setting changes it: 10 MiB.
    pub const DEFAULT: u64 = 10_485_760;

    /// Creates a cap from 1 byte to [`ResponseCap::MAX`].
    pub fn new(bytes: u64) -> Result<Self, OutOfRange> {
        check_range(bytes, 1, Self::MAX).map(Self)
    }

    /// Returns the cap in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Default for ResponseCap {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

/// The longest time for one exchange, up to the last byte of its body (`timeout_seconds`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    /// The largest value that any setting permits, in seconds.
    pub const MAX_SECONDS: u64 = 3600;
    /// The ceiling unless a setting changes it, in seconds.
    pub const CEILING_SECONDS: u64 = 300;
    /// The default, in seconds.
    pub const DEFAULT_SECONDS: u64 = 30;

    /// Creates a timeout from 1 to [`Timeout::MAX_SECONDS`].
    pub fn from_seconds(seconds: u64) -> Result<Self, OutOfRange> {
        check_range(seconds, 1, Self::MAX_SECONDS).map(|s| Self(Duration::from_secs(s)))
    }

    /// Returns the timeout as a duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(Self::DEFAULT_SECONDS))
    }
}

/// The most concurrent requests of one connection (`max_concurrent_requests`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyCap(u16);

impl ConcurrencyCap {
    /// The largest value.
    pub const MAX: u64 = 4096;
    /// The default.
    pub const DEFAULT: u16 = 64;

    /// Creates a cap from 1 to 4096 requests.
    pub fn new(requests: u64) -> Result<Self, OutOfRange> {
        let requests = check_range(requests, 1, Self::MAX)?;
        u16::try_from(requests).map(Self).map_err(|_| OutOfRange {
            min: 1,
            max: Self::MAX,
        })
    }

    /// Returns the cap as a number of requests.
    pub fn requests(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for ConcurrencyCap {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

/// All caps of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// `max_response_size_bytes`
    pub response: ResponseCap,
    /// `timeout_seconds`
    pub timeout: Timeout,
    /// `max_concurrent_requests`
    pub concurrency: ConcurrencyCap,
}

/// The largest limits that definitions may set (`limits` of the settings).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// `limits.max_response_size_bytes`
    pub response: ResponseCap,
    /// `limits.max_timeout_seconds`
    pub timeout: Timeout,
}

impl Ceilings {
    /// The highest ceilings that an operator can set.
    pub const MAX: Self = Self {
        response: ResponseCap(ResponseCap::MAX),
        timeout: Timeout(Duration::from_secs(Timeout::MAX_SECONDS)),
    };
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            response: ResponseCap::default(),
            timeout: Timeout(Duration::from_secs(Timeout::CEILING_SECONDS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ceilings, ConcurrencyCap, ResponseCap, Timeout};

    #[test]
    fn borders() {
        // F-12
        assert!(ResponseCap::new(0).is_err());
        assert!(ResponseCap::new(1).is_ok());
        assert!(ResponseCap::new(1_073_741_824).is_ok());
        assert!(ResponseCap::new(1_073_741_825).is_err());
        assert!(Timeout::from_seconds(0).is_err());
        assert!(Timeout::from_seconds(3600).is_ok());
        assert!(Timeout::from_seconds(3601).is_err());
        assert!(ConcurrencyCap::new(0).is_err());
        assert!(ConcurrencyCap::new(4096).is_ok());
        assert!(ConcurrencyCap::new(4097).is_err());
        let default = Ceilings::default();
        assert_eq!(ResponseCap::default(), default.response);
        assert_eq!(default.response.bytes(), 10_485_760);
        assert_eq!(default.timeout.duration().as_secs(), 300);
    }
}
