//! Recognizes a connection file in the place of the settings file, and the reverse.

use super::document::{Key, Node, Value};
use super::field::Field;
use super::settings_spec::SETTINGS;

/// Fields that only connection files have. All but the first are also recognized at the top level,
/// where operators put them by mistake.
const CONNECTION_FIELDS: [&str; 3] = ["connection_details", "base_url", "allowed_routes"];

/// Reports a connection file that was given as the settings file. Returns whether the file is one.
pub(super) fn report_connection_file(root: &Field<'_>) -> bool {
    let is_mapping = |item: &Node| matches!(item.value, Value::Map(_));
    let field = CONNECTION_FIELDS
        .iter()
        .find_map(|name| root.find_entry(name));
    let Some((key, _)) = field.or_else(|| connections_with(root, is_mapping)) else {
        return false;
    };
    let message = "this is a connection file, but a settings file is expected here";
    let remedy = "give its path as an argument, without `--config`, or list it under `connections` in the settings file";
    report_kind(root, key, message, remedy);
    true
}

/// Reports a settings file that was given as a connection file. Returns whether the file is one.
pub(super) fn report_settings_file(root: &Field<'_>) -> bool {
    if root.has_key("connection_details") {
        return false;
    }
    let is_text = |item: &Node| matches!(item.value, Value::Text(_));
    let names = SETTINGS.fields.iter().map(|field| field.name);
    let mut sections = names.filter(|name| *name != "connections");
    let section = sections.find_map(|name| root.find_entry(name));
    let Some((key, _)) = section.or_else(|| connections_with(root, is_text)) else {
        return false;
    };
    let message = "this is a settings file, but a connection file is expected here";
    report_kind(root, key, message, "give its path with `--config`");
    true
}

/// Returns the field `connections` if it is a list with such an item: paths in a settings file, and
/// mappings in a connection file.
fn connections_with<'a>(
    root: &Field<'a>,
    is_item: impl Fn(&Node) -> bool,
) -> Option<&'a (Key, Node)> {
    let entry = root.find_entry("connections")?;
    let (_, node) = entry;
    let Value::List(items) = &node.value else {
        return None;
    };
    items.iter().any(is_item).then_some(entry)
}

/// Reports the kind of the file, at a key whose name is known.
fn report_kind(root: &Field<'_>, key: &Key, message: &str, remedy: &str) {
    let problem = root.key_problem(key, true, "unknown_field", message.to_owned());
    root.push(problem.remedy(remedy));
}
