//! Reads the addresses of listeners.

use std::net::SocketAddr;
use std::path::Path;

use super::ListenAddress;
use super::taken_addresses::{AddressSource, TakenAddresses};
use crate::config::field::Field;
use crate::config::object::Object;
use crate::config::redaction::quoted;

/// The default of a `listen` field, and the minimum number of its addresses.
pub(super) struct ListenField {
    /// The path of the field in the settings.
    setting: &'static str,
    /// The flag of the field. Empty if it has none.
    flag: &'static str,
    /// The default, or the example of a field that is required.
    default: &'static str,
    min: usize,
    is_required: bool,
}

pub(super) const PROXY: ListenField = ListenField {
    setting: "proxy.listen",
    flag: "--listen",
    default: "127.0.0.1:8080",
    min: 1,
    is_required: false,
};
/// `proxy.listen` beside `proxy.listeners`.
pub(super) const PROXY_BESIDE_LISTENERS: ListenField = ListenField { min: 0, ..PROXY };
/// `listen` of an item of `proxy.listeners`.
pub(super) const LISTENER: ListenField = ListenField {
    setting: "proxy.listeners[].listen",
    flag: "",
    default: "127.0.0.1:9001",
    min: 1,
    is_required: true,
};
pub(super) const MANAGEMENT: ListenField = ListenField {
    setting: "management.listen",
    flag: "--management-listen",
    default: "127.0.0.1:8081",
    min: 0,
    is_required: false,
};

/// Reads the addresses of a section, and adds them to `taken`. `admits` decides about each address,
/// and reports those that it rejects.
pub(super) fn read_listen<'a>(
    section: &Object<'a>,
    directory: &Path,
    ListenField {
        setting,
        flag,
        default,
        min,
        is_required,
    }: &ListenField,
    taken: &mut TakenAddresses<'a>,
    admits: impl Fn(&Field<'_>, &ListenAddress) -> bool,
) -> Option<Vec<ListenAddress>> {
    let Some(field) = section.take_field("listen") else {
        if *is_required {
            // Reported when the mapping was read.
            return None;
        }
        let address = ListenAddress::Tcp(default.parse().ok()?);
        let source = AddressSource::Default {
            setting,
            flag,
            can_be_empty: *min == 0,
        };
        return taken.add(&address, source).then(|| vec![address]);
    };
    let items = field.read_list()?;
    if items.len() < *min {
        let message = "contains no address, so no agent could connect";
        return field.reject("empty", message, format!("write `[{default}]`"));
    }
    let mut addresses: Vec<ListenAddress> = Vec::with_capacity(items.len());
    let mut is_whole = true;
    for item in items {
        let address = read_address(&item, directory);
        let Some(address) = address.filter(|address| admits(&item, address)) else {
            is_whole = false;
            continue;
        };
        is_whole &= taken.add(&address, AddressSource::Field(item));
        addresses.push(address);
    }
    is_whole.then_some(addresses)
}

/// Reports an address that other machines can reach. `setting` is advice on how to allow it.
pub(super) fn report_non_loopback(
    field: &Field<'_>,
    address: &ListenAddress,
    setting: Option<&str>,
) {
    let address = quoted(&address.to_string());
    let mut remedy = "listen on 127.0.0.1, [::1] or unix:/path".to_owned();
    if let Some(setting) = setting {
        remedy = format!("{remedy}, or {setting}");
    }
    let message = format!("{address} can be reached from other machines");
    field.report("non_loopback", message, remedy);
}

fn read_address(field: &Field<'_>, directory: &Path) -> Option<ListenAddress> {
    /// The longest path in bytes: `sun_path` has 108 bytes, the last of which is NUL (unix(7)).
    const MAX_PATH: usize = 107;
    let text = field.read_text()?;
    if let Some(path) = text.strip_prefix("unix:") {
        let whole = directory.join(path);
        // File modes protect a socket at a path. An abstract socket has none (unix(7)).
        if path.starts_with(['@', '\0']) {
            let message = format!(
                "{} is an abstract socket: it has no file mode, so every process on this machine could connect",
                quoted(text)
            );
            let remedy = "write the path of a file: `unix:/run/egressd/agent.sock`";
            return field.reject("invalid_address", message, remedy);
        }
        if !path.contains('\0') && !path.is_empty() && whole.as_os_str().len() <= MAX_PATH {
            return Some(ListenAddress::Unix(whole));
        }
        let length = if path.is_empty() {
            0
        } else {
            whole.as_os_str().len()
        };
        let message = format!(
            "{} is not the path of a socket: it must have 1 to {MAX_PATH} bytes, not {length}, and no NUL",
            quoted(&format!("unix:{}", whole.display()))
        );
        let remedy = "write `unix:/run/egressd/agent.sock`";
        return field.reject("invalid_address", message, remedy);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(ListenAddress::Tcp(address));
    }
    let message = format!("{} is not a valid address", quoted(text));
    let remedy = "write an IP address and a port, such as `127.0.0.1:8080`, or `unix:/path`";
    field.reject("invalid_address", message, remedy)
}
