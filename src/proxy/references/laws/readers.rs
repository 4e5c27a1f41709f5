//! How agents read the fields with references. Few of them parse: they split texts and search for
//! patterns. The fuzz target `references` uses this file, too.

use url::{Host, Url};

/// Returns the texts that an agent may take for the target of a link. `value` is the whole list.
pub(crate) fn targets(value: &str) -> Vec<String> {
    let mut targets = Vec::new();
    // requests (Python) splits before `<`; scripts split at each comma.
    let members = value.split(", <").chain(value.split(",<"));
    for member in members.chain(value.split(',')) {
        let target = member.split([';', '>']).next().unwrap_or_default();
        targets.push(target.trim().to_owned());
        targets.push(target.trim_matches(['<', '>', ' ', '\'', '"']).to_owned());
    }
    // PyGithub removes the first and the last character.
    for member in value.split(", ") {
        let mut target = member.split("; ").next().unwrap_or_default().chars();
        target.next();
        target.next_back();
        targets.push(target.collect());
    }
    // Octokit and many scripts search with a regular expression. Some match too much.
    for (start, _) in value.match_indices('<') {
        let rest = value.split_at(start + 1).1;
        let ends = rest.match_indices('>');
        targets.extend(ends.map(|(end, _)| rest.split_at(end).0.to_owned()));
    }
    targets
}

/// Returns the texts that an agent may take for the reference of a `Refresh`.
pub(crate) fn refresh_targets(value: &str) -> Vec<String> {
    let lower = value.to_ascii_lowercase();
    let places = lower
        .match_indices("url=")
        .map(|(at, found)| at + found.len());
    let places = places.chain(lower.find([';', ',']).map(|at| at + 1));
    let texts = places.flat_map(|at| {
        let text = value.split_at(at).1;
        [text, text.split([';', ',']).next().unwrap_or_default()]
    });
    texts
        .map(|text| text.trim_matches([' ', '\'', '"', '\t']).to_owned())
        .collect()
}

/// Returns whether a reference leads an agent from the page `from` to egressd, but to another
/// connection. `prefix` is the path of the connection, and egressd listens on `ports`.
pub(crate) fn leads_elsewhere(from: &Url, reference: &str, prefix: &str, ports: &[u16]) -> bool {
    let Ok(url) = from.join(reference) else {
        return false;
    };
    let is_own_host = match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost") || name == "box.internal"
        }
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    };
    // egressd does not accept TLS. A proxy before it may, at the authority of the page.
    let is_tls = matches!(url.scheme(), "https" | "wss");
    if is_tls && (url.host(), url.port()) == (from.host(), from.port()) {
        return true;
    }
    let is_plain = matches!(url.scheme(), "http" | "ws");
    if !is_plain
        || !is_own_host
        || !url
            .port_or_known_default()
            .is_some_and(|port| ports.contains(&port))
    {
        return false;
    }
    // Ids are compared raw, and have no escapes. `/` lists the connections, without a credential.
    let first = url.path().split('/').nth(1).unwrap_or_default();
    let is_below = url.path().starts_with(&format!("{prefix}/"));
    let names_connection = !is_below && !first.is_empty() && !first.contains('%');
    url.host() != from.host() || url.port() != from.port() || names_connection
}
