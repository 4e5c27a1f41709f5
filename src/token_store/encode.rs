//! Writes a document as JSON.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::MAX_DOCUMENT_BYTES;
use super::document::StoredGrant;
use super::parse::FORMAT;
use super::token_text::TokenText;
use crate::domain::auth::{ConsentClientAuth, GrantName};

/// The parts of a document that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// The members that the grant needs.
    Needed,
    /// The needed and the unknown members.
    Unknown,
    /// All members, also those of the last answer.
    Whole,
}

impl StoredGrant {
    /// Returns the document as JSON of at most [`MAX_DOCUMENT_BYTES`], or `None` if it has no room.
    ///
    /// A rotation that cannot be saved loses the grant. So members that only people or other
    /// programs read are left out if they do not fit.
    pub(super) fn encode(&self, grant: &GrantName) -> Option<Zeroizing<Vec<u8>>> {
        [Extent::Whole, Extent::Unknown, Extent::Needed]
            .into_iter()
            .find_map(|extent| self.encode_extent(grant, extent).ok())
    }

    fn encode_extent(&self, grant: &GrantName, extent: Extent) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut out = Encoder::new();
        out.text("format", Some(FORMAT))?;
        out.text("grant", Some(grant.as_str()))?;
        out.text("client", self.client.as_deref())?;
        if self.version.sequence > 0 {
            out.member("sequence", &self.version.sequence)?;
        }
        out.time("connected_at", self.version.connected_at)?;
        out.time("refreshed_at", self.refreshed_at)?;
        out.token("access_token", self.access_token.as_ref())?;
        out.time("expires_at", self.expires_at)?;
        out.token("refresh_token", self.refresh_token.as_ref())?;
        out.time("refresh_token_expires_at", self.refresh_token_expires_at)?;
        out.text("scopes", self.scopes.as_deref())?;
        out.text("account", self.account.as_deref())?;
        out.text("client_auth", self.client_auth.map(client_auth_name))?;
        if !self.seeds.is_empty() {
            out.member("seeds", &self.seeds)?;
        }
        if let Some(answer) = self.answer.as_ref().filter(|_| extent >= Extent::Whole) {
            out.raw("answer", answer)?;
        }
        if let Some(refusal) = self.refusal {
            let (at, reason) = (refusal.at.to_string(), refusal.reason.as_str());
            out.member("refused", &serde_json::json!({"at": at, "reason": reason}))?;
        }
        out.time("revoked_at", self.revoked_at)?;
        for (key, value) in self.unknown.iter().filter(|_| extent >= Extent::Unknown) {
            out.raw(key, value)?;
        }
        out.finish()
    }
}

fn client_auth_name(client_auth: ConsentClientAuth) -> &'static str {
    match client_auth {
        ConsentClientAuth::Basic => "basic",
        ConsentClientAuth::Body => "body",
        ConsentClientAuth::None => "none",
    }
}

/// Writes the members of an object, one on each line.
struct Encoder {
    /// Never grows, because a buffer that grows leaves an unwiped copy behind.
    bytes: Zeroizing<Vec<u8>>,
}

impl Encoder {
    fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES)),
        }
    }

    fn text(&mut self, key: &str, value: Option<&str>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.member(key, value))
    }

    fn time(&mut self, key: &str, value: Option<Timestamp>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.member(key, &value))
    }

    fn token(&mut self, key: &str, value: Option<&TokenText>) -> io::Result<()> {
        // A token is ASCII.
        let value = value.and_then(|token| std::str::from_utf8(token.expose()).ok());
        self.text(key, value)
    }

    fn raw(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.member(key, serde_json::from_str::<&RawValue>(value)?)
    }

    fn member<T: serde::Serialize + ?Sized>(&mut self, key: &str, value: &T) -> io::Result<()> {
        let separator: &[u8] = if self.bytes.is_empty() {
            b"{\n  "
        } else {
            b",\n  "
        };
        self.write_all(separator)?;
        serde_json::to_writer(&mut *self, key)?;
        self.write_all(b": ")?;
        serde_json::to_writer(&mut *self, value)?;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        self.write_all(b"\n}\n")?;
        Ok(self.bytes)
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
