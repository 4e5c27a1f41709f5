//! One request's life.
//!
//! [`Proxy::serve`] is the table of contents: address → identify → authorize → prepare → forward. Each step takes the type that the last
//! one made, and the fields of those types are private to the file that makes them: forwarding something that was not permitted does not compile.
//! Every way out, a panic and an agent that hangs up among them, ends in one `tally::Exchange`.

mod agent_body;
mod answer;
mod authorize;
pub mod body_budget;
mod challenge;
mod charset;
pub mod code;
mod cookies;
mod discovery;
mod error;
pub mod explain;
mod forward;
mod glance;
mod guarded;
mod identify;
mod location;
mod prepare;
pub mod refusal;
mod renewal;
mod request_fields;
mod request_id;
mod response_fields;
pub mod tally;
mod trailers;
mod upload;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response};

use agent_body::AgentFault;
pub use answer::Answer;
use answer::OwnBody;
use body_budget::{BodyBudget, Share};
use code::Code;
pub use discovery::Kept as Listings;
use error::ExchangeError;
use guarded::Guarded;
use identify::Addressed;
use prepare::Terms;
use refusal::{Refusal, X_REQUEST_ID};
use request_id::RequestIds;
use tally::{Exchange, InFlight};

use crate::credential::{Credential, Credentials};
use crate::server::{ExceededLimit, HeadFault, RequestBody, Serve, SocketTimers};
use crate::snapshot::{Entry, Published};
use crate::telemetry::metrics::{Recorder, Shard};
use crate::telemetry::{AccessLog, Metrics};
use crate::upstream::{Client, Lane};

/// What all workers share.
pub struct Shared {
    /// The configuration.
    pub published: Arc<Published>,
    /// `proxy.allowed_hosts`
    pub allowed_hosts: Vec<String>,
    /// `proxy.max_request_body_bytes`
    pub body_cap: u64,
    /// `proxy.max_in_flight`, and how many there are.
    pub in_flight: Arc<InFlight>,
    /// Set once the process is stopping.
    pub draining: Arc<AtomicBool>,
    /// Where exchanges are written down.
    pub log: AccessLog,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// What requests prove themselves with.
    pub credentials: Arc<Credentials>,
    /// The memory for request bodies that are held whole.
    pub body_budget: Arc<BodyBudget>,
    /// What agents are told of connections.
    pub listings: Listings,
}

/// The data plane of one worker.
pub struct Proxy {
    shared: Arc<Shared>,
    client: Client,
    /// Those that this worker has used, so that a request takes no lock that workers share.
    ways: Mutex<BTreeMap<u64, Known>>,
    shard: Shard,
    request_ids: RequestIds,
}

impl Proxy {
    /// With the worker's own upstream client.
    pub fn new(shared: Arc<Shared>, client: Client) -> Self {
        Self {
            shard: shared.metrics.new_shard(),
            shared,
            client,
            ways: Mutex::default(),
            request_ids: RequestIds::new(),
        }
    }

    /// What has to be done now and then: idle sockets are looked over, what earlier generations left, and the clock.
    pub fn sweep(&self) {
        let live = || self.shared.published.current().live_keys();
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = live();
        ways.retain(|key, _| keys.contains(key));
        drop(ways);
        self.client.keep_only(live);
        self.client.sweep();
        self.shared.metrics.sync_clock();
    }

    /// What this worker knows of a connection. Its way is there once a request was permitted.
    fn known(&self, entry: &Entry) -> Known {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ways.entry(entry.key).or_insert_with(|| {
            let patterns = entry.connection.routes.patterns();
            let texts = patterns.iter().map(crate::route::Pattern::as_str);
            Known {
                recorder: self.shard.recorder(entry.connection.id.as_str(), texts),
                way: None,
            }
        });
        known.clone()
    }

    /// The way of a connection that is known and has none yet.
    #[cold]
    fn begin_way(&self, entry: &Entry, recorder: &Recorder) -> Arc<Way> {
        let Entry {
            key, connection, ..
        } = entry;
        let way = Arc::new(Way {
            lane: self.client.lane(*key, connection, recorder.sockets()),
            credential: self.shared.credentials.credential_for(*key, connection),
            share: self.shared.body_budget.share(connection.id.as_str()),
        });
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ways.get_mut(key) {
            known.way = Some(Arc::clone(&way));
        }
        way
    }

    /// What is judged before a connection is looked up.
    fn address<'r>(&self, parts: &'r Parts) -> Result<Addressed<'r>, Refusal> {
        if self.shared.draining.load(Relaxed) {
            return Err(Refusal::new(
                Code::Draining,
                "egressd is stopping; send the request to its successor.",
            ));
        }
        identify::address(parts, &self.shared.allowed_hosts)
    }

    /// The steps of one request.
    async fn pass(
        &self,
        parts: &Parts,
        incoming: RequestBody,
        exchange: &mut Exchange,
        timers: &Arc<SocketTimers>,
    ) -> Result<Passed, Refusal> {
        let addressed = match self.address(parts) {
            Ok(addressed) => addressed,
            Err(refusal) => {
                let snapshot = self.shared.published.current();
                let recorder =
                    identify::named(parts, &snapshot).map(|entry| self.known(entry).recorder);
                exchange.counts_for(recorder);
                return Err(refusal);
            }
        };
        if addressed.asks_for_connections() {
            exchange.fits_in()?;
            let shared = &self.shared;
            let snapshot = shared.published.current();
            let listing = discovery::answer(&parts.headers, &snapshot, &shared.listings);
            return Ok(Passed::Own(listing));
        }
        let call = identify::identify(addressed, &self.shared.published.current())?;
        let Known { recorder, way } = self.known(call.entry());
        exchange.concerns(call.entry(), recorder);
        timers.limit_exchange(exchange.deadline());
        let permitted = authorize::authorize(call)?;
        exchange.took_route(permitted.route());
        let way = way.unwrap_or_else(|| self.begin_way(permitted.entry(), exchange.recorder()));
        let lane = &way.lane;
        let terms = Terms {
            lane,
            exchange,
            timers,
            credential: Arc::clone(&way.credential),
            body_cap: self.shared.body_cap,
            share: &way.share,
        };
        let prepared = prepare::prepare(permitted, incoming, terms).await?;
        let hosts = &self.shared.allowed_hosts;
        let (response, slot) =
            forward::forward(prepared, &self.client, lane, hosts, exchange).await?;
        Ok(Passed::Forwarded(response, slot))
    }
}

