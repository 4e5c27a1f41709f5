//! `egressd connectors`: lists the connectors, or prints a definition that uses one.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::check::Format;
use super::table::format_table;
use super::{Exit, Streams, exit_after_writing, report_problems};
use crate::config::{
    self, ConnectorTemplate, Environment, LoadOptions, SecretValues, SettingsOverrides,
    UnusableValues, load_connectors, nearest,
};
use crate::domain::Connection;
use crate::management::ConnectorView;

const AFTER_HELP: &str = "\
Exit codes: 0 success, 64 invalid arguments, an unknown connector, a placeholder without a value, or \
a problem in a directory of connectors.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Connectors {
    /// Settings file, for its directories of connectors [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Value of a placeholder; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "slug", value_parser = parse_assignment)]
    set: Vec<(String, String)>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Connector to print a definition for, instead of the list
    #[arg(value_name = "SLUG")]
    slug: Option<String>,
}

fn parse_assignment(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text
        .split_once('=')
        .ok_or("must have the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Connectors {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let options = LoadOptions {
            config: self.config,
            overrides: SettingsOverrides {
                secrets: SecretValues::Skip,
                ..SettingsOverrides::default()
            },
            environment,
        };
        let templates = match load_connectors(&options) {
            Ok(templates) => templates,
            Err(problems) => return report_problems(&problems, streams),
        };
        let Some(slug) = self.slug else {
            return list(&templates, &options, self.format, streams);
        };
        let known = || templates.iter().map(|it| it.connector.slug.as_str());
        let found = templates
            .iter()
            .find(|template| template.connector.slug.as_str() == slug);
        let Some(template) = found else {
            let shown = config::may_show(&slug).then(|| format!(" `{slug}`"));
            let near = nearest(&slug, known()).map(|near| format!("; did you mean `{near}`?"));
            writeln!(
                streams.err,
                "egressd connectors: unknown connector{}{}",
                shown.unwrap_or_default(),
                near.unwrap_or_default()
            )?;
            writeln!(streams.err, "`egressd connectors` lists the connectors")?;
            return Ok(Exit::Usage);
        };
        match self.format {
            Format::Text => print_definition(template, &self.set, streams),
            Format::Json => {
                let connections = configured(&options);
                let view = ConnectorView::new(&template.connector, &connections);
                let document = json!({"connector": view});
                let written = writeln!(streams.out, "{document:#}");
                exit_after_writing(written, Exit::Success)
            }
        }
    }
}

fn print_definition(
    template: &ConnectorTemplate,
    values: &[(String, String)],
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    match template.definition(values) {
        Ok(definition) => {
            let written = write!(streams.out, "{definition}");
            exit_after_writing(written, Exit::Success)
        }
        Err(UnusableValues(reasons)) => {
            for reason in reasons {
                writeln!(streams.err, "egressd connectors: {reason}")?;
            }
            // They state where to find the values.
            if !template.setup.is_empty() {
                writeln!(streams.err, "the steps before a login:")?;
            }
            for (step, number) in template.setup.iter().zip(1..) {
                writeln!(streams.err, "{number}. {step}")?;
            }
            Ok(Exit::Usage)
        }
    }
}

/// Lists all connectors, and the connections that use them.
fn list(
    templates: &[ConnectorTemplate],
    options: &LoadOptions,
    format: Format,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let connections = configured(options);
    let written = match format {
        Format::Json => {
            let views = templates.iter();
            let views: Vec<_> = views
                .map(|template| ConnectorView::new(&template.connector, &connections))
                .collect();
            let document = json!({"connectors": views, "nextPageToken": ""});
            writeln!(streams.out, "{document:#}")
        }
        Format::Text => write!(streams.out, "{}", table(templates, &connections)),
    };
    exit_after_writing(written, Exit::Success)
}

/// Returns the connections of the configuration. Returns none if it has problems, because the file
/// that the output is written to may be one of the definitions, and empty.
fn configured(options: &LoadOptions) -> Vec<Connection> {
    let loaded = config::load(options);
    loaded.map_or_else(|_| Vec::new(), |loaded| loaded.connections)
}

fn table(templates: &[ConnectorTemplate], connections: &[Connection]) -> String {
    let rows = templates.iter().map(|template| {
        let connector = &template.connector;
        let users = connections
            .iter()
            .filter(|connection| connection.connector.as_ref() == Some(&connector.slug));
        let users: Vec<_> = users.map(|connection| connection.id.as_str()).collect();
        [
            connector.slug.to_string(),
            connector.auth_type.as_str().to_owned(),
            connector.checked.to_string(),
            users.join(","),
            connector.display_name.clone(),
        ]
    });
    let head = ["CONNECTOR", "CREDENTIAL", "CHECKED", "CONNECTIONS", "API"];
    let rows: Vec<_> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
    format_table(&rows)
}
