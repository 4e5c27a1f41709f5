//! Step four: scrub, inject, send, and scrub what comes back.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, USER_AGENT};
use http::{HeaderName, Method, Response, StatusCode};

use super::agent_body::AgentBody;
use super::code::Code;
use super::location::Asked;
use super::prepare::Prepared;
use super::refusal::{Refusal, X_REQUEST_ID};
use super::request_id::RequestId;
use super::{renewal, request_fields, response_fields};
use crate::domain::Connection;
use crate::upstream::{Client, Field, Lane, RequestHead, Slot, UpstreamBody};

static REQUEST_ID: HeaderName = X_REQUEST_ID;
static AGENT: HeaderName = USER_AGENT;
const OUR_USER_AGENT: &str = concat!("egressd/", env!("CARGO_PKG_VERSION"));

/// Sends a prepared request and returns the response's head, scrubbed, with its body.
pub(super) async fn forward(
    prepared: Prepared<'_>,
    client: &Client,
    lane: &Arc<Lane>,
    request_id: &RequestId,
) -> Result<(Response<UpstreamBody>, Slot), Refusal> {
    let Prepared {
        permitted,
        framing,
        body,
        slot,
        credential,
    } = prepared;
    let connection = &permitted.entry().connection;
    let parts = permitted.parts;
    let mut fields = Vec::with_capacity(parts.headers.len() + 8);
    let has_user_agent = request_fields::pass(&parts.headers, connection, &mut fields);
    add_ours(connection, request_id, has_user_agent, &mut fields);
    let minted = renewal::token(&credential, client, lane).await?;
    let ours = fields.len();
    let token = minted.as_ref().map(|minted| &*minted.token);
    credential.inject(connection, token, &mut fields)?;
    let target = target(connection, permitted.path(), parts.uri.query())?;
    let head = RequestHead {
        method: &parts.method,
        target: &target,
        authority: connection.base_url.authority(),
        fields: &fields,
        framing,
    };
    let cap = connection.caps.response.bytes();
    let replayable = body.is_none();
    let mut response = client.exchange(lane, &head, body, cap).await?;
    let status = response.status();
    let renewed = renewal::after(status, &credential, minted.as_ref(), replayable).await;
    if let Some(token) = &renewed {
        let mut fields = fields.get(..ours).unwrap_or_default().to_vec();
        credential.inject(connection, Some(token), &mut fields)?;
        let again = RequestHead {
            fields: &fields,
            ..head
        };
        response = Box::pin(client.exchange(lane, &again, None::<AgentBody>, cap)).await?;
    }
    let asked = Asked {
        connection,
        parts,
        path: permitted.path(),
        client,
    };
    clean(&mut response, &asked, request_id);
    Ok((response, slot))
}

/// Takes out of a response's head what is not for agents.
fn clean(response: &mut Response<UpstreamBody>, asked: &Asked<'_>, request_id: &RequestId) {
    let status = response.status();
    let headers = response.headers_mut();
    let content_length = headers.get(CONTENT_LENGTH).cloned();
    response_fields::scrub(headers, asked.connection);
    asked.rewrite(headers);
    // RFC 9110 §8.6: a 204 has no length, whatever the method.
    let keeps_length = asked.parts.method == Method::HEAD && status != StatusCode::NO_CONTENT;
    if let Some(length) = content_length.filter(|_| keeps_length) {
        headers.insert(CONTENT_LENGTH, length);
    }
    headers.insert(X_REQUEST_ID, request_id.to_value());
}

fn add_ours<'a>(
    connection: &'a Connection,
    request_id: &'a RequestId,
    has_user_agent: bool,
    fields: &mut Vec<Field<'a>>,
) {
    let plain = |name, value| Field {
        name,
        value,
        sensitive: false,
    };
    fields.extend(
        connection
            .headers
            .iter()
            .map(|header| plain(&header.name, header.value.as_bytes())),
    );
    let sets_user_agent = connection.injected_names().any(|name| name == USER_AGENT);
    if !has_user_agent && !sets_user_agent {
        fields.push(plain(&AGENT, OUR_USER_AGENT.as_bytes()));
    }
    fields.push(plain(&REQUEST_ID, request_id.as_bytes()));
}

/// The base URL's path, the matched bytes, the query as it came. Never a URL join: there is nothing here that could change the authority.
pub(crate) fn target(
    connection: &Connection,
    path: &[u8],
    query: Option<&str>,
) -> Result<String, Refusal> {
    let path = std::str::from_utf8(path)
        .map_err(|_| Refusal::new(Code::InternalError, "A matched path was not ASCII."))?;
    let base = connection.base_url.path();
    let mut target =
        String::with_capacity(base.len() + path.len() + query.map_or(0, |query| query.len() + 1));
    target.push_str(base);
    target.push_str(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Ok(target)
}
