//! The stages of one request, in order, and the response that they end in.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};

use super::accounting::ResponseProgress;
use super::authorize::authorize;
use super::code::RefusalCode;
use super::connections::WorkerConnection;
use super::deadlines::PassedLimit;
use super::discovery::listing_response;
use super::exchange::{Exchange, ExchangeContext, record_unparsed_head};
use super::forward::{ForwardContext, forward};
use super::head_refusals::{head_refusal, replace_query, response_bytes};
use super::identify::{Addressed, OwnResource, address, identify, named_entry};
use super::listener::ListenerService;
use super::mcp::McpRequest;
use super::panics;
use super::prepare::{Limits, acquire_slot, prepare};
use super::refusal::Refusal;
use super::response_body::{GeneratedBody, ResponseBody};
use super::searched_body::SearchedBody;
use super::served_connections::ServedConnections;
use crate::server::{HeadReply, RequestBody, Serve, SocketTimers, UnparsedHead};
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;
use crate::upstream::RequestSlot;

impl Serve for ListenerService {
    type Body = ResponseBody;

    fn continues_upload(body: &ResponseBody) -> bool {
        body.continues_upload()
    }

    fn answer_unparsed_head(&self, head: UnparsedHead<'_>) -> HeadReply {
        if let Some(replaced) = replace_query(&head) {
            return replaced;
        }
        let refusal = head_refusal(&head);
        let request_id = self.worker.request_ids.generate();
        let answer = head
            .can_answer
            .then(|| response_bytes(&refusal, &request_id));
        let length = answer.as_ref().map(|(_, length)| *length);
        let response = ResponseProgress::for_unparsed_head(refusal.code(), length);
        record_unparsed_head(self.exchange_context(), request_id, response);
        answer.map_or(HeadReply::Default, |(bytes, _)| HeadReply::Answer(bytes))
    }

    async fn serve(
        self: Arc<Self>,
        head: Parts,
        incoming: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> Response<ResponseBody> {
        let worker = &*self.worker;
        let request_id = worker.request_ids.for_request(&head.headers);
        let mut exchange = Exchange::begin(self.exchange_context(), request_id, &head);
        let replied = {
            let stages = pin!(self.run_stages(&head, incoming, &mut exchange, &timers));
            within_limits(stages, &timers, &worker.shared.metrics).await
        };
        let mut response = match replied {
            Ok(PipelineOutcome::Forwarded(mut response, slot)) => {
                exchange.response.begin_forwarding(response.status());
                exchange.add_request_ids(response.headers_mut());
                ResponseBody::forwarded(response, exchange, slot, timers)
            }
            Ok(PipelineOutcome::Listing(mut response)) => {
                exchange.request_id.add_to_response(response.headers_mut());
                exchange.response.complete_own(response.status());
                send_generated(response, &head.method, exchange, timers)
            }
            // Boxed: few requests get here, and the future is large.
            Ok(PipelineOutcome::Mcp(request)) => {
                Box::pin(self.answer_mcp(&head, request, exchange, timers)).await
            }
            Err(interruption) => {
                let response = refuse(interruption, &head, &mut exchange, &timers);
                send_generated(
                    response.map(GeneratedBody::Whole),
                    &head.method,
                    exchange,
                    timers,
                )
            }
        };
        if worker.shared.admission.is_draining() {
            // The socket closes after this response, so that the agent sends its next request to
            // another process.
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl ListenerService {
    /// Runs the stages in order. Each takes the type that the previous one made.
    async fn run_stages<'s>(
        &'s self,
        head: &Parts,
        incoming: RequestBody,
        exchange: &mut Exchange,
        timers: &Arc<SocketTimers>,
    ) -> Result<PipelineOutcome<'s>, Refusal> {
        let worker = &*self.worker;
        let shared = &*worker.shared;

        // Address: a request that could be read in two ways must not reach a decision.
        let addressed = match self.address(head) {
            Ok(addressed) => addressed,
            Err(refusal) => {
                self.count_for_named_connection(head, exchange);
                return Err(refusal);
            }
        };
        let identified = {
            let snapshot = shared.published.current();
            let served = self.connections(&snapshot);
            match addressed.own_resource(served) {
                Some(OwnResource::ConnectionList) => {
                    exchange.in_flight.refuse_over_limit()?;
                    return Ok(self.list_connections(&head.headers, served));
                }
                Some(OwnResource::Mcp) => {
                    if let Some(server) = &worker.mcp {
                        let body = incoming;
                        return Ok(PipelineOutcome::Mcp(McpRequest { server, body }));
                    }
                }
                None => {}
            }
            // Identify: the connection is found before its routes are checked, so that a refusal
            // counts for it.
            identify(addressed, served)?
        };
        let WorkerConnection {
            recorder,
            resources,
        } = worker.connections.get_or_create(identified.entry());
        exchange.set_connection(identified.entry(), recorder);
        // Only the connection has a timeout. The deadline counts from the head all the same.
        timers.limit_exchange(exchange.deadline());

        // Authorize: only a request that a pattern allows creates sockets or has its body read.
        let permitted = authorize(identified)?;
        exchange.route = Some(permitted.route());
        let resources =
            worker.connection_resources(resources, permitted.entry(), &exchange.recorder);

        // Prepare: every refusal that does not need the upstream is made before anything is
        // dialled.
        let mut limits = Limits {
            body_cap: shared.body_cap,
            in_flight: &exchange.in_flight,
            request: &mut exchange.request,
            timers,
        };
        let body = prepare(&permitted, incoming, &resources, &mut limits)?;
        let slot = acquire_slot(&permitted, &resources.pool).await?;

        // Forward: the only stage that uses the credential, and the only one that sends.
        let context = ForwardContext {
            client: &worker.client,
            pool: &resources.pool,
            credential: &resources.credential,
            own_hosts: &shared.own_hosts,
            request_id: &exchange.request_id,
            recorder: &exchange.recorder,
        };
        let response = forward(&permitted, body, &context, &mut exchange.request).await?;
        Ok(PipelineOutcome::Forwarded(response, slot))
    }

    /// Returns the list of connections, with their statuses now.
    fn list_connections<'s>(
        &self,
        headers: &HeaderMap,
        served: ServedConnections<'_>,
    ) -> PipelineOutcome<'s> {
        let credentials = &self.worker.shared.credentials;
        let listing = listing_response(headers, served, &self.listener.listings, credentials);
        PipelineOutcome::Listing(listing.map(|list| GeneratedBody::Filled(Box::new(list))))
    }

