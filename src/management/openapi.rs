//! `GET /openapi.json`: this API in its own words, made from the code that answers.
//!
//! `config/openapi.json` is the same document for people and generators; a test holds the two together.

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

use super::resources;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "egressd management API",
        description = "What operators ask of egressd: its connections and their state. Read-only: every path answers GET, and HEAD without the body. Fields are proto-JSON in camelCase; errors follow AIP-193. Where `management.basic_auth` is set, `/v1` and `/` need its password.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    paths(resources::list_connections, resources::get_connection, resources::list_connection_types),
    modifiers(&SecuritySchemes, &ProcessPaths),
)]
struct ApiDocument;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document_json().into());

/// The document.
pub(super) async fn serve_document() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], DOCUMENT.clone()).into_response()
}

fn document_json() -> String {
    // Texts, numbers, lists and maps with names always serialise.
    let mut text = ApiDocument::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The ways to authenticate.
struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, tree: &mut Tree) {
        let components = tree.components.get_or_insert_default();
        let key = ApiKeyValue::with_description("x-api-key", "The password of `basic` alone.");
        components.add_security_scheme(
            "basic",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)),
        );
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// The paths beside `/v1`, which answer text.
struct ProcessPaths;

/// One answer: status, media type, what it is.
type ResponseSpec = (&'static str, &'static str, &'static str);

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

const PROBE: &[ResponseSpec] = &[("200", TEXT, "Yes."), ("503", TEXT, "No.")];

#[rustfmt::skip] // one row a line
const PROCESS_PATHS: [(&str, &str, &str, &[ResponseSpec]); 5] = [
    ("/", "HumanPage", "One page for people: the connections, their state, traffic and last errors.", &[
        ("200", "text/html", "The page."),
        ("400", JSON, "A `Host` that is none."),
        ("401", JSON, "No password, or a wrong one."),
        ("403", JSON, "A browser's request from another site."),
        ("421", JSON, "A `Host` that is not this one."),
        ("429", JSON, "Too many wrong passwords, or more requests than this API may take of the machine."),
    ]),
    ("/livez", "Live", "Whether the process lives.", PROBE),
    ("/readyz", "Ready", "Whether agents should come.", PROBE),
    ("/metrics", "Metrics", "Counts and durations, for Prometheus.", &[("200", TEXT, "Prometheus' text format.")]),
    ("/openapi.json", "OpenApi", "This document.", &[("200", JSON, "It.")]),
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
                "Whether to say why: one line a check. The name alone suffices.",
            ))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        operation = operation.parameter(verbose);
    }
    if answers.iter().any(|(status, ..)| *status == "401") {
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

    /// Set to anything, it writes the document anew instead of comparing.
    const RENEW: &str = "EGRESSD_RENEW_OPENAPI";

    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_is_served() {
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
