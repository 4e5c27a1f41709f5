//! One connection on the page: its name and state, its traffic, its token, its faults, and details
//! in a disclosure widget.

use std::cmp::Reverse;
use std::fmt::Display;

use jiff::Timestamp;
use maud::{Markup, html};

use super::format::{byte_size, group_digits, relative_time};
use super::overview::{ConnectionOverview, ConnectionState, TokenFailure, TokenLifetime};
use crate::domain::Connection;
use crate::domain::route_description::DescriptionText;
use crate::telemetry::ConnectionStats;

/// The number of routes that are listed. The page is fetched every few seconds and can have 500
/// connections. The API lists all routes.
const MAX_ROUTES: usize = 100;

/// The width of a traffic bar, in units of its `viewBox`.
const BAR_WIDTH: u64 = 1000;

pub(super) fn connection_card(shown: &ConnectionOverview<'_>, now: Timestamp) -> Markup {
    let connection = &shown.entry.connection;
    let id = &connection.id;
    let (class, label) = shown.state.label();
    html! {
        // The prefixes keep a connection called `main` or `fresh` from taking an id of the page
        // itself. `bdi` isolates a name in right-to-left script from the text around it.
        article id={ "c-" (id) } aria-labelledby={ "n-" (id) } {
            div class="who" {
                h3 id={ "n-" (id) } { bdi { (connection.display_name) } }
                p { code { (id) } " " span class={ "state " (class) } { (label) } }
            }
            dl class="cells" {
                (traffic_cell(&shown.activity, now))
                div { dt { "Token" } (token_lifetime(&shown.token, now)) }
                (faults_cell(&shown.activity, now))
            }
            @if let Some((reason, failure)) = shown.state.fault() {
                p class="why" {
                    (reason)
                    @if let Some(failure) = failure { (token_attempts(failure, now)) }
                }
            }
            (connection_details(shown, now))
        }
    }
}

/// The card of requests for which no connection was found.
pub(super) fn unnamed_card(activity: &ConnectionStats, now: Timestamp) -> Markup {
    html! {
        article {
            div class="who" {
                h3 { "Unknown ids and ambiguous requests" }
                p class="muted" { "Refused because no connection was found." }
            }
            dl class="cells two" { (traffic_cell(activity, now)) (faults_cell(activity, now)) }
        }
    }
}

fn token_attempts(failure: &TokenFailure, now: Timestamp) -> Markup {
    html! {
        @if let Some(last) = failure.last { " · last tried " (time_ago(last, now)) }
        @if failure.in_a_row > 1 { ", failed " (group_digits(failure.in_a_row.into())) " times in a row" }
        @if let Some(next) = failure.next { " · next try " (time_ago(next, now)) }
    }
}

fn traffic_cell(activity: &ConnectionStats, now: Timestamp) -> Markup {
    let exchanges = activity.exchanges();
    html! {
        div {
            dt { "Traffic" }
            @if exchanges == 0 {
                dd class="muted" { "no request yet" }
            } @else {
                dd { b { (group_digits(exchanges)) } @if exchanges == 1 { " exchange" } @else { " exchanges" } }
                dd { (outcome_bar(activity)) }
                dd class="muted" { (outcome_counts(activity)) }
                @if let Some(at) = activity.last_used {
                    dd class="muted" {
                        (body_bytes(activity)) " · " span { "last used " (time_ago(at, now)) }
                    }
                }
            }
        }
    }
}

/// Counts exchanges by outcome, in the same order as in the bar.
pub(super) fn outcome_counts(activity: &ConnectionStats) -> Markup {
    nonzero_counts(&[
        (activity.forwarded, "", "forwarded"),
        (activity.refused, "warn", "refused"),
        (activity.upstream_failed, "bad", "failed"),
        (activity.agent_cancelled, "", "cancelled"),
    ])
}

/// Lists the counts that are not zero, each with its class and label. The separator stays at the
/// end of a line when the list wraps.
pub(super) fn nonzero_counts(counts: &[(u64, &str, &str)]) -> Markup {
    let mut counts = counts.iter().filter(|(count, ..)| *count > 0).peekable();
    html! {
        @while let Some((count, class, label)) = counts.next() {
            span class=[Some(class).filter(|class| !class.is_empty())] {
                (group_digits(*count)) " " (label) @if counts.peek().is_some() { " ·" }
            }
            @if counts.peek().is_some() { " " }
        }
    }
}

