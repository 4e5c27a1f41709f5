//! Page tokens: which frozen list goes on, and where. Authenticated (HMAC-SHA256, RFC 2104) under a key of this process, together with what must not change between pages, so
//! that one which was made up, altered, or given for another list leads nowhere.

use std::hash::{BuildHasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Bound;
use super::parameters::ListKind;

/// Bytes of a frozen list's id.
pub(super) const ID: usize = 16;
const OFFSET: usize = 4;
const TAG: usize = 32;
/// SHA-256's block, and so the size of an HMAC key.
const BLOCK: usize = 64;

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The frozen list.
    pub(super) listing: [u8; ID],
    /// Records that earlier pages had.
    pub(super) offset: u32,
}

/// Makes tokens, and knows its own again.
pub(super) struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// A new key. The system's randomness is mixed with that of the standard library's hashing: were there none to be had, a token would still be hard to
    /// make up, and one who did would only list what may be listed anyway.
    pub(super) fn random() -> Self {
        let mut key = Zeroizing::new([0; BLOCK]);
        let (random, mixed) = key.split_at_mut(BLOCK / 2);
        let _stays_nought = rustls::crypto::ring::default_provider()
            .secure_random
            .fill(random);
        mixed
            .iter_mut()
            .zip(RandomState::new().hash_one(()).to_le_bytes())
            .for_each(|(to, from)| *to = from);
        Self(Hmac::new((&*key).into()))
    }

    /// The token for this place in a list that is bound to this.
    pub(super) fn seal(&self, place: Place, bound: &Bound) -> String {
        let mut token = Vec::with_capacity(ID + OFFSET + TAG);
        token.extend_from_slice(&place.listing);
        token.extend_from_slice(&place.offset.to_be_bytes());
        let tag = self.mac(&token, bound).finalize().into_bytes();
        token.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The place, if the token is ours and was given for this.
    pub(super) fn open(&self, token: &str, bound: &Bound) -> Option<Place> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (place, tag) = token.split_at_checked(ID + OFFSET)?;
        // In constant time.
        self.mac(place, bound).verify_slice(tag).ok()?;
        let (listing, offset) = place.split_at_checked(ID)?;
        Some(Place {
            listing: listing.try_into().ok()?,
            offset: u32::from_be_bytes(offset.try_into().ok()?),
        })
    }

    /// Each part in front of what it is bound to; lengths keep neighbours apart.
    fn mac(&self, place: &[u8], bound: &Bound) -> Hmac<Sha256> {
        let Bound {
            kind,
            shows_deleted,
            filter,
            order_by,
        } = bound;
        let kind = match kind {
            ListKind::Connections => 0,
            ListKind::Types => 1,
        };
        let mut mac = self.0.clone();
        mac.update(&[kind, u8::from(*shows_deleted)]);
        for part in [place, filter.as_bytes(), order_by.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}