    /// Answers a request to `/mcp`.
    async fn answer_mcp(
        &self,
        head: &Parts,
        request: McpRequest<'_>,
        mut exchange: Exchange,
        timers: Arc<SocketTimers>,
    ) -> Response<ResponseBody> {
        let answered = {
            let answering = pin!(self.serve_mcp(head, request, &mut exchange, &timers));
            within_limits(answering, &timers, &self.worker.shared.metrics).await
        };
        match answered {
            Ok(mut response) => {
                exchange.request_id.add_to_response(response.headers_mut());
                response.map(|body| ResponseBody::mcp(body, timers))
            }
            Err(interruption) => {
                let response = refuse(interruption, head, &mut exchange, &timers);
                let response = response.map(GeneratedBody::Whole);
                send_generated(response, &head.method, exchange, timers)
            }
        }
    }

    /// Runs the stages for the request of a tool. A refusal is returned as a response.
    pub(super) async fn forward_for_tool(
        &self,
        head: &Parts,
        incoming: RequestBody,
        exchange: &mut Exchange,
        timers: &Arc<SocketTimers>,
    ) -> Result<(Response<Box<SearchedBody>>, RequestSlot), Response<Bytes>> {
        let replied = {
            let stages = pin!(self.run_stages(head, incoming, exchange, timers));
            within_limits(stages, timers, &self.worker.shared.metrics).await
        };
        let interruption = match replied {
            Ok(PipelineOutcome::Forwarded(response, slot)) => return Ok((response, slot)),
            // The target of a tool begins with the id of a connection.
            Ok(PipelineOutcome::Listing(_) | PipelineOutcome::Mcp(_)) => {
                let detail = "The tool does not send requests to a connection.";
                Interruption::Refused(Refusal::new(RefusalCode::RouteNotAllowed, detail))
            }
            Err(interruption) => interruption,
        };
        Err(refuse(interruption, head, exchange, timers))
    }

