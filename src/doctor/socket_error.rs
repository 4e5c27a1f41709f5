//! The meaning of socket errors: they show that a path is closed, or nothing about the path.

use std::io;

use rustix::io::Errno;

use crate::probe_client::printable;

/// The errors of a closed path, and their descriptions. A firewall may also answer with a refusal.
/// Other errors, such as a lack of descriptors, are about this process and show nothing about the
/// path.
const CLOSED_ERRORS: &[(Errno, &str)] = &[
    (Errno::CONNREFUSED, "refused"),
    (Errno::CONNRESET, "reset"),
    (Errno::CONNABORTED, "reset"),
    (Errno::NETUNREACH, "no route"),
    (Errno::HOSTUNREACH, "no route"),
    (Errno::NETDOWN, "no route"),
    // The error of a route of type `blackhole` (ip-route(8)); the arguments of the call are valid.
    (Errno::INVAL, "no route"),
    (Errno::ACCESS, "forbidden by a rule of this machine"),
    (Errno::PERM, "forbidden by a rule of this machine"),
    (Errno::TIMEDOUT, "no answer"),
    (Errno::ADDRNOTAVAIL, "no address of this family here"),
    (Errno::AFNOSUPPORT, "no address of this family here"),
];

/// Returns the description of an error if it shows that the path is closed.
pub(super) fn closed_reason(error: &io::Error) -> Option<&'static str> {
    let number = Errno::from_io_error(error);
    let row = CLOSED_ERRORS
        .iter()
        .find(|(closed, _)| Some(*closed) == number);
    row.map(|(_, description)| *description)
}

/// Returns the message of an error without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(words, _)| words);
    printable(words)
}
