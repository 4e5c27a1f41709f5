//! `GET /`: what an agent needs to know of its connections, and nothing that an attacker could use: no upstream, no header, no kind of credential, nothing of
//! connections that it may not use.

mod accept;
mod kept;
mod markdown;
mod template;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;

use super::answer::OwnBody;
use crate::route::Pattern;
use crate::snapshot::{Entry, Snapshot};
use accept::Form;
pub use kept::Kept;
pub(super) use template::FilledTemplate;

#[derive(Serialize)]
struct Listing<'a> {
    connections: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    display_name: &'a str,
    description: &'a str,
    allowed_routes: Vec<&'a str>,
    /// Said in Markdown only: the JSON document has these fields and no others.
    #[serde(skip)]
    allow_encoded_slash: bool,
}

/// Returns the list in the form that `Accept` prefers. The request's `Host` was checked before, so
/// it is one of egressd's own hosts.
pub(super) fn answer(headers: &HeaderMap, snapshot: &Snapshot, kept: &Kept) -> Response<OwnBody> {
    let (content_type, body) = match accept::preferred(headers.get_all(ACCEPT)) {
        Form::Markdown => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let text = kept.markdown(host.unwrap_or("localhost"), snapshot);
            (
                "text/markdown; charset=utf-8",
                OwnBody::Filled(Box::new(text)),
            )
        }
        Form::Json => ("application/json", OwnBody::Whole(kept.json(snapshot))),
    };
    let mut response = Response::new(body);
    let fixed = HeaderValue::from_static;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, fixed(content_type));
    fields.insert(CACHE_CONTROL, fixed("no-store"));
    fields.insert(VARY, fixed("Accept"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    response
}

/// Those that agents may use.
fn usable(snapshot: &Snapshot) -> impl Iterator<Item = Listed<'_>> {
    let usable = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.is_live() && entry.connection.enabled);
    usable.map(|entry| listed(entry))
}

fn json(snapshot: &Snapshot) -> Vec<u8> {
    let listing = Listing {
        connections: usable(snapshot).collect(),
    };
    // Strings and lists always serialise.
    serde_json::to_vec(&listing).unwrap_or_default()
}

fn markdown(snapshot: &Snapshot) -> template::Template {
    markdown::render(usable(snapshot))
}

fn listed(entry: &Entry) -> Listed<'_> {
    Listed {
        id: entry.connection.id.as_str(),
        display_name: &entry.connection.display_name,
        description: &entry.connection.description,
        allowed_routes: entry
            .connection
            .routes
            .patterns()
            .iter()
            .map(Pattern::as_str)
            .collect(),
        allow_encoded_slash: entry.connection.allow_encoded_slash,
    }
}
