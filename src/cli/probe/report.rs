//! The steps as text and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::StepReport;
use crate::ansi::{BOLD, CYAN, GREEN, PLAIN, RED};
use crate::domain::Connection;
use crate::upstream::ProbeError;

/// The JSON document of `--format json`. Its keys have the order of the fields.
#[derive(Serialize)]
struct Report<'a> {
    connection: &'a str,
    /// `live`, `disabled` or `deleted`. Requests are served only if the connection is live.
    state: &'static str,
    steps: &'a [StepReport],
}

/// Returns the reason why a step towards `peer` failed. Forbidden addresses are listed, each with
/// its kind.
pub(super) fn failure_text(broken: &ProbeError, peer: &str) -> String {
    if broken.forbidden.is_empty() {
        return broken.failure.to_string().replacen("the upstream", peer, 1);
    }
    let refused = broken.forbidden.iter();
    let refused: Vec<_> = refused
        .map(|(address, kind)| format!("{address} ({kind})"))
        .collect();
    format!("refused: {}", refused.join(", "))
}

pub(super) fn write_json(
    connection: &Connection,
    rows: &[StepReport],
    out: &mut dyn Write,
) -> io::Result<()> {
    let report = Report {
        connection: connection.id.as_str(),
        state: connection_state(connection).0,
        steps: rows,
    };
    // Strings, numbers and lists always serialise.
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    writeln!(out, "{text}")
}

/// Writes one line for each step, in columns.
pub(super) fn write_text(
    connection: &Connection,
    rows: &[StepReport],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{BOLD}{}{PLAIN}", connection.id)?;
    if let (_, Some(note)) = connection_state(connection) {
        writeln!(out, "  {note}")?;
    }
    write_table(rows, out)
}

fn write_table(rows: &[StepReport], out: &mut dyn Write) -> io::Result<()> {
    let widest = |text: fn(&StepReport) -> &str| rows.iter().map(|row| text(row).len()).max();
    let step = widest(|row| row.step).unwrap_or(0);
    let target = widest(|row| &row.target).unwrap_or(0);
    for row in rows {
        let (colour, verdict) = if row.ok {
            (GREEN, "ok")
        } else {
            (RED, "failed")
        };
        writeln!(
            out,
            "  {:step$}  {:target$}  {colour}{verdict:6}{PLAIN}  {:>8.1} ms  {}",
            row.step, row.target, row.ms, row.detail
        )?;
        if let Some(remedy) = &row.remedy {
            writeln!(out, "  {:step$}  {CYAN}remedy{PLAIN}: {remedy}", "")?;
        }
    }
    let failed = rows.iter().any(|row| !row.ok);
    writeln!(
        out,
        "{}; no request was sent to the API",
        if failed {
            "a step failed"
        } else {
            "every step succeeded"
        }
    )
}

/// Returns the state of a connection, and a note if its requests are not served.
fn connection_state(connection: &Connection) -> (&'static str, Option<&'static str>) {
    if connection.delete_time.is_some() {
        let note = "soft-deleted: requests to it are refused with `connection_not_found`";
        ("deleted", Some(note))
    } else if connection.enabled {
        ("live", None)
    } else {
        ("disabled", Some("disabled: requests to it are refused"))
    }
}

#[cfg(test)]
mod tests {
    use super::{CYAN, GREEN, PLAIN, RED, StepReport, write_table};

    #[test]
    fn columns_are_aligned_and_a_remedy_follows_its_step() {
        let row = |step, target: &str, ms, remedy: Option<&str>| StepReport {
            step,
            target: target.to_owned(),
            ok: remedy.is_none(),
            ms,
            detail: "found".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let rows = [
            row("resolve", "api.example.com:443", 0.04, None),
            row("connect", "a:443", 1234.56, Some("look")),
        ];
        let mut out = Vec::new();
        write_table(&rows, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "  resolve  api.example.com:443  {GREEN}ok    {PLAIN}       0.0 ms  found
  connect  a:443                {RED}failed{PLAIN}    1234.6 ms  found
           {CYAN}remedy{PLAIN}: look
a step failed; no request was sent to the API
"
            )
        );
    }
}
