//! `/v1`: the resources, read from the current snapshot and the state of the process at one instant.

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

/// Some connections.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListConnectionsResponse {
    connections: Vec<ConnectionView>,
    /// For the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// One connection.
#[derive(Serialize, ToSchema)]
pub(super) struct GetConnectionResponse {
    connection: ConnectionView,
}

/// Some connection types.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListConnectionTypesResponse {
    #[schema(value_type = Vec<ConnectionType>)]
    types: Vec<&'static ConnectionType>,
    /// For the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// How many there may be on a page: any whole number that is not negative, however large.
struct PageSize;

impl utoipa::PartialSchema for PageSize {
    fn schema() -> RefOr<Schema> {
        let whole = ObjectBuilder::new().schema_type(Type::Integer);
        whole.minimum(Some(0)).into()
    }
}

impl ToSchema for PageSize {}

/// The errors of the access policy, whatever is requested.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by its derive, for the document")]
enum AccessErrors {
    /// No password, or a wrong one.
    #[response(status = 401, headers(("WWW-Authenticate" = String)))]
    Unauthenticated(ErrorDocument),
    /// A browser's request from another site.
    #[response(status = 403)]
    PermissionDenied(ErrorDocument),
    /// A `Host` that is not this one.
    #[response(status = 421)]
    Misdirected(ErrorDocument),
    /// Too many wrong passwords, or more requests than this API may take of the machine.
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
        ("filter" = Option<String>, Query, description = "A filter after AIP-160 over the scalar fields, such as `connection_type=\"http\"`.", max_length = 2048),
        ("order_by" = Option<String>, Query, description = "Fields to sort by, with commas between them, each with ` desc` if need be. Ties are broken by name."),
        ("page_size" = inline(Option<PageSize>), Query, description = "The most connections on a page: 50 where it is absent or 0, never more than 1000."),
        ("page_token" = Option<String>, Query, description = "`nextPageToken` of the page before, with the same other parameters."),
        ("show_deleted" = Option<bool>, Query, description = "Whether soft-deleted connections are listed."),
    ),
    responses(
        (status = 200, description = "A page of connections.", body = ListConnectionsResponse),
        (status = 400, description = "A parameter is not understood, or `Host` is none.", body = ErrorDocument),
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
        .map(|entry| ConnectionRecord::new(entry, &state.sources))
        .collect();
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

/// Get one connection, with its details. A soft-deleted one is found.
#[utoipa::path(
    get,
    path = "/v1/connections/{connection_id}",
    operation_id = "GetConnection",
    tag = "Connections",
    params(
        ("connection_id" = String, Path, description = "What stands behind `connections/` in the connection's name.", pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"),
    ),
    responses(
        (status = 200, description = "The connection.", body = GetConnectionResponse),
        (status = 400, description = "No connection can have this id, or `Host` is none.", body = ErrorDocument),
        (status = 404, description = "There is no such connection.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn get_connection(
    State(state): State<Arc<ApiState>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let raw = uri.path().strip_prefix(CONNECTION_PREFIX);
    let id = parse_connection_id(raw.unwrap_or_default())?;
    let snapshot = state.sources.published.current();
    let entry = snapshot.find(id.as_str()).ok_or_else(|| {
        let message = format!("there is no connection `connections/{id}`");
        ApiError::new(ErrorStatus::NotFound, message)
    })?;
    let live = records::live_state(entry, &state.sources);
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
        ("filter" = Option<String>, Query, description = "A filter after AIP-160 over the scalar fields, such as `type=\"http\"`.", max_length = 2048),
        ("order_by" = Option<String>, Query, description = "Fields to sort by, with commas between them, each with ` desc` if need be."),
        ("page_size" = inline(Option<PageSize>), Query, description = "The most types on a page: 50 where it is absent or 0, never more than 1000."),
        ("page_token" = Option<String>, Query, description = "`nextPageToken` of the page before, with the same other parameters."),
    ),
    responses(
        (status = 200, description = "A page of types.", body = ListConnectionTypesResponse),
        (status = 400, description = "A parameter is not understood, or `Host` is none.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn list_connection_types(
    State(state): State<Arc<ApiState>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), records::TYPE_FIELDS, ListKind::Types)?;
    let page = query.page(&state.page_tokens, std::slice::from_ref(&HTTP))?;
    Ok(json_body(&ListConnectionTypesResponse {
        types: page.items,
        next_page_token: page.next_page_token,
    })
    .into_response())
}

/// The id in a path. An escape is read as what it stands for; what no id can be is not looked for.
fn parse_connection_id(raw: &str) -> Result<ConnectionId, ApiError> {
    let text = decoded(raw.as_bytes());
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| ConnectionId::parse(text).ok())
        .ok_or_else(|| {
            let message = "the path names no connection: an id is 1 to 63 of a-z, 0-9 and `-`, starts with a letter and does not end with `-`";
            ApiError::new(ErrorStatus::InvalidArgument, message)
        })
}
