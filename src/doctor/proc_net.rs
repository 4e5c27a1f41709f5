//! The listeners of this network namespace, from `/proc/net`, which every process in the namespace
//! can read. Any of them may be the management API.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::probe_client::ProbeTarget;

/// The most listeners that are queried. A pod usually has fewer than ten.
const MAX_TARGETS: usize = 100;

/// Returns the listeners. The flag is `true` if the list is complete.
pub(super) fn listening_targets(folder: &Path) -> (Vec<ProbeTarget>, bool) {
    let mut found: Vec<ProbeTarget> = Vec::new();
    let mut all = true;
    let mut read = |name| {
        fs::read(folder.join(name)).unwrap_or_else(|error| {
            // A kernel without IPv6 has no `tcp6`. A missing `tcp` means that `/proc` is hidden:
            // every kernel with a network has IPv4.
            all &= error.kind() == ErrorKind::NotFound && name != "tcp";
            Vec::new()
        })
    };
    // IPv6 listeners, and those that accept both families, are in `tcp6`.
    let (four, six, unix) = (read("tcp"), read("tcp6"), read("unix"));
    let tcp = [four, six];
    let tcp = tcp
        .iter()
        .flat_map(|table| table_lines(table).filter_map(parse_tcp_line))
        .flat_map(ProbeTarget::listener_targets);
    for target in tcp.chain(table_lines(&unix).filter_map(unix_target)) {
        if !found.contains(&target) {
            found.push(target);
        }
    }
    all &= found.len() <= MAX_TARGETS;
    found.truncate(MAX_TARGETS);
    (found, all)
}

fn table_lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|b| *b == b'\n')
}

/// Parses `sl local_address rem_address st …`. Addresses are hexadecimal words in the byte order of
/// the machine, and state 0A is a listening socket (proc_pid_net(5)).
fn parse_tcp_line(line: &[u8]) -> Option<SocketAddr> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = std::str::from_utf8(word).ok()?;
        octets.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
    }
    let ip: IpAddr = match octets.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
    };
    (state == "0A").then(|| SocketAddr::new(ip, port))
}

/// Returns the names of the listening abstract sockets as `/proc/net/unix` shows them: `@name`,
/// with every zero byte as `@`.
pub(super) fn abstract_names(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table_lines(table).filter_map(|line| listening_name(line, b'@'))
}

/// Returns a listening socket with a path. egressd has no abstract sockets, so those are left out.
fn unix_target(line: &[u8]) -> Option<ProbeTarget> {
    let path = listening_name(line, b'/')?;
    Some(ProbeTarget::Unix(PathBuf::from(OsStr::from_bytes(path))))
}

/// Parses `Num RefCount Protocol Flags Type St Inode Path`. The flag 0x10000 marks a listening
/// socket and type 0001 a stream. Returns the path of a listening stream socket if it begins with
/// the prefix.
fn listening_name(line: &[u8], prefix: u8) -> Option<&[u8]> {
    let start = memchr::memchr(prefix, line)?;
    let (columns, path) = line.split_at_checked(start)?;
    let mut words = std::str::from_utf8(columns).ok()?.split_ascii_whitespace();
    let (flags, kind) = (words.nth(3)?, words.next()?);
    let listens = u32::from_str_radix(flags, 16).ok()? & 0x10000 != 0 && kind == "0001";
    // Exactly the state and the inode must follow: a slash may also be part of an abstract name.
    let named = words.nth(1).is_some() && words.next().is_none();
    (listens && named).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::{Path, ProbeTarget, fs, listening_targets};

    #[test]
    fn listeners_of_this_network_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.sock");
        let _unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.3:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let (found, all) = listening_targets(Path::new("/proc/self/net"));
        assert!(
            !all || found.contains(&ProbeTarget::Tcp(address)),
            "{found:?}"
        );
        assert!(
            !all || found.contains(&ProbeTarget::Unix(path)),
            "{found:?}"
        );
    }

    #[test]
    fn what_does_not_listen_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let one = u32::from_ne_bytes([127, 0, 0, 1]);
        let two = u32::from_ne_bytes([127, 0, 0, 2]);
        let four = format!(
            "  sl  local_address rem_address   st\n   0: {one:08X}:1F91 00000000:0000 0A 0\n   1: 00000000:1F91 00000000:0000 0A 0\n   2: {two:08X}:1F91 {one:08X}:FFFF 01 0\n"
        );
        fs::write(at("tcp"), four).unwrap();
        let last = u32::from_ne_bytes([0, 0, 0, 1]);
        let six = format!(
            "   0: {:024}{last:08X}:1F91 {:032}:0000 0A 0\nnonsense\n",
            0, 0
        );
        fs::write(at("tcp6"), six).unwrap();
        let unix = "0000: 00000002 00000000 00010000 0001 01 7 /run/a b.sock\n0000: 00000002 00000000 00010000 0001 01 7 @x /y\n\
                    0000: 00000003 00000000 00000000 0001 03 8 /run/connected\n0000: 00000002 00000000 00010000 0005 01 9 /run/packets\n0000: 2 0 0 1 3 9\n";
        fs::write(at("unix"), unix).unwrap();
        let (found, all) = listening_targets(folder.path());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["127.0.0.1:8081", "[::1]:8081", "unix:/run/a b.sock"]
        );
        assert!(all);
    }

    #[test]
    fn more_listeners_than_the_limit_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = String::new();
        for port in 1..=101 {
            writeln!(table, "0: 0100007F:{port:04X} 00000000:0000 0A").unwrap();
        }
        fs::write(folder.path().join("tcp"), table).unwrap();
        let (found, all) = listening_targets(folder.path());
        assert_eq!((found.len(), all), (100, false));
        assert_eq!(
            listening_targets(Path::new("/nowhere")),
            (Vec::new(), false)
        );
    }
}
