//! Errors by which the system says that it has nothing left to give. They say nothing about what was
//! asked for: neither the upstream nor the configuration is at fault.

use std::io;

use rustix::io::Errno;

/// Whether an error means that there is no descriptor or memory left, in the process or in the system.
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
