//! The memory that all request bodies held whole may take together, over all workers.
//!
//! A body is paid for before it is read, by what it announces, or as it grows; what was paid is given back when the last of
//! its bytes is dropped, whoever holds them then: an agent that hangs up, a dead upstream and a retry need no word of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

/// Of all bodies together.
pub const BUDGET: u64 = 64 * 1024 * 1024;
/// The least that a body of unknown length is given room for.
const FIRST: usize = 4 * 1024;

/// What is left of the memory for bodies.
#[derive(Debug)]
pub struct BodyBudget {
    free: AtomicU64,
    closed: AtomicBool,
}

/// There is not enough left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// Bytes in one piece, with the budget that they take. Their capacity is what is paid for.
pub(super) struct Held {
    bytes: Vec<u8>,
    share: Share,
}

/// A part of the budget, given back on drop.
struct Share {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl BodyBudget {
    /// With [`BUDGET`] bytes.
    pub fn new() -> Self {
        Self {
            free: AtomicU64::new(BUDGET),
            closed: AtomicBool::new(false),
        }
    }

    /// From now on no body is begun to be held, or bodies are as ever. Those that are held stay.
    pub fn memory_is_short(&self, is_short: bool) {
        self.closed.store(is_short, Relaxed);
    }

    fn take(&self, bytes: u64) -> Result<(), Exhausted> {
        // The number is all that is shared; nothing is published through it.
        let taken = self
            .free
            .fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes));
        taken.map(drop).map_err(|_| Exhausted)
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> u64 {
        self.free.load(Relaxed)
    }
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::new()
    }
}

impl Held {
    /// Nothing yet, with room for `capacity` bytes.
    pub(super) fn with_capacity(
        budget: &Arc<BodyBudget>,
        capacity: usize,
    ) -> Result<Self, Exhausted> {
        if budget.closed.load(Relaxed) {
            return Err(Exhausted);
        }
        let mut held = Self {
            bytes: Vec::new(),
            share: Share {
                budget: Arc::clone(budget),
                bytes: 0,
            },
        };
        held.make_room(capacity)?;
        Ok(held)
    }

    /// Appends a copy. A body that outgrows its room gets twice as much, but never more than `cap` needs.
    ///
    /// Copied rather than kept as it came: a piece of one byte would pin the whole buffer that it was read into, and nobody could say what is
    /// really held. The copy of 4 KiB takes 65 ns, their signature 2.4 µs.
    pub(super) fn push(&mut self, piece: &[u8], cap: usize) -> Result<(), Exhausted> {
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > self.bytes.capacity() {
            let twice = self.bytes.capacity().saturating_mul(2).max(FIRST).min(cap);
            self.make_room(needed.max(twice))?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn make_room(&mut self, capacity: usize) -> Result<(), Exhausted> {
        let more = (capacity as u64).saturating_sub(self.share.bytes);
        self.share.budget.take(more)?;
        self.share.bytes += more;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, to be shared without a copy. The last clone gives the budget back.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} bytes)", self.bytes.len())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, BodyBudget, Exhausted, Held};
    use std::sync::Arc;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn what_is_announced_is_taken_at_once_and_given_back_with_the_last_clone() {
        // F-162
        let budget = Arc::new(BodyBudget::new());
        let mut held: Vec<_> = (0..6)
            .map(|_| Held::with_capacity(&budget, 10 * MIB).unwrap())
            .collect();
        assert_eq!(budget.free(), 4 * MIB as u64);
        let refused = Held::with_capacity(&budget, 5 * MIB);
        assert_eq!(refused.map(drop), Err(Exhausted));
        assert_eq!(budget.free(), 4 * MIB as u64);
        let mut one = held.pop().unwrap();
        one.push(b"abc", 10 * MIB).unwrap();
        let bytes = one.freeze();
        let tail = bytes.slice(2..);
        drop(bytes);
        assert_eq!((&tail[..], budget.free()), (&b"c"[..], 4 * MIB as u64));
        drop(tail);
        assert_eq!(budget.free(), 14 * MIB as u64);
        drop(held);
        assert_eq!(budget.free(), BUDGET);
    }

    #[test]
    fn while_memory_is_short_none_is_begun_and_none_is_lost() {
        // F-164
        let budget = Arc::new(BodyBudget::new());
        let mut held = Held::with_capacity(&budget, 0).unwrap();
        budget.memory_is_short(true);
        held.push(b"abc", MIB).unwrap();
        for capacity in [0, 1] {
            let refused = Held::with_capacity(&budget, capacity);
            assert_eq!(refused.map(drop), Err(Exhausted));
        }
        drop(held);
        budget.memory_is_short(false);
        Held::with_capacity(&budget, 1).unwrap();
        assert_eq!(budget.free(), BUDGET);
    }

    #[test]
    fn what_grows_is_paid_for_as_it_grows() {
        let budget = Arc::new(BodyBudget::new());
        let mut held = Held::with_capacity(&budget, 0).unwrap();
        assert_eq!(budget.free(), BUDGET);
        for _ in 0..5000 {
            held.push(b"a", 6000).unwrap();
            assert_eq!(BUDGET - budget.free(), held.bytes.capacity() as u64);
        }
        // Twice as much would be more than it may ever have.
        assert_eq!((held.len(), held.bytes.capacity()), (5000, 6000));
        let others = Held::with_capacity(&budget, 64 * MIB - 6000).unwrap();
        held.push(&[b'a'; 1000], 6000).unwrap();
        assert_eq!(held.push(b"a", 7000), Err(Exhausted));
        drop((held, others));
        assert_eq!(budget.free(), BUDGET);
    }
}
