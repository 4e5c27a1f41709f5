//! `GET /metrics`: the counters of `telemetry`, with gauges that are sampled when the text is
//! rendered. Requires no credentials and contains no secret.
//!
//! The text is rendered at most once a second. Scrapes in between get the bytes of the last
//! rendering, so a flood of scrapes causes no extra work, and none is refused.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::{ApiContext, ApiState};
use crate::credential::Credentials;
use crate::credential::oauth::StatusName;
use crate::domain::{Auth, ConnectionId};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{self, GrantGauges};

/// Sources of the values that are sampled at scrape time.
pub struct GaugeSources {
    /// The number of exchanges in flight.
    pub in_flight: Box<dyn Fn() -> usize + Send + Sync>,
    /// The number of open sockets of agents.
    pub agent_sockets: Box<dyn Fn() -> usize + Send + Sync>,
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

/// Responds with the text that Prometheus scrapes.
pub(super) async fn scrape(
    State(state): State<Arc<ApiState>>,
) -> ([(HeaderName, &'static str); 1], Bytes) {
    let text = state.rendered.get_or_render(|| render_text(&state.sources));
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

fn render_text(sources: &ApiContext) -> Vec<u8> {
    // One snapshot for all values, so they belong to one generation.
    let snapshot = Arc::clone(&sources.published.current());
    let gauges = &sources.gauges;
    let live = |entry: &&Arc<crate::snapshot::ConnectionEntry>| entry.is_live();
    let measures = sources.hardening.states();
    let state = metrics::GaugeValues {
        in_flight: (gauges.in_flight)(),
        agent_sockets: (gauges.agent_sockets)(),
        connections: snapshot.entries().iter().filter(live).count(),
        generation: snapshot.generation(),
        hash: snapshot.hash().to_owned(),
        token_expiries: token_expiries(&snapshot, &sources.credentials),
        grants: grant_gauges(&snapshot, &sources.credentials),
        reflections: sources.credentials.reflection_counts(),
        hardening: measures
            .map(|(measure, state)| (measure.as_str(), state.is_held()))
            .collect(),
    };
    sources.metrics.render(&state)
}

/// Returns the connections that have a token, and when it expires. A scrape must not create a
/// grant.
fn token_expiries(
    snapshot: &Snapshot,
    credentials: &Credentials,
) -> Vec<(ConnectionId, SystemTime)> {
    let usable = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.is_live() && entry.connection.enabled);
    let expiries = usable.filter_map(|entry| {
        let status = credentials.grant_status(&entry.connection)?;
        Some((entry.connection.id.clone(), status.expires_at?))
    });
    expiries.collect()
}

/// Returns the connections that need the consent of a person, with their statuses. Reads no file
/// and creates no grant.
fn grant_gauges(snapshot: &Snapshot, credentials: &Credentials) -> Vec<GrantGauges> {
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let consents = live.filter(|entry| match entry.connection.auth {
        Auth::OauthUserConsent(_) => true,
        Auth::OauthClientCredentials(_)
        | Auth::BearerToken(_)
        | Auth::BasicAuth(_)
        | Auth::StaticHeaders(_)
        | Auth::NoAuth => false,
    });
    let gauges = consents.map(|entry| {
        let status = credentials.connection_status(&entry.connection);
        let statuses = StatusName::ALL.map(|name| (name.as_str(), name == status.name));
        GrantGauges {
            connection: entry.connection.id.clone(),
            statuses: statuses.into(),
            refresh_token_expires_at: status.refresh_token_expires_at.map(SystemTime::from),
        }
    });
    gauges.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::runtime::Handle;
    use tokio::time::{Duration, advance};

    use super::{CachedRendering, RENDERING_LIFETIME, token_expiries};
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
    async fn sampling_creates_no_grant_for_an_unused_oauth_connection() {
        let mut all = connections("canary");
        all.truncate(1);
        all[0].enabled = true;
        all[0].delete_time = None;
        let snapshot = Snapshot::new(all);
        let credentials = credentials();
        let connection = &snapshot.entries()[0].connection;
        assert!(
            credentials.get_or_create_counters(connection).is_some(),
            "not OAuth"
        );

        let expiries = token_expiries(&snapshot, &credentials);

        assert_eq!(expiries, []);
        assert!(credentials.find_grant(connection).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_rendered_at_most_once_a_second_and_shared() {
        // F-261
        let rendered = CachedRendering::default();
        let first = rendered.get_or_render(|| b"first".to_vec());
        advance(RENDERING_LIFETIME - Duration::from_millis(1)).await;
        let same = rendered.get_or_render(|| panic!("rendered twice within a second"));
        assert_eq!(same.as_ptr(), first.as_ptr());
        advance(Duration::from_millis(1)).await;
        assert_eq!(rendered.get_or_render(|| b"second".to_vec()), "second");
    }
}
