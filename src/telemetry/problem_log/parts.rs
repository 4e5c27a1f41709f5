//! The types and phrases that events are made of.

use std::fmt;

use serde::Serialize;

use crate::domain::ConnectionId;

/// The maximum number of connections that a sentence names.
const MAX_NAMED: usize = 3;

/// The callers that a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// Agents.
    Proxy,
    /// Operators.
    Management,
}

impl ListenerKind {
    pub(super) fn clients(self) -> &'static str {
        match self {
            Self::Proxy => "agents",
            Self::Management => "operators",
        }
    }
}

/// Either of the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// The access log.
    Access,
    /// The problem log.
    Problem,
}

impl LogStream {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Problem => "problem",
        }
    }
}

/// The part of a response in which a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponsePart {
    /// The body.
    Body,
    /// The name or the value of a header field.
    Header,
}

impl ResponsePart {
    /// Returns the name that metrics and events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Header => "header",
        }
    }
}

/// A `config::Problem` as a log line reports it: without its excerpt and its column. It is a type
/// of its own because `telemetry` does not depend on `config`.
#[derive(Debug, Serialize)]
pub struct ConfigProblem {
    /// The stable name of the kind of problem.
    pub code: &'static str,
    /// The file as the operator reaches it, `environment` or `command line`.
    pub file: String,
    /// The line, from 1; `None` if the problem concerns a whole file.
    pub line: Option<u32>,
    /// The path of the field; empty at the top level.
    pub field: String,
    /// The mistake, in one sentence.
    #[serde(skip)]
    pub message: String,
    /// The text to write instead, or the action to take.
    pub remedy: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The reason why a token endpoint granted no token. No text comes from the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TokenFault {
    /// The kind of reason, as `cause` of a refusal document names it.
    pub reason: &'static str,
    /// A detail of the reason: a step, a kind of address, or an error code of RFC 6749.
    pub detail: Option<&'static str>,
    /// The status of the token endpoint's response, if the status is the reason.
    pub status: Option<u16>,
    /// The action that the operator can take.
    pub remedy: Option<&'static str>,
}

impl TokenFault {
    pub(super) fn remedy_clause(&self) -> String {
        let remedy = self.remedy.map(|remedy| format!("; {remedy}"));
        remedy.unwrap_or_default()
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        if let Some(detail) = self.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(status) = self.status {
            write!(f, " (status {status})")?;
        }
        Ok(())
    }
}

/// Returns a count with its noun: `1 problem`, `2 problems`.
pub(super) fn with_plural(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Returns the first items and the number of the others: `a, b, c and 2 more`.
pub(super) fn joined_names(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = items.take(MAX_NAMED).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Returns `connection a`, or `connections a, b, c and 2 more`.
pub(super) fn shown_connections(ids: &[ConnectionId]) -> String {
    let noun = if ids.len() == 1 {
        "connection"
    } else {
        "connections"
    };
    format!("{noun} {}", shown_ids(ids))
}

/// Returns ` for connection a, at the root` or ` for connections a, b`, with the space before it.
/// Empty for a listener of every connection.
pub(super) fn shown_scope(
    mounted: Option<&ConnectionId>,
    listed: Option<&[ConnectionId]>,
) -> String {
    match (mounted, listed) {
        (Some(id), _) => format!(" for connection {id}, at the root"),
        (None, Some(ids)) => format!(" for {}", shown_connections(ids)),
        (None, None) => String::new(),
    }
}

pub(super) fn shown_ids(ids: &[ConnectionId]) -> String {
    joined_names(ids.iter().map(ToString::to_string))
}

/// Returns ` files held, system_calls off`, with the space before it.
pub(super) fn shown_measures(measures: &[(&'static str, Box<str>)]) -> String {
    let shown = measures
        .iter()
        .map(|(name, state)| format!(" {name} {state}"));
    shown.collect::<Vec<_>>().join(",")
}

/// Returns a phrase such as ``the secret of header `x-api-key` (header_value) of connection crm``.
pub(super) fn held_secret(
    secret: &str,
    header: Option<&str>,
    other_owner: Option<&ConnectionId>,
    is_guess: bool,
) -> String {
    let article = if is_guess {
        "a text that begins like the "
    } else {
        "the "
    };
    let secret = header.map_or_else(
        || secret.to_owned(),
        |header| format!("secret of header `{header}` ({secret})"),
    );
    let owner = other_owner.map(|owner| format!(" of connection {owner}"));
    format!("{article}{secret}{}", owner.unwrap_or_default())
}
