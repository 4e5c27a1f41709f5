//! Reads a connector file. Every mistake is reported, as in a definition.

use std::sync::Arc;

use super::credential_fields::read_credential_fields;
use super::file::{ConnectorFile, find_open_fields};
use super::print::{ConnectorTemplate, TemplateValue};
use super::values::{read_date, read_line, read_page, read_routes, read_texts};
use crate::config::consent_spec::{CONNECTOR, CONNECTOR_AUTH, PLACEHOLDER};
use crate::config::document::{Node, Origin, Value};
use crate::config::field::{Field, Input, join_path};
use crate::config::headers;
use crate::config::ids::parsed_id;
use crate::config::object::Object;
use crate::config::placeholders::{self, Placeholder};
use crate::config::problem::{Problem, Problems};
use crate::config::provider_fields::ProviderFields;
use crate::config::redaction::quoted;
use crate::config::urls::read_base_url;
use crate::domain::auth::ProviderFacts;
use crate::domain::connector::{Connector, ConnectorAuth};

/// The value of a placeholder without a default while the connector is checked. It is valid as a
/// label of a host and as a segment of a path. No connection is created with it.
const UNSET: &str = "placeholder";

/// Reads the file. If it has a problem, returns its slug, or `None` if that is not known.
pub(super) fn read_connector(
    origin: Origin,
    problems: &Problems,
) -> Result<ConnectorFile, Option<String>> {
    let before = problems.error_count();
    let count = problems.count();
    let Some(mut tree) = origin.parse(problems) else {
        // `parse` does not report an empty file.
        if problems.count() == count {
            report_empty(&origin, problems);
        }
        return Err(None);
    };
    let input = Input {
        origin: &origin,
        problems,
        texts: false,
    };
    let root = Field::root(&tree, input);
    let slug = root.find_entry("slug").and_then(|(_, node)| node.text());
    let slug = slug.map(str::to_owned);
    let read = root.read_object(&CONNECTOR);
    let read = read.and_then(|object| read_template(&object));
    let Some((template, provider)) = read else {
        return Err(slug);
    };
    let open = find_open_fields(&tree, &template.placeholders);
    let value = |name: &str| {
        let mut declared = template.placeholders.iter();
        let declared = declared.find(|placeholder| placeholder.name == name);
        let default = declared.and_then(|placeholder| placeholder.default.clone());
        Some(default.unwrap_or_else(|| UNSET.to_owned()))
    };
    if let Value::Map(entries) = &mut tree.value {
        for (key, node) in entries {
            if [
                "base_url",
                "baseUrl",
                "oauth_user_consent",
                "oauthUserConsent",
            ]
            .contains(&key.name.as_str())
            {
                placeholders::fill_tree(node, &value);
            }
        }
    }
    check_values(&Field::root(&tree, input));
    if problems.error_count() > before {
        return Err(slug);
    }
    Ok(ConnectorFile {
        template,
        provider,
        origin,
        tree,
        open,
    })
}

fn report_empty(origin: &Origin, problems: &Problems) {
    let problem = Problem::whole(
        origin.label.clone(),
        "file_unreadable",
        "the file is empty".to_owned(),
    );
    problems.push(problem.remedy("write a connector, or remove the file"));
}

/// Reads the fields whose texts have no placeholder, and those that are printed.
fn read_template(object: &Object<'_>) -> Option<(ConnectorTemplate, ProviderFacts)> {
    let declared = object.read_optional("placeholders", Vec::new(), read_placeholders);
    check_names(object, declared.as_deref());
    let connector = read_facts(object);
    let setup = object.read_optional("setup", Vec::new(), |field| field.read_items(read_line));
    let base_url = object.take_field("base_url").and_then(|f| read_line(&f));
    let scopes = object.read_optional("scopes", None, |field| read_line(field).map(Some));
    let select_account_params =
        object.read_optional("select_account_params", Vec::new(), read_texts);
    let consent_ended_errors = object.read_optional("consent_ended_errors", Vec::new(), |field| {
        field.read_items(read_line)
    });
    let routes = object.read_object("routes").and_then(|routes| {
        let read = routes.take_field("read");
        let read = read.and_then(|field| read_routes(&field, true));
        let write = routes.read_optional("write", Vec::new(), |field| read_routes(field, false));
        Some((read?, write?))
    });
    let consent = object.peek_own("oauth_user_consent");
    let connector = connector?;
    check_auth(object, &connector, consent.is_some());
    let consent = consent.map(|field| template_values(field.node));
    let (read, write) = routes?;
    let provider = ProviderFacts {
        select_account_params: select_account_params?,
        consent_ended_errors: consent_ended_errors?,
        // A page with a placeholder is a page of another instance if the definition has other URLs.
        revoke_page: connector
            .revoke_page
            .clone()
            .filter(|page| placeholders::first_placeholder(page).is_none()),
    };
    let template = ConnectorTemplate {
        connector: Arc::new(connector),
        setup: setup?,
        placeholders: declared?,
        base_url: base_url?,
        consent: consent.unwrap_or_default(),
        scopes: scopes?,
        read,
        write,
    };
    Some((template, provider))
}

