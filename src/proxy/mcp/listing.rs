//! The list of tools, in pages.
//!
//! The order is that of the ids of connections, and then of the names of tools. A cursor contains
//! the name of the last tool of a page, so it stays valid after a reload.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rmcp::model::{ErrorData, Tool as ListedTool, ToolAnnotations};
use serde_json::Value;

use crate::domain::Connection;
use crate::proxy::served_connections::ServedConnections;
use crate::snapshot::ConnectionEntry;
use crate::tools::{EntryCache, Tool, ToolName, build_tool, name_tools};

/// The most tools of a page.
const PAGE: usize = 100;
/// The maximum size of the cache of names, in bytes.
const MAX_NAMES_BYTES: u64 = 8 * 1024 * 1024;
/// The longest description that is taken from a connection, in bytes.
const MAX_PARAGRAPH: usize = 1024;
/// The longest cursor, in bytes.
const MAX_CURSOR: usize = 128;

/// The names of the tools of connections, which all workers share.
pub struct ToolNames(EntryCache<Arc<[ToolName]>>);

/// A page of the list.
pub(super) struct Page {
    pub(super) tools: Vec<ListedTool>,
    /// The cursor of the next page; `None` after the last one.
    pub(super) next: Option<String>,
}

impl Default for ToolNames {
    fn default() -> Self {
        let size = |names: &Arc<[ToolName]>| {
            let text = |name: &ToolName| name.slug.len() + size_of::<ToolName>();
            names.iter().map(text).sum()
        };
        Self(EntryCache::new(MAX_NAMES_BYTES, size))
    }
}

impl ToolNames {
    /// Returns the tool of this name, if there is one.
    pub(super) fn find_tool(&self, served: ServedConnections<'_>, slug: &str) -> Option<Tool> {
        // An id contains no `_`, so the first one ends the id.
        let (id, _) = slug.split_once('_')?;
        let entry = served
            .find_live(id)
            .filter(|entry| entry.connection.enabled)?;
        let names = self.sorted(entry);
        let at = names.binary_search_by(|name| (*name.slug).cmp(slug)).ok()?;
        build_tool(&entry.connection, names.get(at)?)
    }

    /// Returns the names of a connection's tools, in alphabetical order.
    fn sorted(&self, entry: &Arc<ConnectionEntry>) -> Arc<[ToolName]> {
        self.0.get_or_make(entry, |entry| {
            let mut names = name_tools(&entry.connection);
            names.sort_unstable_by(|one, other| one.slug.cmp(&other.slug));
            names.into()
        })
    }
}

/// Returns the connections that agents may use, in the order of their ids.
pub(super) fn usable_entries(served: ServedConnections<'_>) -> Vec<&Arc<ConnectionEntry>> {
    let mut usable: Vec<_> = served.usable().collect();
    usable.sort_unstable_by(|one, other| one.connection.id.cmp(&other.connection.id));
    usable
}

/// Returns the page that a cursor names, or the first one.
pub(super) fn list_page(
    served: ServedConnections<'_>,
    names: &ToolNames,
    cursor: Option<&str>,
) -> Result<Page, ErrorData> {
    let after = cursor.map(read_cursor).transpose()?;
    let after = after.as_deref().unwrap_or_default();
    let after_id = after.split('_').next().unwrap_or_default();
    let entries = usable_entries(served);
    let start = entries.partition_point(|entry| entry.connection.id.as_str() < after_id);
    let mut tools = Vec::new();
    let mut last: Option<Box<str>> = None;
    for entry in entries.into_iter().skip(start) {
        let connection = &entry.connection;
        let sorted = names.sorted(entry);
        let first = if connection.id.as_str() == after_id {
            sorted.partition_point(|name| *name.slug <= *after)
        } else {
            0
        };
        for name in sorted.iter().skip(first) {
            if tools.len() == PAGE {
                let next = last.map(|slug| BASE64_URL_SAFE_NO_PAD.encode(&*slug));
                return Ok(Page { tools, next });
            }
            let tool = build_tool(connection, name);
            tools.extend(tool.map(|tool| listed(tool, connection)));
            last = Some(name.slug.clone());
        }
    }
    Ok(Page { tools, next: None })
}

/// Returns the name in a cursor.
fn read_cursor(cursor: &str) -> Result<String, ErrorData> {
    let short = Some(cursor).filter(|cursor| cursor.len() <= MAX_CURSOR);
    let bytes = short.and_then(|cursor| BASE64_URL_SAFE_NO_PAD.decode(cursor).ok());
    let is_name = |name: &String| name.contains('_') && name.bytes().all(|b| b.is_ascii_graphic());
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(is_name)
        .ok_or_else(|| ErrorData::invalid_params("the cursor is not one that egressd sent", None))
}

fn listed(tool: Tool, connection: &Connection) -> ListedTool {
    // The schema of a tool is an object.
    let schema = if let Value::Object(schema) = tool.input_schema {
        schema
    } else {
        serde_json::Map::default()
    };
    let own = tool.description.as_deref();
    let description = match own.unwrap_or_else(|| first_paragraph(&connection.description)) {
        "" => format!("`{}` of {}", tool.display_name, connection.display_name),
        text => format!("`{}`: {text}", tool.display_name),
    };
    ListedTool::new(tool.slug, Cow::Owned(description), Arc::new(schema))
        .with_title(tool.display_name)
        .with_annotations(annotations(tool.method))
}

/// Returns the first paragraph, or its beginning if it is long.
fn first_paragraph(text: &str) -> &str {
    let paragraph = text.trim_start().split("\n\n").next().unwrap_or_default();
    let end = paragraph.floor_char_boundary(MAX_PARAGRAPH);
    paragraph.get(..end).unwrap_or_default().trim_end()
}

/// Returns the hints for a method, by its definition in RFC 9110 §9.2. `None` means any method.
fn annotations(method: Option<&str>) -> ToolAnnotations {
    let hints = ToolAnnotations::new();
    match method {
        Some("GET" | "HEAD") => hints.read_only(true).destructive(false).idempotent(true),
        Some("DELETE") => hints.read_only(false).destructive(true).idempotent(true),
        Some("PUT") => hints.read_only(false).idempotent(true),
        Some("OPTIONS") => hints.destructive(false).idempotent(true),
        Some(_) | None => hints.read_only(false).idempotent(false),
    }
}
