//! Types and sentences that events are made of.

use std::fmt;

use serde::Serialize;

use crate::domain::ConnectionId;

/// Connections that a sentence names.
const MAX_NAMED: usize = 3;

/// The callers that a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// For agents.
    Proxy,
    /// For operators.
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

/// One of the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Exchanges.
    Access,
    /// Events.
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

/// A finding about the configuration, as `egressd check` reports it.
#[derive(Debug, Serialize)]
pub struct ConfigProblem {
    /// The stable name of the kind of finding.
    pub code: &'static str,
    /// The file, as the operator reaches it.
    pub file: String,
    /// 1-based.
    pub line: Option<u32>,
    /// The path of the field.
    pub field: String,
    /// What is wrong.
    #[serde(skip)]
    pub message: String,
    /// What to write instead.
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

/// Why a token endpoint gave no token, in words of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TokenFault {
    /// The kind of reason, as a refusal's document names its cause.
    pub reason: &'static str,
    /// More of it: a step, a kind of address, an error code of RFC 6749.
    pub detail: Option<&'static str>,
    /// The token endpoint's status, where that is the reason.
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

/// `1 failure`, `2 failures`
pub(super) fn with_plural(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `a, b, c and 2 more`
pub(super) fn joined_names(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = items.take(MAX_NAMED).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

pub(super) fn shown_ids(ids: &[ConnectionId]) -> String {
    joined_names(ids.iter().map(ToString::to_string))
}

/// ` files held, system_calls off`
pub(super) fn shown_measures(measures: &[(&'static str, Box<str>)]) -> String {
    let shown = measures
        .iter()
        .map(|(name, state)| format!(" {name} {state}"));
    shown.collect::<Vec<_>>().join(",")
}

/// ``the secret of `x-api-key` (header_value) of connection crm``
pub(super) fn held_secret(
    secret: &str,
    header: Option<&str>,
    other_owner: Option<&ConnectionId>,
    is_guess: bool,
) -> String {
    let article = if is_guess { "a guess of the " } else { "the " };
    let secret = header.map_or_else(
        || secret.to_owned(),
        |header| format!("secret of `{header}` ({secret})"),
    );
    let owner = other_owner.map(|owner| format!(" of connection {owner}"));
    format!("{article}{secret}{}", owner.unwrap_or_default())
}
