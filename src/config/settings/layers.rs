//! Flags over environment over file, leaf by leaf.
//!
//! Every layer is brought into the form of the tree, so that one reader serves all three and a problem names the layer it is in.

use zeroize::Zeroizing;

use super::SettingsOverrides;
use crate::config::document::{Node, Origin, Place, Value};
use crate::config::environment::{Environment, HARDENING};
use crate::config::field::{Field, Sink};
use crate::config::object::Object;
use crate::config::problem::{Problem, Problems, nearest};
use crate::config::redaction::{may_show_key, quoted, shown_variable};
use crate::config::secret_ref::ResolveContext;
use crate::config::variables::{LEAVES, variable};

struct Leaf {
    section: &'static str,
    field: &'static str,
    /// The flag's or the variable's name.
    name: String,
    node: Node,
    flag: bool,
}

/// The two layers above the file.
pub(in crate::config) struct Layers {
    leaves: Vec<Leaf>,
    environment: Origin,
    flags: Origin,
}

impl Layers {
    /// Reads what flags and environment say. What is no text is reported.
    pub(in crate::config) fn new(
        overrides: &SettingsOverrides,
        environment: &Environment,
        problems: &Problems,
    ) -> Self {
        let mut leaves = flags(overrides);
        for (section, field, list) in LEAVES.iter().copied() {
            let name = variable(section, field);
            let Some(value) = environment.find(&name) else {
                continue;
            };
            let Some(text) = value.to_str() else {
                let problem =
                    Problem::whole("environment", "wrong_type", "is not UTF-8".to_owned());
                problems.push(problem.field(name).remedy("set it to a UTF-8 text"));
                continue;
            };
            let node = if list { split(text) } else { scalar(text) };
            leaves.push(Leaf {
                section,
                field,
                name,
                node,
                flag: false,
            });
        }
        Self {
            leaves,
            environment: Origin::outside("environment"),
            flags: Origin::outside("command line"),
        }
    }

    /// Whether flags or environment say `management.listen`, so that the file's word for it does not count.
    pub(in crate::config) fn say_management_listen(&self) -> bool {
        let mut leaves = self.leaves.iter();
        leaves.any(|leaf| leaf.section == "management" && leaf.field == "listen")
    }

    fn find<'a>(&'a self, section: &str, field: &str, problems: &'a Problems) -> Option<Field<'a>> {
        // Flags come first in the list.
        let meant = |leaf: &&Leaf| leaf.section == section && leaf.field == field;
        let leaf = self.leaves.iter().find(meant)?;
        let origin = if leaf.flag {
            &self.flags
        } else {
            &self.environment
        };
        let sink = Sink {
            origin,
            problems,
            texts: true,
        };
        Some(Field::named(&leaf.node, &leaf.name, sink))
    }
}

/// One section of the settings, through all layers.
pub(super) struct Section<'a> {
    pub(super) name: &'static str,
    pub(super) object: Option<Object<'a>>,
    pub(super) layers: &'a Layers,
    pub(super) problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// The uppermost layer's value of a leaf.
    pub(super) fn leaf(&mut self, name: &'static str) -> Option<Field<'a>> {
        let below = self.object.as_mut().and_then(|object| object.take(name));
        self.layers.find(self.name, name, self.problems).or(below)
    }

    /// Reports what is left in the file.
    pub(super) fn finish(self) {
        if let Some(object) = self.object {
            object.finish();
        }
    }
}

/// What the reader needs beside the file.
pub(in crate::config) struct Read<'a> {
    pub(in crate::config) layers: &'a Layers,
    pub(in crate::config) context: &'a ResolveContext<'a>,
    pub(in crate::config) problems: &'a Problems,
    /// What `connections` is where nobody says it.
    pub(in crate::config) default_connections: &'static str,
}

impl<'a> Read<'a> {
    /// Returns a section of the settings, through all layers.
    pub(super) fn section(&self, top: &mut Section<'a>, name: &'static str) -> Section<'a> {
        let field = top.object.as_mut().and_then(|object| object.take(name));
        Section {
            name,
            object: field.and_then(|field| field.object()),
            layers: self.layers,
            problems: self.problems,
        }
    }
}

/// Reports every variable that starts with `EGRESSD_` and that nothing has asked for: a misspelt limit must not be taken for set.
pub(in crate::config) fn unknown_variables(environment: &Environment, problems: &Problems) {
    hardening(environment, problems);
    let known: Vec<String> = LEAVES
        .iter()
        .map(|(section, field, _)| variable(section, field))
        .chain([HARDENING.to_owned()])
        .collect();
    for name in environment.unasked() {
        let near = nearest(&name, known.iter().map(String::as_str));
        // A slip in the name of a setting is shown, however long it is.
        let shown = shown_variable(&name).or_else(|| {
            let may_show = near.is_some() && may_show_key(&name, near);
            may_show.then(|| format!("`{name}`"))
        });
        let remedy = match near {
            Some(near) => format!("set `{near}`, or unset it"),
            None => {
                "unset it; to use it for a secret, list it in `secrets.allow_env` and name it in a definition"
                    .to_owned()
            }
        };
        let problem = Problem::whole(
            "environment",
            "unknown_field",
            match &shown {
                Some(shown) => format!("{shown} is not a setting"),
                None => "a variable that begins with `EGRESSD_` is not a setting".to_owned(),
            },
        );
        let field = shown.map_or_else(|| "EGRESSD_…".to_owned(), |_| name);
        problems.push(problem.field(field).remedy(remedy));
    }
}

/// Reports a word that asks for no hardening that there is.
fn hardening(environment: &Environment, problems: &Problems) {
    let Some(word) = environment.hardening() else {
        return;
    };
    if !["off", "best-effort", "required"]
        .iter()
        .any(|known| word == *known)
    {
        let message = format!(
            "{} is no kind of hardening",
            quoted(&word.to_string_lossy())
        );
        let problem = Problem::whole("environment", "unknown_value", message).field(HARDENING);
        problems.push(problem.remedy("set it to `off`, `best-effort` or `required`, or unset it"));
    }
}

fn flags(overrides: &SettingsOverrides) -> Vec<Leaf> {
    let list = |values: &[String]| {
        let items = values.iter().map(|value| scalar(value)).collect();
        (!values.is_empty()).then(|| node(Value::List(items)))
    };
    let one = |value: &Option<String>| value.as_deref().map(scalar);
    let leaf = |section, field, name: &str, node: Option<Node>| {
        let name = name.to_owned();
        Some(Leaf {
            section,
            field,
            name,
            node: node?,
            flag: true,
        })
    };
    [
        leaf("proxy", "listen", "--listen", list(&overrides.listen)),
        leaf(
            "management",
            "listen",
            "--management-listen",
            list(&overrides.management_listen),
        ),
        leaf("log", "level", "--log-level", one(&overrides.log_level)),
        leaf("log", "format", "--log-format", one(&overrides.log_format)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn split(text: &str) -> Node {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    node(Value::List(items.map(scalar).collect()))
}

fn scalar(text: &str) -> Node {
    node(Value::Text(Zeroizing::new(text.to_owned())))
}

fn node(value: Value) -> Node {
    Node {
        value,
        place: Place::default(),
    }
}
