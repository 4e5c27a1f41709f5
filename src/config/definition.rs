//! Reads the tree of a file into [`Connection`]s. Every mistake is reported, and a connection with
//! a mistake is left out.

use super::connection::{self, ConnectionMetadata};
use super::connection_spec::{
    CONNECTION, CONNECTION_TYPES, CONNECTIONS, TOOL_CONFIGURATION, TOOLS,
};
use super::connectors::Catalogue;
use super::consents::GRANT_DIFFERS;
use super::field::Field;
use super::file_kind::report_settings_file;
use super::ids::parsed_id;
use super::object::{Fallback, Object};
use super::problem::Problem;
use super::redaction::quoted;
use super::secret_ref::ResolveContext;
use crate::domain::{Connection, ConnectionId};

/// One definition. The id is present if it is valid, the connection if all of it is.
pub(super) struct Definition {
    pub(super) id: Option<ConnectionId>,
    /// A problem at the place of the id, whose message is added if the id is taken.
    pub(super) id_place: Problem,
    /// A problem at the place of `oauth_user_consent`, whose message is added if the definition
    /// differs from another one of the same grant.
    pub(super) consent_place: Option<Problem>,
    pub(super) connection: Option<Connection>,
}

/// What the reader of a definition needs besides the definition.
pub(super) struct DefinitionContext<'c> {
    pub(super) resolve: &'c ResolveContext<'c>,
    pub(super) catalogue: &'c Catalogue,
}

/// Reads the tree of one file: one connection, or `connections: [...]`.
pub(super) fn read_definitions(
    root: &Field<'_>,
    stem: &str,
    context: &DefinitionContext<'_>,
) -> Vec<Definition> {
    if report_settings_file(root) {
        return Vec::new();
    }
    if !root.has_key("connections") {
        let object = root.read_object(&CONNECTION);
        return object
            .map(|object| read_definition(&object, Some(stem), context))
            .into_iter()
            .collect();
    }
    let list = root
        .read_object(&CONNECTIONS)
        .and_then(|file| file.take_field("connections"));
    let items = list.and_then(|field| field.read_list()).unwrap_or_default();
    let objects = items
        .iter()
        .filter_map(|item| item.read_object(&CONNECTION));
    objects
        .map(|item| read_definition(&item, None, context))
        .collect()
}

fn read_definition(
    object: &Object<'_>,
    stem: Option<&str>,
    context: &DefinitionContext<'_>,
) -> Definition {
    let problems = object.field.input.problems;
    let before = problems.count();
    let (id, id_place) = read_id(object, stem);
    let metadata = read_metadata(object, id.as_ref());
    let named = object.take_field("connector");
    let connector = named
        .as_ref()
        .and_then(|field| context.catalogue.find_named(field));
    let below = match (&named, connector) {
        (_, Some(file)) => file.fallback(problems),
        (Some(_), None) => Fallback::Unknown,
        (None, None) => Fallback::Nothing,
    };
    let details = object.read_object("connection_details");
    let http = details.and_then(|details| details.read_object_over("http", below));
    let connection = http.as_ref().and_then(|http| {
        let connection = connection::read_connection(http, context.resolve, metadata, connector);
        let is_usable = match (&named, connector) {
            (Some(field), Some(file)) => file.check_placeholders(field, http),
            (Some(_), None) => false,
            (None, _) => true,
        };
        connection.filter(|_| is_usable)
    });
    if let Some(id) = &id {
        problems.attribute_from(before, id);
    }
    let consent = http.and_then(|http| http.peek_own("oauth_user_consent"));
    Definition {
        id,
        id_place,
        consent_place: consent.map(|field| field.into_secret().problem(GRANT_DIFFERS, "")),
        connection,
    }
}

