//! Reads the URLs of upstreams and token endpoints, and checks them against the addresses that a
//! connection may dial.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::field::Field;
use super::placeholders::first_placeholder;
use super::redaction;
use crate::domain::address::{ForbiddenAddress, check_address};
use crate::domain::url::InvalidUrl;
use crate::domain::{BaseUrl, Host, TokenUrl};

pub(super) fn read_base_url(field: &Field<'_>) -> Option<BaseUrl> {
    let text = read_filled(field)?;
    BaseUrl::parse(text)
        .map_err(|invalid| report_invalid_url(field, text, invalid))
        .ok()
}

/// Reads the URL of an endpoint, which may have a query.
pub(super) fn read_https_url(field: &Field<'_>) -> Option<TokenUrl> {
    let text = read_filled(field)?;
    TokenUrl::parse(text)
        .map_err(|invalid| report_invalid_url(field, text, invalid))
        .ok()
}

/// Reads a text without placeholders, which only connectors may have.
pub(super) fn read_filled<'a>(field: &Field<'a>) -> Option<&'a str> {
    let text = field.read_text()?;
    let Some(name) = first_placeholder(text) else {
        return Some(text);
    };
    let message = format!("contains the placeholder `{{{name}}}`, and no value for it");
    let remedy = format!("write the value instead of `{{{name}}}`");
    field.reject("open_placeholder", message, remedy)
}

/// Reports an unusable URL. One that may hold a password or a key is not shown.
fn report_invalid_url(field: &Field<'_>, text: &str, invalid: InvalidUrl) {
    let port = text.rsplit(':').next().unwrap_or_default();
    // In `https://user:password` the part after the colon is taken for a port.
    let password = invalid == InvalidUrl::Port && !port.bytes().all(|b| b.is_ascii_digit());
    let mut field = field.clone();
    field.secret |= password || text.contains(['@', '?', '#']);
    let name = match field.secret {
        true => "the URL".to_owned(),
        false => redaction::shown_or(text, "the URL"),
    };
    // Five digits are a port; more digits may be a password.
    let number = port.parse::<u32>().ok().filter(|_| port.len() <= 5);
    let is_out_of_range = number.is_some_and(|number| !(1..=65_535).contains(&number));
    let message = if invalid == InvalidUrl::Port && is_out_of_range {
        format!("{name} has a port that is not from 1 to 65535: `{port}`")
    } else {
        format!("{name} {invalid}")
    };
    field.report("invalid_url", message, invalid.remedy());
}

/// Checks that a literal address is one that the connection may dial. `allowed_cidrs` is `None` if
/// the ranges are invalid, which is reported already; then the check is skipped.
pub(super) fn check_reachable(
    field: &Field<'_>,
    host: &Host,
    allowed_cidrs: Option<&[IpNet]>,
) -> Option<()> {
    let Some(allowed_cidrs) = allowed_cidrs else {
        return Some(());
    };
    let address = match host {
        Host::Ip(address) => address,
        Host::Name(name) => {
            warn_of_loopback(field, name, allowed_cidrs);
            return Some(());
        }
    };
    match check_address(*address, allowed_cidrs) {
        Ok(()) => Some(()),
        Err(ForbiddenAddress::NotGlobal(kind)) => {
            let remedy = format!(
                "write a public host name, or add `{}` to `allowed_private_cidrs`",
                IpNet::from(*address)
            );
            let message = format!("`{address}` is not public ({kind})");
            field.reject("forbidden_address", message, remedy)
        }
        Err(ForbiddenAddress::Never(kind)) => {
            let message = format!("`{address}` may never be dialled ({kind})");
            let remedy = "write a public host name or address";
            field.reject("forbidden_address", message, remedy)
        }
    }
}

/// Warns about a host name of this machine itself if the connection may not dial loopback
/// addresses.
fn warn_of_loopback(field: &Field<'_>, name: &str, allowed_cidrs: &[IpNet]) {
    const NAMES: [&str; 4] = [
        "localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "ip6-loopback",
    ];
    let loopback = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ];
    // RFC 6761, section 6.3: all names below `localhost` resolve to loopback addresses too.
    let is_local = NAMES.contains(&name) || name.ends_with(".localhost");
    let may_dial = loopback
        .iter()
        .any(|address| check_address(*address, allowed_cidrs).is_ok());
    if is_local && !may_dial {
        let message = "is a name of this machine, which this connection may not dial, so every request would be refused";
        let remedy = "write the name of the API, or add `127.0.0.1/32` or `::1/128` to `allowed_private_cidrs`";
        field.warn("loopback_name", message, remedy);
    }
}
