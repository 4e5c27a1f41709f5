//! One connection: its name and state, its traffic, its token, what went wrong, and more for whoever opens it.

use std::fmt::Display;

use jiff::Timestamp;

use super::html::Html;
use super::view::{Failing, Row, State, Token};
use super::words::{Bytes, Count, Relative};
use crate::route::Pattern;
use crate::telemetry::Activity;

/// Routes that a card lists. A page of 500 connections is fetched every few seconds; the API lists them all.
const MAX_ROUTES: usize = 100;

/// A bar's whole width.
const BAR: u64 = 1000;

pub(super) fn connection(html: &mut Html, row: &Row<'_>, now: Timestamp) {
    let connection = &row.entry.connection;
    html.raw("<article id=\"c-")
        .text(&connection.id)
        .raw("\" aria-labelledby=\"n-")
        .text(&connection.id)
        .raw("\"><div class=\"who\"><h3 id=\"n-")
        .text(&connection.id)
        .raw("\"><bdi>")
        .text(&connection.display_name)
        .raw("</bdi></h3><p><code>")
        .text(&connection.id)
        .raw("</code> ");
    state(html, &row.state);
    html.raw("</p></div><dl class=\"cells\">");
    traffic(html, &row.activity, now);
    html.raw("<div><dt>Token</dt>");
    match &row.token {
        Token::Fixed => {
            html.raw("<dd class=\"muted\">fixed, does not expire</dd>");
        }
        Token::NoneNeeded => {
            html.raw("<dd class=\"muted\">needs none</dd>");
        }
        Token::Obtained { expires, refreshed } => obtained(html, *expires, *refreshed, now),
    }
    html.raw("</div>");
    faults(html, &row.activity, now);
    html.raw("</dl>");
    if let Some(exposure) = row.state.exposed() {
        html.raw("<p class=\"why\">").text(exposure).raw("</p>");
    }
    if let Some(failing) = row.state.failing() {
        why(html, failing, now);
    }
    details(html, row, now);
    html.raw("</article>");
}

/// Requests that named no connection.
pub(super) fn unnamed(html: &mut Html, activity: &Activity, now: Timestamp) {
    html.raw("<article><div class=\"who\"><h3>Unknown ids and unclear requests</h3><p class=\"muted\">Refused before a connection was found.</p></div><dl class=\"cells two\">");
    traffic(html, activity, now);
    faults(html, activity, now);
    html.raw("</dl></article>");
}

fn state(html: &mut Html, state: &State) {
    html.raw(match state {
        State::Exposed(_) => "<span class=\"state bad\">credential exposed</span>",
        State::Failing(_) => "<span class=\"state bad\">credential failing</span>",
        State::Wearing(_) => "<span class=\"state warn\">token not renewed</span>",
        State::Ok => "<span class=\"state ok\">ok</span>",
        State::Disabled => "<span class=\"state off\">disabled</span>",
        State::Deleted(_) => "<span class=\"state off\">deleted</span>",
    });
}

fn why(html: &mut Html, failing: &Failing, now: Timestamp) {
    html.raw("<p class=\"why\">").text(failing.reason);
    if let Some(last) = failing.last {
        html.raw(" · last tried ");
        ago(html, last, now);
    }
    if failing.in_a_row > 1 {
        html.raw(", failed ")
            .text(Count(failing.in_a_row.into()))
            .raw(" times in a row");
    }
    if let Some(next) = failing.next {
        html.raw(" · next try ");
        ago(html, next, now);
    }
    html.raw("</p>");
}

fn traffic(html: &mut Html, activity: &Activity, now: Timestamp) {
    html.raw("<div><dt>Traffic</dt>");
    if activity.exchanges() == 0 {
        html.raw("<dd class=\"muted\">no request yet</dd></div>");
        return;
    }
    html.raw("<dd><b>")
        .text(Count(activity.exchanges()))
        .raw(if activity.exchanges() == 1 {
            "</b> exchange</dd><dd>"
        } else {
            "</b> exchanges</dd><dd>"
        });
    bar(html, activity);
    html.raw("</dd><dd class=\"muted\">");
    outcomes(html, activity);
    html.raw("</dd>");
    if let Some(at) = activity.last_used {
        html.raw("<dd class=\"muted\">");
        bytes(html, activity);
        html.raw(" · <span>last used ");
        ago(html, at, now);
        html.raw("</span></dd>");
    }
    html.raw("</div>");
}

/// What became of the exchanges, in the same order as in the bar.
pub(super) fn outcomes(html: &mut Html, activity: &Activity) {
    let rows = [
        (activity.forwarded, "<span>", " forwarded"),
        (activity.refused, "<span class=\"warn\">", " refused"),
        (activity.upstream_failed, "<span class=\"bad\">", " failed"),
        (activity.agent_cancelled, "<span>", " cancelled"),
    ];
    counts(html, &rows);
}

/// Those that are not zero. What parts them stays at the end of a line.
pub(super) fn counts(html: &mut Html, rows: &[(u64, &'static str, &'static str)]) {
    let mut rows = rows.iter().filter(|(count, ..)| *count > 0).peekable();
    while let Some((count, open, words)) = rows.next() {
        html.raw(open).text(Count(*count)).raw(words);
        html.raw(if rows.peek().is_some() {
            " ·</span> "
        } else {
            "</span>"
        });
    }
}

