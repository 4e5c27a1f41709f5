//! The scalars of proto-JSON: times and 64-bit numbers. Also the text in place of a secret.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

const REDACTED: &str = "[redacted]";

/// The text in place of a secret. Contains nothing of the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Redacted;

impl Serialize for Redacted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl PartialSchema for Redacted {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([REDACTED]))
            .description(Some("The text in place of a secret, which is never shown."))
            .into()
    }
}

impl ToSchema for Redacted {}

/// A time: RFC 3339 in UTC, with milliseconds unless they are zero.
#[derive(Clone, Copy, ToSchema)]
#[schema(as = Time, value_type = String, format = DateTime)]
pub(super) struct ProtoTime(Timestamp);

/// Truncates a time to milliseconds, as the API shows it. Filters and orders use the truncated time
/// too, so a filter for a time that was read finds the record.
pub(in crate::management) fn whole_milliseconds(instant: Timestamp) -> Timestamp {
    // The time came from a valid `Timestamp`, so it is in range.
    Timestamp::from_millisecond(instant.as_millisecond()).unwrap_or(instant)
}

/// Converts a time of the system's clock. Returns `None` after the year 9999.
pub(in crate::management) fn to_timestamp(at: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(at).ok()
}

impl From<Timestamp> for ProtoTime {
    fn from(instant: Timestamp) -> Self {
        Self(whole_milliseconds(instant))
    }
}

impl fmt::Display for ProtoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Proto-JSON has 0, 3, 6 or 9 digits after the point.
        if self.0.subsec_nanosecond() == 0 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:.3}", self.0)
        }
    }
}

impl Serialize for ProtoTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A 64-bit number, written as a string (proto-JSON), because JavaScript numbers are exact only up
/// to 2^53.
#[derive(Clone, Copy, ToSchema)]
#[schema(value_type = String, format = "int64")]
pub(super) struct Int64(pub(super) u64);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
