//! Prints a definition that refers to a connector.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::placeholders::{self, Placeholder, fill};
use crate::config::problem::nearest;
use crate::domain::connector::{Connector, ConnectorAuth, CredentialField, CredentialKey};

/// The longest line of a comment, in characters.
const WIDTH: usize = 100;

/// A connector, with the parts that are only printed.
#[derive(Clone)]
pub struct ConnectorTemplate {
    /// The facts.
    pub connector: Arc<Connector>,
    /// The steps that a person takes before a login.
    pub setup: Vec<String>,
    pub(super) placeholders: Vec<Placeholder>,
    /// The base URL, with placeholders.
    pub(super) base_url: String,
    /// The fields of `oauth_user_consent`, with placeholders.
    pub(super) consent: Vec<(String, TemplateValue)>,
    pub(super) scopes: Option<String>,
    /// The routes that read.
    pub(super) read: Vec<String>,
    /// The routes that change something.
    pub(super) write: Vec<String>,
}

/// The value of a field of a connector.
#[derive(Clone)]
pub(super) enum TemplateValue {
    Text(String),
    Map(Vec<(String, String)>),
}

/// The reasons why a definition cannot be printed, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct UnusableValues(pub Vec<String>);

impl ConnectorTemplate {
    /// Returns a definition in YAML. `values` replace placeholders.
    pub fn definition(&self, values: &[(String, String)]) -> Result<String, UnusableValues> {
        self.check(values)?;
        let given = |name: &str| {
            let mut values = values.iter();
            let (_, value) = values.find(|(known, _)| known == name)?;
            Some(value.clone())
        };
        let any = |name: &str| {
            let default = || {
                let mut declared = self.placeholders.iter();
                declared.find(|known| known.name == name)?.default.clone()
            };
            given(name).or_else(default)
        };
        let connector = &self.connector;
        let mut text = self.comments(&any);
        let mut line = |indent: usize, line: &str| {
            text.push_str(&" ".repeat(indent * 2));
            text.push_str(line);
            text.push('\n');
        };
        line(
            0,
            &format!("display_name: {}", quoted(&connector.display_name)),
        );
        if !connector.description.is_empty() {
            line(
                0,
                &format!("description: {}", quoted(&connector.description)),
            );
        }
        line(0, &format!("connector: {}", connector.slug));
        line(0, "connection_details:");
        line(1, "http:");
        let base_url = fill(&self.base_url, &any);
        line(2, &format!("base_url: {}", quoted(&base_url)));
        line(2, "allowed_routes:");
        for route in &self.read {
            line(3, &format!("- {}", plain(route)));
        }
        if !self.write.is_empty() {
            line(
                3,
                "# These routes can change data. Remove `# ` to allow one:",
            );
        }
        for route in &self.write {
            line(3, &format!("# - {}", plain(route)));
        }
        for (indent, auth) in self.auth(&given, &any) {
            line(2 + indent, &auth);
        }
        Ok(text)
    }

    /// Returns the description of a placeholder.
    pub(super) fn describe(&self, name: &str) -> &str {
        let mut declared = self.placeholders.iter();
        let found = declared.find(|placeholder| placeholder.name == name);
        found.map_or("", |placeholder| &placeholder.description)
    }

    /// Checks that each value belongs to a placeholder, and that no placeholder is without a value.
    fn check(&self, values: &[(String, String)]) -> Result<(), UnusableValues> {
        let slug = &self.connector.slug;
        let names = || self.placeholders.iter().map(|known| known.name.as_str());
        let mut reasons = Vec::new();
        for (at, (name, value)) in values.iter().enumerate() {
            if !names().any(|known| known == name) {
                let near = nearest(name, names()).map(|near| format!("; did you mean `{near}`?"));
                let name = name.escape_debug();
                reasons.push(format!(
                    "the connector `{slug}` has no placeholder `{name}`{}",
                    near.unwrap_or_default()
                ));
            } else if !placeholders::is_value(value) {
                reasons.push(format!(
                    "the value of `{name}` must be 1 to 253 letters, digits, `.` and `-`"
                ));
            } else if values.iter().take(at).any(|(known, _)| known == name) {
                reasons.push(format!("`{name}` has two values"));
            }
        }
        for Placeholder {
            name,
            description,
            default,
        } in &self.placeholders
        {
            let is_given = values.iter().any(|(known, _)| known == name);
            if !is_given && default.is_none() {
                reasons.push(format!("`--set {name}=VALUE` is missing: {description}"));
            }
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(UnusableValues(reasons))
        }
    }

