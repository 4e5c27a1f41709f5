//! The HTML of the page. The templates of `maud` escape every value, so no value can become markup.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::connection::{
    body_bytes, connection_card, nonzero_counts, outcome_counts, time_ago, time_element,
    unnamed_card,
};
use super::format::{byte_size, group_digits, relative_time, rough_duration};
use super::overview::{ConnectionOverview, sum};
use super::{SCRIPT, STYLE};
use crate::domain::Ceilings;
use crate::management::ListenerOverview;
use crate::telemetry::ConnectionStats;

// A data URL, so that no second request is needed.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%23156d5a'/%3E%3Cpath d='M4 8h7M8 5l3 3-3 3' fill='none' stroke='%23fff' stroke-width='1.8'/%3E%3C/svg%3E";

/// The content of the page.
pub(super) struct PageContent<'a> {
    pub(super) now: Timestamp,
    pub(super) uptime: Duration,
    pub(super) is_draining: bool,
    pub(super) generation: u64,
    pub(super) ceilings: Ceilings,
    /// The listeners for agents, if they serve different connections.
    pub(super) listeners: &'a [ListenerOverview],
    pub(super) connections: Vec<ConnectionOverview<'a>>,
    /// Requests for which no connection was found.
    pub(super) unnamed: ConnectionStats,
}

impl PageContent<'_> {
    pub(super) fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { "egressd" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href=(ICON);
                    noscript { meta http-equiv="refresh" content="10"; }
                    // Constants. Escaping would change them, and their hashes in the policy with
                    // them.
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a class="skip" href="#h-connections" { "Skip to the connections" }
                    header {
                        div class="bar" {
                            h1 { "egressd" }
                            span class="version" { (env!("CARGO_PKG_VERSION")) }
                            p id="fresh" class="fresh" {
                                "as of " (time_element(self.now, clock_time(self.now)))
                                noscript { ", reloaded every 10 s" }
                            }
                        }
                        p id="alarm" class="alarm" role="alert" hidden {}
                    }
                    main id="main" { (self.summary()) (self.attention()) (self.connections()) (self.listeners()) }
                    footer {
                        (self.raised_ceilings())
                        p {
                            "Counts are since the start of the process. The same data for programs: "
                            a href="v1/connections" { "connections" } ", "
                            a href="metrics" { "metrics" } ", "
                            a href="readyz?verbose" { "readiness" } ", "
                            a href="openapi.json" { "API" } "."
                        }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn summary(&self) -> Markup {
        let activities = self.connections.iter().map(|shown| &shown.activity);
        let total = sum(activities.chain([&self.unnamed]));
        let bytes = total.request_bytes.saturating_add(total.response_bytes);
        let (class, state) = if self.is_draining {
            ("state warn", "draining")
        } else {
            ("state ok", "ready")
        };
        html! {
            dl class="summary" {
                div {
                    dt { "Process" }
                    dd { span class=(class) { (state) } }
                    dd class="muted" { "up " (rough_duration(self.uptime)) " · generation " (self.generation) }
                }
                div {
                    dt { "Connections" }
                    dd { (group_digits(self.connections.len() as u64)) }
                    dd class="muted" { (self.state_counts()) }
                }
                div {
                    dt { "Exchanges" }
                    dd { (group_digits(total.exchanges())) }
                    dd class="muted" { (outcome_counts(&total)) }
                }
                div {
                    dt { "Bodies" }
                    dd { (byte_size(bytes)) }
                    dd class="muted" { (body_bytes(&total)) }
                }
                div {
                    dt { "Last use" }
                    dd { @if let Some(at) = total.last_used { (time_ago(at, self.now)) } @else { "never" } }
                    dd class="muted" { @if let Some(at) = total.last_used { (clock_time(at)) } }
                }
            }
        }
    }

    fn listeners(&self) -> Markup {
        html! {
            @if !self.listeners.is_empty() {
                section aria-labelledby="h-listeners" {
                    h2 id="h-listeners" { "Listeners" }
                    ul {
                        @for listener in self.listeners {
                            li { (listener.address) " " span class="muted" { (listener.served()) } }
                        }
                    }
                }
            }
        }
    }

    /// States the ceilings if one of them is raised.
    fn raised_ceilings(&self) -> Markup {
        let (Ceilings { response, timeout }, default) = (self.ceilings, Ceilings::default());
        html! {
            @if response > default.response || timeout > default.timeout {
                p {
                    "Limits of connections are raised: responses of at most "
                    (byte_size(response.bytes())) ", timeouts of at most "
                    (timeout.duration().as_secs()) " s."
                }
            }
        }
    }

    fn state_counts(&self) -> Markup {
        let count = |rank: u8| {
            let shown = self.connections.iter();
            shown.filter(|shown| shown.state.rank() == rank).count() as u64
        };
        // The numbers are those of `ConnectionState::rank`.
        nonzero_counts(&[
            (count(3), "", "ok"),
            (count(0), "bad", "failing"),
            (count(1), "bad", "without a consent"),
            (count(2), "warn", "not renewed"),
            (count(4), "", "disabled"),
            (count(5), "", "deleted"),
        ])
    }

    /// Lists the connections that need an operator's attention, each with the reason.
    fn attention(&self) -> Markup {
        let faulty = self.connections.iter().filter_map(|shown| {
            let (reason, failure) = shown.state.fault()?;
            Some((&shown.entry.connection.id, reason, failure))
        });
        let mut faulty: Vec<_> = faulty.collect();
        // Exposed credentials first, because no retry will end their refusals.
        faulty.sort_by_key(|(.., failure)| failure.is_some());
        html! {
            @if !faulty.is_empty() {
                section class="attention" aria-labelledby="h-attention" {
                    h2 id="h-attention" { "Needs attention" }
                    ul {
                        @for (id, reason, failure) in faulty {
                            li {
                                a href={ "#c-" (id) } { (id) }
                                span { (reason) }
                                @if let Some(at) = failure.and_then(|failure| failure.next) {
                                    " " span class="next" { "next try " (relative_time(at, self.now)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn connections(&self) -> Markup {
        html! {
            section aria-labelledby="h-connections" {
                h2 id="h-connections" { "Connections" }
                @if self.connections.is_empty() {
                    p class="empty" { "No connections are configured." }
                }
                div class="cards list" {
                    div class="heads" aria-hidden="true" {
                        span { "Connection" }
                        div {
                            span { "Traffic" }
                            span { "Token" }
                            span { "Refusals and failures" }
                        }
                    }
                    @for shown in &self.connections { (connection_card(shown, self.now)) }
                }
            }
            section aria-labelledby="h-unnamed" {
                h2 id="h-unnamed" { "No connection" }
                div class="cards" { (unnamed_card(&self.unnamed, self.now)) }
            }
        }
    }
}

/// Formats a time as `14:03:22 UTC`.
fn clock_time(at: Timestamp) -> impl Display {
    at.strftime("%H:%M:%S UTC")
}
