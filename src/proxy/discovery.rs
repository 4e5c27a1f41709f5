//! `GET /`: what an agent needs to know of its connections, and nothing that an attacker could use.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;

use crate::route::Pattern;
use crate::snapshot::{Entry, Snapshot};

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
}

/// The answer, as JSON, or as Markdown where `Accept` names it.
pub(super) fn answer(headers: &HeaderMap, snapshot: &Snapshot) -> Response<Bytes> {
    let wants_markdown = headers.get_all(ACCEPT).iter().any(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/markdown"))
    });
    let usable = |entry: &&std::sync::Arc<Entry>| entry.is_live() && entry.connection.enabled;
    let entries = snapshot.entries().iter().filter(usable);
    let (content_type, body) = if wants_markdown {
        (
            "text/markdown; charset=utf-8",
            markdown(entries.map(|entry| &**entry)).into_bytes(),
        )
    } else {
        let listing = Listing {
            connections: entries.map(|entry| listed(entry)).collect(),
        };
        // Strings and lists always serialise.
        (
            "application/json",
            serde_json::to_vec(&listing).unwrap_or_default(),
        )
    };
    let mut response = Response::new(Bytes::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn listed(entry: &Entry) -> Listed<'_> {
    Listed {
        id: entry.connection.id.as_str(),
        display_name: &entry.connection.display_name,
        description: &entry.connection.description,
        allowed_routes: entry
            .routes
            .patterns()
            .iter()
            .map(Pattern::as_str)
            .collect(),
    }
}

fn markdown<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut text = String::from(
        "# Connections\n\nSend requests to `/<id>/<path>` on this host. Credentials are added for you; send none. \
         Only the listed routes are allowed; `{name}` stands for one path segment, `{name...}` and a `/` at the end for the rest of the path.\n",
    );
    for entry in entries {
        let listed = listed(entry);
        text.push_str(&format!(
            "\n## {} (`/{}/`)\n\n",
            listed.display_name, listed.id
        ));
        if !listed.description.trim().is_empty() {
            text.push_str(listed.description.trim());
            text.push_str("\n\n");
        }
        text.push_str("Allowed routes:\n\n");
        for route in listed.allowed_routes {
            text.push_str(&format!("- `{route}`\n"));
        }
    }
    text
}
