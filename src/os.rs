//! Small helpers for the operating system, used by several modules.

use std::io;

use rustix::io::Errno;
use rustix::process::setpriority_process;

/// The `nice` value of low-priority threads. Such a thread gets about a tenth of a core that a
/// worker also uses (sched(7): each step of `nice` is a factor of about 1.25).
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
    // Linux has a nice value for each thread (sched(7)), and a thread may always raise its own. If
    // the call fails, the thread runs at normal priority.
    let _unchanged = setpriority_process(None, LOW_PRIORITY);
}

/// Error: the system returned no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system returned no random bytes")]
pub struct RandomnessUnavailable;

/// Fills a slice with bytes of a cryptographic random generator, which is seeded by the system.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), RandomnessUnavailable> {
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(bytes).map_err(|_| RandomnessUnavailable)
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
