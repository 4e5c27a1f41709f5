//! What several modules need from the operating system.

use std::io;

use rustix::io::Errno;
use rustix::process::setpriority_process;

/// The `nice` value of threads with a lower priority. Beside a worker that wants the same core they
/// get a tenth.
const LOW_PRIORITY: i32 = 10;

/// Returns whether an error means that no descriptor or memory is left, in the process or in the
/// system. Such an error is not the fault of an upstream or of the configuration.
pub fn is_resource_exhausted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// Lowers the priority of the calling thread, so that the threads that serve agents come first.
pub fn lower_thread_priority() {
    // Linux keeps a priority for each thread (sched(7)), and each may lower its own. If that fails,
    // the thread works all the same.
    let _unchanged = setpriority_process(None, LOW_PRIORITY);
}

#[cfg(test)]
mod tests {
    use super::is_resource_exhausted;
    use std::io;

    #[test]
    fn only_errors_of_a_full_system_are_exhaustion() {
        // F-270
        for number in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS] {
            assert!(is_resource_exhausted(&io::Error::from_raw_os_error(number)));
        }
        for number in [
            libc::ENOENT,
            libc::EACCES,
            libc::ECONNREFUSED,
            libc::ENETUNREACH,
        ] {
            assert!(!is_resource_exhausted(&io::Error::from_raw_os_error(
                number
            )));
        }
        assert!(!is_resource_exhausted(&io::ErrorKind::UnexpectedEof.into()));
    }
}