fn outcome_bar(activity: &ConnectionStats) -> Markup {
    let all = u128::from(activity.exchanges().max(1));
    let mut sum = 0_u64;
    let mut begin = 0;
    // Each end is computed from the running sum, so rounding errors do not add up and the pieces
    // fill the bar exactly.
    let mut piece = |class: &'static str, count: u64| {
        sum = sum.saturating_add(count);
        let end = u128::from(sum) * u128::from(BAR_WIDTH) / all;
        let end = u64::try_from(end).unwrap_or(BAR_WIDTH);
        let start = std::mem::replace(&mut begin, end);
        (class, start, end - start)
    };
    let pieces = [
        piece("f", activity.forwarded),
        piece("r", activity.refused),
        piece("u", activity.upstream_failed),
        piece("a", activity.agent_cancelled),
    ];
    html! {
        // The width is `BAR_WIDTH`. The SVG is drawn with attributes, because the policy of the
        // page forbids inline styles.
        svg class="bar" viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, x, width) in pieces.into_iter().filter(|(.., width)| *width > 0) {
                rect class=(class) height="6" x=(x) width=(width) {}
            }
        }
    }
}

/// Shows the bytes of request bodies (up to the upstream) and response bodies (down from it).
pub(super) fn body_bytes(activity: &ConnectionStats) -> Markup {
    html! {
        span title="request bodies" { "↑\u{2009}" (byte_size(activity.request_bytes)) } " "
        span title="response bodies" { "↓\u{2009}" (byte_size(activity.response_bytes)) }
    }
}

fn token_lifetime(token: &TokenLifetime, now: Timestamp) -> Markup {
    match token {
        TokenLifetime::Fixed => html! { dd class="muted" { "fixed, does not expire" } },
        TokenLifetime::Endless => html! { dd class="muted" { "has no end" } },
        TokenLifetime::NotNeeded => html! { dd class="muted" { "not needed" } },
        TokenLifetime::Obtained { expires, refreshed } => html! {
            dd { @if let Some(at) = expires { "expires " (time_ago(*at, now)) } @else { "no valid token" } }
            dd class="muted" {
                @if let Some(at) = refreshed { "obtained " (time_ago(*at, now)) } @else { "never obtained" }
            }
        },
    }
}

/// Lists refusals and failures by code, the latest first.
fn faults_cell(activity: &ConnectionStats, now: Timestamp) -> Markup {
    let faults = activity.faults.iter().filter(|fault| fault.count > 0);
    let mut faults: Vec<_> = faults.collect();
    // The code breaks ties, so the order does not change between two fetches.
    faults.sort_by_key(|fault| (Reverse(fault.last), fault.code));
    html! {
        div {
            dt { "Refusals and failures" }
            @if faults.is_empty() { dd class="muted" { "none" } }
            @for fault in faults {
                dd class="fault" {
                    code { (fault.code) } " "
                    span class="times" { "×\u{2009}" (group_digits(fault.count)) } " "
                    span class="muted" { (time_ago(fault.last, now)) }
                }
            }
        }
    }
}

fn connection_details(shown: &ConnectionOverview<'_>, now: Timestamp) -> Markup {
    let connection = &shown.entry.connection;
    let id = &connection.id;
    let routes = connection.routes.patterns();
    let description = connection.description.trim();
    html! {
        details id={ "d-" (id) } {
            summary id={ "s-" (id) } {
                (group_digits(routes.len() as u64)) @if routes.len() == 1 { " route" } @else { " routes" }
                span { " to " (connection.base_url.authority()) }
            }
            div class="more" {
                @if !description.is_empty() { div class="prose" { (description) } }
                ul class="routes" {
                    @for (at, route) in routes.iter().enumerate().take(MAX_ROUTES) {
                        li {
                            code { (route.as_str()) }
                            @if let Some(text) = route_description(connection, at) {
                                " " span class="muted" { (text) }
                            }
                        }
                    }
                }
                @if routes.len() > MAX_ROUTES {
                    p class="muted" {
                        "and " (group_digits((routes.len() - MAX_ROUTES) as u64)) " more; the API lists all"
                    }
                }
                dl class="facts" {
                    div { dt { "Base URL" } dd { code { (connection.base_url) } } }
                    div { dt { "Credential" } dd { code { (connection.auth.kind()) } } }
                    div {
                        dt { "Status" }
                        dd {
                            code { (shown.status.name.as_str()) }
                            @if let Some(reason) = shown.status.reason { " (" (reason) ")" }
                        }
                    }
                    @if let Some(at) = shown.status.connected_at {
                        div { dt { "Consent" } dd { (time_ago(at, now)) } }
                    }
                    div { dt { "Loaded" } dd { (time_ago(shown.entry.updated, now)) } }
                    @if let ConnectionState::Deleted(at) = shown.state {
                        div { dt { "Deleted" } dd { (time_ago(at, now)) } }
                    }
                }
            }
        }
    }
}

fn route_description(connection: &Connection, route: usize) -> Option<&str> {
    let description = connection
        .route_descriptions
        .get(route)?
        .description
        .as_ref();
    description.map(DescriptionText::as_str)
}

/// Shows a time relative to now. The exact time is in `datetime` for programs and in `title` for
/// people.
pub(super) fn time_ago(at: Timestamp, now: Timestamp) -> Markup {
    time_element(at, relative_time(at, now))
}

pub(super) fn time_element(at: Timestamp, text: impl Display) -> Markup {
    let exact = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) title=(exact) { (text) } }
}
