//! Protects the memory of the process from being dumped or read.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Makes the memory of the process inaccessible: a crash writes no core file (`RLIMIT_CORE`), and
/// no other process of the same user can attach or read `/proc/PID/mem` and `/proc/PID/environ`
/// (prctl(2), `PR_SET_DUMPABLE`). Root still can.
pub(super) fn refuse_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        // The hard limit as well, so that the process cannot raise the limit again.
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn the_memory_of_the_process_cannot_be_dumped() {
        // F-203
        super::refuse_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    }
}
