//! Finds the encodings of many secrets in a piece of text, and partial matches at its end.

use std::sync::Arc;

use super::alphabet::Alphabet;
use super::encodings::Encoding;
use super::index::{Index, LONGEST_WINDOW};
use super::secrets::{Label, SearchedSecret};

/// All encodings of a set of secrets, ready to be searched for. Rebuilt when a secret is added or
/// removed, and shared by all responses.
#[derive(Default)]
pub struct Patterns {
    /// The patterns, sorted by their bytes. No pattern begins with another, so at most one of them
    /// occurs at any place of a text.
    sorted: Vec<Arc<Encoding>>,
    secrets: Vec<Arc<SearchedSecret>>,
    index: Index,
    alphabet: Alphabet,
    /// The length of the longest encoding, rounded up to a power of two: the exact length would
    /// reveal more about the secret to an agent.
    reach: usize,
    /// The encodings that can be a header's name, in lower case. If `None`, the encodings
    /// themselves are used.
    names: Option<Box<Self>>,
    /// The secrets that can be guessed.
    guessable: Vec<Arc<SearchedSecret>>,
    /// The length of the longest beginning in `guessable`.
    longest_beginning: usize,
}

/// The state of a stream after its last piece, which the search of the next piece needs.
#[derive(Clone, Default)]
pub(super) struct Stream {
    /// The last bytes of the stream, at least as many as may precede the end of a window.
    history: Vec<u8>,
    /// Occurrences that are cut off after their window. The longest comes first.
    partials: Vec<Partial>,
}

/// The text so far ends with the first `length` bytes of these patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    from: usize,
    to: usize,
    length: usize,
}

/// The result of comparing the patterns with the text at one place.
enum Match {
    /// The pattern at this index occurs there.
    Whole(usize),
    /// The text ends within an occurrence of one or more patterns.
    Partial(Partial),
    None,
}

/// The index of the pattern that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found(usize);

