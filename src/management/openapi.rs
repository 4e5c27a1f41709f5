//! `GET /openapi.json`: a description of this API, generated from the types that are serialised in
//! responses.
//!
//! `config/openapi.json` is the same document for people and code generators. A test compares the
//! two.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, OpenApi as Tree, Ref, SecurityRequirement};
use utoipa::{Modify, OpenApi};

use super::{connectors, resources};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "egressd management API",
        description = "The connections of egressd and their state, for operators. The API is read-only: every path has GET, and HEAD, which returns no body. Fields are proto-JSON in camelCase; errors follow AIP-193. If `management.basic_auth` is set, `/v1` and `/` require its login.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    paths(
        resources::list_connections,
        resources::get_connection,
        resources::list_connection_types,
        connectors::list_connectors,
        connectors::get_connector,
    ),
    modifiers(&SecuritySchemes, &ProcessPaths),
)]
struct ApiDocument;

// The document does not change while the process runs, so it is generated once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document_json().into());

/// Serves the OpenAPI document.
pub(super) async fn serve_document() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], DOCUMENT.clone()).into_response()
}

fn document_json() -> String {
    // Strings, numbers, lists and maps with string keys always serialise.
    let mut text = ApiDocument::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds the ways to authenticate to the document.
struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, tree: &mut Tree) {
        let components = tree.components.get_or_insert_default();
        let key = ApiKeyValue::with_description(
            "x-api-key",
            "The password of `basic`, without the user name.",
        );
        components.add_security_scheme(
            "basic",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)),
        );
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// Adds the paths outside `/v1` to the document. `utoipa` generates the others from their handlers.
struct ProcessPaths;

/// One response: status, media type, description.
type ResponseSpec = (&'static str, &'static str, &'static str);

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

const PROBE: &[ResponseSpec] = &[
    ("200", TEXT, "The check passed."),
    ("503", TEXT, "The check failed."),
];

#[rustfmt::skip] // one row a line
const PROCESS_PATHS: [(&str, &str, &str, &[ResponseSpec]); 5] = [
    ("/", "HumanPage", "A page for people: the connections, their state, traffic and last errors.", &[
        ("200", "text/html", "The page."),
        ("400", JSON, "The `Host` header is missing, repeated or not valid."),
        ("401", JSON, "The login is missing or wrong."),
        ("403", JSON, "The request was made by a page of another site."),
        ("421", JSON, "The `Host` header names another host."),
        ("429", JSON, "Too many wrong logins, or too many requests."),
    ]),
    ("/livez", "Live", "Liveness probe: the process can respond.", PROBE),
    ("/readyz", "Ready", "Readiness probe: agents can be served.", PROBE),
    ("/metrics", "Metrics", "Counters and durations, for Prometheus.", &[("200", TEXT, "The metrics in the Prometheus text format.")]),
    ("/openapi.json", "OpenApi", "This document.", &[("200", JSON, "The document.")]),
];

impl Modify for ProcessPaths {
    fn modify(&self, tree: &mut Tree) {
        for (path, id, summary, answers) in PROCESS_PATHS {
            let item = PathItem::new(HttpMethod::Get, operation(id, summary, answers));
            tree.paths.paths.insert(path.to_owned(), item);
        }
    }
}

fn operation(id: &str, summary: &str, answers: &[ResponseSpec]) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .tag("Process");
    for (status, media_type, description) in answers {
        operation = operation.response(*status, response(status, media_type, description));
    }
    if answers == PROBE {
        let verbose = ParameterBuilder::new()
            .name("verbose")
            .parameter_in(ParameterIn::Query)
            .description(Some(
                "Returns one line per check. The parameter needs no value.",
            ))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        operation = operation.parameter(verbose);
    }
    if answers.iter().any(|(status, ..)| *status == "401") {
        // The empty requirement makes the login optional, because an API without
        // `management.basic_auth` takes none.
        let none = SecurityRequirement::default();
        let schemes = ["basic", "apiKey"]
            .map(|scheme| SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []));
        operation = operation.securities(Some(std::iter::once(none).chain(schemes)));
    }
    operation.build()
}

fn response(status: &str, media_type: &str, description: &str) -> ResponseBuilder {
    let content = ContentBuilder::new();
    let content = match (media_type, status) {
        (JSON, "200") => content.schema(Some(ObjectBuilder::new().schema_type(Type::Object))),
        // The schema of `ErrorDocument`.
        (JSON, _) => content.schema(Some(Ref::from_schema_name("Error"))),
        (_, _) => content.schema(Some(ObjectBuilder::new().schema_type(Type::String))),
    };
    let response = ResponseBuilder::new()
        .description(description)
        .content(media_type, content.build());
    match status {
        "401" => response.header("WWW-Authenticate", Header::default()),
        "429" => response.header("Retry-After", Header::default()),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::document_json;

    /// If this variable is set, the test replaces the document instead of comparing it.
    const RENEW: &str = "EGRESSD_RENEW_OPENAPI";

    #[test]
    fn the_served_document_is_the_one_in_the_repository() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/openapi.json");
        let document = document_json();
        if std::env::var_os(RENEW).is_some() {
            std::fs::write(file, &document).unwrap();
        }
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            kept == document,
            "config/openapi.json is stale: renew it with `{RENEW}=1 cargo test --lib openapi`, and read the difference"
        );
    }
}
