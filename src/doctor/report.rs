//! The findings as text and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::finding::{Finding, FindingState, SandboxCheck};
use crate::ansi::{CYAN, GREEN, PLAIN, RED, YELLOW};

/// The findings of all checks. It serialises as the document of `--format json`.
#[derive(Serialize)]
pub(crate) struct Diagnosis {
    /// `true` if no finding counts as open: the exit code is 0.
    #[serde(rename = "closed")]
    pub(crate) is_closed: bool,
    /// The findings, ordered by check.
    pub(crate) findings: Vec<Finding>,
}

impl Diagnosis {
    pub(crate) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        // Strings, booleans and lists always serialise.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        writeln!(out, "{text}")
    }

    /// Writes a line for each open or unknown finding, followed by its remedy, and one line for all
    /// closed findings of a check.
    pub(crate) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let findings = &self.findings;
        for group in findings.chunk_by(|a, b| a.check == b.check) {
            write_check(group, out)?;
        }
        let count = |state| findings.iter().filter(|f| f.state == state).count();
        let accepted = findings.iter().filter(|f| f.accepted).count();
        let (open, unknown) = (count(FindingState::Open), count(FindingState::Unknown));
        let verdict = match (self.is_closed, unknown) {
            (true, 0) => "closed",
            // A plain `closed` would claim that everything was checked.
            (true, _) => "closed as far as could be tried",
            (false, _) => "not closed",
        };
        write!(out, "{verdict}: {open} open, {unknown} unknown")?;
        match accepted {
            0 => writeln!(out),
            accepted => writeln!(out, ", {accepted} of them accepted"),
        }
    }
}

/// Writes the findings of one check.
fn write_check(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let (closed, bad): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|f| f.state == FindingState::Closed);
    for (at, finding) in bad.iter().enumerate() {
        write_row(finding.state, finding.check, &describe(finding), out)?;
        // The remedy depends only on the check, so findings of one state share it.
        let last_of_state = bad
            .get(at + 1)
            .is_none_or(|next| next.state != finding.state);
        if let Some(remedy) = finding.remedy.filter(|_| last_of_state) {
            writeln!(out, "{:24}  {CYAN}remedy{PLAIN}: {remedy}", "")?;
        }
    }
    match closed.as_slice() {
        [] => Ok(()),
        [one] => write_row(FindingState::Closed, one.check, &describe(one), out),
        [first, ..] => write_row(FindingState::Closed, first.check, &summarize(&closed), out),
    }
}

fn write_row(
    state: FindingState,
    check: SandboxCheck,
    text: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let colour = match state {
        FindingState::Closed => GREEN,
        FindingState::Open => RED,
        FindingState::Unknown => YELLOW,
    };
    writeln!(
        out,
        "{colour}{:7}{PLAIN}  {:15}  {text}",
        state.name(),
        check.name()
    )
}

fn describe(finding: &Finding) -> String {
    let accepted = if finding.accepted { " (accepted)" } else { "" };
    format!("{}: {}{accepted}", finding.target, finding.seen)
}

/// Returns the number of findings and the distinct results.
fn summarize(findings: &[&Finding]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for finding in findings {
        if !seen.contains(&finding.seen.as_str()) {
            seen.push(&finding.seen);
        }
    }
    format!("{} tried: {}", findings.len(), seen.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{CYAN, Diagnosis, Finding, GREEN, PLAIN, RED, SandboxCheck, YELLOW};

    fn diagnosis(findings: &[Finding], is_closed: bool) -> Diagnosis {
        let findings = findings.to_vec();
        Diagnosis {
            is_closed,
            findings,
        }
    }

    fn findings() -> Vec<Finding> {
        let accepted = Finding {
            accepted: true,
            ..SandboxCheck::Metrics.open("m:1/metrics", "can be read")
        };
        vec![
            SandboxCheck::DirectEgress.open("a:443", "accepted"),
            SandboxCheck::DirectEgress.closed("b:443", "no answer"),
            SandboxCheck::DirectEgress.open("c:443", "accepted"),
            SandboxCheck::Metadata.closed("d:80", "refused"),
            SandboxCheck::Metadata.closed("e:80", "no route"),
            SandboxCheck::Metadata.closed("f:80", "refused"),
            accepted,
            SandboxCheck::Proxy.unknown("p:1", "no answer"),
        ]
    }

    #[test]
    fn what_is_open_stands_alone_and_what_is_closed_together() {
        let mut out = Vec::new();
        diagnosis(&findings(), false).write_text(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        let plain = |line: usize| lines[line];
        assert_eq!(
            plain(0),
            format!("{RED}open   {PLAIN}  direct_egress    a:443: accepted")
        );
        assert_eq!(
            plain(1),
            format!("{RED}open   {PLAIN}  direct_egress    c:443: accepted")
        );
        assert!(
            plain(2)
                .trim_start()
                .starts_with(&format!("{CYAN}remedy{PLAIN}: let only"))
        );
        assert_eq!(
            plain(3),
            format!("{GREEN}closed {PLAIN}  direct_egress    b:443: no answer")
        );
        assert_eq!(
            plain(4),
            format!("{GREEN}closed {PLAIN}  metadata         3 tried: refused; no route")
        );
        assert_eq!(
            plain(5),
            format!("{RED}open   {PLAIN}  metrics          m:1/metrics: can be read (accepted)")
        );
        assert_eq!(
            plain(7),
            format!("{YELLOW}unknown{PLAIN}  proxy            p:1: no answer")
        );
        assert_eq!(
            lines.last(),
            Some(&"not closed: 3 open, 1 unknown, 1 of them accepted")
        );
    }

    #[test]
    fn an_attempt_that_failed_to_run_is_not_reported_as_closed() {
        let last = |findings: &[Finding]| {
            let mut out = Vec::new();
            diagnosis(findings, true).write_text(&mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            out.lines().last().unwrap().to_owned()
        };
        let all = findings();
        assert_eq!(last(&all[3..6]), "closed: 0 open, 0 unknown");
        assert_eq!(
            last(&all[7..]),
            "closed as far as could be tried: 0 open, 1 unknown"
        );
    }

    #[test]
    fn the_document_has_these_keys_and_words() {
        let mut out = Vec::new();
        diagnosis(&findings()[2..4], false)
            .write_json(&mut out)
            .unwrap();
        let out = String::from_utf8(out).unwrap();
        let start = "{\n  \"closed\": false,\n  \"findings\": [\n    {\n      \"check\": \"direct_egress\",\n      \"state\": \"open\",\n      \"target\": \"c:443\",\n      \"seen\": \"accepted\",\n      \"remedy\": \"let only";
        assert!(out.starts_with(start), "{out}");
        let end = "\"check\": \"metadata\",\n      \"state\": \"closed\",\n      \"target\": \"d:80\",\n      \"seen\": \"refused\",\n      \"remedy\": null,\n      \"accepted\": false\n    }\n  ]\n}\n";
        assert!(out.ends_with(end), "{out}");
    }
}