/// What a worker knows of a connection of one generation.
#[derive(Clone)]
struct Known {
    recorder: Arc<Recorder>,
    way: Option<Arc<Way>>,
}

/// What a connection's requests go up on, and with.
struct Way {
    lane: Arc<Lane>,
    credential: Arc<Credential>,
    share: Arc<Share>,
}

enum Passed {
    /// An answer of our own that is no refusal.
    Own(Response<OwnBody>),
    Forwarded(Response<Box<Guarded>>, crate::upstream::Slot),
}

impl Serve for Proxy {
    type Body = Answer;

    fn continues_upload(body: &Answer) -> bool {
        body.continues_upload()
    }

    fn head_refused(&self, fault: HeadFault) {
        let id = self.request_ids.of(std::iter::empty());
        tally::head_refused(&self.shared.log, self.shard.unknown_recorder(), &id, fault);
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<RequestBody>,
        timers: Arc<SocketTimers>,
    ) -> Response<Answer> {
        let (parts, incoming) = request.into_parts();
        let sent_ids = parts.headers.get_all(X_REQUEST_ID);
        let id = self.request_ids.of(sent_ids.iter());
        let mut exchange = Exchange::begin(
            &self.shared.in_flight,
            &self.shared.log,
            self.shard.unknown_recorder(),
            id,
            &parts,
        );
        let passed = {
            let passing = pin!(self.pass(&parts, incoming, &mut exchange, &timers));
            within_limits(passing, &timers, &self.shared.metrics).await
        };
        let mut response = match passed {
            Ok(Passed::Forwarded(response, slot)) => {
                exchange.forwarded(response.status());
                Answer::forwarded(response, exchange, slot, timers)
            }
            Ok(Passed::Own(mut response)) => {
                response
                    .headers_mut()
                    .insert(X_REQUEST_ID, exchange.request_id().to_value());
                exchange.answered_from_here(response.status());
                exchange.hands_over(&parts.method, response.body().len());
                response.map(|body| Answer::own(body, timers))
            }
            Err(refusal) => {
                exchange.refused(&refusal);
                let response = refusal.answer(
                    exchange.entry().map(|entry| &**entry),
                    exchange.request_id(),
                );
                exchange.hands_over(&parts.method, response.body().len());
                response.map(|body| Answer::own(OwnBody::Whole(body), timers))
            }
        };
        if self.shared.draining.load(Relaxed) {
            // The socket's last answer, so that its agent sends the next request elsewhere.
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Polls until it is ready or a limit of the exchange has passed. A panic is a refusal like any other, and costs this socket only.
///
/// Takes the future where it stands: one that is moved in stands in its caller's state a second time.
async fn within_limits<T>(
    mut passing: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
    timers: &SocketTimers,
    metrics: &Metrics,
) -> Result<T, Refusal> {
    poll_fn(|cx| match metrics.catch_panic(|| passing.as_mut().poll(cx)) {
        None => Poll::Ready(Err(Refusal::new(
            Code::InternalError,
            "egressd failed on this request; its log says where.",
        ))),
        Some(Poll::Ready(result)) => Poll::Ready(result),
        Some(Poll::Pending) => match timers.exceeded_limit() {
            None => Poll::Pending,
            Some(ExceededLimit::Grace) => Poll::Ready(Err(Refusal::new(
                Code::Draining,
                "egressd stopped before the upstream answered. Whether it got the request is not known.",
            ))),
            Some(ExceededLimit::Exchange) if !timers.is_body_awaited() => {
                Poll::Ready(Err(ExchangeError::DeadlineExceeded.into()))
            }
            Some(ExceededLimit::Exchange | ExceededLimit::Body) => {
                Poll::Ready(Err(AgentFault::Idle.into()))
            }
        },
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::{Code, Metrics, within_limits};
    use crate::server::{SocketLimits, Ticker};
    use crate::telemetry::metrics::GaugeValues;
    use std::pin::pin;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let second = Duration::from_secs(1);
        let timers = Ticker::new().register_socket(SocketLimits {
            header_read: second,
            idle: second,
            body_idle: second,
            write_stall: second,
        });
        let metrics = Metrics::new();
        let panicking = pin!(async { panic!("a planted panic") });
        let refused = within_limits::<()>(panicking, &timers, &metrics).await;
        assert_eq!(refused.unwrap_err().code(), Code::InternalError); // F-186
        let told = String::from_utf8(metrics.render(&GaugeValues::default())).unwrap();
        assert!(told.contains("\negressd_panics_total 1\n"), "{told}");
    }
}
