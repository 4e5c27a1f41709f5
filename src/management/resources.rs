//! `/v1`: the resources, read from the current snapshot and the state of the process at one
//! instant.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::Uri;
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoResponses, ToSchema};

use super::ApiState;
use super::error::{ApiError, ErrorDocument, ErrorStatus, json_body};
use super::query::{ListKind, Query};
use super::records::{self, ConnectionRecord};
use super::view::{ConnectionType, ConnectionView, HTTP};
use crate::domain::ConnectionId;
use crate::route::decoded;

const CONNECTION_PREFIX: &str = "/v1/connections/";

/// A page of connections.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListConnectionsResponse {
    connections: Vec<ConnectionView>,
    /// The token of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// A single connection.
#[derive(Serialize, ToSchema)]
pub(super) struct GetConnectionResponse {
    connection: ConnectionView,
}

/// A page of connection types.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListConnectionTypesResponse {
    #[schema(value_type = Vec<ConnectionType>)]
    types: Vec<&'static ConnectionType>,
    /// The token of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// The schema of `page_size`: a whole number from 0, without an upper limit, because larger values
/// are reduced to the largest page.
pub(super) struct PageSize;

impl utoipa::PartialSchema for PageSize {
    fn schema() -> RefOr<Schema> {
        let whole = ObjectBuilder::new().schema_type(Type::Integer);
        whole.minimum(Some(0)).into()
    }
}

impl ToSchema for PageSize {}

/// The errors of the access policy, which every path can return.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by its derive, for the document")]
pub(super) enum AccessErrors {
    /// The login is missing or wrong.
    #[response(status = 401, headers(("WWW-Authenticate" = String)))]
    Unauthenticated(ErrorDocument),
    /// The request was made by a page of another site.
    #[response(status = 403)]
    PermissionDenied(ErrorDocument),
    /// The `Host` header names another host.
    #[response(status = 421)]
    Misdirected(ErrorDocument),
    /// Too many wrong logins, or too many requests.
    #[response(status = 429, headers(("Retry-After" = String)))]
    ResourceExhausted(ErrorDocument),
}

/// List connections, without their details.
#[utoipa::path(
    get,
    path = "/v1/connections",
    operation_id = "ListConnections",
    tag = "Connections",
    params(
        ("filter" = Option<String>, Query, description = "A filter (AIP-160) over the scalar fields, such as `connection_type=\"http\"`.", max_length = 2048),
        ("order_by" = Option<String>, Query, description = "Fields to sort by, separated by commas, each optionally followed by ` desc`. Ties are broken by name."),
        ("page_size" = inline(Option<PageSize>), Query, description = "The maximum number of connections on a page: 50 if absent or 0, and at most 1000."),
        ("page_token" = Option<String>, Query, description = "`nextPageToken` of the previous page. All other parameters but `page_size` must be the same."),
        ("show_deleted" = Option<bool>, Query, description = "`true` to list soft-deleted connections too."),
    ),
    responses(
        (status = 200, description = "A page of connections.", body = ListConnectionsResponse),
        (status = 400, description = "A parameter or the `Host` header is not valid.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn list_connections(
    State(state): State<Arc<ApiState>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(
        raw.as_deref(),
        records::CONNECTION_FIELDS,
        ListKind::Connections,
    )?;
    let snapshot = state.sources.published.current();
    let entries = snapshot.entries().iter();
    let found: Vec<ConnectionRecord> = entries
        .filter(|entry| query.shows_deleted() || entry.is_live())
        .map(|entry| ConnectionRecord::new(entry, &snapshot, &state.sources))
        .collect();
    // Only the records of one page get their tools, which can be large.
    let page = query.page(&state.page_tokens, &found)?;
    let listed = |record: &ConnectionRecord| {
        ConnectionView::for_list(
            &record.entry,
            record.live.clone(),
            state.tools.get(&record.entry),
        )
    };
    Ok(json_body(&ListConnectionsResponse {
        connections: page.items.into_iter().map(listed).collect(),
        next_page_token: page.next_page_token,
    })
    .into_response())
}

/// Get one connection, with its details. Soft-deleted connections are found too.
#[utoipa::path(
    get,
    path = "/v1/connections/{connection_id}",
    operation_id = "GetConnection",
    tag = "Connections",
    params(
        ("connection_id" = String, Path, description = "The part of the connection's name after `connections/`.", pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"),
    ),
    responses(
        (status = 200, description = "The connection.", body = GetConnectionResponse),
        (status = 400, description = "The id or the `Host` header is not valid.", body = ErrorDocument),
        (status = 404, description = "The connection does not exist.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn get_connection(
    State(state): State<Arc<ApiState>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    // axum's `Path` extractor is not used, because it refuses an invalid escape with an error in
    // plain text.
    let raw = uri.path().strip_prefix(CONNECTION_PREFIX);
    let id = parse_id(raw.unwrap_or_default(), "connection id")?;
    let snapshot = state.sources.published.current();
    let entry = snapshot.find(id.as_str()).ok_or_else(|| {
        // The id has been parsed, so it is safe to repeat.
        let message = format!("connection `connections/{id}` not found");
        ApiError::new(ErrorStatus::NotFound, message)
    })?;
    let live = records::live_state(entry, &snapshot, &state.sources);
    let connection = ConnectionView::with_details(entry, live, state.tools.get(entry));
    Ok(json_body(&GetConnectionResponse { connection }).into_response())
}

/// List the types of connections that can be defined.
#[utoipa::path(
    get,
    path = "/v1/connection-types",
    operation_id = "ListConnectionTypes",
    tag = "Connections",
    params(
        ("filter" = Option<String>, Query, description = "A filter (AIP-160) over the scalar fields, such as `type=\"http\"`.", max_length = 2048),
        ("order_by" = Option<String>, Query, description = "Fields to sort by, separated by commas, each optionally followed by ` desc`."),
        ("page_size" = inline(Option<PageSize>), Query, description = "The maximum number of types on a page: 50 if absent or 0, and at most 1000."),
        ("page_token" = Option<String>, Query, description = "`nextPageToken` of the previous page. All other parameters but `page_size` must be the same."),
    ),
    responses(
        (status = 200, description = "A page of types.", body = ListConnectionTypesResponse),
        (status = 400, description = "A parameter or the `Host` header is not valid.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn list_connection_types(
    State(state): State<Arc<ApiState>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), records::TYPE_FIELDS, ListKind::Types)?;
    // The only type, so filters and pages are of use to generic clients only.
    let page = query.page(&state.page_tokens, std::slice::from_ref(&HTTP))?;
    Ok(json_body(&ListConnectionTypesResponse {
        types: page.items,
        next_page_token: page.next_page_token,
    })
    .into_response())
}

/// Parses the id in a path. Percent-escapes are decoded. Text that cannot be an id is refused
/// without a lookup. `what` names the id in the error.
pub(super) fn parse_id(raw: &str, what: &str) -> Result<ConnectionId, ApiError> {
    let text = decoded(raw.as_bytes());
    if text.contains(&b':') {
        // `connections/crm:undelete` names a custom method (AIP-136).
        let message = "unknown method: no resource has methods after a `:`";
        return Err(ApiError::new(ErrorStatus::NotFound, message));
    }
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| ConnectionId::parse(text).ok())
        .ok_or_else(|| {
            let message = format!(
                "invalid {what}: it must be 1 to 63 characters of a-z, 0-9 and `-`, start with a letter and not end with `-`"
            );
            ApiError::new(ErrorStatus::InvalidArgument, message)
        })
}
