//! The scalars of proto-JSON: instants, 64-bit numbers, and the text that stands in a secret's place.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

const REDACTED: &str = "[redacted]";

/// Where a secret is. Holds nothing of it.
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
            .description(Some("A secret, which is never shown."))
            .into()
    }
}

impl ToSchema for Redacted {}

/// An instant: RFC 3339 in UTC, in whole milliseconds.
#[derive(Clone, Copy, ToSchema)]
#[schema(as = Time, value_type = String, format = DateTime)]
pub(super) struct ProtoTime(Timestamp);

/// What is shown of an instant. Filters and orders judge the same, so that what was read can be asked for.
pub(in crate::management) fn whole_milliseconds(instant: Timestamp) -> Timestamp {
    // Within the range, as it came from there.
    Timestamp::from_millisecond(instant.as_millisecond()).unwrap_or(instant)
}

/// An instant of the system's clock; `None` if it lies beyond the year 9999.
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

/// A 64-bit number, which proto-JSON writes as text.
#[derive(Clone, Copy, ToSchema)]
#[schema(value_type = String, format = "int64")]
pub(super) struct Int64(pub(super) u64);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
