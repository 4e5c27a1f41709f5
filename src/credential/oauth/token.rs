//! An access token: wiped when dropped, never printed, never used at or past its expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::policy;
use super::response::{Granted, Life};
use crate::credential::reflection::Needles;

const SCHEME: &[u8] = b"Bearer ";

/// A token that a token endpoint granted. Has no `Debug`, `Display`, `Serialize` or `Clone`.
pub struct Token {
    /// `Bearer …`
    header: Zeroizing<Box<[u8]>>,
    asked: Instant,
    /// `None`: it serves the requests that waited for it and no others.
    life: Option<Span>,
    used: AtomicBool,
    attended: AtomicBool,
    needles: Option<Arc<Needles>>,
}

#[derive(Clone, Copy)]
struct Span {
    refresh: Instant,
    end: Instant,
}

impl Token {
    /// A token that was asked for at this time: its life counts from then, on the monotonic clock.
    pub(super) fn new(granted: &Granted, asked: Instant, dice: u32) -> Self {
        let life = match granted.life {
            Life::Once => None,
            // A clock that cannot count a day further keeps no token.
            Life::For(life) => asked.checked_add(life).map(|end| Span {
                refresh: asked + policy::refresh_after(life, dice),
                end,
            }),
        };
        let header = [SCHEME, granted.access_token.as_slice()].concat();
        Self {
            header: Zeroizing::new(header.into_boxed_slice()),
            asked,
            life,
            used: AtomicBool::new(false),
            attended: AtomicBool::new(false),
            needles: Needles::new([granted.access_token.as_slice()]).map(Arc::new),
        }
    }

    /// What `Authorization` says.
    pub(in crate::credential) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The token itself, without the word before it. As [`crate::domain::Secret::expose`]: not to be called in other rooms.
    pub fn expose(&self) -> &[u8] {
        self.header.get(SCHEME.len()..).unwrap_or_default()
    }

    /// What responses to its requests are searched for. `None`: it is too short for that.
    pub(in crate::credential) fn needles(&self) -> Option<&Arc<Needles>> {
        self.needles.as_ref()
    }

    /// How long ago it was asked for.
    pub fn age(&self) -> Duration {
        self.asked.elapsed()
    }

    /// How long it may still be used; `None` where it may not be kept at all.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.life?.end.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }

    /// No request may be sent with it at this instant or later; `None` where it serves those who waited for it, however long that takes.
    pub fn expires_at(&self) -> Option<std::time::Instant> {
        self.life.map(|life| life.end.into_std())
    }

    /// Whether those who got it may still use it.
    pub fn serves(&self) -> bool {
        self.life.is_none() || self.left().is_some()
    }

    /// When its refresh is due.
    pub(super) fn refresh_at(&self) -> Option<Instant> {
        self.life.map(|life| life.refresh)
    }

    pub(super) fn mark_used(&self) {
        // Written once: a word that all workers write with each request would travel between their caches.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    pub(super) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// Whether a refresh is due and nobody attends to it; the caller does from now on.
    pub(super) fn claim_refresh(&self) -> bool {
        !self.attended.load(Relaxed)
            && self.refresh_at().is_some_and(|at| Instant::now() >= at)
            && !self.attended.swap(true, Relaxed)
    }
}
