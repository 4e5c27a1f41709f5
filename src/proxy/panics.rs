//! Turns a panic into the failure of one exchange. The worker continues to serve its other sockets.
//! The panic hook has logged the place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::code::RefusalCode;
use super::error::ExchangeError;
use super::refusal::Refusal;
use crate::telemetry::Metrics;

/// Polls the pipeline. A panic becomes a refusal.
pub(super) fn catch_in_pipeline<T>(
    metrics: &Metrics,
    poll: impl FnOnce() -> Poll<Result<T, Refusal>>,
) -> Poll<Result<T, Refusal>> {
    metrics.catch_panic(poll).unwrap_or_else(|| {
        Poll::Ready(Err(Refusal::new(
            RefusalCode::InternalError,
            "egressd failed on this request because of an internal error, which its log describes.",
        )))
    })
}

/// Polls the body of a response whose head was sent. A panic aborts the body.
pub(super) fn catch_in_body<T>(poll: impl FnOnce() -> T) -> Result<T, ExchangeError> {
    catch_unwind(AssertUnwindSafe(poll)).map_err(|_panic| ExchangeError::Panicked)
}
