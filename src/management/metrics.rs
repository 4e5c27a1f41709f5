//! `GET /metrics`: the counters of `telemetry`, with gauges that are sampled when the text is
//! rendered. Requires no credentials and contains no secret.
//!
//! The text is rendered at most once a second. Scrapes in between get the bytes of the last
//! rendering, so a flood of scrapes causes no extra work, and none is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::Sources;
use crate::credential::Credentials;
use crate::credential::oauth::Grant;
use crate::domain::Auth;
use crate::hardening::Hardening;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{self, TokenSample};

/// Sources of the values that are sampled at scrape time.
pub struct GaugeSources {
    /// Exchanges under way.
    pub in_flight: Box<dyn Fn() -> usize + Send + Sync>,
    /// Open sockets of agents.
    pub agent_sockets: Box<dyn Fn() -> usize + Send + Sync>,
    /// The token requests of connections, past grants included.
    pub tokens: TokenRequestHistory,
}

/// How often each connection's grants asked for a token. A reload may give a connection another grant, or take it away: what was counted stays.
#[derive(Default)]
pub struct TokenRequestHistory(Mutex<BTreeMap<String, TokenRequestTotal>>);

#[derive(Default)]
struct TokenRequestTotal {
    /// As long as the connection has it: it holds a secret.
    grant: Option<Arc<Grant>>,
    /// Of the grants before.
    granted: u64,
    failed: u64,
}

/// The time for which one rendering is served.
const RENDERING_LIFETIME: Duration = Duration::from_secs(1);

/// The last rendering.
#[derive(Default)]
pub(super) struct CachedRendering(Mutex<Option<(Instant, Bytes)>>);

impl CachedRendering {
    /// Returns the last rendering, or a new one if the last is a second old. Callers that arrive
    /// during a rendering wait for it.
    fn get_or_render(&self, render: impl FnOnce() -> Vec<u8>) -> Bytes {
        let mut last = self.0.lock();
        match &*last {
            Some((begun, text)) if begun.elapsed() < RENDERING_LIFETIME => text.clone(),
            Some(_) | None => {
                let begun = Instant::now();
                let text = Bytes::from(render());
                *last = Some((begun, text.clone()));
                text
            }
        }
    }
}

