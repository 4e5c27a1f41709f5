//! The page from its head to its foot.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use super::card;
use super::html::Html;
use super::view::{Row, State, total};
use super::words::{Bytes, Count, Relative, Span};
use super::{SCRIPT, STYLE};
use crate::telemetry::Activity;

/// Everything that is said.
pub(super) struct Document<'a> {
    pub(super) frame: Frame,
    pub(super) rows: Vec<Row<'a>>,
    /// Requests that named no connection that exists.
    pub(super) unnamed: Activity,
}

/// What is said of the process.
pub(super) struct Frame {
    pub(super) now: Timestamp,
    pub(super) uptime: Duration,
    pub(super) draining: bool,
    pub(super) generation: u64,
}

/// How many connections are in which state.
#[derive(Default)]
struct Tally {
    failing: u64,
    wearing: u64,
    ok: u64,
    disabled: u64,
    deleted: u64,
}

impl Document<'_> {
    pub(super) fn render(&self) -> String {
        let mut html = Html::with_capacity(16 * 1024 + self.rows.len() * 3 * 1024);
        head(&mut html);
        self.banner(&mut html);
        html.raw("<main id=\"main\">");
        self.summary(&mut html);
        self.attention(&mut html);
        self.connections(&mut html);
        html.raw("</main>");
        foot(&mut html);
        html.finish()
    }

    fn banner(&self, html: &mut Html) {
        html.raw("<header><div class=\"bar\"><h1>egressd</h1><span class=\"version\">")
            .text(env!("CARGO_PKG_VERSION"))
            .raw("</span><p id=\"fresh\" class=\"fresh\">as of ");
        card::time(
            html,
            self.frame.now,
            format_args!("{}", clock(self.frame.now)),
        );
        html.raw("<noscript>, anew every 10 s</noscript></p></div><p id=\"alarm\" class=\"alarm\" role=\"alert\" hidden></p></header>");
    }

    fn summary(&self, html: &mut Html) {
        let total = total(self.books());
        html.raw("<dl class=\"summary\">");
        tile(
            html,
            "Process",
            |html| {
                let (class, word): (_, _) = if self.frame.draining {
                    ("<span class=\"state warn\">", "draining")
                } else {
                    ("<span class=\"state ok\">", "ready")
                };
                html.raw(class).raw(word).raw("</span>");
            },
            |html| {
                html.raw("up ")
                    .text(Span(self.frame.uptime))
                    .raw(" · generation ")
                    .text(self.frame.generation);
            },
        );
        let tally = self.tally();
        let count = |html: &mut Html| {
            html.text(Count(self.rows.len() as u64));
        };
        tile(html, "Connections", count, |html| tally.say(html));
        let exchanges = |html: &mut Html| {
            html.text(Count(total.exchanges()));
        };
        tile(html, "Exchanges", exchanges, |html| {
            card::outcomes(html, &total)
        });
        tile(
            html,
            "Bodies",
            |html| {
                html.text(Bytes(
                    total.request_bytes.saturating_add(total.response_bytes),
                ));
            },
            |html| card::bytes(html, &total),
        );
        tile(
            html,
            "Last use",
            |html| match total.last_used {
                Some(at) => card::ago(html, at, self.frame.now),
                None => {
                    html.raw("never");
                }
            },
            |html| {
                if let Some(at) = total.last_used {
                    html.text(clock(at));
                }
            },
        );
        html.raw("</dl>");
    }

    fn books(&self) -> impl Iterator<Item = &Activity> {
        self.rows
            .iter()
            .map(|row| &row.activity)
            .chain([&self.unnamed])
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for row in &self.rows {
            *match row.state {
                State::Exposed(_) | State::Failing(_) => &mut tally.failing,
                State::Wearing(_) => &mut tally.wearing,
                State::Ok => &mut tally.ok,
                State::Disabled => &mut tally.disabled,
                State::Deleted(_) => &mut tally.deleted,
            } += 1;
        }
        tally
    }

    /// Those that somebody should look at, each with why.
    fn attention(&self, html: &mut Html) {
        let exposed = self.rows.iter().filter_map(|row| {
            let exposure: &dyn Display = row.state.exposed()?;
            Some((row, exposure, None))
        });
        let failing = self.rows.iter().filter_map(|row| {
            let failing = row.state.failing()?;
            let reason: &dyn Display = &failing.reason;
            Some((row, reason, failing.next))
        });
        let mut rows = exposed.chain(failing).peekable();
        if rows.peek().is_none() {
            return;
        }
        html.raw("<section class=\"attention\" aria-labelledby=\"h-attention\"><h2 id=\"h-attention\">Needs attention</h2><ul>");
        for (row, reason, next) in rows {
            let id = row.entry.connection.id.as_str();
            html.raw("<li><a href=\"#c-")
                .text(id)
                .raw("\">")
                .text(id)
                .raw("</a><span>")
                .text(reason)
                .raw("</span>");
            if let Some(next) = next {
                html.raw(" <span class=\"next\">next try ")
                    .text(Relative {
                        at: next,
                        now: self.frame.now,
                    })
                    .raw("</span>");
            }
            html.raw("</li>");
        }
        html.raw("</ul></section>");
    }

    fn connections(&self, html: &mut Html) {
        html.raw(
            "<section aria-labelledby=\"h-connections\"><h2 id=\"h-connections\">Connections</h2>",
        );
        if self.rows.is_empty() {
            html.raw("<p class=\"empty\">None is configured.</p>");
        }
        html.raw("<div class=\"cards list\"><div class=\"heads\" aria-hidden=\"true\"><span>Connection</span><div><span>Traffic</span><span>Token</span><span>Refusals and failures</span></div></div>");
        for row in &self.rows {
            card::connection(html, row, self.frame.now);
        }
        html.raw("</div></section>");
        html.raw("<section aria-labelledby=\"h-unnamed\"><h2 id=\"h-unnamed\">No connection</h2><div class=\"cards\">");
        card::unnamed(html, &self.unnamed, self.frame.now);
        html.raw("</div></section>");
    }
}

