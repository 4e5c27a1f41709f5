//! A connector file without problems, and what a definition takes from it.

use std::sync::Arc;

use super::print::ConnectorTemplate;
use crate::config::consent_spec::CONNECTOR;
use crate::config::document::{Node, Origin, Value};
use crate::config::field::{Field, Input, join_path};
use crate::config::object::{Fallback, Object};
use crate::config::placeholders::{self, Placeholder};
use crate::config::problem::Problems;
use crate::config::spec::snake_case;
use crate::domain::auth::ProviderFacts;
use crate::domain::connector::Connector;

/// A connector without problems.
pub(in crate::config) struct ConnectorFile {
    pub(super) template: ConnectorTemplate,
    pub(super) provider: ProviderFacts,
    pub(super) origin: Origin,
    /// The content, with values in place of the placeholders.
    pub(super) tree: Node,
    pub(super) open: Vec<OpenField>,
}

/// A field with a placeholder that has no default.
pub(super) struct OpenField {
    /// The object of a definition in which the field is.
    parent: Parent,
    name: String,
    placeholder: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Http,
    Consent,
}

/// Returns the fields with a placeholder that has no default.
pub(super) fn find_open_fields(tree: &Node, declared: &[Placeholder]) -> Vec<OpenField> {
    let is_open = |name: &&str| {
        let mut declared = declared.iter();
        declared.any(|placeholder| placeholder.name == *name && placeholder.default.is_none())
    };
    let mut open = Vec::new();
    let mut add = |parent, name: &str, node| {
        let found = placeholders::names_in_tree(node).into_iter().find(is_open);
        open.extend(found.map(|placeholder| OpenField {
            parent,
            name: name.to_owned(),
            placeholder: placeholder.to_owned(),
        }));
    };
    let Value::Map(entries) = &tree.value else {
        return Vec::new();
    };
    for (key, node) in entries {
        match (key.name.as_str(), &node.value) {
            ("base_url" | "baseUrl", _) => add(Parent::Http, "base_url", node),
            ("oauth_user_consent" | "oauthUserConsent", Value::Map(fields)) => {
                for (key, node) in fields {
                    add(Parent::Consent, &snake_case(&key.name), node);
                }
            }
            _ => {}
        }
    }
    open
}

impl ConnectorFile {
    /// Returns the facts.
    pub(in crate::config) fn connector(&self) -> &Arc<Connector> {
        &self.template.connector
    }

    /// Returns the parts that are printed.
    pub(super) fn template(&self) -> &ConnectorTemplate {
        &self.template
    }

    /// Returns the facts about the provider that no field of a definition holds.
    pub(in crate::config) fn provider(&self) -> &ProviderFacts {
        &self.provider
    }

    /// Returns the fields that the connector supplies to the `http` of a definition.
    pub(in crate::config) fn fallback<'a>(&'a self, problems: &'a Problems) -> Fallback<'a> {
        let input = Input {
            origin: &self.origin,
            problems,
            texts: false,
        };
        match Field::root(&self.tree, input).read_unchecked_object(&CONNECTOR) {
            Some(object) => Fallback::Object(Box::new(object)),
            None => Fallback::Unknown,
        }
    }

    /// Reports each placeholder without a value in a field that a definition takes from the
    /// connector. `field` is the name of the connector in the definition. Returns whether there is
    /// none.
    pub(in crate::config) fn check_placeholders(
        &self,
        field: &Field<'_>,
        http: &Object<'_>,
    ) -> bool {
        let consent = http.peek_own("oauth_user_consent");
        let slug = &self.connector().slug;
        let mut is_filled = true;
        for open in &self.open {
            let (path, is_own) = match (open.parent, &consent) {
                (Parent::Http, _) => (http.field.path.to_string(), http.has_field(&open.name)),
                (Parent::Consent, Some(consent)) => {
                    (consent.path.to_string(), consent.has_key(&open.name))
                }
                (Parent::Consent, None) => continue,
            };
            if is_own {
                continue;
            }
            is_filled = false;
            let name = &open.placeholder;
            let message = format!(
                "the connector `{slug}` has the placeholder `{{{name}}}` in `{}`, and no value for it",
                open.name
            );
            let problem = field.problem("open_placeholder", message);
            let remedy = format!(
                "write `{}` into the definition, or print one with `egressd connectors {slug} --set {name}=…`; {name}: {}",
                open.name,
                self.template.describe(name)
            );
            field.push(problem.field(join_path(&path, &open.name)).remedy(remedy));
        }
        is_filled
    }
}
