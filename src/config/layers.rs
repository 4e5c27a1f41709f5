//! Combines flags, environment and file: for each setting, a flag replaces a variable, which
//! replaces the value in the file.
//!
//! Every layer has the form of a tree, so that the same code reads all three and a problem names
//! the layer that it is in.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::document::{Node, Origin, Position, Value};
use super::environment::{Environment, HARDENING};
use super::field::{Field, Input, join_names};
use super::problem::{Problem, Problems, nearest};
use super::redaction::{may_show_key, quoted, shown_variable};
use super::secret_policy::SecretValues;
use super::settings_spec::{fields_without_variable, variables};

/// The prefix of all variables of egressd.
const PREFIX: &str = "EGRESSD_";

/// The variable of `management.listen`.
pub(super) const MANAGEMENT_LISTEN: &str = "EGRESSD_MANAGEMENT_LISTEN";

/// The values of flags. They replace those of the environment, which replace those of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsOverrides {
    /// `--listen`, once or more: replaces `proxy.listen`.
    pub listen: Vec<String>,
    /// `--management-listen`, once or more: replaces `management.listen`.
    pub management_listen: Vec<String>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// `--log-format`
    pub log_format: Option<String>,
    /// Paths given as arguments, relative to the working directory: replace `connections`.
    pub connections: Vec<PathBuf>,
    /// The directories of `connectors` at the start of the process. They replace those of the
    /// settings when the configuration is loaded again, because a change needs a restart.
    pub connectors: Option<Vec<PathBuf>>,
    /// `--secrets`
    pub secrets: SecretValues,
}

/// A value of the environment or of a flag.
struct Leaf {
    /// The environment variable of the setting.
    variable: String,
    /// The flag, if it is from the command line.
    flag: Option<&'static str>,
    node: Node,
}

/// The two layers above the file.
pub(super) struct Layers<'p> {
    leaves: Vec<Leaf>,
    environment: Origin,
    flags: Origin,
    /// A section that is not in the file.
    absent: Node,
    pub(super) problems: &'p Problems,
}

impl<'p> Layers<'p> {
    /// Collects the values of flags and environment. A variable that is not UTF-8 is reported.
    pub(super) fn new(
        overrides: &SettingsOverrides,
        environment: &Environment,
        problems: &'p Problems,
    ) -> Self {
        let mut leaves = flag_leaves(overrides);
        for (variable, is_list) in variables() {
            let Some(value) = environment.get(&variable) else {
                continue;
            };
            let Some(text) = value.to_str() else {
                let problem =
                    Problem::whole("environment", "wrong_type", "is not UTF-8".to_owned());
                problems.push(problem.field(variable).remedy("set it to a UTF-8 string"));
                continue;
            };
            leaves.push(Leaf {
                variable,
                flag: None,
                node: if is_list {
                    list_node(text)
                } else {
                    text_node(text)
                },
            });
        }
        Self {
            leaves,
            environment: Origin::without_file("environment"),
            flags: Origin::without_file("command line"),
            absent: new_node(Value::Map(Vec::new())),
            problems,
        }
    }

    /// Returns whether a flag or a variable sets `management.listen`, so that the file's value has
    /// no effect.
    pub(super) fn have_management_listen(&self) -> bool {
        let mut leaves = self.leaves.iter();
        leaves.any(|leaf| leaf.variable == MANAGEMENT_LISTEN)
    }

    /// Returns the value that a flag or a variable sets, if there is one.
    pub(super) fn find_value(&self, variable: &str) -> Option<Field<'_>> {
        // Flags come first in the list, so they win over the environment.
        let leaf = self.leaves.iter().find(|leaf| leaf.variable == variable)?;
        let (origin, name) = match leaf.flag {
            Some(flag) => (&self.flags, flag),
            None => (&self.environment, variable),
        };
        Some(self.to_field(&leaf.node, name, origin))
    }

    /// Returns a mapping without entries, for a section that is not in the file.
    pub(super) fn absent_section(&self) -> Field<'_> {
        self.to_field(&self.absent, "", &self.environment)
    }

    fn to_field<'a>(&'a self, node: &'a Node, name: &str, origin: &'a Origin) -> Field<'a> {
        let input = Input {
            origin,
            problems: self.problems,
            texts: true,
        };
        Field::with_path(node, name, input)
    }
}

