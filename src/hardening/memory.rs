//! Images of the process's memory.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Nobody gets an image of this process's memory: a crash leaves no core file (`RLIMIT_CORE`), and of the same user's processes none may attach to it or read its
/// `/proc/PID/mem` and `/proc/PID/environ` (prctl(2), `PR_SET_DUMPABLE`; root may).
pub(super) fn refuse_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
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
