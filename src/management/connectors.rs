//! `/v1/connectors`: the catalogue of connectors, with the connections that refer to each of them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::{ApiError, ErrorDocument, ErrorStatus, json_body};
use super::query::{FieldKind, FieldSpec, FieldValue, ListKind, Query, Record};
use super::records::{NAME, routes_weight, text};
use super::resources::{AccessErrors, PageSize, parse_id};
use super::view::{ConnectorView, availability};
use crate::domain::connector::{Connector, ConnectorSlug};
use crate::snapshot::{ConnectionEntry, Snapshot};

const CONNECTOR_PREFIX: &str = "/v1/connectors/";

/// The approximate size of a tool in bytes, without its name, its pattern and its description.
const TOOL_BYTES: usize = 100;

/// The fields of a [`ConnectorRecord`].
static CONNECTOR_FIELDS: &[FieldSpec] = &[
    FieldSpec::new("slug", FieldKind::Text),
    FieldSpec::new("display_name", FieldKind::Text),
    FieldSpec::new("description", FieldKind::Text),
    FieldSpec::new("auth_type", NAME),
    FieldSpec::new("configured", FieldKind::Bool),
    FieldSpec::new("availability", NAME),
    FieldSpec::new("availability_reason", FieldKind::Text),
    FieldSpec::new("checked_date", FieldKind::Text),
];

/// A page of connectors.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListConnectorsResponse {
    connectors: Vec<ConnectorView>,
    /// The token of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// A single connector.
#[derive(Serialize, ToSchema)]
pub(super) struct GetConnectorResponse {
    connector: ConnectorView,
}

/// A connector, and the live connections that refer to it.
struct ConnectorRecord<'s> {
    connector: &'s Connector,
    users: Vec<&'s ConnectionEntry>,
    checked: String,
}

impl<'s> ConnectorRecord<'s> {
    fn new(connector: &'s Connector, users: Vec<&'s ConnectionEntry>) -> Self {
        Self {
            connector,
            users,
            checked: connector.checked.to_string(),
        }
    }

    fn is_configured(&self) -> bool {
        !self.users.is_empty()
    }

    fn view(&self) -> ConnectorView {
        let connections = self.users.iter().map(|entry| &*entry.connection);
        ConnectorView::new(self.connector, connections)
    }
}

impl Record for ConnectorRecord<'_> {
    fn values(&self) -> Vec<FieldValue<'_>> {
        let (availability, reason) = availability(self.connector, self.is_configured());
        vec![
            text(self.name()),
            text(&self.connector.display_name),
            text(&self.connector.description),
            text(self.connector.auth_type.as_str()),
            FieldValue::Bool(self.is_configured()),
            text(availability),
            text(reason),
            text(&self.checked),
        ]
    }

    fn name(&self) -> &str {
        self.connector.slug.as_str()
    }

    fn weight(&self) -> usize {
        let connections = self.users.iter().map(|entry| &*entry.connection);
        let weights = connections.map(|connection| {
            routes_weight(connection, |pattern| {
                TOOL_BYTES + 2 * pattern.as_str().len()
            })
        });
        weights.sum()
    }
}

/// Returns the live connections by the connector that they refer to.
fn connections_by_connector(snapshot: &Snapshot) -> HashMap<&ConnectorSlug, Vec<&ConnectionEntry>> {
    let mut by_connector: HashMap<_, Vec<_>> = HashMap::new();
    for entry in snapshot.entries().iter().filter(|entry| entry.is_live()) {
        if let Some(slug) = &entry.connection.connector {
            by_connector.entry(slug).or_default().push(&**entry);
        }
    }
    by_connector
}

/// List the connectors that definitions can refer to.
#[utoipa::path(
    get,
    path = "/v1/connectors",
    operation_id = "ListConnectors",
    tag = "Connectors",
    params(
        ("filter" = Option<String>, Query, description = "A filter (AIP-160) over the scalar fields, such as `configured=true`.", max_length = 2048),
        ("order_by" = Option<String>, Query, description = "Fields to sort by, separated by commas, each optionally followed by ` desc`. Ties are broken by slug."),
        ("page_size" = inline(Option<PageSize>), Query, description = "The maximum number of connectors on a page: 50 if absent or 0, and at most 1000."),
        ("page_token" = Option<String>, Query, description = "`nextPageToken` of the previous page. All other parameters but `page_size` must be the same."),
    ),
    responses(
        (status = 200, description = "A page of connectors.", body = ListConnectorsResponse),
        (status = 400, description = "A parameter or the `Host` header is not valid.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn list_connectors(
    State(state): State<Arc<ApiState>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), CONNECTOR_FIELDS, ListKind::Connectors)?;
    let snapshot = state.sources.published.current();
    let mut users = connections_by_connector(&snapshot);
    let connectors = snapshot.connectors().iter();
    let found: Vec<_> = connectors
        .map(|connector| {
            let users = users.remove(&connector.slug).unwrap_or_default();
            ConnectorRecord::new(connector, users)
        })
        .collect();
    let page = query.page(&state.page_tokens, &found)?;
    Ok(json_body(&ListConnectorsResponse {
        connectors: page.items.into_iter().map(ConnectorRecord::view).collect(),
        next_page_token: page.next_page_token,
    })
    .into_response())
}

/// Get one connector.
#[utoipa::path(
    get,
    path = "/v1/connectors/{slug}",
    operation_id = "GetConnector",
    tag = "Connectors",
    params(
        ("slug" = String, Path, description = "The slug of the connector.", pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"),
    ),
    responses(
        (status = 200, description = "The connector.", body = GetConnectorResponse),
        (status = 400, description = "The slug or the `Host` header is not valid.", body = ErrorDocument),
        (status = 404, description = "The connector does not exist.", body = ErrorDocument),
        AccessErrors,
    ),
    security((), ("basic" = []), ("apiKey" = [])),
)]
pub(super) async fn get_connector(
    State(state): State<Arc<ApiState>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let raw = uri.path().strip_prefix(CONNECTOR_PREFIX);
    let slug = ConnectorSlug::from(parse_id(raw.unwrap_or_default(), "slug of a connector")?);
    let snapshot = state.sources.published.current();
    let mut connectors = snapshot.connectors().iter();
    let connector = connectors.find(|connector| connector.slug == slug);
    let connector = connector.ok_or_else(|| {
        // The slug has been parsed, so it is safe to repeat.
        let message = format!("connector `{slug}` not found");
        ApiError::new(ErrorStatus::NotFound, message)
    })?;
    let users = connections_by_connector(&snapshot).remove(&slug);
    let connector = ConnectorRecord::new(connector, users.unwrap_or_default()).view();
    Ok(json_body(&GetConnectorResponse { connector }).into_response())
}