    fn exchange_context(&self) -> ExchangeContext<'_> {
        let worker = &*self.worker;
        ExchangeContext {
            admission: &worker.shared.admission,
            log: self.log.as_ref(),
            recorder: worker.connections.unknown_connection_recorder(),
        }
    }

    fn address<'r>(&self, head: &'r Parts) -> Result<Addressed<'r>, Refusal> {
        self.worker.shared.admission.refuse_if_draining()?;
        address(head, &self.listener.allowed_hosts)
    }

    fn connections<'s>(&'s self, snapshot: &'s Snapshot) -> ServedConnections<'s> {
        ServedConnections::new(&self.listener.scope, snapshot)
    }

    /// Counts a request that was refused before the lookup for the connection that it names.
    #[cold]
    fn count_for_named_connection(&self, head: &Parts, exchange: &mut Exchange) {
        let snapshot = self.worker.shared.published.current();
        let named = named_entry(head, self.connections(&snapshot));
        if let Some(entry) = named.filter(|entry| entry.is_live()) {
            exchange.set_recorder(self.worker.connections.get_or_create(entry).recorder);
        }
    }
}

/// The reason why the stages have no response.
#[derive(Debug)]
enum Interruption {
    Refused(Refusal),
    LimitPassed(PassedLimit),
}

/// The result of the stages for a request that is not refused.
enum PipelineOutcome<'s> {
    /// The list of connections.
    Listing(Response<GeneratedBody>),
    Forwarded(Response<Box<SearchedBody>>, RequestSlot),
    Mcp(McpRequest<'s>),
}

/// Records a refusal, and returns its response.
#[cold]
fn refuse(
    interruption: Interruption,
    head: &Parts,
    exchange: &mut Exchange,
    timers: &SocketTimers,
) -> Response<Bytes> {
    let mut refusal = match interruption {
        Interruption::Refused(refusal) => refusal,
        Interruption::LimitPassed(limit) => limit.to_refusal(
            timers,
            exchange.timeout(),
            exchange.request.awaits_consent_token,
        ),
    };
    if exchange.request.was_sent() {
        refusal = refusal.after_sending(&head.method);
    }
    exchange.response.record_refusal(&refusal);
    let entry = exchange.entry.as_deref();
    refusal.response(&head.headers, entry, &exchange.request_id)
}

/// Completes a response that egressd generates. hyper omits the body of a response to HEAD (RFC
/// 9110 §9.3.2), so its bytes are not counted.
fn send_generated(
    response: Response<GeneratedBody>,
    method: &Method,
    mut exchange: Exchange,
    timers: Arc<SocketTimers>,
) -> Response<ResponseBody> {
    if *method != Method::HEAD {
        exchange.response.body_bytes += response.body().len() as u64;
    }
    response.map(|body| ResponseBody::generated(body, timers))
}

/// Polls the stages until they are done, have panicked, or a limit of the exchange has passed.
///
/// The future is passed by reference, because a future that is moved into another one takes space
/// in the state of both.
async fn within_limits<T>(
    mut stages: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
    timers: &SocketTimers,
    metrics: &Metrics,
) -> Result<T, Interruption> {
    poll_fn(
        |cx| match panics::catch_in_pipeline(metrics, || stages.as_mut().poll(cx)) {
            Poll::Pending => match PassedLimit::find(timers) {
                Some(limit) => Poll::Ready(Err(Interruption::LimitPassed(limit))),
                None => Poll::Pending,
            },
            Poll::Ready(result) => Poll::Ready(result.map_err(Interruption::Refused)),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::{Interruption, Metrics, within_limits};
    use crate::memory::MemoryShortage;
    use crate::proxy::code::RefusalCode;
    use crate::server::{SocketLimits, Ticker};
    use crate::telemetry::metrics::GaugeValues;
    use std::pin::pin;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let second = Duration::from_secs(1);
        let timers = Ticker::new(MemoryShortage::default()).register_socket(SocketLimits {
            header_read: second,
            idle: second,
            body_idle: second,
            write_stall: second,
        });
        let metrics = Metrics::new();
        let panicking = pin!(async { panic!("a planted panic") });
        let refused = within_limits::<()>(panicking, &timers, &metrics).await;
        let code = match refused.unwrap_err() {
            Interruption::Refused(refusal) => Some(refusal.code()),
            Interruption::LimitPassed(_) => None,
        };
        assert_eq!(code, Some(RefusalCode::InternalError)); // F-186
        let rendered = String::from_utf8(metrics.render(&GaugeValues::default())).unwrap();
        assert!(
            rendered.contains("\negressd_panics_total 1\n"),
            "{rendered}"
        );
    }
}
