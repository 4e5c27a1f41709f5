//! Finding any form of many secrets in a piece of text, and what at its end may become one.

use std::sync::Arc;

use super::alphabet::Alphabet;
use super::forms::Form;
use super::index::{Index, LONGEST_WINDOW};
use super::secrets::{Label, Searched};

/// All forms of some secrets, ready to be searched for. Made when a secret comes or goes, and shared by all responses until the next one does.
#[derive(Default)]
pub struct Patterns {
    /// In order of their bytes. None begins with another, so that at most one of them stands at any place of a text.
    sorted: Vec<Arc<Form>>,
    secrets: Vec<Arc<Searched>>,
    index: Index,
    alphabet: Alphabet,
    /// At least the length of the longest form, and no more than twice that: its exact length is nobody's business.
    reach: usize,
    /// The forms that can be a header's name, in lower case. `None`: the forms themselves are used.
    names: Option<Box<Self>>,
    /// The secrets that can be guessed.
    guessable: Vec<Arc<Searched>>,
    /// The length of the longest text that a guess begins with.
    longest_beginning: usize,
}

/// What a stream ended with so far, as far as it matters to what comes.
#[derive(Clone, Default)]
pub(super) struct Stream {
    /// Its last bytes: at least as many as may stand before the end of a window.
    history: Vec<u8>,
    /// Occurrences that the end cuts off, behind their windows. The longest comes first.
    partials: Vec<Partial>,
}

/// The text so far ends with the first `length` bytes of these patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    from: usize,
    to: usize,
    length: usize,
}

/// What stands at a place of a text.
enum Match {
    /// This pattern.
    Whole(usize),
    /// The beginning of some patterns, which the text's end cuts off.
    Partial(Partial),
    None,
}

/// The number of the pattern that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found(usize);

