//! A client of the two kinds of revisions: with metadata in each message, and with `initialize`.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar};

/// The newest revision, which has no handshake.
pub(super) const NEWEST: &str = "2026-07-28";
/// A revision with `initialize`.
pub(super) const OLDER: &str = "2025-06-18";
pub(super) const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");
pub(super) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A client with one socket.
pub(super) struct Client {
    pub(super) agent: Agent,
    revision: &'static str,
}

impl Client {
    /// Connects a client that speaks the newest revision.
    pub(super) fn connect(sidecar: &Sidecar) -> Self {
        Self::with_revision(sidecar, NEWEST)
    }

    pub(super) fn with_revision(sidecar: &Sidecar, revision: &'static str) -> Self {
        Self {
            agent: Agent::connect(sidecar),
            revision,
        }
    }

    /// Connects a client that speaks the newest revision to one of several listeners.
    pub(super) fn connect_to(address: SocketAddr) -> Self {
        Self {
            agent: Agent::connect_to(address),
            revision: NEWEST,
        }
    }

    /// Sends a message, with the headers and the metadata of the revision.
    pub(super) fn send(&mut self, method: &str, mut params: Value) {
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let mut fields = vec![ACCEPT, JSON];
        if method != "initialize" {
            fields.push(("MCP-Protocol-Version", self.revision));
        }
        if self.revision == NEWEST {
            params["_meta"] = meta();
            fields.push(("Mcp-Method", method));
            if !name.is_empty() {
                fields.push(("Mcp-Name", &name));
            }
        }
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        self.agent.send(post(&fields, &message.to_string()));
    }

    /// Sends a message and returns the HTTP response.
    pub(super) fn post(&mut self, method: &str, params: Value) -> Reply {
        self.send(method, params);
        self.agent.reply()
    }

    /// Sends a message and returns the result.
    #[track_caller]
    pub(super) fn result(&mut self, method: &str, params: Value) -> Value {
        let reply = self.post(method, params);
        let message = reply.expect_status(200).json();
        assert_eq!(
            (&message["jsonrpc"], &message["id"]),
            (&json!("2.0"), &json!(7))
        );
        assert_eq!(message["error"], Value::Null, "{message}");
        message["result"].clone()
    }

    /// Sends a message and returns the code of the error.
    #[track_caller]
    pub(super) fn error(&mut self, method: &str, params: Value) -> (u16, i64) {
        let reply = self.post(method, params);
        let message = reply.json();
        assert_eq!(message["result"], Value::Null, "{message}");
        (reply.status, message["error"]["code"].as_i64().unwrap())
    }

    /// Calls a tool.
    #[track_caller]
    pub(super) fn call(&mut self, name: &str, arguments: &Value) -> Value {
        self.result("tools/call", json!({"name": name, "arguments": arguments}))
    }

    /// Returns the names of all tools, and the number of pages.
    pub(super) fn tool_names(&mut self) -> (Vec<String>, usize) {
        let (mut names, mut pages, mut params) = (Vec::new(), 0, json!({}));
        loop {
            let page = self.result("tools/list", params);
            pages += 1;
            let tools = page["tools"].as_array().unwrap();
            let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
            names.extend(tools.iter().map(name));
            match page["nextCursor"].as_str() {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => return (names, pages),
            }
        }
    }
}

/// The metadata of a message of the newest revision.
pub(super) fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// Returns a POST to `/mcp`.
pub(super) fn post(fields: &[(&str, &str)], body: &str) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Returns the text of each block of a result.
pub(super) fn texts(result: &Value) -> Vec<&str> {
    let blocks = result["content"].as_array().unwrap().iter();
    blocks.filter_map(|block| block["text"].as_str()).collect()
}
