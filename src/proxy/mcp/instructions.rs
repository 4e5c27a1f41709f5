//! The instructions for a language model: the connections that it can use.

use crate::proxy::mcp::listing::usable_entries;
use crate::proxy::served_connections::ServedConnections;

/// The most connections that the instructions name.
const MAX_NAMED: usize = 100;

/// Returns the instructions. They are part of every conversation, so they are short.
pub(super) fn instructions(served: ServedConnections<'_>) -> String {
    let mut text = "Each tool sends one HTTP request to an API. egressd adds the credentials and \
                    refuses what the operator has not allowed. The name of a tool begins with the \
                    name of its API:\n"
        .to_owned();
    let entries = usable_entries(served);
    for entry in entries.iter().take(MAX_NAMED) {
        let connection = &entry.connection;
        text += &format!("- {}", connection.id);
        // A line feed in a name would begin another item.
        if let Some(name) = connection.display_name.lines().next()
            && name != connection.id.as_str()
            && !name.is_empty()
        {
            text += &format!(": {name}");
        }
        text.push('\n');
    }
    if let Some(more) = entries
        .len()
        .checked_sub(MAX_NAMED)
        .filter(|more| *more > 0)
    {
        text += &format!("- and {more} more\n");
    }
    text
}
