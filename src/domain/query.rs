//! Queries with bytes that RFC 3986 does not allow, but that some APIs and their clients use, such
//! as `?orderBy="name"`.

/// Returns the query of a request target: the bytes after the first `?`. A fragment is not a part
/// of it.
pub fn target_query(target: &str) -> Option<&str> {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').map(|(_, query)| query)
}

/// Percent-encodes the bytes in a target's query that `http::Uri` rejects there, although a client
/// may send them: `"`, `<` and `>`. `None` if the query has none of them.
pub fn escape_query(target: &str) -> Option<String> {
    let query = target_query(target)?;
    if !query.contains(['"', '<', '>']) {
        return None;
    }
    let start = target.split_once('?')?.0.len() + 1;
    let end = start + query.len();
    let escaped = query
        .replace('"', "%22")
        .replace('<', "%3C")
        .replace('>', "%3E");
    Some([target.get(..start)?, &escaped, target.get(end..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::{escape_query, target_query};

    #[test]
    fn only_the_query_is_escaped() {
        for (target, escaped) in [
            ("/a?b=\"c\"", Some("/a?b=%22c%22")),
            ("/a?<?>", Some("/a?%3C?%3E")),
            ("/\"?\"#\"", Some("/\"?%22#\"")),
            ("/a?b{}|\\^`'", None),
            ("/<a>", None),
            ("/a#?\"", None),
            ("/a?%22", None),
            ("", None),
        ] {
            assert_eq!(escape_query(target).as_deref(), escaped, "{target}");
        }
        assert_eq!(target_query("/a?b?c#d?e"), Some("b?c"));
        assert_eq!(target_query("/a"), None);
        assert_eq!(target_query("/a?"), Some(""));
    }
}
