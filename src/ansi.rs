//! ANSI escape sequences (ECMA-48) for the colours of reports.
//!
//! Reports always contain them; `main.rs` removes them if the stream is not a terminal or
//! `NO_COLOR` is set.

/// Bold text.
pub(crate) const BOLD: &str = "\x1b[1m";
/// Faint text.
#[cfg(feature = "demo")]
pub(crate) const DIM: &str = "\x1b[2m";
/// Bold text in light green.
pub(crate) const GREEN: &str = "\x1b[1m\x1b[92m";
/// Bold text in light red.
pub(crate) const RED: &str = "\x1b[1m\x1b[91m";
/// Bold text in light yellow.
pub(crate) const YELLOW: &str = "\x1b[1m\x1b[93m";
/// Bold text in light cyan.
pub(crate) const CYAN: &str = "\x1b[1m\x1b[96m";
/// The end of every style.
pub(crate) const PLAIN: &str = "\x1b[0m";
