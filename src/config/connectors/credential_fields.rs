//! Reads `credential_fields` of a connector: the values that a person enters.

use super::values::read_line;
use crate::config::consent_spec::CREDENTIAL_FIELD;
use crate::config::field::Field;
use crate::config::redaction::quoted;
use crate::domain::connector::{CredentialField, CredentialKey};

pub(super) fn read_credential_fields(field: &Field<'_>) -> Option<Vec<CredentialField>> {
    let fields = field.read_items(read_credential_field)?;
    let mut kinds = fields.iter().map(|field| field.key.auth_kind());
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        let message = "the fields belong to several auth kinds, and a connection has only one";
        return field.reject("auth_several", message, "keep the fields of one kind");
    }
    Some(fields)
}

fn read_credential_field(field: &Field<'_>) -> Option<CredentialField> {
    let object = field.read_object(&CREDENTIAL_FIELD)?;
    let key = object.take_field("key").and_then(|field| {
        let text = field.read_text()?;
        let key = CredentialKey::parse(text);
        if key.is_none() {
            let message = format!("{} is not a field of an auth kind", quoted(text));
            let remedy = "write `bearerToken.token`, `basicAuth.username`, `basicAuth.password` or `staticHeaders.NAME`";
            field.report("unknown_value", message, remedy);
        }
        key
    });
    let label = object.take_field("label").and_then(|f| read_line(&f));
    let is_required = object.read_flag("required");
    let is_secret = object.read_flag("secret");
    let prefix = object.read_optional("prefix", String::new(), |field| {
        let text = field.read_text()?;
        if text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Some(text.to_owned());
        }
        let message = "is not visible ASCII text";
        field.reject(
            "invalid_text",
            message,
            "write the text that precedes the value",
        )
    });
    Some(CredentialField {
        key: key?,
        label: label?,
        is_required: is_required?,
        is_secret: is_secret?,
        prefix: prefix?,
    })
}