fn bar(html: &mut Html, activity: &Activity) {
    let all = activity.exchanges().max(1);
    html.raw("<svg class=\"bar\" viewBox=\"0 0 1000 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let mut begin = 0;
    let mut sum = 0_u64;
    for (count, open) in [
        (activity.forwarded, "<rect class=\"f\" height=\"6\" x=\""),
        (activity.refused, "<rect class=\"r\" height=\"6\" x=\""),
        (
            activity.upstream_failed,
            "<rect class=\"u\" height=\"6\" x=\"",
        ),
        (
            activity.agent_cancelled,
            "<rect class=\"a\" height=\"6\" x=\"",
        ),
    ] {
        sum = sum.saturating_add(count);
        let end = u64::try_from(u128::from(sum) * u128::from(BAR) / u128::from(all)).unwrap_or(BAR);
        if end > begin {
            html.raw(open)
                .text(begin)
                .raw("\" width=\"")
                .text(end - begin)
                .raw("\"/>");
        }
        begin = end;
    }
    html.raw("</svg>");
}

/// Up to the upstream and down from it.
pub(super) fn bytes(html: &mut Html, activity: &Activity) {
    html.raw("<span title=\"request bodies\">↑\u{2009}")
        .text(Bytes(activity.request_bytes))
        .raw("</span> <span title=\"response bodies\">↓\u{2009}")
        .text(Bytes(activity.response_bytes))
        .raw("</span>");
}

fn obtained(
    html: &mut Html,
    expires: Option<Timestamp>,
    refreshed: Option<Timestamp>,
    now: Timestamp,
) {
    match expires {
        Some(at) => {
            html.raw("<dd>expires ");
            ago(html, at, now);
            html.raw("</dd>");
        }
        None => {
            html.raw("<dd>none at hand</dd>");
        }
    }
    match refreshed {
        Some(at) => {
            html.raw("<dd class=\"muted\">obtained ");
            ago(html, at, now);
            html.raw("</dd>");
        }
        None => {
            html.raw("<dd class=\"muted\">never obtained</dd>");
        }
    }
}

/// By code, the latest first.
fn faults(html: &mut Html, activity: &Activity, now: Timestamp) {
    html.raw("<div><dt>Refusals and failures</dt>");
    let mut faults: Vec<_> = activity
        .faults
        .iter()
        .filter(|fault| fault.count > 0)
        .collect();
    faults.sort_by_key(|fault| (std::cmp::Reverse(fault.last), fault.code));
    if faults.is_empty() {
        html.raw("<dd class=\"muted\">none</dd>");
    }
    for fault in faults {
        html.raw("<dd class=\"fault\"><code>")
            .text(fault.code)
            .raw("</code> <span class=\"times\">×\u{2009}")
            .text(Count(fault.count))
            .raw("</span> <span class=\"muted\">");
        ago(html, fault.last, now);
        html.raw("</span></dd>");
    }
    html.raw("</div>");
}

fn details(html: &mut Html, row: &Row<'_>, now: Timestamp) {
    let connection = &row.entry.connection;
    let routes = row.entry.connection.routes.patterns();
    html.raw("<details id=\"d-")
        .text(&connection.id)
        .raw("\"><summary id=\"s-")
        .text(&connection.id)
        .raw("\">")
        .text(Count(routes.len() as u64))
        .raw(if routes.len() == 1 {
            " route<span> to "
        } else {
            " routes<span> to "
        })
        .text(connection.base_url.authority())
        .raw("</span></summary><div class=\"more\">");
    let description = connection.description.trim();
    if !description.is_empty() {
        html.raw("<div class=\"prose\">")
            .text(description)
            .raw("</div>");
    }
    list_routes(html, routes);
    html.raw("<dl class=\"facts\"><div><dt>Base URL</dt><dd><code>")
        .text(&connection.base_url)
        .raw("</code></dd></div><div><dt>Credential</dt><dd><code>")
        .text(connection.auth.kind())
        .raw("</code></dd></div><div><dt>Loaded</dt><dd>");
    ago(html, row.entry.updated, now);
    html.raw("</dd></div>");
    if let State::Deleted(at) = row.state {
        html.raw("<div><dt>Deleted</dt><dd>");
        ago(html, at, now);
        html.raw("</dd></div>");
    }
    html.raw("</dl></div></details>");
}

fn list_routes(html: &mut Html, routes: &[Pattern]) {
    html.raw("<ul class=\"routes\">");
    for route in routes.iter().take(MAX_ROUTES) {
        html.raw("<li><code>")
            .text(route.as_str())
            .raw("</code></li>");
    }
    html.raw("</ul>");
    if let Some(more) = routes.len().checked_sub(MAX_ROUTES + 1) {
        html.raw("<p class=\"muted\">and ")
            .text(Count(more as u64 + 1))
            .raw(" more, which the API lists</p>");
    }
}

/// A moment by its distance, and exactly for programs and for whoever points at it.
pub(super) fn ago(html: &mut Html, at: Timestamp, now: Timestamp) {
    time(html, at, Relative { at, now });
}

pub(super) fn time(html: &mut Html, at: Timestamp, words: impl Display) {
    let exact = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html.raw("<time datetime=\"")
        .text(&exact)
        .raw("\" title=\"")
        .text(&exact)
        .raw("\">")
        .text(words)
        .raw("</time>");
}