/// Answers with the text that Prometheus scrapes.
pub(super) async fn scrape(
    State(sources): State<Arc<Sources>>,
    State(rendered): State<Arc<CachedRendering>>,
) -> ([(HeaderName, &'static str); 1], Bytes) {
    let text = rendered.get_or_render(|| render(&sources));
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

fn render(sources: &Sources) -> Vec<u8> {
    let snapshot = Arc::clone(&sources.published.current());
    let gauges = &sources.gauges;
    let live = |entry: &&Arc<crate::snapshot::Entry>| entry.is_live();
    let state = metrics::GaugeValues {
        in_flight: (gauges.in_flight)(),
        agent_sockets: (gauges.agent_sockets)(),
        connections: snapshot.entries().iter().filter(live).count(),
        generation: snapshot.generation(),
        hash: snapshot.hash().to_owned(),
        tokens: gauges.tokens.sample(&snapshot, &sources.credentials),
        reflections: sources.credentials.reflection_counts(),
        hardening: hardening(&sources.hardening),
    };
    sources.metrics.render(&state)
}

fn hardening(hardening: &Hardening) -> Vec<(&'static str, bool)> {
    let states = hardening.states();
    let held = states.map(|(measure, state)| (measure.as_str(), state.is_held()));
    held.collect()
}

impl TokenRequestHistory {
    fn sample(&self, snapshot: &Snapshot, credentials: &Credentials) -> Vec<TokenSample> {
        let mut totals = self.0.lock();
        let mut grants: BTreeMap<_, _> = grants(snapshot, credentials).collect();
        for (id, total) in totals.iter_mut() {
            total.replace_grant(grants.remove(id.as_str()).flatten());
        }
        for (id, grant) in grants {
            let total = totals.entry(id.to_owned()).or_default();
            total.replace_grant(grant);
        }
        let samples = totals.iter().map(|(id, total)| total.to_sample(id));
        samples.collect()
    }
}

/// Returns the connections whose token requests are counted, with the grants that exist so far. A
/// scrape must not create a grant.
fn grants<'s>(
    snapshot: &'s Snapshot,
    credentials: &Credentials,
) -> impl Iterator<Item = (&'s str, Option<Arc<Grant>>)> {
    let usable = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.is_live() && entry.connection.enabled)
        .filter(|entry| matches!(entry.connection.auth, Auth::OauthClientCredentials(_)));
    usable.map(|entry| {
        let connection = &entry.connection;
        (connection.id.as_str(), credentials.find_grant(connection))
    })
}

impl TokenRequestTotal {
    /// Another grant, or none: what was asked before stays counted.
    fn replace_grant(&mut self, grant: Option<Arc<Grant>>) {
        let is_same = match (&self.grant, &grant) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if is_same {
            return;
        }
        if let Some(past) = std::mem::replace(&mut self.grant, grant) {
            let past = past.status();
            self.granted += past.requests_ok;
            self.failed += past.requests_failed;
        }
    }

    fn to_sample(&self, id: &str) -> TokenSample {
        let status = self.grant.as_ref().map(|grant| grant.status());
        let (ok, failed, expires_at) = status.map_or((0, 0, None), |status| {
            (
                status.requests_ok,
                status.requests_failed,
                status.expires_at,
            )
        });
        TokenSample {
            connection: id.to_owned(),
            granted: self.granted + ok,
            failed: self.failed + failed,
            expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::runtime::Handle;
    use tokio::time::{Duration, advance};

    use super::{CachedRendering, RENDERING_LIFETIME, TokenRequestHistory};
    use crate::credential::Credentials;
    use crate::credential::oauth::Grants;
    use crate::management::view::tests::connections;
    use crate::snapshot::Snapshot;
    use crate::upstream::{
        Client, DialTimeouts, Dialer, PoolLimits, ResolverSettings, Trust, Upstreams,
    };

    /// Credentials that can fetch tokens. The tests here never do.
    fn credentials() -> Credentials {
        let CertifiedKey { cert, .. } = generate_simple_self_signed(Vec::new()).unwrap();
        let trust = Trust::with_only_roots(std::slice::from_ref(cert.der())).unwrap();
        let second = Duration::from_secs(1);
        let times = DialTimeouts {
            connect: second,
            head_start: second,
            handshake: second,
        };
        let resolver = ResolverSettings::with_servers(&[], "").resolver(second);
        let dialer = Dialer::new(resolver, times, Arc::default());
        let pool = PoolLimits {
            max_idle: 1,
            idle_timeout: second,
        };
        let client = Client::new(Arc::new(Upstreams::new(trust)), dialer, pool);
        Credentials::new(Grants::new(Arc::new(client), Handle::current()))
    }

    #[tokio::test]
    async fn sampling_lists_an_unused_oauth_connection_and_creates_no_grant() {
        let mut all = connections("canary");
        all.truncate(1);
        all[0].enabled = true;
        all[0].delete_time = None;
        let snapshot = Snapshot::new(all);
        let credentials = credentials();
        let history = TokenRequestHistory::default();

        let samples = history.sample(&snapshot, &credentials);

        let [sample] = &samples[..] else {
            panic!("{} samples", samples.len());
        };
        assert_eq!((sample.granted, sample.failed), (0, 0));
        assert_eq!(sample.expires_at, None);
        let mut entries = snapshot.entries().iter();
        let oauth = entries.find(|entry| entry.connection.id.as_str() == sample.connection);
        let connection = &oauth.unwrap().connection;
        assert!(credentials.find_grant(connection).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_rendered_at_most_once_a_second_and_served_to_everybody() {
        // F-261
        let rendered = CachedRendering::default();
        let first = rendered.get_or_render(|| b"first".to_vec());
        advance(RENDERING_LIFETIME - Duration::from_millis(1)).await;
        let same = rendered.get_or_render(|| panic!("rendered twice in a second"));
        assert_eq!(same.as_ptr(), first.as_ptr());
        advance(Duration::from_millis(1)).await;
        assert_eq!(rendered.get_or_render(|| b"second".to_vec()), "second");
    }
}
