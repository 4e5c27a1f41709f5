//! Reads `proxy.listeners`: further listeners for agents, each with connections of its own.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::AgentListener;
use super::listen::{LISTENER, read_listen, report_non_loopback};
use super::taken_addresses::TakenAddresses;
use super::values::read_host;
use crate::config::field::Field;
use crate::config::ids::parsed_id;
use crate::config::object::Object;
use crate::config::problem::{Problem, Problems, Severity, nearest};
use crate::config::redaction::quoted;
use crate::config::settings_spec;
use crate::domain::{Connection, ConnectionId, ListenerScope};

/// The ids that listeners name.
#[derive(Default)]
pub(in crate::config) struct NamedConnections(Vec<NamedConnection>);

struct NamedConnection {
    id: ConnectionId,
    is_mounted: bool,
    /// The problem that is reported if no definition has the id.
    unknown: Problem,
}

impl NamedConnections {
    /// Reports the ids that none of these connections has. Warns about a connection at the root of
    /// a listener if it refuses every request.
    pub(in crate::config) fn report_unusable(
        self,
        connections: &[Connection],
        unknown: Severity,
        problems: &Problems,
    ) {
        let known: HashMap<&str, &Connection> = connections
            .iter()
            .map(|found| (found.id.as_str(), found))
            .collect();
        for named in self.0 {
            let problem = match known.get(named.id.as_str()) {
                None => Some(Problem {
                    severity: unknown,
                    ..named.into_unknown(connections)
                }),
                Some(found) if named.is_mounted => named.into_unusable(found),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                problems.push(problem);
            }
        }
    }
}

impl NamedConnection {
    /// Returns the problem that no definition has the id, with the most similar known one.
    fn into_unknown(self, connections: &[Connection]) -> Problem {
        let place = self.unknown;
        let known = connections.iter().map(|found| found.id.as_str());
        let Some(near) = nearest(self.id.as_str(), known) else {
            return place;
        };
        Problem {
            message: format!("{}; did you mean `{near}`?", place.message),
            remedy: format!("write `{near}`, or add the definition"),
            ..place
        }
    }

    /// Returns a warning if the connection refuses every request.
    fn into_unusable(self, found: &Connection) -> Option<Problem> {
        let (state, refusal, remedy) = if found.delete_time.is_some() {
            let remedy = "remove `delete_time` from the definition, or remove the listener";
            ("soft-deleted", "404 `connection_not_found`", remedy)
        } else if !found.enabled {
            let remedy = "enable the connection, or remove the listener";
            ("disabled", "403 `connection_disabled`", remedy)
        } else {
            return None;
        };
        let id = quoted(self.id.as_str());
        let place = self.unknown.warning().remedy(remedy);
        Some(Problem {
            connection: Some(self.id),
            code: "unusable_connection",
            message: format!("{id} is {state}, so every request is refused with {refusal}"),
            ..place
        })
    }
}

/// Reads `proxy.listeners`. Adds the ids that the listeners name to `named`, and their addresses to
/// `taken`.
pub(super) fn read_agent_listeners<'a>(
    section: &Object<'a>,
    taken: &mut TakenAddresses<'a>,
    named: &mut NamedConnections,
    directory: &Path,
) -> Option<Vec<AgentListener>> {
    let Some(field) = section.take_field("listeners") else {
        return Some(Vec::new());
    };
    let mut listeners = Vec::new();
    let mut is_whole = true;
    for item in field.read_list()? {
        let listener = item
            .read_object(&settings_spec::LISTENER)
            .and_then(|object| read_listener(&object, taken, named, directory));
        let Some(listener) = listener else {
            is_whole = false;
            continue;
        };
        listeners.push(listener);
    }
    is_whole.then_some(listeners)
}

fn read_listener<'a>(
    object: &Object<'a>,
    taken: &mut TakenAddresses<'a>,
    named: &mut NamedConnections,
    directory: &Path,
) -> Option<AgentListener> {
    let allow_non_loopback = object.read_flag("allow_non_loopback");
    let addresses = read_listen(object, directory, &LISTENER, taken, |field, address| {
        // An invalid flag is reported by itself; it causes no second problem here.
        let is_allowed = address.is_local() || allow_non_loopback != Some(false);
        if !is_allowed {
            let setting = "set `allow_non_loopback: true` beside it if a network policy keeps other machines out";
            report_non_loopback(field, address, Some(setting));
        }
        is_allowed
    });
    let allowed_hosts = object.read_optional("allowed_hosts", Vec::new(), |field| {
        field.read_items(read_host)
    });
    let scope = read_scope(object, named);
    allow_non_loopback?;
    Some(AgentListener {
        addresses: addresses?,
        scope: scope?,
        allowed_hosts: allowed_hosts?,
    })
}

/// Reads `connection` or `connections`, of which exactly one must be set.
fn read_scope(object: &Object<'_>, named: &mut NamedConnections) -> Option<ListenerScope> {
    let mounted = object.take_field("connection");
    let only = object.take_field("connections");
    match (mounted, only) {
        (Some(mounted), None) => read_id(&mounted, true, named).map(ListenerScope::Mounted),
        (None, Some(only)) => read_ids(&only, named).map(ListenerScope::Only),
        (Some(_), Some(only)) => only.reject(
            "conflicting_fields",
            "`connection` and `connections` are both set",
            "keep `connection` to mount one connection at the root, or `connections` to serve some under their ids",
        ),
        (None, None) => {
            let is_reported = ["connection", "connections"]
                .into_iter()
                .any(|name| object.has_field(name) || object.has_misspelling_of(name));
            if !is_reported {
                object.field.report(
                    "missing_field",
                    "neither `connection` nor `connections` is set",
                    "write `connection: ID` to mount one connection at the root, or `connections: [ID, …]` to serve some under their ids",
                );
            }
            None
        }
    }
}

fn read_ids(field: &Field<'_>, named: &mut NamedConnections) -> Option<BTreeSet<ConnectionId>> {
    let items = field.read_list()?;
    if items.is_empty() {
        let message = "contains no connection, so agents could use none";
        return field.reject("empty", message, "write the ids of connections");
    }
    let mut ids = BTreeSet::new();
    let mut is_whole = true;
    for item in &items {
        let Some(id) = read_id(item, false, named) else {
            is_whole = false;
            continue;
        };
        let shown = quoted(id.as_str());
        if !ids.insert(id) {
            let message = format!("{shown} is listed twice");
            item.report("duplicate_connection", message, "remove one of the two");
            is_whole = false;
        }
    }
    is_whole.then_some(ids)
}

fn read_id(
    field: &Field<'_>,
    is_mounted: bool,
    named: &mut NamedConnections,
) -> Option<ConnectionId> {
    let id = parsed_id(field, field.read_text()?, "write the id of a connection")?;
    let message = format!("no definition has the id {}", quoted(id.as_str()));
    let unknown = field.problem("unknown_connection", message);
    named.0.push(NamedConnection {
        id: id.clone(),
        is_mounted,
        unknown: unknown.remedy("write the id of a connection, or add its definition"),
    });
    Some(id)
}
