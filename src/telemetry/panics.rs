//! What is said of a panic: where, never what. Its message may have been formatted from anything, a secret included.

use std::fmt;
use std::panic::PanicHookInfo;

/// One line for the operator.
pub struct PanicNotice<'a>(&'a PanicHookInfo<'a>);

impl<'a> PanicNotice<'a> {
    /// The notice of a panic, for the process's hook.
    pub fn from_hook_info(panic: &'a PanicHookInfo<'a>) -> Self {
        Self(panic)
    }
}

impl fmt::Display for PanicNotice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a thread");
        write!(f, "egressd: a bug: {name} panicked")?;
        if let Some(place) = self.0.location() {
            write!(f, " at {place}")?;
        }
        f.write_str(" (the message is left out: it may hold anything)")
    }
}