impl Patterns {
    /// Returns the patterns of secrets that have no label. Returns `None` if all of them are
    /// shorter than [`super::SHORTEST`].
    pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let secrets = secrets.into_iter().map(SearchedSecret::unlabelled);
        let patterns = Self::new(secrets.map(Arc::new).collect()).with_names();
        (!patterns.is_empty()).then_some(patterns)
    }

    /// Returns the patterns of a request's signature, given its digest in hex.
    pub(super) fn from_signature(digest: &[u8]) -> Self {
        let label = Label {
            kind: "webhook_signature",
            header: Some("X-Webhook-Signature".into()),
            ..Label::default()
        };
        let secret = SearchedSecret::new(digest, label);
        Self::new(secret.map(Arc::new).into_iter().collect())
    }

    pub(super) fn new(secrets: Vec<Arc<SearchedSecret>>) -> Self {
        let all = secrets.iter().flat_map(|secret| secret.all_encodings());
        let mut sorted: Vec<Arc<Encoding>> = all.cloned().collect();
        sorted.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        // A pattern that begins with another one is found together with it.
        sorted.dedup_by(|next, kept| next.starts_with(kept));
        let longest = sorted.iter().map(|encoding| encoding.len()).max();
        let guessable = secrets
            .iter()
            .filter(|secret| !secret.beginnings.is_empty());
        let guessable: Vec<_> = guessable.map(Arc::clone).collect();
        let beginnings = guessable.iter().flat_map(|secret| &secret.beginnings);
        let narrow = secrets.iter().flat_map(|secret| &secret.encodings);
        Self {
            alphabet: Alphabet::covering(&narrow.map(|encoding| encoding.as_slice())),
            index: Index::new(&sorted),
            secrets,
            reach: longest.unwrap_or(0).next_power_of_two(),
            sorted,
            names: None,
            longest_beginning: beginnings.map(|encoding| encoding.len()).max().unwrap_or(0),
            guessable,
        }
    }

    /// Adds the set that [`Patterns::names`] returns.
    pub(super) fn with_names(mut self) -> Self {
        let in_lower_case = |secret: &Arc<SearchedSecret>| Arc::new(secret.for_header_names());
        let names = self.secrets.iter().map(in_lower_case).collect();
        self.names = Some(Box::new(Self::new(names)));
        self
    }

    /// Returns the patterns to search for in a header's name that is in lower case. HTTP
    /// implementations convert names to lower case (RFC 9113 §8.2 requires it).
    pub(super) fn names(&self) -> &Self {
        self.names.as_deref().unwrap_or(self)
    }

    /// Returns the alphabet of the secrets.
    pub(super) fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// Returns whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Returns the labels of the secrets that have this encoding.
    pub(super) fn owners(&self, found: Found) -> Vec<Arc<Label>> {
        let Some(pattern) = self.sorted.get(found.0) else {
            return Vec::new();
        };
        let is_theirs = |secret: &&Arc<SearchedSecret>| {
            secret
                .all_encodings()
                .any(|encoding| **encoding == **pattern)
        };
        let owners = self.secrets.iter().filter(is_theirs);
        owners.map(|secret| Arc::clone(&secret.label)).collect()
    }

    #[cfg(test)]
    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    #[cfg(test)]
    pub(super) fn shortest(&self) -> usize {
        self.sorted
            .iter()
            .map(|encoding| encoding.len())
            .min()
            .unwrap_or(0)
    }

    /// Adds the secrets that the next piece of a stream may hold a guess of. This does not depend
    /// on the part of a secret that is unknown.
    pub(super) fn add_guesses(&self, piece: &[u8], stream: &Stream, guesses: &mut Vec<Arc<Label>>) {
        if self.guessable.is_empty() {
            return;
        }
        // A beginning may span two pieces.
        let most = self.longest_beginning.saturating_sub(1);
        let old = stream.history.len().saturating_sub(most);
        let old = stream.history.get(old..).unwrap_or_default();
        let new = piece.get(..most.min(piece.len())).unwrap_or_default();
        let seam = [old, new].concat();
        for secret in &self.guessable {
            let mut beginnings = secret.beginnings.iter();
            let is_known = |label: &Arc<Label>| Arc::ptr_eq(label, &secret.label);
            if !guesses.iter().any(is_known)
                && beginnings.any(|encoding| has(piece, encoding) || has(&seam, encoding))
            {
                guesses.push(Arc::clone(&secret.label));
            }
        }
    }

    /// Returns whether a text is too short for any encoding.
    pub(super) fn is_short(&self, text: &[u8]) -> bool {
        text.len() < self.index.window()
    }

    /// Searches a complete text.
    pub(super) fn find(&self, text: &[u8]) -> Result<(), Found> {
        self.index.find(text, |window, before| {
            let begin = window.checked_sub(before);
            match begin
                .and_then(|begin| text.get(begin..))
                .map(|text| self.at(text))
            {
                Some(Match::Whole(pattern)) => Err(Found(pattern)),
                _ => Ok(()),
            }
        })
    }

    /// Searches the next piece of a stream. Unless it is the last, records the occurrences that may
    /// continue after its end.
    pub(super) fn feed(&self, piece: &[u8], stream: &mut Stream, last: bool) -> Result<(), Found> {
        if last && stream.is_new() {
            return self.find(piece);
        }
        let Stream { history, partials } = stream;
        let mut found = None;
        partials.retain_mut(|partial| match self.extend_match(*partial, piece) {
            Match::Whole(pattern) => {
                found = Some(Found(pattern));
                false
            }
            Match::Partial(longer) => {
                *partial = longer;
                true
            }
            Match::None => false,
        });
        if let Some(found) = found {
            return Err(found);
        }
        self.find_across(history, piece, partials)?;
        self.index.find(piece, |window, before| {
            let matched = match window.checked_sub(before) {
                Some(begin) => self.at(piece.get(begin..).unwrap_or_default()),
                None => self.at_end_of(history, before - window, piece),
            };
            matched.note(partials)
        })?;
        if last {
            *stream = Stream::default();
        } else if !self.is_empty() {
            stream.remember(piece, self.index.farthest());
        }
        Ok(())
    }

    /// Searches for the windows that begin in the history and end in the piece.
    fn find_across(
        &self,
        history: &[u8],
        piece: &[u8],
        partials: &mut Vec<Partial>,
    ) -> Result<(), Found> {
        let most = self.index.window().saturating_sub(1);
        let old = history.get(history.len().saturating_sub(most)..);
        let new = piece.get(..most.min(piece.len()));
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let mut seam = [0; LONGEST_WINDOW * 2];
        let both = old.iter().chain(new);
        seam.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
        let seam = seam.get(..old.len() + new.len()).unwrap_or_default();
        self.index.find(seam, |window, before| {
            let back = old.len() + before - window;
            self.at_end_of(history, back, piece).note(partials)
        })
    }

    /// Returns the number of bytes at the end of a stream to hold back, as [`Alphabet::tail`] does.
    pub(super) fn tail(&self, text: &[u8], before: usize) -> usize {
        self.alphabet.tail(text, before, self.reach)
    }

    /// Matches the beginning of this text.
    fn at(&self, text: &[u8]) -> Match {
        let all = Partial {
            from: 0,
            to: self.sorted.len(),
            length: 0,
        };
        self.extend_match(all, text)
    }

    /// Matches the text that begins `back` bytes before the end of the history and continues in the
    /// piece.
    fn at_end_of(&self, history: &[u8], back: usize, piece: &[u8]) -> Match {
        let begin = history.len().checked_sub(back);
        let Some(text) = begin.and_then(|begin| history.get(begin..)) else {
            return Match::None;
        };
        match self.at(text) {
            Match::Partial(partial) => self.extend_match(partial, piece),
            other @ (Match::Whole(_) | Match::None) => other,
        }
    }

    /// Extends a partial match by this text. No pattern begins with another. So the only pattern
    /// that the text can begin with is the last one that is not greater than the text, and the
    /// patterns that begin with the text follow right after it.
    fn extend_match(&self, partial: Partial, text: &[u8]) -> Match {
        let Partial { from, to, length } = partial;
        let alike = self.sorted.get(from..to).unwrap_or_default();
        let behind =
            alike.partition_point(|encoding| encoding.get(length..).unwrap_or_default() <= text);
        let rest = |at: usize| alike.get(at).and_then(|encoding| encoding.get(length..));
        let before = behind.checked_sub(1);
        if let Some(before) = before
            && rest(before).is_some_and(|rest| text.starts_with(rest))
        {
            return Match::Whole(from + before);
        }
        if !rest(behind).is_some_and(|rest| rest.starts_with(text)) {
            return Match::None;
        }
        let further = alike.get(behind..).unwrap_or_default();
        let begins = |encoding: &Arc<Encoding>| {
            let rest = encoding.get(length..).unwrap_or_default();
            rest.starts_with(text)
        };
        Match::Partial(Partial {
            from: from + behind,
            to: from + behind + further.partition_point(begins),
            length: length + text.len(),
        })
    }
}

