//! Builds the definition of a connection, with the fields of the file that an operator writes.

use serde_json::{Map, Value, json};

use super::{TokenEndpoint, Upstream};

/// The client id for the token endpoint.
pub(crate) const CLIENT_ID: &str = "crm-client";
/// The client secret for the token endpoint.
pub(crate) const CLIENT_SECRET: &str = "planted-client-secret-0123456789";

/// A definition under construction.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(super) id: String,
    top: Map<String, Value>,
    http: Map<String, Value>,
    routes: Vec<Value>,
    headers: Map<String, Value>,
    auth: (String, Value),
}

/// Returns a connection with this id that may reach loopback. It has `no_auth` unless another
/// credential is set.
pub(crate) fn connection(id: &str) -> Connection {
    let mut http = Map::new();
    http.insert("allowed_private_cidrs".into(), json!(["127.0.0.0/8"]));
    Connection {
        id: id.to_owned(),
        top: Map::new(),
        http,
        routes: Vec::new(),
        headers: Map::new(),
        auth: ("no_auth".into(), json!({})),
    }
}

impl Connection {
    /// Adds a route.
    pub(crate) fn allow(self, pattern: &str) -> Self {
        self.allow_described(json!(pattern))
    }

    /// Adds an entry of `allowed_routes` in any form.
    pub(crate) fn allow_described(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Sends requests to `upstream`, without a base path.
    pub(crate) fn upstream(self, upstream: &Upstream) -> Self {
        self.upstream_at(upstream, "")
    }

    /// Sends requests to `upstream`, below `base`.
    pub(crate) fn upstream_at(self, upstream: &Upstream, base: &str) -> Self {
        let address = upstream.address();
        self.base_url(&format!("https://{address}{base}"))
    }

    /// Sends requests to any URL.
    pub(crate) fn base_url(self, url: &str) -> Self {
        self.http("base_url", json!(url))
    }

    /// Sets `bearer_token`.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.auth("bearer_token", json!({"token": token}))
    }

    /// Sets `static_headers`.
    pub(crate) fn static_header(self, name: &str, value: &str) -> Self {
        self.auth("static_headers", json!({"headers": {name: value}}))
    }

    /// Sets `oauth_client_credentials` with [`CLIENT_ID`] and [`CLIENT_SECRET`].
    pub(crate) fn oauth(self, endpoint: &TokenEndpoint) -> Self {
        self.oauth_at(&endpoint.url())
    }

    /// Sets `oauth_client_credentials` with any token URL.
    pub(crate) fn oauth_at(self, token_url: &str) -> Self {
        let grant =
            json!({"token_url": token_url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
        self.auth("oauth_client_credentials", grant)
    }

    /// Sets a field of `oauth_client_credentials`.
    pub(crate) fn grant(mut self, field: &str, value: impl Into<Value>) -> Self {
        assert_eq!(self.auth.0, "oauth_client_credentials");
        self.auth.1[field] = value.into();
        self
    }

    /// Sets any kind of credential.
    pub(crate) fn auth(mut self, kind: &str, value: Value) -> Self {
        self.auth = (kind.to_owned(), value);
        self
    }

    /// Adds one of `headers`.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), json!(value));
        self
    }

    /// Sets a field of `connection_details.http`.
    pub(crate) fn http(mut self, field: &str, value: Value) -> Self {
        self.http.insert(field.to_owned(), value);
        self
    }

    /// Sets a field of the definition.
    pub(crate) fn with_field(mut self, field: &str, value: Value) -> Self {
        self.top.insert(field.to_owned(), value);
        self
    }

    /// Returns the same definition with another id.
    pub(crate) fn rename(mut self, id: &str) -> Self {
        self.id = id.to_owned();
        self
    }

    /// Returns the definition as JSON.
    pub(crate) fn definition(&self) -> Value {
        let mut http = self.http.clone();
        http.insert("allowed_routes".into(), json!(self.routes));
        if !self.headers.is_empty() {
            http.insert("headers".into(), json!(self.headers));
        }
        http.insert(self.auth.0.clone(), self.auth.1.clone());
        let mut top = self.top.clone();
        top.insert("name".into(), json!(format!("connections/{}", self.id)));
        top.insert("connection_details".into(), json!({"http": http}));
        Value::Object(top)
    }
}
