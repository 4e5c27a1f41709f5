//! The answers to messages.

use std::sync::Arc;

use http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, DiscoverResult, ErrorData, Extensions, Implementation,
    InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use tokio::sync::{mpsc, oneshot};

use super::calls::PendingCall;
use super::changes::{Change, MAX_SUBSCRIPTIONS, Subscriptions};
use super::instructions::instructions;
use super::listing::{ToolNames, list_page};
use super::result;
use crate::domain::ListenerScope;
use crate::proxy::served_connections::ServedConnections;
use crate::snapshot::PublishedSnapshot;

/// The time for which clients may use a list, in milliseconds.
const LIST_TTL_MS: u64 = 60_000;

/// Answers messages. The state of one message is in its [`AgentRequest`].
#[derive(Clone)]
pub(super) struct Handler {
    names: Arc<ToolNames>,
    subscriptions: Subscriptions,
}

/// The parts of the HTTP request of a message that the handler needs.
#[derive(Clone)]
pub(in crate::proxy) struct AgentRequest {
    /// Not a snapshot: a subscription would keep it, and with it secrets that were replaced.
    pub(in crate::proxy) published: Arc<PublishedSnapshot>,
    /// The scope of the listener.
    pub(in crate::proxy) scope: Arc<ListenerScope>,
    /// The task of the socket, which sends the requests of calls.
    pub(in crate::proxy) calls: mpsc::Sender<PendingCall>,
}

impl AgentRequest {
    /// Calls `read` with the connections of the current generation.
    fn with_connections<T>(&self, read: impl FnOnce(ServedConnections<'_>) -> T) -> T {
        let snapshot = self.published.current();
        read(ServedConnections::new(&self.scope, &snapshot))
    }
}

impl Handler {
    pub(super) fn new(names: Arc<ToolNames>, subscriptions: Subscriptions) -> Self {
        Self {
            names,
            subscriptions,
        }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools();
        ServerConfig::new(capabilities.enable_tool_list_changed().build())
            .with_server_info(Implementation::new("egressd", env!("CARGO_PKG_VERSION")))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let agent = agent_request(&context.extensions)?;
        let mut result = self.negotiate_initialize(&request)?;
        // Older revisions announce changes on a stream that needs a session.
        if let Some(tools) = &mut result.capabilities.tools {
            tools.list_changed = None;
        }
        context.peer.set_peer_info(request);
        Ok(result.with_instructions(agent.with_connections(instructions)))
    }

    async fn discover(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let agent = agent_request(&context.extensions)?;
        let info = self.get_info();
        let info = info.with_instructions(agent.with_connections(instructions));
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, info).with_ttl_ms(LIST_TTL_MS))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let agent = agent_request(&context.extensions)?;
        let cursor = request.and_then(|request| request.cursor);
        let page =
            agent.with_connections(|served| list_page(served, &self.names, cursor.as_deref()))?;
        let mut result = ListToolsResult::with_all_items(page.tools);
        result.next_cursor = page.next;
        result.ttl_ms = Some(LIST_TTL_MS);
        // The list of one listener is the same for all of its clients, but other listeners may
        // have other lists.
        result.cache_scope = Some(rmcp::model::CacheScope::Private);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let agent = agent_request(&context.extensions)?;
        let tool = agent.with_connections(|served| self.names.find_tool(served, &request.name));
        let tool = tool.ok_or_else(|| {
            ErrorData::invalid_params("there is no tool of this name; tools/list lists them", None)
        })?;
        let arguments = request.arguments.unwrap_or_default();
        let request = match tool.to_request(&arguments) {
            Ok(request) => request,
            Err(invalid) => return Ok(result::from_invalid_arguments(&invalid).into()),
        };
        drop(arguments);
        let (reply, response) = oneshot::channel();
        let ended = |_| ErrorData::internal_error("the request has ended", None);
        // Fails only if the agent has disconnected. Nothing receives the error then.
        agent
            .calls
            .send(PendingCall { request, reply })
            .await
            .map_err(|_| ended(()))?;
        let response = response.await.map_err(|_| ended(()))?;
        Ok(result::from_response(&response).into())
    }

    fn accepted_subscription_filter(
        &self,
        _requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let Some(mut subscription) = self.subscriptions.begin() else {
            let message = format!(
                "a worker of egressd allows at most {MAX_SUBSCRIPTIONS} subscriptions; end another one, or call tools/list from time to time"
            );
            return Err(ErrorData::internal_error(message, None));
        };
        loop {
            let change = tokio::select! {
                change = subscription.changed() => change,
                () = context.cancelled() => Change::End,
            };
            let announced = match change {
                Change::List => context.sink().notify_tool_list_changed().await,
                Change::End => return Ok(()),
            };
            if announced.is_err() {
                // The client has left.
                return Ok(());
            }
        }
    }
}

fn agent_request(extensions: &Extensions) -> Result<&AgentRequest, ErrorData> {
    let head = extensions.get::<Parts>();
    let agent = head.and_then(|head| head.extensions.get());
    // `request_for_rmcp` adds it to every request.
    agent.ok_or_else(|| ErrorData::internal_error("the message has no request", None))
}
