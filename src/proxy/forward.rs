//! Step four: scrub, inject, send, and scrub what comes back.

use std::sync::Arc;

use http::header::USER_AGENT;
use http::{HeaderName, Method, Response, StatusCode};

use super::code::Code;
use super::location::Asked;
use super::prepare::Prepared;
use super::refusal::{Refusal, X_REQUEST_ID};
use super::request_id::RequestId;
use super::{request_fields, response_fields};
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
    credential.inject(connection, &mut fields)?;
    let target = target(connection, permitted.path(), parts.uri.query())?;
    let head = RequestHead {
        method: &parts.method,
        target: &target,
        authority: connection.base_url.authority(),
        fields: &fields,
        framing,
    };
    let cap = connection.caps.response.bytes();
    let mut response = client.exchange(lane, &head, body, cap).await?;
    let content_length = response
        .headers()
        .get(http::header::CONTENT_LENGTH)
        .cloned();
    response_fields::scrub(response.headers_mut(), connection);
    let asked = Asked {
        connection,
        parts,
        path: permitted.path(),
        client,
    };
    asked.rewrite(response.headers_mut());
    // RFC 9110 §8.6: a 204 has no length, whatever the method.
    let keeps_length = parts.method == Method::HEAD && response.status() != StatusCode::NO_CONTENT;
    if let Some(length) = content_length.filter(|_| keeps_length) {
        response
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, length);
    }
    response
        .headers_mut()
        .insert(X_REQUEST_ID, request_id.to_value());
    Ok((response, slot))
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