fn has(text: &[u8], encoding: &[u8]) -> bool {
    memchr::memmem::find(text, encoding).is_some()
}

impl Match {
    /// Records an occurrence that is cut off. Two windows may report the same occurrence.
    fn note(self, partials: &mut Vec<Partial>) -> Result<(), Found> {
        match self {
            Self::Whole(pattern) => return Err(Found(pattern)),
            Self::Partial(partial) => {
                let at = partials.partition_point(|other| other.length > partial.length);
                if partials
                    .get(at)
                    .is_none_or(|other| other.length != partial.length)
                {
                    partials.insert(at, partial);
                }
            }
            Self::None => {}
        }
        Ok(())
    }
}

impl Stream {
    /// Returns whether no byte of the stream has arrived.
    fn is_new(&self) -> bool {
        self.history.is_empty()
    }

    /// Stores at least the last `keep` bytes.
    fn remember(&mut self, piece: &[u8], keep: usize) {
        let piece = piece.get(piece.len().saturating_sub(keep)..);
        let piece = piece.unwrap_or_default();
        if piece.len() == keep {
            self.history.clear();
        } else if self.history.len() + piece.len() > keep * 2 {
            // The history is trimmed rarely, so each byte is moved at most twice.
            self.history.drain(..self.history.len() - keep);
        }
        self.history.extend_from_slice(piece);
    }
}

impl PartialEq for Stream {
    /// Returns whether both streams would search the next piece in the same way.
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.history, &other.history);
        // Either stream may have more history than it needs.
        let alike = one.ends_with(two) || two.ends_with(one);
        alike && self.partials == other.partials
    }
}
