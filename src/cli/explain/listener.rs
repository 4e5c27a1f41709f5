//! The listener that a request is explained for.

use std::path::Path;
use std::sync::Arc;

use crate::config::{ListenAddress, ProxySettings};
use crate::domain::ListenerScope;
use crate::proxy::Listener;

/// Returns the listener that `--listener` names. Without it, returns the one whose port is in the
/// URL of the request, and otherwise that of `proxy.listen`. The error is a sentence for the
/// operator.
pub(super) fn explained_listener(
    named: Option<&str>,
    target: &str,
    settings: &ProxySettings,
) -> Result<Listener, String> {
    let is_meant: Box<dyn Fn(&ListenAddress) -> bool> = match (named, url_port(target)) {
        (Some(text), _) => Box::new(|address| is_named(address, text)),
        (None, Some(port)) => Box::new(move |address| tcp_port(address) == Some(port)),
        (None, None) => Box::new(|_| false),
    };
    if settings.listen.iter().any(&is_meant) {
        return Ok(unscoped(settings));
    }
    let mut others = settings.listeners.iter();
    if let Some(found) = others.find(|listener| listener.addresses.iter().any(&is_meant)) {
        return Ok(listener(found.scope.clone(), &found.allowed_hosts));
    }
    let addresses = list_addresses(settings);
    match named {
        Some(_) => Err(format!(
            "no listener has this address; write one of {addresses}"
        )),
        None if settings.listen.is_empty() => Err(format!(
            "`proxy.listen` is empty; name a listener with `--listener`: {addresses}"
        )),
        None => Ok(unscoped(settings)),
    }
}

/// Returns a note for the operator if the URL of the request has a port that no listener has, so
/// that the request is explained as on `proxy.listen`. The port may be one that a container maps.
pub(super) fn unknown_port_note(target: &str, settings: &ProxySettings) -> Option<String> {
    let port = url_port(target)?;
    // Port 0 stands for any port.
    let may_be = |address| tcp_port(address).is_some_and(|own| own == port || own == 0);
    if settings.addresses().any(may_be) {
        return None;
    }
    let addresses = list_addresses(settings);
    Some(format!(
        "no listener has port {port}, so the request is explained as on `proxy.listen`; `--listener` names another one: {addresses}"
    ))
}

fn list_addresses(settings: &ProxySettings) -> String {
    let addresses = settings.addresses().map(|address| format!("`{address}`"));
    addresses.collect::<Vec<_>>().join(", ")
}

/// Returns the TCP port of an address. Port 0 is one that the system chooses.
pub(super) fn tcp_port(address: &ListenAddress) -> Option<u16> {
    match address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    }
}

/// Returns whether the operator's text is this address. A relative path of a socket is compared
/// with the end of the whole path.
fn is_named(address: &ListenAddress, text: &str) -> bool {
    match (address, text.strip_prefix("unix:")) {
        (ListenAddress::Unix(path), Some(named)) => {
            !named.is_empty() && path.ends_with(Path::new(named))
        }
        (ListenAddress::Tcp(address), None) => text.parse() == Ok(*address),
        (ListenAddress::Unix(_), None) | (ListenAddress::Tcp(_), Some(_)) => false,
    }
}

/// Returns the port of an `http://` URL, if it has one.
fn url_port(target: &str) -> Option<u16> {
    let rest = target.strip_prefix("http://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let port = authority.rsplit_once(':')?.1.parse().ok()?;
    (port != 0).then_some(port)
}

fn unscoped(settings: &ProxySettings) -> Listener {
    listener(ListenerScope::All, &settings.allowed_hosts)
}

fn listener(scope: ListenerScope, allowed_hosts: &[String]) -> Listener {
    Listener {
        // Shown only in access lines.
        address: Arc::from(""),
        scope,
        allowed_hosts: allowed_hosts.to_vec(),
        listings: Arc::default(),
    }
}
