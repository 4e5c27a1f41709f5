//! Parses a document: JSON of the format `egressd-token/1`.

use jiff::Timestamp;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::MAX_DOCUMENT_BYTES;
use super::document::{Refusal, RefusalReason, StoredGrant};
use super::invalid_document::InvalidDocument;
use super::json::Members;
use super::time::parse_time;
use super::token_text::TokenText;
use crate::domain::auth::{ConsentClientAuth, GrantName};

/// The format of documents.
pub(super) const FORMAT: &str = "egressd-token/1";
/// The format without its number.
const FORMAT_FAMILY: &str = "egressd-token/";
/// The highest sequence: the largest integer that all JSON parsers read exactly (RFC 8259 section
/// 6).
pub(super) const MAX_SEQUENCE: u64 = (1 << 53) - 1;

type Result<T, E = InvalidDocument> = std::result::Result<T, E>;

impl StoredGrant {
    /// Parses the document of a grant.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a valid document, or that of another grant.
    pub fn parse(bytes: &[u8], grant: &GrantName) -> Result<Self> {
        if bytes.is_empty() {
            return Err(InvalidDocument::Empty);
        }
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(InvalidDocument::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidDocument::Encoding)?;
        let members = Members::parse(text)?;
        // A newer format may have other members, so the format is checked first.
        check_format(&members)?;
        let mut document = Self::default();
        for (key, value) in members.0 {
            document.set_member(key, value, grant)?;
        }
        document.check_tokens()?;
        Ok(document)
    }

    fn set_member(&mut self, key: String, value: &RawValue, grant: &GrantName) -> Result<()> {
        match key.as_str() {
            "format" => {}
            "grant" => {
                if text("grant", value)? != grant.as_str() {
                    return Err(InvalidDocument::OtherGrant);
                }
            }
            "client" => self.client = Some(text("client", value)?),
            "sequence" => self.version.sequence = sequence(value)?,
            "connected_at" => self.version.connected_at = Some(time("connected_at", value)?),
            "refreshed_at" => self.refreshed_at = Some(time("refreshed_at", value)?),
            "access_token" => self.access_token = Some(token("access_token", value)?),
            "expires_at" => self.expires_at = Some(time("expires_at", value)?),
            "refresh_token" => self.refresh_token = Some(token("refresh_token", value)?),
            "refresh_token_expires_at" => {
                self.refresh_token_expires_at = Some(time("refresh_token_expires_at", value)?);
            }
            "scopes" => self.scopes = Some(text("scopes", value)?),
            "account" => self.account = Some(text("account", value)?),
            "client_auth" => self.client_auth = Some(client_auth(value)?),
            "seeds" => self.seeds = seeds(value)?,
            "answer" => self.answer = Some(answer(value)?),
            "refused" => self.refusal = Some(refusal(value)?),
            "revoked_at" => self.revoked_at = Some(time("revoked_at", value)?),
            _ => self.unknown.push((key, raw(value))),
        }
        Ok(())
    }

    fn check_tokens(&self) -> Result<()> {
        let has_token = self.access_token.is_some() || self.refresh_token.is_some();
        if !has_token && self.revoked_at.is_none() && self.refusal.is_none() {
            Err(InvalidDocument::NoToken)
        } else if self.refresh_token.is_some() && self.client.is_none() {
            Err(InvalidDocument::NoClient)
        } else {
            Ok(())
        }
    }
}

fn check_format(members: &Members<'_>) -> Result<()> {
    let format = members.0.iter().find(|(key, _)| key == "format");
    let format = format.and_then(|(_, value)| serde_json::from_str::<String>(value.get()).ok());
    let format = format.ok_or(InvalidDocument::Format)?;
    if format == FORMAT {
        return Ok(());
    }
    let number = format.strip_prefix(FORMAT_FAMILY);
    let number = number.and_then(|number| number.parse::<u64>().ok());
    Err(match number {
        Some(2..) => InvalidDocument::NewerFormat,
        Some(_) | None => InvalidDocument::Format,
    })
}

fn invalid(member: &'static str, expected: &'static str) -> InvalidDocument {
    InvalidDocument::Member { member, expected }
}

fn text(member: &'static str, value: &RawValue) -> Result<String> {
    serde_json::from_str(value.get()).map_err(|_| invalid(member, "a string"))
}

fn time(member: &'static str, value: &RawValue) -> Result<Timestamp> {
    let time: Option<String> = serde_json::from_str(value.get()).ok();
    let time = time.and_then(|time| parse_time(&time));
    time.ok_or(invalid(
        member,
        "a time of RFC 3339, such as `2026-11-28T10:00:00Z`",
    ))
}

fn token(member: &'static str, value: &RawValue) -> Result<TokenText> {
    let expected = "a string of 1 to 16,384 visible ASCII characters without spaces";
    TokenText::from_json(value).map_err(|_| invalid(member, expected))
}

fn sequence(value: &RawValue) -> Result<u64> {
    let number = serde_json::from_str(value.get()).ok();
    let number = number.filter(|number| (1..=MAX_SEQUENCE).contains(number));
    number.ok_or(invalid("sequence", "an integer from 1 to 2^53 - 1"))
}

fn client_auth(value: &RawValue) -> Result<ConsentClientAuth> {
    let name: Option<String> = serde_json::from_str(value.get()).ok();
    match name.as_deref() {
        Some("basic") => Ok(ConsentClientAuth::Basic),
        Some("body") => Ok(ConsentClientAuth::Body),
        Some("none") => Ok(ConsentClientAuth::None),
        Some(_) | None => Err(invalid("client_auth", "`basic`, `body` or `none`")),
    }
}

fn seeds(value: &RawValue) -> Result<Vec<String>> {
    serde_json::from_str(value.get()).map_err(|_| invalid("seeds", "a list of strings"))
}

fn answer(value: &RawValue) -> Result<Zeroizing<String>> {
    if value.get().starts_with('{') {
        Ok(raw(value))
    } else {
        Err(invalid("answer", "an object"))
    }
}

fn refusal(value: &RawValue) -> Result<Refusal> {
    let expected = "an object with the time `at` and the string `reason`";
    let invalid = || invalid("refused", expected);
    let members = Members::parse(value.get()).map_err(|_| invalid())?;
    let member = |name: &str| {
        let found = members.0.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| serde_json::from_str::<String>(value.get()).ok())
    };
    let at = member("at").and_then(|at| parse_time(&at));
    let reason = member("reason").map(|reason| RefusalReason::from_stored(&reason));
    let (at, reason) = at.zip(reason).ok_or_else(invalid)?;
    Ok(Refusal { at, reason })
}

fn raw(value: &RawValue) -> Zeroizing<String> {
    Zeroizing::new(value.get().to_owned())
}