fn read_metadata(object: &Object<'_>, id: Option<&ConnectionId>) -> Option<ConnectionMetadata> {
    let id_text = id.map_or("", ConnectionId::as_str);
    let display_name = object.read_optional("display_name", id_text, Field::read_text);
    let description = object.read_optional("description", "", Field::read_text);
    let connection_type = object.read_optional("connection_type", (), |field| {
        field.read_choice(&CONNECTION_TYPES)
    });
    let enabled = object.read_optional("tool_configurations", true, read_enabled);
    let delete_time =
        object.read_optional("delete_time", None, |field| read_timestamp(field).map(Some));
    // `CONNECTION_TYPE_HTTP` is the only value, so it is checked and not stored.
    connection_type?;
    Some(ConnectionMetadata {
        id: id?.clone(),
        display_name: display_name?.to_owned(),
        description: description?.to_owned(),
        enabled: enabled?,
        delete_time: delete_time?,
    })
}

/// Reads the id from `name`, from `id`, or from the file's name.
fn read_id(object: &Object<'_>, stem: Option<&str>) -> (Option<ConnectionId>, Problem) {
    let missing = !object.has_field("name") && !object.has_field("id");
    let (name, id) = (object.take_field("name"), object.take_field("id"));
    let from_name = name.as_ref().and_then(|field| {
        let text = field.read_text()?;
        let Some(id) = text.strip_prefix("connections/") else {
            let message = format!("{} is not a valid resource name", quoted(text));
            return field.reject(
                "invalid_id",
                message,
                "write `connections/` followed by the id",
            );
        };
        parsed_id(
            field,
            id,
            "write `connections/` followed by an id such as `crm`",
        )
    });
    let from_id = id
        .as_ref()
        .and_then(|field| parsed_id(field, field.read_text()?, "write an id such as `crm`"));
    let place = id.as_ref().or(name.as_ref()).unwrap_or(&object.field);
    let template = place.problem("duplicate_id", "");
    if let (Some(field), Some(a), Some(b)) = (&id, &from_name, &from_id)
        && a != b
    {
        let message = format!(
            "`name` has the id {}, but `id` is {}",
            quoted(a.as_str()),
            quoted(b.as_str())
        );
        field.report("id_mismatch", message, "remove one of the two");
    }
    if !missing {
        return (from_id.or(from_name), template);
    }
    let Some(stem) = stem else {
        let problem = object.field.problem("missing_field", "`name` is missing");
        let remedy = "write `name: connections/…`; in `connections: [...]` the file name is not used as the id";
        object.field.push(problem.remedy(remedy));
        return (None, template);
    };
    let remedy = "rename the file, or write `name: connections/…`; without a name, the file name without its extension is the id";
    (parsed_id(&object.field, stem, remedy), template)
}

fn read_enabled(tools: &Field<'_>) -> Option<bool> {
    let mut is_enabled = Some(true);
    for (at, item) in tools.read_list()?.iter().enumerate() {
        let Some(tool) = item.read_object(&TOOL_CONFIGURATION) else {
            is_enabled = None;
            continue;
        };
        let name = tool
            .take_field("tool")
            .and_then(|field| field.read_choice(&TOOLS));
        // If `enabled` were optional, proto-JSON would read its absence as `false` and most people
        // as `true`. Therefore the field is required.
        let enabled = tool
            .take_field("enabled")
            .and_then(|field| field.read_bool());
        if at > 0 {
            item.report(
                "duplicate_tool",
                "the tool is listed twice",
                "keep one of the two",
            );
        }
        is_enabled = is_enabled.and(name).and(enabled);
    }
    is_enabled
}

fn read_timestamp(field: &Field<'_>) -> Option<jiff::Timestamp> {
    let text = field.read_text()?;
    match text.parse() {
        Ok(time) => Some(time),
        Err(_) => {
            let message = format!("{} is not a valid RFC 3339 time", quoted(text));
            let remedy = "write a time like `2026-01-02T03:04:05Z`";
            field.reject("invalid_time", message, remedy)
        }
    }
}
