//! The body of a request to `/mcp`: one message, which is held whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;

use crate::clock::MonotonicTime;
use crate::proxy::agent_body::AgentBody;
use crate::proxy::body_budget::{BudgetShare, HeldBody};
use crate::proxy::code::RefusalCode;
use crate::proxy::error::{AgentFault, BodyCap, CapReason};
use crate::proxy::exchange::Exchange;
use crate::proxy::refusal::Refusal;
use crate::server::{RequestBody, SocketTimers};

/// The time that a whole message may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most values that a message may have. A parsed value takes 32 bytes or more, and two bytes of
/// text can be one value, so a limit of the bytes alone would not limit the memory.
const MAX_VALUES: usize = 32 * 1024;

/// Reads a message, which is charged to the share until its last bytes are dropped.
pub(super) async fn read_message(
    incoming: RequestBody,
    body_cap: u64,
    share: &Arc<BudgetShare>,
    exchange: &mut Exchange,
    timers: &Arc<SocketTimers>,
) -> Result<Bytes, Refusal> {
    let cap = BodyCap::for_held_body(body_cap, CapReason::McpMessage);
    let declared = incoming.size_hint().exact();
    if declared.is_some_and(|length| length > cap.bytes) {
        return Err(AgentFault::TooLarge { cap, declared }.into());
    }
    timers.limit_exchange(MonotonicTime::now().saturating_add(TIMEOUT));
    let state = exchange.request.track_agent_body();
    let mut body = AgentBody::new(incoming, cap, TIMEOUT, Arc::clone(timers), state);
    // At most `MAX_SHARE`, so the conversion cannot fail.
    let most = usize::try_from(cap.bytes).unwrap_or(usize::MAX);
    let mut held = HeldBody::new(share)?;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame {
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    held.push(&data, most)?;
                }
            }
            Err(AgentFault::DeadlineExceeded(_)) => return Err(too_slow()),
            Err(fault) => return Err(fault.into()),
        }
    }
    timers.lift_exchange_limit();
    let message = held.freeze();
    if count_values(&message) > MAX_VALUES {
        return Err(too_many_values());
    }
    Ok(message)
}

/// Counts the values of a JSON text, or more: each comma, colon and opening bracket outside of
/// strings begins at most one.
fn count_values(text: &[u8]) -> usize {
    let (mut count, mut is_in_string, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b',' | b':' | b'[' | b'{' if !is_in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cold]
fn too_slow() -> Refusal {
    Refusal::new(
        RefusalCode::RequestTimeout,
        format!(
            "The message was not complete within {} s.",
            TIMEOUT.as_secs()
        ),
    )
}

#[cold]
fn too_many_values() -> Refusal {
    Refusal::new(
        RefusalCode::RequestTooLarge,
        format!(
            "The message has more than {MAX_VALUES} JSON values. Send a large body as a string."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::count_values;

    #[test]
    fn values_in_strings_are_not_counted() {
        for (text, count) in [
            ("1", 0),
            ("[1,2,3]", 3),
            (r#"{"a":[],"b":{"c":1}}"#, 7),
            (r#"["a,b:[{","\"[[[",1]"#, 3),
            (r#"["\\",[[]]]"#, 4),
        ] {
            assert_eq!(count_values(text.as_bytes()), count, "{text}");
        }
    }
}
