//! A text that contains the agent's host in many places.
//!
//! The text is rendered once for all agents. The host is inserted while the body is sent, a piece
//! at a time. So an agent that changes its `Host` causes no rendering, and one that reads slowly
//! keeps no copy of the whole text in memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The smallest piece of the body, except for the last one.
const PIECE: usize = 16 * 1024;

/// The text without the host, and the positions where the host belongs.
#[derive(Debug, Default)]
pub(super) struct Template {
    pub(super) text: String,
    pub(super) gaps: Vec<usize>,
}

/// A text with the host inserted, and the position up to which it was sent.
#[derive(Debug)]
pub(in crate::proxy) struct FilledTemplate {
    template: Arc<Template>,
    host: Box<str>,
    /// The number of bytes of the text that were sent.
    sent: usize,
    /// The number of gaps that were sent.
    filled: usize,
}

impl Template {
    /// Marks the current end of the text as a position of the host.
    pub(super) fn push_host(&mut self) {
        self.gaps.push(self.text.len());
    }

    /// Returns the text with this host in it.
    pub(super) fn fill(self: &Arc<Self>, host: &str) -> FilledTemplate {
        FilledTemplate {
            template: Arc::clone(self),
            host: host.into(),
            sent: 0,
            filled: 0,
        }
    }
}

impl FilledTemplate {
    /// Returns the number of bytes that remain to be sent.
    pub(in crate::proxy) fn len(&self) -> usize {
        let gaps = self.template.gaps.len() - self.filled;
        self.template.text.len() - self.sent + gaps * self.host.len()
    }

    /// Returns the next piece; `None` at the end.
    pub(in crate::proxy) fn next(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        while piece.len() < PIECE && self.len() > 0 {
            let gap = self.template.gaps.get(self.filled).copied();
            let end = gap.unwrap_or(self.template.text.len());
            let end = end.min(self.sent + PIECE);
            let text = self.template.text.as_bytes().get(self.sent..end);
            piece.extend_from_slice(text.unwrap_or_default());
            self.sent = end;
            if gap == Some(end) {
                piece.extend_from_slice(self.host.as_bytes());
                self.filled += 1;
            }
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE, Template};
    use std::sync::Arc;

    #[test]
    fn the_host_fills_every_gap_and_no_piece_is_large() {
        // F-262
        let mut template = Template::default();
        let mut expected = String::new();
        template.push_host();
        template.push_host();
        expected.push_str("hh");
        for n in 0..3000 {
            let text = "é".repeat(n % 200);
            template.text.push_str(&text);
            template.push_host();
            expected.extend([text.as_str(), "h"]);
        }
        let long = "x".repeat(10 * PIECE);
        template.text.push_str(&long);
        expected.push_str(&long);
        let template = Arc::new(template);
        for host in ["h", "a-longer-name.localhost:8080"] {
            let expected = expected.replace('h', host);
            let mut filled = template.fill(host);
            let mut sent = Vec::new();
            while let Some(piece) = filled.next() {
                assert!((1..3 * PIECE).contains(&piece.len()));
                sent.extend_from_slice(&piece);
                assert_eq!(sent.len() + filled.len(), expected.len());
            }
            assert!(sent == expected.as_bytes());
        }
        assert!(Arc::new(Template::default()).fill("h").next().is_none());
    }
}
