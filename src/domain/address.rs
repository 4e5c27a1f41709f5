//! Decides which addresses may be dialled. This is the pure part of the address guard; `upstream`
//! resolves names and dials.
//!
//! Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its successors),
//! and the metadata addresses that cloud providers document. An IPv4 address inside an IPv6 address
//! is checked by the IPv4 rules if the system would dial it as IPv4 (v4-mapped). It is forbidden if
//! a gateway would translate it (NAT64, 6to4, Teredo, ISATAP, v4-compatible).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

/// The reason why an address must not be dialled. The message names the kind and never the address,
/// because an agent may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ForbiddenAddress {
    /// The address is not globally routable. `allowed_private_cidrs` can allow it.
    #[error("{0}")]
    NotGlobal(&'static str),
    /// The address is link-local, cloud metadata, multicast or unspecified. Nothing can allow it.
    #[error("{0}")]
    Never(&'static str),
}

/// The addresses at which clouds serve credentials to any local process, each with its source. None
/// of them is dialled, whatever `allowed_private_cidrs` contains. `doctor` checks if the agent can
/// reach them.
///
/// OpenStack's `fe80::a9fe:a9fe` is not in the list: it is link-local, so it is never dialled
/// anyway, and it cannot be reached without naming an interface.
pub const METADATA_ADDRESSES: &[IpAddr] = &[
    // AWS, Azure, GCP, OCI, IBM Cloud, DigitalOcean, Hetzner, Exoscale, Vultr, OpenStack
    // (docs.openstack.org/nova: "Metadata service")
    v4([169, 254, 169, 254]),
    // AWS ECS (docs.aws.amazon.com: "Amazon ECS task IAM role")
    v4([169, 254, 170, 2]),
    // AWS EKS Pod Identity (docs.aws.amazon.com: "EKS Pod Identity Agent")
    v4([169, 254, 170, 23]),
    // Tencent Cloud, metadata.tencentyun.com (tencentcloud.com: "Querying Instance Metadata")
    v4([169, 254, 0, 23]),
    // Scaleway (docs.cloud-init.io: datasource "Scaleway")
    v4([169, 254, 42, 42]),
    // Azure's wire server (learn.microsoft.com: "What is IP address 168.63.129.16?")
    v4([168, 63, 129, 16]),
    // Alibaba Cloud (alibabacloud.com: "Instance metadata"; cloud-init datasource "AliYun")
    v4([100, 100, 100, 200]),
    // Volcano Engine and BytePlus (volcengine/cello: credentialServerAddress)
    v4([100, 96, 0, 96]),
    // Oracle Cloud Classic (docs.oracle.com: "Retrieving Instance Metadata")
    v4([192, 0, 0, 192]),
    // AWS (docs.aws.amazon.com: "Access instance metadata for an EC2 instance")
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
    // AWS EKS Pod Identity
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
    // GCP (cloud.google.com: "About VM metadata")
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    // OCI (oracle-samples and cloud-init datasource "Oracle": IPV6_METADATA_ROOT)
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
    // Scaleway (docs.cloud-init.io: datasource "Scaleway")
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
    // Akamai, formerly Linode (docs.cloud-init.io: datasource "Akamai")
    v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]),
    // Alibaba Cloud over IPv6 (alibabacloud.com: "Instance metadata")
    v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200]),
];

