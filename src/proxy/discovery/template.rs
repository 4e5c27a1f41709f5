//! A text that contains the agent's host and the statuses of connections in many places.
//!
//! The text is rendered once for all agents. The host and the statuses are inserted while the body
//! is sent, a piece at a time. So a `Host` or a status that changes causes no rendering, and an
//! agent that reads slowly keeps no copy of the whole text in memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::credential::oauth::StatusName;

/// The smallest piece of the body, except for the last one.
const PIECE: usize = 16 * 1024;

/// The text without the host and the statuses, and the positions where they belong.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) text: String,
    gaps: Vec<(usize, Gap)>,
    /// Returns the text of a status.
    status_text: fn(StatusName) -> &'static str,
}

/// The value that is inserted at a position.
#[derive(Clone, Copy, Debug)]
enum Gap {
    Host,
    /// The status of the connection with this index in the list.
    Status(usize),
}

/// A text with the values inserted, and the position up to which it was sent.
#[derive(Debug)]
pub(in crate::proxy) struct FilledTemplate {
    template: Arc<Template>,
    host: Box<str>,
    /// The statuses of the listed connections, in the order of the list.
    statuses: Box<[StatusName]>,
    /// The number of bytes of the text that were sent.
    sent: usize,
    /// The number of gaps that were sent.
    filled: usize,
    /// The number of bytes that remain to be sent, with the values.
    left: usize,
}

impl Template {
    /// Creates an empty text, in which a status has this text.
    pub(super) fn new(status_text: fn(StatusName) -> &'static str) -> Self {
        Self {
            text: String::new(),
            gaps: Vec::new(),
            status_text,
        }
    }

    /// Marks the current end of the text as a position of the host.
    pub(super) fn push_host(&mut self) {
        self.gaps.push((self.text.len(), Gap::Host));
    }

    /// Marks the current end of the text as the position of a connection's status.
    pub(super) fn push_status(&mut self, connection: usize) {
        self.gaps.push((self.text.len(), Gap::Status(connection)));
    }

    /// Returns the text with this host and these statuses in it.
    pub(super) fn fill(
        self: &Arc<Self>,
        host: &str,
        statuses: Box<[StatusName]>,
    ) -> FilledTemplate {
        let mut filled = FilledTemplate {
            template: Arc::clone(self),
            host: host.into(),
            statuses,
            sent: 0,
            filled: 0,
            left: 0,
        };
        let values = self.gaps.iter().map(|(_, gap)| filled.value(*gap).len());
        filled.left = self.text.len() + values.sum::<usize>();
        filled
    }
}

impl FilledTemplate {
    /// Returns the number of bytes that remain to be sent.
    pub(in crate::proxy) fn len(&self) -> usize {
        self.left
    }

    fn value(&self, gap: Gap) -> &str {
        match gap {
            Gap::Host => &self.host,
            Gap::Status(connection) => {
                let status = self.statuses.get(connection).copied();
                status.map_or("", self.template.status_text)
            }
        }
    }

    /// Returns the next piece; `None` at the end.
    pub(in crate::proxy) fn next(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        while piece.len() < PIECE && self.left > piece.len() {
            let gap = self.template.gaps.get(self.filled).copied();
            let end = gap.map_or(self.template.text.len(), |(at, _)| at);
            let end = end.min(self.sent + PIECE);
            let text = self.template.text.as_bytes().get(self.sent..end);
            piece.extend_from_slice(text.unwrap_or_default());
            self.sent = end;
            if let Some((at, gap)) = gap
                && at == end
            {
                piece.extend_from_slice(self.value(gap).as_bytes());
                self.filled += 1;
            }
        }
        self.left -= piece.len();
        (!piece.is_empty()).then(|| piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE, StatusName, Template};
    use std::sync::Arc;

    #[test]
    fn the_host_fills_every_gap_and_no_piece_is_large() {
        // F-262
        let mut template = Template::new(StatusName::as_str);
        let mut expected = String::new();
        template.push_host();
        template.push_host();
        template.push_status(1);
        expected.push_str("hhs");
        for n in 0..3000 {
            let text = "é".repeat(n % 200);
            template.text.push_str(&text);
            template.push_host();
            template.push_status(n % 2);
            expected.extend([text.as_str(), "h", ["c", "s"][n % 2]]);
        }
        let long = "x".repeat(10 * PIECE);
        template.text.push_str(&long);
        expected.push_str(&long);
        let template = Arc::new(template);
        for host in ["h", "a-longer-name.localhost:8080"] {
            let expected = expected.replace('h', "\0").replace('c', "connected");
            let expected = expected.replace('s', "needs_consent").replace('\0', host);
            let statuses = [StatusName::Connected, StatusName::NeedsConsent];
            let mut filled = template.fill(host, statuses.into());
            let mut sent = Vec::new();
            while let Some(piece) = filled.next() {
                assert!((1..3 * PIECE).contains(&piece.len()));
                sent.extend_from_slice(&piece);
                assert_eq!(sent.len() + filled.len(), expected.len());
            }
            assert!(sent == expected.as_bytes());
        }
        let empty = Arc::new(Template::new(StatusName::as_str));
        assert!(empty.fill("h", Box::default()).next().is_none());
    }
}
