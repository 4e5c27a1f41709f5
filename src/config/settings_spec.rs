//! The fields of the settings file, with their defaults and bounds. Each leaf is also a variable:
//! `EGRESSD_`, then the names on its path in upper case. Lists of mappings have no variable.

#[cfg(test)]
mod tests;

use super::environment::HARDENING;
use super::field::join_path;
use super::spec::Kind::{Flag, Integer, List, Object, Objects, Value};
use super::spec::{FieldSpec, ObjectSpec, field, text};
use crate::domain::{ResponseCap, Timeout};

/// One day in seconds, which is longer than any useful timeout.
const DAY: u64 = 86_400;
/// One tebibyte, the upper limit for the size of a request body.
const TEBIBYTE: u64 = 1 << 40;
/// Ten mebibytes, the default limit for a request body, and the upper one for a tool's result.
const TEN_MEBIBYTES: u64 = 10_485_760;
/// An upper limit for numbers of sockets and requests, larger than any process can reach.
const MAX_COUNT: u64 = 1_000_000;

pub(super) static SETTINGS: ObjectSpec = object(&[
    section("proxy", &PROXY),
    section("management", &MANAGEMENT),
    section("mcp", &MCP),
    section("egress", &EGRESS),
    section("log", &LOG),
    section("shutdown", &SHUTDOWN),
    list("connections"),
    section("token_store", &TOKEN_STORE),
    list("connectors"),
    section("secrets", &SECRETS),
    section("limits", &LIMITS),
]);

static PROXY: ObjectSpec = object(&[
    field("allow_non_loopback", Flag(false), ""),
    list("listen"),
    list("allowed_hosts"),
    field("listeners", Objects(&LISTENER), ""),
    number("workers", 0, 1024, 0),
    number("max_connections", 1, MAX_COUNT, 4096),
    number("max_in_flight", 1, MAX_COUNT, 1024),
    number("max_request_body_bytes", 0, TEBIBYTE, TEN_MEBIBYTES),
    number("header_read_timeout_seconds", 1, DAY, 10),
    number("idle_timeout_seconds", 1, DAY, 75),
    number("body_idle_timeout_seconds", 1, DAY, 30),
    number("write_stall_timeout_seconds", 1, DAY, 30),
]);

/// An item of `proxy.listeners`.
pub(super) static LISTENER: ObjectSpec = object(&[
    list("listen").required("write `listen: [127.0.0.1:9001]`"),
    word("connection"),
    list("connections"),
    list("allowed_hosts"),
    field("allow_non_loopback", Flag(false), ""),
])
.example("{listen: [127.0.0.1:9001], connection: ID}");

pub(super) static MANAGEMENT: ObjectSpec = object(&[
    section("basic_auth", &MANAGEMENT_LOGIN).secret(),
    list("listen"),
]);

static MANAGEMENT_LOGIN: ObjectSpec = object(&[word("username"), word("password")]);

static MCP: ObjectSpec = object(&[
    field("enabled", Flag(true), ""),
    number("max_result_bytes", 1024, TEN_MEBIBYTES, 262_144),
]);

static EGRESS: ObjectSpec = object(&[
    list("ca_files"),
    number("connect_timeout_seconds", 1, 300, 5),
    number("pool_idle_timeout_seconds", 1, DAY, 60),
    number("pool_max_idle_per_host", 0, 65_536, 64),
]);

static LOG: ObjectSpec = object(&[word("format"), word("level"), word("access")]);

static SHUTDOWN: ObjectSpec = object(&[number("grace_period_seconds", 0, DAY, 20)]);

static TOKEN_STORE: ObjectSpec = object(&[word("directory")]);

pub(super) static SECRETS: ObjectSpec = object(&[list("allow"), list("allow_env")]);

#[rustfmt::skip] // short rows
pub(super) static LIMITS: ObjectSpec = object(&[
    number("max_response_size_bytes", 1, ResponseCap::MAX, ResponseCap::DEFAULT),
    number("max_timeout_seconds", 1, Timeout::MAX_SECONDS, Timeout::CEILING_SECONDS),
]);

// The settings have no JSON Schema, so their fields have neither names of objects nor descriptions.

const fn object(fields: &'static [FieldSpec]) -> ObjectSpec {
    ObjectSpec::new("", "", fields)
}

const fn section(name: &'static str, spec: &'static ObjectSpec) -> FieldSpec {
    field(name, Object(spec), "")
}

const fn list(name: &'static str) -> FieldSpec {
    field(name, List(text), "")
}

const fn word(name: &'static str) -> FieldSpec {
    field(name, Value(text), "")
}

const fn number(name: &'static str, min: u64, max: u64, default: u64) -> FieldSpec {
    field(name, Integer { min, max, default }, "")
}

/// The prefix of all variables, without the underscore after it.
pub(super) const ROOT: &str = "EGRESSD";

/// Returns the variable of a field, or the prefix of the variables of a section.
pub(super) fn variable(prefix: &str, field: &str) -> String {
    format!("{prefix}_{}", field.to_ascii_uppercase())
}

/// Returns the variable of each leaf, and whether it holds a list.
pub(super) fn variables() -> Vec<(String, bool)> {
    fn add(object: &ObjectSpec, prefix: &str, found: &mut Vec<(String, bool)>) {
        for field in object.fields {
            let variable = variable(prefix, field.name);
            match &field.kind {
                Object(section) => add(section, &variable, found),
                Objects(_) => {}
                List(_) => found.push((variable, true)),
                Flag(_) | Integer { .. } | Value(_) => found.push((variable, false)),
            }
        }
    }
    let mut found = Vec::new();
    add(&SETTINGS, ROOT, &mut found);
    found
}

/// Returns the lists of mappings, each as its path in the settings file and as the variable that it
/// would be, were it a leaf.
pub(super) fn fields_without_variable() -> Vec<(String, String)> {
    fn add(object: &ObjectSpec, path: &str, found: &mut Vec<(String, String)>) {
        for field in object.fields {
            let path = join_path(path, field.name);
            match &field.kind {
                Object(section) => add(section, &path, found),
                Objects(_) => {
                    let variable = variable(ROOT, &path.replace('.', "_"));
                    found.push((path, variable));
                }
                List(_) | Flag(_) | Integer { .. } | Value(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    add(&SETTINGS, "", &mut found);
    found
}

/// Returns whether a variable is one that settings are read from.
pub(super) fn is_setting(name: &str) -> bool {
    name == HARDENING || variables().iter().any(|(variable, _)| variable == name)
}
