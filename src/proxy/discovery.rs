//! The list of connections (`GET /`). It contains what an agent needs, and nothing that an attacker
//! could use: no upstream, no header, no kind of credential, and no connection that is disabled or
//! deleted.

mod cache;
mod markdown;
mod route;
mod template;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;

use super::negotiation::{Representation, preferred_representation};
use super::served_connections::ServedConnections;
use crate::credential::Credentials;
use crate::credential::oauth::StatusName;
use crate::snapshot::ConnectionEntry;
pub use cache::ListingCache;
use route::ListedRoute;
pub(super) use template::FilledTemplate;
use template::Template;

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    display_name: &'a str,
    description: &'a str,
    allowed_routes: Vec<ListedRoute<'a>>,
    /// Shown only in the Markdown. The fields of the JSON document are a fixed contract, of which
    /// `status` is not here, because it changes while the configuration stays the same.
    #[serde(skip)]
    allow_encoded_slash: bool,
}

/// Returns the list in the representation that `Accept` prefers. The request's `Host` was checked
/// before, so it is one of egressd's own hosts.
pub(super) fn listing_response(
    headers: &HeaderMap,
    served: ServedConnections<'_>,
    cache: &ListingCache,
    credentials: &Credentials,
) -> Response<FilledTemplate> {
    let representation = preferred_representation(headers.get_all(ACCEPT));
    let content_type = match representation {
        Representation::Markdown => "text/markdown; charset=utf-8",
        Representation::Json => "application/json",
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let template = cache.get_or_render(representation, served);
    // In the order in which the template lists the connections of this generation.
    let statuses = served.usable();
    let statuses = statuses.map(|entry| credentials.connection_status(&entry.connection).name);
    let filled = template.fill(host.unwrap_or("localhost"), statuses.collect());
    let mut response = Response::new(filled);
    let fixed = HeaderValue::from_static;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, fixed(content_type));
    // A reload can change the list at any time, and the text contains the agent's `Host`.
    fields.insert(CACHE_CONTROL, fixed("no-store"));
    fields.insert(VARY, fixed("Accept"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    response
}

fn json(served: ServedConnections<'_>) -> Template {
    let mut template = Template::new(StatusName::as_str);
    template.text.push_str(r#"{"connections":["#);
    for (at, entry) in served.usable().enumerate() {
        if at > 0 {
            template.text.push(',');
        }
        // Strings and lists always serialise, so the default is never used.
        let object = serde_json::to_string(&listed(entry)).unwrap_or_default();
        // The status is the last member, because it is inserted when the list is sent.
        let members = object.strip_suffix('}').unwrap_or(&object);
        template.text.extend([members, r#","status":""#]);
        template.push_status(at);
        template.text.push_str(r#""}"#);
    }
    template.text.push_str("]}");
    template
}

fn markdown(served: ServedConnections<'_>) -> Template {
    markdown::render(served.usable().map(|entry| listed(entry)))
}

fn listed(entry: &ConnectionEntry) -> Listed<'_> {
    let connection = &entry.connection;
    let patterns = connection.routes.patterns().iter().enumerate();
    let route =
        |(route, pattern)| ListedRoute::new(pattern, connection.route_descriptions.get(route));
    Listed {
        id: connection.id.as_str(),
        display_name: &connection.display_name,
        description: &connection.description,
        allowed_routes: patterns.map(route).collect(),
        allow_encoded_slash: connection.allow_encoded_slash,
    }
}
