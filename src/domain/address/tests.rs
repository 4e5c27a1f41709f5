//! Ranges that are never dialled, and ranges that a connection can allow.

use super::{ForbiddenAddress, METADATA_ADDRESSES, check_address, never_range_kind};
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn public_addresses_pass() {
    for good in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.255",
    ] {
        assert_eq!(check_address(ip(good), &[]), Ok(()), "{good}");
    }
    for good in [
        "2606:4700::1111",
        "2a00::1",
        "2001:4860:4860::8888",
        "::ffff:1.1.1.1",
    ] {
        assert_eq!(check_address(ip(good), &[]), Ok(()), "{good}");
    }
}

#[test]
fn everything_else_is_forbidden() {
    for bad in [
        // F-77
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.1",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        // F-78
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        // F-79
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::10.0.0.1",
        "::1.1.1.1",
        "64:ff9b::a00:1",
        "64:ff9b::101:101",
        "64:ff9b:1::1",
        "2002:0a00:0001::1",
        "2002:101:101::1",
        "2001:0:1::1",
        "2001:0:ffff::",
        "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:10.0.0.1",
        "3fff::1",
        "4000::1",
    ] {
        assert!(check_address(ip(bad), &[]).is_err(), "{bad}");
    }
}

#[test]
fn allowed_cidrs_open_private_addresses_but_never_metadata() {
    let all = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    // F-93
    for opened in [
        "10.1.2.3",
        "127.0.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.1.2.3",
        "192.168.1.1",
        "100.64.0.1",
    ] {
        assert_eq!(check_address(ip(opened), &all), Ok(()), "{opened}");
    }
    for never in [
        // F-80
        "168.63.129.16",
        "100.100.100.200",
        "169.254.170.2",
        "169.254.169.254",
        "fd00:ec2::254",
        "192.0.0.192",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:0:0:0:0:5601:5601",
        "::169.254.169.254",
        "2606:4700::5efe:169.254.169.254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        assert!(
            matches!(
                check_address(ip(never), &all),
                Err(ForbiddenAddress::Never(_))
            ),
            "{never}"
        );
    }
    let only = ["10.20.0.0/16".parse().unwrap()];
    assert_eq!(check_address(ip("10.20.0.1"), &only), Ok(()));
    assert_eq!(check_address(ip("::ffff:10.20.0.1"), &only), Ok(()));
    assert!(check_address(ip("10.21.0.1"), &only).is_err());
    let mapped = ["::ffff:10.20.0.0/112".parse().unwrap()];
    assert_eq!(check_address(ip("10.20.0.1"), &mapped), Ok(()));
}

#[test]
fn no_allowed_cidr_opens_a_metadata_address_of_any_cloud() {
    // F-267
    let all = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    for more in [
        "fd00:42::42",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "100.96.0.96",
        "169.254.42.42",
        "fe80::a9fe:a9fe",
        "64:ff9b::6460:60",
        "::ffff:100.96.0.96",
    ] {
        assert!(
            matches!(
                check_address(ip(more), &all),
                Err(ForbiddenAddress::Never(_))
            ),
            "{more}"
        );
    }
    for listed in METADATA_ADDRESSES {
        let checked = check_address(*listed, &all);
        assert!(
            matches!(checked, Err(ForbiddenAddress::Never(_))),
            "{listed}"
        );
    }
    // Addresses next to them are ordinary private addresses.
    for beside in ["fd00:42::43", "100.96.0.97", "fd00:c1::1"] {
        assert_eq!(check_address(ip(beside), &all), Ok(()), "{beside}");
    }
}

#[test]
fn a_cidr_inside_the_metadata_ranges_is_detected() {
    for range in [
        "169.254.0.0/16",
        "169.254.169.254/32",
        "168.63.129.16/32",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd00:42::42/128",
        "100.96.0.96/32",
    ] {
        assert!(
            never_range_kind(&range.parse().unwrap()).is_some(),
            "{range}"
        );
    }
    for range in ["10.0.0.0/8", "0.0.0.0/0", "127.0.0.0/8", "fd00::/8"] {
        assert!(
            never_range_kind(&range.parse().unwrap()).is_none(),
            "{range}"
        );
    }
}