    /// Returns the setup steps and addresses of pages, as comments.
    fn comments(&self, value: &dyn Fn(&str) -> Option<String>) -> String {
        let connector = &self.connector;
        let slug = &connector.slug;
        let mut text = String::new();
        add_comment(
            &mut text,
            "",
            &format!(
                "A definition that uses the connector `{slug}`, printed by `egressd connectors {slug}`."
            ),
        );
        add_comment(
            &mut text,
            "",
            &format!(
                "Documentation, compared on {}: {}",
                connector.checked, connector.docs
            ),
        );
        if let Some(page) = &connector.revoke_page {
            let page = fill(page, value);
            add_comment(&mut text, "", &format!("To revoke the access: {page}"));
        }
        if !self.setup.is_empty() {
            text.push_str("#\n");
        }
        for (at, step) in self.setup.iter().enumerate() {
            add_comment(&mut text, &format!("{}. ", at + 1), step);
        }
        text.push('\n');
        text
    }

    /// Returns the lines of the auth kind, each with its indentation.
    fn auth(
        &self,
        given: &dyn Fn(&str) -> Option<String>,
        any: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<(usize, String)> {
        match self.connector.auth_type {
            ConnectorAuth::Oauth => self.consent(given, any),
            ConnectorAuth::ApiKey => self.keys(),
            ConnectorAuth::None => vec![(0, "no_auth: {}".to_owned())],
        }
    }

    /// Returns the lines of `oauth_user_consent`. A field of the connector with a placeholder that
    /// was given a value is written out.
    fn consent(
        &self,
        given: &dyn Fn(&str) -> Option<String>,
        any: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<(usize, String)> {
        let mut lines = vec![(0, "oauth_user_consent:".to_owned())];
        lines.push((1, format!("client_id: {}", self.file("client-id"))));
        let is_public = self.consent.iter().any(|(name, value)| {
            name == "client_auth" && matches!(value, TemplateValue::Text(text) if text == "none")
        });
        if !is_public {
            lines.push((1, format!("client_secret: {}", self.file("client-secret"))));
        }
        if let Some(scopes) = &self.scopes {
            lines.push((1, format!("scopes: {}", quoted(scopes))));
        }
        for (name, value) in &self.consent {
            let is_given =
                |text: &String| placeholders::names(text).any(|name| given(name).is_some());
            match value {
                TemplateValue::Text(text) if is_given(text) => {
                    lines.push((1, format!("{name}: {}", quoted(&fill(text, any)))));
                }
                TemplateValue::Map(entries) if entries.iter().any(|(_, text)| is_given(text)) => {
                    lines.push((1, format!("{name}:")));
                    let entries = entries.iter();
                    lines.extend(entries.map(|(key, text)| {
                        (2, format!("{}: {}", quoted(key), quoted(&fill(text, any))))
                    }));
                }
                TemplateValue::Text(_) | TemplateValue::Map(_) => {}
            }
        }
        lines
    }

    /// Returns the lines of a kind whose values a person enters.
    fn keys(&self) -> Vec<(usize, String)> {
        let fields = &self.connector.credential_fields;
        let kind = fields.first().map_or("", |field| field.key.auth_kind());
        let mut lines = vec![(0, format!("{kind}:"))];
        let is_header = |field: &CredentialField| matches!(field.key, CredentialKey::Header(_));
        let is_nested = fields.iter().any(is_header);
        if is_nested {
            lines.push((1, "headers:".to_owned()));
        }
        let indent = if is_nested { 2 } else { 1 };
        for field in fields {
            if !field.prefix.is_empty() {
                let comment = format!(
                    "# The file begins with {}, which `egressd login` writes.",
                    quoted(&field.prefix)
                );
                lines.push((indent, comment));
            }
            let name = match &field.key {
                CredentialKey::BearerToken => "token".to_owned(),
                CredentialKey::Username => "username".to_owned(),
                CredentialKey::Password => "password".to_owned(),
                CredentialKey::Header(name) => name.to_string(),
            };
            let file = self.file(&field.key.file_name());
            lines.push((indent, format!("{name}: {file}")));
        }
        lines
    }

    fn file(&self, field: &str) -> String {
        format!("{{file: ../secrets/{}-{field}}}", self.connector.slug)
    }
}

/// Appends a comment, which is broken at spaces into lines of at most [`WIDTH`] characters.
fn add_comment(text: &mut String, first: &str, words: &str) {
    let mut line = format!("# {first}");
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            // Writing to a `String` cannot fail.
            let _written = writeln!(text, "{line}");
            line = format!("# {}", " ".repeat(first.len()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _written = writeln!(text, "{line}");
}

/// Returns a text as a quoted scalar. JSON strings are valid in YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a text as a scalar without quotes, if YAML reads it as the same text.
fn plain(text: &str) -> String {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b" /{}.$_-~+%@".contains(&b);
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if starts && text.bytes().all(legal) && !text.ends_with(' ') {
        text.to_owned()
    } else {
        quoted(text)
    }
}
