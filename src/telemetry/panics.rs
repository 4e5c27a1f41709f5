//! The text that standard error gets about a panic if the problem log cannot write it. It names the
//! place and omits the message, which may have been formatted from any value, including a secret.

use std::panic::PanicHookInfo;

/// Returns the line about a panic, for the process's panic hook.
pub fn panic_notice(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a thread");
    let place = panic.location().map(|place| format!(" at {place}"));
    let place = place.unwrap_or_default();
    format!(
        "egressd: internal error, please report it: {name} panicked{place} (the message is omitted, because it could contain a secret)"
    )
}