impl Patterns {
    /// What to search for where these bytes are secret and nothing else is known of them. `None` if all of them are shorter than [`super::SHORTEST`].
    pub fn of_secrets<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let secrets = secrets.into_iter().map(Searched::unlabelled);
        let patterns = Self::new(secrets.map(Arc::new).collect()).with_names();
        (!patterns.is_empty()).then_some(patterns)
    }

    /// What to search for where a request was signed with this digest, in hex.
    pub(super) fn of_signature(digest: &[u8]) -> Self {
        let label = Label {
            kind: "webhook_signature",
            header: Some("X-Webhook-Signature".into()),
            ..Label::default()
        };
        let secret = Searched::new(digest, label);
        Self::new(secret.map(Arc::new).into_iter().collect())
    }

    pub(super) fn new(secrets: Vec<Arc<Searched>>) -> Self {
        let all = secrets.iter().flat_map(|secret| secret.all_forms());
        let mut sorted: Vec<Arc<Form>> = all.cloned().collect();
        sorted.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        // What begins with another pattern is found with that.
        sorted.dedup_by(|next, kept| next.starts_with(kept));
        let longest = sorted.iter().map(|form| form.len()).max();
        let guessable = secrets
            .iter()
            .filter(|secret| !secret.beginnings.is_empty());
        let guessable: Vec<_> = guessable.map(Arc::clone).collect();
        let beginnings = guessable.iter().flat_map(|secret| &secret.beginnings);
        let narrow = secrets.iter().flat_map(|secret| &secret.forms);
        Self {
            alphabet: Alphabet::of(&narrow.map(|form| &**form)),
            index: Index::new(&sorted),
            secrets,
            reach: longest.unwrap_or(0).next_power_of_two(),
            sorted,
            names: None,
            longest_beginning: beginnings.map(|form| form.len()).max().unwrap_or(0),
            guessable,
        }
    }

    /// Adds the set that [`Patterns::names`] returns.
    pub(super) fn with_names(mut self) -> Self {
        let in_lower_case = |secret: &Arc<Searched>| Arc::new(secret.in_names());
        let names = self.secrets.iter().map(in_lower_case).collect();
        self.names = Some(Box::new(Self::new(names)));
        self
    }

    /// Returns what to search for in a header's name that is in lower case. HTTP implementations
    /// convert names to lower case (RFC 9113 §8.2 requires it).
    pub(super) fn names(&self) -> &Self {
        self.names.as_deref().unwrap_or(self)
    }

    /// Of which bytes the secrets are made.
    pub(super) fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Those of whose secrets this pattern is a form.
    pub(super) fn owners(&self, found: Found) -> Vec<Arc<Label>> {
        let Some(pattern) = self.sorted.get(found.0) else {
            return Vec::new();
        };
        let is_theirs =
            |secret: &&Arc<Searched>| secret.all_forms().any(|form| **form == **pattern);
        let owners = self.secrets.iter().filter(is_theirs);
        owners.map(|secret| Arc::clone(&secret.label)).collect()
    }

    #[cfg(test)]
    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    #[cfg(test)]
    pub(super) fn shortest(&self) -> usize {
        self.sorted.iter().map(|form| form.len()).min().unwrap_or(0)
    }

    /// Adds the secrets that the next piece of a stream may hold a guess of. This does not depend
    /// on the part of a secret that is unknown.
    pub(super) fn add_guesses(&self, piece: &[u8], stream: &Stream, guesses: &mut Vec<Arc<Label>>) {
        if self.guessable.is_empty() {
            return;
        }
        // A beginning that two pieces share.
        let most = self.longest_beginning.saturating_sub(1);
        let old = stream.history.len().saturating_sub(most);
        let old = stream.history.get(old..).unwrap_or_default();
        let new = piece.get(..most.min(piece.len())).unwrap_or_default();
        let seam = [old, new].concat();
        for secret in &self.guessable {
            let mut beginnings = secret.beginnings.iter();
            let is_known = |label: &Arc<Label>| Arc::ptr_eq(label, &secret.label);
            if !guesses.iter().any(is_known)
                && beginnings.any(|form| has(piece, form) || has(&seam, form))
            {
                guesses.push(Arc::clone(&secret.label));
            }
        }
    }

    /// Whether a text is too short for any form.
    pub(super) fn is_short(&self, text: &[u8]) -> bool {
        text.len() < self.index.window()
    }

    /// Searches a text that stands alone.
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

    /// Searches the next piece of a stream, and notes what may go on behind its end, unless it is the last.
    pub(super) fn feed(&self, piece: &[u8], stream: &mut Stream, last: bool) -> Result<(), Found> {
        if last && stream.is_new() {
            return self.find(piece);
        }
        let Stream { history, partials } = stream;
        let mut found = None;
        partials.retain_mut(|partial| match self.go_on(*partial, piece) {
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

    /// Looks at the windows that begin in the history and end in the piece.
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

    /// What stands at the beginning of this text.
    fn at(&self, text: &[u8]) -> Match {
        let all = Partial {
            from: 0,
            to: self.sorted.len(),
            length: 0,
        };
        self.go_on(all, text)
    }

    /// What stands so many bytes before the history's end, and goes on in the piece.
    fn at_end_of(&self, history: &[u8], back: usize, piece: &[u8]) -> Match {
        let begin = history.len().checked_sub(back);
        let Some(text) = begin.and_then(|begin| history.get(begin..)) else {
            return Match::None;
        };
        match self.at(text) {
            Match::Partial(partial) => self.go_on(partial, piece),
            other @ (Match::Whole(_) | Match::None) => other,
        }
    }

    /// What stands there once this text has come behind a partial match. As none of the patterns begins with another, the one that the text begins with is
    /// the last that is not greater than it, and those that begin with the text come right behind.
    fn go_on(&self, partial: Partial, text: &[u8]) -> Match {
        let Partial { from, to, length } = partial;
        let alike = self.sorted.get(from..to).unwrap_or_default();
        let behind = alike.partition_point(|form| form.get(length..).unwrap_or_default() <= text);
        let rest = |at: usize| alike.get(at).and_then(|form| form.get(length..));
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
        let begins = |form: &Arc<Form>| {
            let rest = form.get(length..).unwrap_or_default();
            rest.starts_with(text)
        };
        Match::Partial(Partial {
            from: from + behind,
            to: from + behind + further.partition_point(begins),
            length: length + text.len(),
        })
    }
}

fn has(text: &[u8], form: &[u8]) -> bool {
    memchr::memmem::find(text, form).is_some()
}

impl Match {
    /// Keeps what is cut off. Two windows may tell of the same occurrence.
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
    /// Whether nothing of the stream came.
    fn is_new(&self) -> bool {
        self.history.is_empty()
    }

    /// Keeps the last bytes, so many at least.
    fn remember(&mut self, piece: &[u8], keep: usize) {
        let piece = piece.get(piece.len().saturating_sub(keep)..);
        let piece = piece.unwrap_or_default();
        if piece.len() == keep {
            self.history.clear();
        } else if self.history.len() + piece.len() > keep * 2 {
            // Seldom, so that a byte is moved once or twice at most.
            self.history.drain(..self.history.len() - keep);
        }
        self.history.extend_from_slice(piece);
    }
}

impl PartialEq for Stream {
    /// Whether what comes is searched alike.
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.history, &other.history);
        // One may have more than is needed.
        let alike = one.ends_with(two) || two.ends_with(one);
        alike && self.partials == other.partials
    }
}
