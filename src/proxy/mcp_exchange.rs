//! The part of an MCP message that runs in the task of the agent's socket: it reads the message,
//! and sends the requests of calls through the stages of every other request.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body::Body as _;
use tokio::sync::mpsc;

use super::exchange::Exchange;
use super::listener::ListenerService;
use super::mcp::{
    AgentRequest, McpBody, McpRequest, PendingCall, ToolResponse, read_response, request_parts,
};
use super::refusal::Refusal;
use super::searched_body::SearchedBody;
use crate::server::{RequestBody, SocketTimers};
use crate::tools::ToolRequest;
use crate::upstream::RequestSlot;

impl ListenerService {
    /// Answers a request to `/mcp`.
    pub(super) async fn serve_mcp(
        &self,
        head: &Parts,
        request: McpRequest<'_>,
        exchange: &mut Exchange,
        timers: &Arc<SocketTimers>,
    ) -> Result<Response<McpBody>, Refusal> {
        let worker = &*self.worker;
        let McpRequest { server, body } = request;
        exchange.in_flight.refuse_over_limit()?;
        let message = if head.method == Method::POST {
            let cap = worker.shared.body_cap;
            server.read_message(body, cap, exchange, timers).await?
        } else {
            Bytes::new()
        };
        let (sender, mut calls) = mpsc::channel(1);
        let agent = AgentRequest {
            published: Arc::clone(&worker.shared.published),
            scope: Arc::clone(&self.shared_scope),
            calls: sender,
        };
        let mut answered = pin!(server.answer(head, message, agent));
        let mut has_called = false;
        let response = loop {
            tokio::select! {
                response = &mut answered => break response,
                Some(call) = calls.recv() => {
                    has_called = true;
                    let max_bytes = server.max_result_bytes();
                    let PendingCall { request, reply } = call;
                    let called = self.send_call(head, request, exchange, timers).await;
                    let response = match called {
                        Ok((response, _slot)) => {
                            read_response(response, max_bytes, exchange, timers).await
                        }
                        Err(refused) => ToolResponse::from_refusal(refused),
                    };
                    // Only the call has a deadline.
                    timers.lift_exchange_limit();
                    // Fails only if rmcp's task has ended, and then nothing waits for it.
                    let _sent = reply.send(response);
                }
            }
        };
        let length = response.body().size_hint().exact();
        if !has_called {
            // The record of a call is that of its own request.
            exchange.response.body_bytes += length.unwrap_or_default();
            exchange.response.complete_own(response.status());
        }
        if length.is_none() {
            // A limit of the socket now cuts the stream off.
            timers.begin_response();
        }
        Ok(response)
    }

    /// Sends the request of a call. The exchange becomes that of the request.
    async fn send_call(
        &self,
        agent: &Parts,
        request: ToolRequest,
        exchange: &mut Exchange,
        timers: &Arc<SocketTimers>,
    ) -> Result<(Response<Box<SearchedBody>>, RequestSlot), Response<Bytes>> {
        let (head, body) = request_parts(agent, request).map_err(|refusal| {
            exchange.response.record_refusal(&refusal);
            refusal.response(&agent.headers, None, &exchange.request_id)
        })?;
        exchange.begin_tool_request(&head);
        let body = RequestBody::from_bytes(body);
        let (mut response, slot) = self.forward_for_tool(&head, body, exchange, timers).await?;
        exchange.response.begin_forwarding(response.status());
        exchange.add_request_ids(response.headers_mut());
        Ok((response, slot))
    }
}
