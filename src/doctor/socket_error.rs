//! What an error of a socket says about the way that was tried.

use std::io;

use rustix::io::Errno;

use crate::probe_client::printable;

/// What a way that does not open looks like. A refusal is what a firewall gives, too; whatever is not here says nothing about the way.
const CLOSED_ERRORS: &[(Errno, &str)] = &[
    (Errno::CONNREFUSED, "refused"),
    (Errno::CONNRESET, "reset"),
    (Errno::CONNABORTED, "reset"),
    (Errno::NETUNREACH, "no route"),
    (Errno::HOSTUNREACH, "no route"),
    (Errno::NETDOWN, "no route"),
    // A route of type `blackhole`; there is nothing invalid in what we ask for.
    (Errno::INVAL, "no route"),
    (Errno::ACCESS, "forbidden by a rule of this machine"),
    (Errno::PERM, "forbidden by a rule of this machine"),
    (Errno::TIMEDOUT, "no answer"),
    (Errno::ADDRNOTAVAIL, "no address of this family here"),
    (Errno::AFNOSUPPORT, "no address of this family here"),
];

/// Returns why a way is closed, if an attempt that failed like this shows that it is.
pub(super) fn closed_reason(error: &io::Error) -> Option<&'static str> {
    let number = Errno::from_io_error(error);
    let row = CLOSED_ERRORS
        .iter()
        .find(|(closed_reason, _)| Some(*closed_reason) == number);
    row.map(|(_, seen)| *seen)
}

/// In words, without the number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(words, _)| words);
    printable(words)
}
