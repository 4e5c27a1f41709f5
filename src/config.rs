//! Reads files, environment and flags into [`Settings`] and
//! [`Connection`](crate::domain::Connection)s, or reports every problem at once.
//!
//! The modules, in the order of the work: `load` finds the files, `files` opens them, `file_kind`
//! rejects those of the wrong kind, and `sources` records their content. `document` turns each file
//! into a tree with positions, and `layers` does the same with environment and flags. `field` reads
//! single values from a tree, and `object` reads mappings by a table of their fields:
//! `connection_spec`, `consent_spec` or `settings_spec`, in the terms of `spec`. `settings`,
//! `connectors` (with `placeholders`) and `definition_reader` convert the values into types that
//! hold only valid ones. The parts of a definition are read by `definition`, `connection`, `ids`,
//! `auth` (with `auth_context`, `user_consent` and `provider_fields`), `headers`, `routes`,
//! `described_routes`, `urls`, `foreign_wildcards`, `secret_ref` and `secret_policy`; `consents`
//! compares definitions that need the consent of a person. `problem`, `unknown_field`, `excerpt`
//! and `render` report problems to the operator, and `redaction` decides how much of the operator's
//! text a report may contain. `schema` prints the tables as a JSON Schema.
//!
//! Nothing here runs while requests are served. Two invariants are kept here: an invalid value
//! never leaves `config`, and no problem shows a secret.

mod auth;
mod auth_context;
mod connection;
mod connection_spec;
mod connectors;
mod consent_spec;
mod consents;
mod definition;
mod definition_reader;
mod described_routes;
mod document;
mod environment;
mod excerpt;
mod field;
mod file_kind;
mod file_reading;
mod files;
mod foreign_wildcards;
mod headers;
mod ids;
mod layers;
mod listeners;
mod load;
mod login_command;
mod object;
mod placeholders;
mod problem;
mod provider_fields;
mod redaction;
mod render;
mod routes;
mod schema;
mod secret_policy;
mod secret_ref;
mod settings;
mod settings_spec;
mod sources;
mod spec;
mod syntax;
mod unknown_field;
mod urls;
mod user_consent;

pub use connectors::{ConnectorTemplate, UnusableValues};
pub use definition_reader::Text;
pub use environment::Environment;
pub use layers::SettingsOverrides;
pub use listeners::management_listen;
pub use load::{
    LoadAttempt, LoadOptions, Loaded, LoadedPaths, attempt_reload, load, load_connection,
    load_connectors, load_paths, load_texts,
};
pub use login_command::LoginArguments;
pub use problem::{Excerpt, Problem, Severity, nearest};
pub use redaction::may_show;
pub use render::{render_json, render_summary, render_text};
pub use schema::schema;
pub use secret_policy::{SecretSettings, SecretValues};
pub use settings::{
    AccessFilter, AgentListener, EgressSettings, EventLevel, ListenAddress, LogFormat, LogSettings,
    ManagementSettings, McpSettings, ProxySettings, Settings, StartupSettings,
};
pub use sources::{ResourcesExhausted, SourceFiles};