/// Reports every variable that starts with `EGRESSD_` and was never looked up: with a misspelt
/// name, a limit would silently have no effect.
pub(super) fn report_unknown_variables(environment: &Environment, problems: &Problems) {
    report_unknown_hardening(environment, problems);
    let variables = variables().into_iter().map(|(variable, _)| variable);
    let known: Vec<String> = variables.chain([HARDENING.to_owned()]).collect();
    let lists = fields_without_variable();
    for name in environment.unused() {
        if let Some((path, _)) = lists.iter().find(|(_, variable)| *variable == name) {
            let message = format!("`{path}` cannot be set by a variable");
            let problem = Problem::whole("environment", "unknown_field", message);
            let remedy = format!("write `{path}` in the settings file, and unset the variable");
            problems.push(problem.field(name).remedy(remedy));
            continue;
        }
        // Only the rest of the names is compared: the common prefix makes all of them similar.
        let rest = name.strip_prefix(PREFIX).unwrap_or(&name);
        let rests = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
        let near = nearest(rest, rests).map(|near| format!("{PREFIX}{near}"));
        let near = near.as_deref();
        // The name of the section may be missing: `EGRESSD_LISTEN`.
        let suffix = format!("_{rest}");
        let longer = known.iter().map(String::as_str);
        let longer: Vec<&str> = longer.filter(|known| known.ends_with(&suffix)).collect();
        // A misspelt setting is shown, however long its name is.
        let shown = shown_variable(&name).or_else(|| {
            let may_show = !longer.is_empty() || near.is_some() && may_show_key(&name, near);
            may_show.then(|| format!("`{name}`"))
        });
        let remedy = match (longer.as_slice(), near) {
            ([], None) => {
                "unset it; to use it for a secret, list it in `secrets.allow_env` and name it in a definition"
                    .to_owned()
            }
            ([], Some(near)) => format!("set `{near}`, or unset it"),
            (longer, _) => format!("set {}, or unset it", join_names(longer)),
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

/// Reports a value of `EGRESSD_HARDENING` that is not a hardening level.
fn report_unknown_hardening(environment: &Environment, problems: &Problems) {
    let Some(word) = environment.hardening() else {
        return;
    };
    if !["off", "best-effort", "required"]
        .iter()
        .any(|known| word == *known)
    {
        let message = format!(
            "{} is not a hardening level",
            quoted(&word.to_string_lossy())
        );
        let problem = Problem::whole("environment", "unknown_value", message).field(HARDENING);
        problems.push(problem.remedy("set it to `off`, `best-effort` or `required`, or unset it"));
    }
}

fn flag_leaves(overrides: &SettingsOverrides) -> Vec<Leaf> {
    let list = |values: &[String]| {
        let items = values.iter().map(|value| text_node(value)).collect();
        (!values.is_empty()).then(|| new_node(Value::List(items)))
    };
    let one = |value: &Option<String>| value.as_deref().map(text_node);
    [
        ("EGRESSD_PROXY_LISTEN", "--listen", list(&overrides.listen)),
        (
            MANAGEMENT_LISTEN,
            "--management-listen",
            list(&overrides.management_listen),
        ),
        (
            "EGRESSD_LOG_LEVEL",
            "--log-level",
            one(&overrides.log_level),
        ),
        (
            "EGRESSD_LOG_FORMAT",
            "--log-format",
            one(&overrides.log_format),
        ),
    ]
    .into_iter()
    .filter_map(|(variable, flag, node)| {
        Some(Leaf {
            variable: variable.to_owned(),
            flag: Some(flag),
            node: node?,
        })
    })
    .collect()
}

fn list_node(text: &str) -> Node {
    let items = text
        .split(',')
        .map(str::trim)
        // An empty variable means an empty list.
        .filter(|item| !item.is_empty());
    new_node(Value::List(items.map(text_node).collect()))
}

fn text_node(text: &str) -> Node {
    new_node(Value::Text(Zeroizing::new(text.to_owned())))
}

fn new_node(value: Value) -> Node {
    Node {
        value,
        place: Position::default(),
    }
}
