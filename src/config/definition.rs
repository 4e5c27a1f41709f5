//! A located tree → [`Connection`]s. Every mistake is reported; what has one is not made.

use super::field::Field;
use super::http::Http;
use super::object::Object;
use super::problem::Problem;
use super::redaction::quoted;
use super::secret_ref::ResolveContext;
use crate::domain::{Connection, ConnectionId};

/// One definition: its id where that is legal, and the connection where all of it is.
pub(super) struct Defined {
    pub(super) id: Option<ConnectionId>,
    /// A finding at the place of the id, to be completed should the id be taken.
    pub(super) id_place: Problem,
    pub(super) connection: Option<Connection>,
}

/// Reads one file's tree: one connection, or `connections: [...]`.
pub(super) fn definitions(
    root: &Field<'_>,
    stem: &str,
    context: &ResolveContext<'_>,
) -> Vec<Defined> {
    let Some(mut object) = root.object() else {
        return Vec::new();
    };
    if !object.has("connections") {
        return vec![definition(object, Some(stem), context)];
    }
    let list = object.take("connections");
    object.finish();
    let items = list.and_then(|field| field.list()).unwrap_or_default();
    let objects = items.iter().filter_map(Field::object);
    objects
        .map(|item| definition(item, None, context))
        .collect()
}

fn definition(mut object: Object<'_>, stem: Option<&str>, context: &ResolveContext<'_>) -> Defined {
    let (id, id_place) = identity(&mut object, stem);
    let display_name = object.take("display_name").map(|field| field.text());
    let description = object.take("description").map(|field| field.text());
    let typed = connection_type(&mut object);
    let enabled = tool_configurations(&mut object);
    let delete_time = object.take("delete_time").map(|field| timestamp(&field));
    let details = object.require(
        "connection_details",
        "write `connection_details: {http: {…}}`",
    );
    object.finish();
    let http = details.and_then(|field| {
        let mut details = field.object()?;
        let http = details.require("http", "write `http: {base_url: …, allowed_routes: […]}`");
        details.finish();
        Http::read(http?.object()?, context)
    });
    let connection = || {
        let (id, http) = (id.clone()?, http?);
        typed?;
        Some(Connection {
            display_name: display_name
                .unwrap_or_else(|| Some(id.as_str()))?
                .to_owned(),
            id,
            description: description.unwrap_or(Some(""))?.to_owned(),
            base_url: http.base_url,
            routes: http.routes,
            headers: http.headers,
            auth: http.auth,
            webhook_signing_secret: http.webhook_signing_secret,
            caps: http.caps,
            allowed_private_cidrs: http.options.cidrs,
            allow_cookies: http.options.allow_cookies,
            allow_agent_headers: http.allow_agent_headers,
            allow_encoded_slash: http.options.allow_encoded_slash,
            reflection_guard: http.options.reflection_guard,
            reuse_after_body: http.options.reuse_after_body,
            http2: http.options.http2,
            enabled: enabled?,
            delete_time: delete_time.map_or(Some(None), |time| time.map(Some))?,
        })
    };
    let connection = connection();
    Defined {
        id,
        id_place,
        connection,
    }
}

/// The id of `name`, of `id`, or of the file.
fn identity(object: &mut Object<'_>, stem: Option<&str>) -> (Option<ConnectionId>, Problem) {
    let missing = !object.has("name") && !object.has("id");
    let (name, id) = (object.take("name"), object.take("id"));
    let from_name = name.as_ref().and_then(|field| {
        let text = field.text()?;
        let Some(id) = text.strip_prefix("connections/") else {
            let message = format!("{} is no resource name", quoted(text));
            field.report("invalid_id", message, "write `connections/` and the id");
            return None;
        };
        parsed_id(field, id, "write `connections/` and an id")
    });
    let from_id = id
        .as_ref()
        .and_then(|field| parsed_id(field, field.text()?, "write such an id"));
    let place = id.as_ref().or(name.as_ref()).unwrap_or(&object.field);
    let template = place.problem("duplicate_id", "");
    if let (Some(field), Some(a), Some(b)) = (&id, &from_name, &from_id)
        && a != b
    {
        let message = format!(
            "`name` says {}, `id` says {}",
            quoted(a.as_str()),
            quoted(b.as_str())
        );
        field.report("id_mismatch", message, "take one of the two out");
    }
    if !missing {
        return (from_id.or(from_name), template);
    }
    let Some(stem) = stem else {
        let problem = object.field.problem("missing_field", "`name` is missing");
        let remedy = "write `name: connections/…`; inside `connections: [...]` there is no file name to take it from";
        object.field.push(problem.remedy(remedy));
        return (None, template);
    };
    let remedy =
        "rename the file, or write `name: connections/…`; without it the file's stem is the id";
    (parsed_id(&object.field, stem, remedy), template)
}

fn parsed_id(field: &Field<'_>, text: &str, remedy: &str) -> Option<ConnectionId> {
    match ConnectionId::parse(text) {
        Ok(id) => Some(id),
        Err(invalid) => {
            field.report(
                "invalid_id",
                format!("{} is no id: {invalid}", quoted(text)),
                remedy,
            );
            None
        }
    }
}

/// `Some` where the type is absent or the one that exists.
fn connection_type(object: &mut Object<'_>) -> Option<()> {
    match object.take("connection_type") {
        None => Some(()),
        Some(field) => field.choice(&[("CONNECTION_TYPE_HTTP", ())]),
    }
}

fn tool_configurations(object: &mut Object<'_>) -> Option<bool> {
    let Some(field) = object.take("tool_configurations") else {
        return Some(true);
    };
    let mut enabled = Some(true);
    for (at, item) in field.list()?.iter().enumerate() {
        let Some(mut tool) = item.object() else {
            enabled = None;
            continue;
        };
        let name = tool.require("tool", "write `tool: TOOL_HTTP_REQUEST`");
        let name = name.and_then(|field| field.choice(&[("TOOL_HTTP_REQUEST", ())]));
        // Left out it would mean `false` in proto-JSON and `true` to most people.
        let on = tool.require("enabled", "write `enabled: true` or `enabled: false`");
        let on = on.and_then(|field| field.boolean());
        tool.finish();
        if at > 0 {
            item.report(
                "duplicate_tool",
                "the one tool stands twice",
                "keep one of the two",
            );
        }
        enabled = enabled.and(name).and(on);
    }
    enabled
}

fn timestamp(field: &Field<'_>) -> Option<jiff::Timestamp> {
    let text = field.text()?;
    match text.parse() {
        Ok(time) => Some(time),
        Err(_) => {
            let message = format!("{} is no RFC 3339 time", quoted(text));
            field.report(
                "invalid_time",
                message,
                "write a time like `2026-01-02T03:04:05Z`",
            );
            None
        }
    }
}