impl Tally {
    fn say(&self, html: &mut Html) {
        let rows = [
            (self.ok, "<span>", " ok"),
            (self.failing, "<span class=\"bad\">", " failing"),
            (self.wearing, "<span class=\"warn\">", " not renewed"),
            (self.disabled, "<span>", " disabled"),
            (self.deleted, "<span>", " deleted"),
        ];
        card::counts(html, &rows);
    }
}

fn tile(
    html: &mut Html,
    name: &'static str,
    value: impl FnOnce(&mut Html),
    more: impl FnOnce(&mut Html),
) {
    html.raw("<div><dt>").raw(name).raw("</dt><dd>");
    value(html);
    html.raw("</dd><dd class=\"muted\">");
    more(html);
    html.raw("</dd></div>");
}

/// `14:03:22 UTC`
fn clock(at: Timestamp) -> impl Display {
    at.strftime("%H:%M:%S UTC")
}

fn head(html: &mut Html) {
    html.raw(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>egressd</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Crect width='16' height='16' rx='4' fill='%23156d5a'/%3E%3Cpath d='M4 8h7M8 5l3 3-3 3' fill='none' stroke='%23fff' stroke-width='1.8'/%3E%3C/svg%3E\">\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript><style>",
    )
    .raw(STYLE)
    .raw("</style></head><body><a class=\"skip\" href=\"#h-connections\">Skip to the connections</a>");
}

fn foot(html: &mut Html) {
    html.raw(
        "<footer><p>Counted since the start of the process. The same for programs: \
         <a href=\"v1/connections\">connections</a>, <a href=\"metrics\">metrics</a>, \
         <a href=\"readyz?verbose\">readiness</a>, <a href=\"openapi.json\">API</a>.</p></footer><script>",
    )
    .raw(SCRIPT)
    .raw("</script></body></html>\n");
}
