//! Errors that mean that the system has no descriptor or memory left. They are not the fault of the
//! upstream or of the configuration.

use std::io;

use rustix::io::Errno;

/// Returns whether an error means that no descriptor or memory is left, in the process or in the
/// system.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

#[cfg(test)]
mod tests {
    use super::is_shortage;
    use std::io;

    #[test]
    fn only_what_the_system_lacks_is_a_shortage() {
        // F-270
        for number in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS] {
            assert!(is_shortage(&io::Error::from_raw_os_error(number)));
        }
        for number in [
            libc::ENOENT,
            libc::EACCES,
            libc::ECONNREFUSED,
            libc::ENETUNREACH,
        ] {
            assert!(!is_shortage(&io::Error::from_raw_os_error(number)));
        }
        assert!(!is_shortage(&io::ErrorKind::UnexpectedEof.into()));
    }
}
