//! Tests of the addresses of listeners: which are local, and which clash.

use super::ListenAddress;

fn listen(text: &str) -> ListenAddress {
    match text.strip_prefix("unix:") {
        Some(path) => ListenAddress::Unix(path.into()),
        None => ListenAddress::Tcp(text.parse().unwrap()),
    }
}

#[test]
fn local_addresses() {
    for local in [
        "127.0.0.1:1",
        "127.8.8.8:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
        "unix:/a",
    ] {
        assert!(listen(local).is_local(), "{local}");
    }
    for open in [
        "0.0.0.0:1",
        "[::]:1",
        "10.0.0.1:1",
        "[fd00::1]:1",
        "[::ffff:10.0.0.1]:1",
    ] {
        assert!(!listen(open).is_local(), "{open}");
    }
}

#[test]
fn clashing_addresses() {
    for (one, other, clash) in [
        ("127.0.0.1:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "127.0.0.1:2", false),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("[::1]:1", "[::]:1", true),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("unix:/a", "unix:/a", true),
        ("unix:/a", "unix:/b", false),
        ("unix:/a", "127.0.0.1:1", false),
    ] {
        assert_eq!(
            listen(one).clashes_with(&listen(other)),
            clash,
            "{one} {other}"
        );
        assert_eq!(
            listen(other).clashes_with(&listen(one)),
            clash,
            "{other} {one}"
        );
    }
    assert_eq!(listen("unix:/a").to_string(), "unix:/a");
}