fn read_facts(object: &Object<'_>) -> Option<Connector> {
    let slug = object
        .take_field("slug")
        .and_then(|field| parsed_id(&field, field.read_text()?, "write a name such as `github`"));
    let display_name = object
        .take_field("display_name")
        .and_then(|f| read_line(&f));
    let description = object.read_optional("description", String::new(), read_line);
    let auth_type = object
        .take_field("auth_type")
        .and_then(|field| field.read_choice(&CONNECTOR_AUTH));
    let checked = object.take_field("checked").and_then(|f| read_date(&f));
    let docs = object.take_field("docs").and_then(|f| read_page(&f));
    let revoke_page = object.read_optional("revoke_page", None, |f| read_page(f).map(Some));
    let credential_fields =
        object.read_optional("credential_fields", Vec::new(), read_credential_fields);
    Some(Connector {
        slug: slug?.into(),
        display_name: display_name?,
        description: description?,
        auth_type: auth_type?,
        checked: checked?,
        docs: docs?,
        revoke_page: revoke_page?,
        credential_fields: credential_fields?,
    })
}

fn read_placeholders(field: &Field<'_>) -> Option<Vec<Placeholder>> {
    let mut whole = true;
    let mut declared = Vec::new();
    for (name, value) in field.read_map()? {
        if !placeholders::is_name(name) {
            let message = format!("{} is not the name of a placeholder", quoted(name));
            let remedy = "write a name of a-z, 0-9 and `_` that begins with a letter";
            value.report("invalid_placeholder", message, remedy);
            whole = false;
        }
        match read_placeholder(name, &value) {
            Some(placeholder) => declared.push(placeholder),
            None => whole = false,
        }
    }
    whole.then_some(declared)
}

fn read_placeholder(name: &str, field: &Field<'_>) -> Option<Placeholder> {
    let object = field.read_object(&PLACEHOLDER)?;
    let description = object.take_field("description").and_then(|f| read_line(&f));
    let default = object.read_optional("default", None, |field| {
        let text = field.read_text()?;
        if placeholders::is_value(text) {
            return Some(Some(text.to_owned()));
        }
        let message = format!("{} cannot be the value of a placeholder", quoted(text));
        let remedy = "write 1 to 253 letters, digits, `.` and `-`";
        field.reject("invalid_placeholder", message, remedy)
    });
    Some(Placeholder {
        name: name.to_owned(),
        description: description?,
        default: default?,
    })
}

/// Reports placeholders that are used and not declared.
fn check_names(object: &Object<'_>, declared: Option<&[Placeholder]>) {
    let Some(declared) = declared else {
        return;
    };
    for name in ["base_url", "oauth_user_consent", "revoke_page"] {
        let Some(field) = object.peek_own(name) else {
            continue;
        };
        for used in placeholders::names_in_tree(field.node) {
            if !declared.iter().any(|placeholder| placeholder.name == used) {
                let message = format!("the placeholder `{{{used}}}` is not declared");
                let remedy = format!("write `placeholders: {{{used}: {{description: …}}}}`");
                field.report("unknown_placeholder", message, remedy);
            }
        }
    }
}

/// Reports fields that do not fit the kind of credential.
fn check_auth(object: &Object<'_>, connector: &Connector, has_consent: bool) {
    let has_fields = !connector.credential_fields.is_empty();
    let kind = connector.auth_type.as_str();
    for (name, is_set, is_needed) in [
        (
            "oauth_user_consent",
            has_consent,
            connector.auth_type == ConnectorAuth::Oauth,
        ),
        (
            "credential_fields",
            has_fields,
            connector.auth_type == ConnectorAuth::ApiKey,
        ),
    ] {
        if is_set == is_needed {
            continue;
        }
        let (message, remedy) = if is_needed {
            (
                format!("`auth_type: {kind}` needs `{name}`"),
                format!("write `{name}`, or another `auth_type`"),
            )
        } else {
            (
                format!("`auth_type: {kind}` excludes `{name}`"),
                format!("remove `{name}`, or write another `auth_type`"),
            )
        };
        let problem = object.field.problem("auth_type", message);
        let path = join_path(&object.field.path, name);
        object.field.push(problem.field(path).remedy(remedy));
    }
}

/// Reports values that a definition could not use.
fn check_values(root: &Field<'_>) {
    let Some(object) = root.read_unchecked_object(&CONNECTOR) else {
        return;
    };
    let _url = object
        .take_field("base_url")
        .and_then(|field| read_base_url(&field));
    let _headers = object.read_optional("headers", Vec::new(), |field| {
        headers::read_configured(field, None)
    });
    if let Some(consent) = object.read_object("oauth_user_consent") {
        // The ranges that a connection may dial are not known here.
        let _fields = ProviderFields::read(&consent, None);
    }
}

/// Returns the fields in the text of a consent, as they are written.
fn template_values(node: &Node) -> Vec<(String, TemplateValue)> {
    let Value::Map(entries) = &node.value else {
        return Vec::new();
    };
    let text = |node: &Node| node.text().unwrap_or_default().to_owned();
    let values = entries.iter().map(|(key, node)| {
        let value = match &node.value {
            Value::Map(entries) => {
                let entries = entries.iter();
                TemplateValue::Map(
                    entries
                        .map(|(key, node)| (key.name.clone(), text(node)))
                        .collect(),
                )
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                TemplateValue::Text(text(node))
            }
        };
        (key.name.clone(), value)
    });
    values.collect()
}