const fn v4([a, b, c, d]: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

type RangeV4 = ([u8; 4], u8, &'static str);

const NEVER_V4: &[RangeV4] = &[
    ([169, 254, 0, 0], 16, "link-local"),
    ([0, 0, 0, 0], 8, "unspecified"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
];

const NOT_GLOBAL_V4: &[RangeV4] = &[
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared (carrier-grade NAT)"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([240, 0, 0, 0], 4, "reserved"),
];

type RangeV6 = ([u16; 8], u8, &'static str);

const NEVER_V6: &[RangeV6] = &[
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
];

const NOT_GLOBAL_V6: &[RangeV6] = &[
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 32, "NAT64"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
];

impl ForbiddenAddress {
    /// Returns the kind of the address, such as `private`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::NotGlobal(kind) | Self::Never(kind) => kind,
        }
    }
}

/// Checks that a connection with these allowed CIDRs may dial this address.
pub fn check_address(address: IpAddr, allowed_cidrs: &[IpNet]) -> Result<(), ForbiddenAddress> {
    // The system dials a v4-mapped address (`::ffff:a.b.c.d`) as IPv4, so the IPv4 rules apply.
    let address = address.to_canonical();
    if let Some(kind) = never_kind(address) {
        return Err(ForbiddenAddress::Never(kind));
    }
    match not_global_kind(address) {
        Some(kind)
            if !allowed_cidrs
                .iter()
                .any(|range| range_covers(range, address)) =>
        {
            Err(ForbiddenAddress::NotGlobal(kind))
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns the kind of the range if none of its addresses is ever dialled. Allowing such a range is
/// a mistake.
pub fn never_range_kind(range: &IpNet) -> Option<&'static str> {
    let (first, last) = (
        range.network().to_canonical(),
        range.broadcast().to_canonical(),
    );
    match (never_kind(first), never_kind(last)) {
        (Some(kind), Some(other)) if kind == other => Some(kind),
        (Some(_) | None, Some(_) | None) => None,
    }
}

fn range_covers(range: &IpNet, address: IpAddr) -> bool {
    if range.contains(&address) {
        return true;
    }
    let IpAddr::V4(v4) = address else {
        return false;
    };
    // The operator may have written the range in its v4-mapped form.
    range.contains(&IpAddr::V6(v4.to_ipv6_mapped()))
}

fn never_kind(address: IpAddr) -> Option<&'static str> {
    let by_range = match address {
        IpAddr::V4(v4) => kind_of_v4(v4, NEVER_V4),
        IpAddr::V6(v6) => kind_of_v6(v6, NEVER_V6)
            .or_else(|| embedded_ipv4(v6).and_then(|v4| never_kind(v4.into()))),
    };
    by_range.or_else(|| {
        METADATA_ADDRESSES
            .contains(&address)
            .then_some("cloud metadata")
    })
}

fn not_global_kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => kind_of_v4(v4, NOT_GLOBAL_V4),
        IpAddr::V6(v6) => {
            let [first, .., a, b, _, _] = v6.segments();
            // Only 2000::/3 is assigned for global unicast (RFC 4291 §2.4, IANA's registry).
            kind_of_v6(v6, NOT_GLOBAL_V6)
                .or((first & 0xe000 != 0x2000).then_some("not globally routable"))
                .or((matches!(a, 0 | 0x200) && b == 0x5efe).then_some("ISATAP"))
        }
    }
}

/// Returns the IPv4 address that a gateway would extract from this one.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let last = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(last),
        [0x64, 0xff9b, ..] => Some(last),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        // Teredo inverts the bits of the client's address (RFC 4380 §4).
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!u32::from(last))),
        // The interface identifiers of ISATAP (RFC 5214 §6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe] => Some(last),
        _ => None,
    }
}

fn kind_of_v4(address: Ipv4Addr, ranges: &[RangeV4]) -> Option<&'static str> {
    let within = |&&(base, bits, _): &&RangeV4| {
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        u32::from(address) & mask == u32::from(Ipv4Addr::from(base))
    };
    ranges.iter().find(within).map(|range| range.2)
}

fn kind_of_v6(address: Ipv6Addr, ranges: &[RangeV6]) -> Option<&'static str> {
    let within = |&&(base, bits, _): &&RangeV6| {
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        u128::from(address) & mask == u128::from(Ipv6Addr::from(base))
    };
    ranges.iter().find(within).map(|range| range.2)
}

#[cfg(test)]
mod tests;
