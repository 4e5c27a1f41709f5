//! The memory for request bodies that are held whole, shared by all workers.
//!
//! A body is charged as its bytes arrive, never by the length that its head announces, so an
//! announcement costs nothing. One connection may hold at most as much as remains free for the
//! others: at most half of the budget. So some of the budget is always free for the next
//! connection, however many connections are flooded. A charge ends when the last of the body's
//! bytes is dropped, so a disconnected agent, a failed upstream and a retry need no cleanup code.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::memory::MemoryShortage;

/// The most bytes that all held bodies may have together.
pub const BUDGET: u64 = 64 * 1024 * 1024;
/// The most bytes that one connection can hold, because the same amount must remain free for the
/// others.
pub(super) const MAX_SHARE: u64 = BUDGET / 2;
/// The capacity of the first buffer of a body, in bytes.
const FIRST: usize = 4 * 1024;

/// The memory for bodies, and the part of it that is free.
#[derive(Debug)]
pub struct BodyBudget {
    free: AtomicU64,
    shortage: MemoryShortage,
    /// The shares in use, by the connection's id, so that a connection keeps its share across a
    /// reload.
    shares: Mutex<BTreeMap<String, Weak<BudgetShare>>>,
}

/// The part of the budget that one connection holds.
#[derive(Debug)]
pub(super) struct BudgetShare {
    budget: Arc<BodyBudget>,
    held: AtomicU64,
}

/// Error: the budget does not have enough memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// A buffer, charged to the budget by its capacity.
pub(super) struct HeldBody {
    bytes: Vec<u8>,
    charge: Charge,
}

/// A part of a share, released on drop.
struct Charge {
    share: Arc<BudgetShare>,
    bytes: u64,
}

impl BodyBudget {
    /// Creates a budget of [`BUDGET`] bytes. While memory is short, new bodies are rejected. Held
    /// bodies are kept.
    pub fn new(shortage: MemoryShortage) -> Self {
        Self {
            free: AtomicU64::new(BUDGET),
            shortage,
            shares: Mutex::default(),
        }
    }

    /// Returns the share of the connection with this id. Keep it, because the lookup takes a lock
    /// that all workers share.
    pub(super) fn connection_share(self: &Arc<Self>, id: &str) -> Arc<BudgetShare> {
        let mut shares = self.shares.lock();
        if let Some(known) = shares.get(id).and_then(Weak::upgrade) {
            return known;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(BudgetShare {
            budget: Arc::clone(self),
            held: AtomicU64::new(0),
        });
        shares.insert(id.to_owned(), Arc::downgrade(&share));
        share
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> u64 {
        self.free.load(Relaxed)
    }
}

impl BudgetShare {
    fn take(&self, bytes: u64) -> Result<(), Exhausted> {
        // Added first, so that two workers that take at once see each other. `Relaxed` is enough:
        // only these numbers are shared, and no other memory is published through them.
        let held = self.held.fetch_add(bytes, Relaxed) + bytes;
        let take = |free: u64| free.checked_sub(bytes).filter(|left| held <= *left);
        let taken = self.budget.free.fetch_update(Relaxed, Relaxed, take);
        if taken.is_err() {
            self.held.fetch_sub(bytes, Relaxed);
        }
        taken.map(drop).map_err(|_| Exhausted)
    }
}

impl HeldBody {
    /// Starts an empty buffer. Fails while the process is short of memory.
    pub(super) fn new(share: &Arc<BudgetShare>) -> Result<Self, Exhausted> {
        if share.budget.shortage.is_set() {
            return Err(Exhausted);
        }
        let share = Arc::clone(share);
        Ok(Self {
            bytes: Vec::new(),
            charge: Charge { share, bytes: 0 },
        })
    }

    /// Appends a copy. A full buffer doubles its capacity, up to `most`, the greatest length that
    /// the body can have.
    ///
    /// The bytes are copied, because a piece of one byte would keep the whole buffer that it was
    /// read into, so the memory that is really held would be unknown. Copying 4 KiB takes 65 ns,
    /// signing them 2.4 µs.
    pub(super) fn push(&mut self, piece: &[u8], most: usize) -> Result<(), Exhausted> {
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > self.bytes.capacity() {
            let twice = self.bytes.capacity().saturating_mul(2).max(FIRST).min(most);
            self.reserve(needed.max(twice))?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn reserve(&mut self, capacity: usize) -> Result<(), Exhausted> {
        let more = (capacity as u64).saturating_sub(self.charge.bytes);
        self.charge.share.take(more)?;
        self.charge.bytes += more;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes, which can be cloned without a copy. Dropping the last clone releases the
    /// charge.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldBody({} bytes)", self.bytes.len())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.share.held.fetch_sub(self.bytes, Relaxed);
        self.share.budget.free.fetch_add(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, BodyBudget, BudgetShare, Exhausted, HeldBody, MAX_SHARE, MemoryShortage};
    use std::sync::Arc;

    const MIB: usize = 1024 * 1024;

    /// Returns a body of this many bytes.
    fn hold(share: &Arc<BudgetShare>, bytes: usize) -> Result<HeldBody, Exhausted> {
        let mut held = HeldBody::new(share)?;
        held.push(&vec![b'a'; bytes], bytes)?;
        Ok(held)
    }

    #[test]
    fn bytes_are_released_with_their_last_clone() {
        // F-162
        let budget = Arc::new(BodyBudget::new(MemoryShortage::default()));
        let crm = budget.connection_share("crm");
        let bytes = hold(&crm, 10 * MIB).unwrap().freeze();
        assert_eq!(budget.free(), 54 * MIB as u64);
        let tail = bytes.slice(2..);
        drop(bytes);
        assert_eq!(budget.free(), 54 * MIB as u64);
        drop(tail);
        assert_eq!(budget.free(), BUDGET);
    }

    #[test]
    fn a_connection_holds_no_more_than_is_left_for_the_others() {
        // F-162, F-263
        let budget = Arc::new(BodyBudget::new(MemoryShortage::default()));
        let crm = budget.connection_share("crm");
        let mut held: Vec<_> = (0..3).map(|_| hold(&crm, 10 * MIB).unwrap()).collect();
        assert!(hold(&crm, 3 * MIB).is_err());
        held.push(hold(&crm, 2 * MIB).unwrap());
        assert_eq!(budget.free(), MAX_SHARE);
        // All workers use the same share of a connection, also after a reload.
        assert!(hold(&budget.connection_share("crm"), 1).is_err());
        // Even if all other connections take as much as they can, some of the budget is free.
        let mut free = budget.free();
        for id in ["a", "b", "c", "d", "e"] {
            let share = budget.connection_share(id);
            let (mut fits, mut over) = (0, usize::try_from(free).unwrap());
            while over - fits > 1 {
                let half = fits.midpoint(over);
                match hold(&share, half) {
                    Ok(_) => fits = half,
                    Err(Exhausted) => over = half,
                }
            }
            assert!(fits as u64 >= free / 2 - 1, "{id}: {fits} of {free}");
            held.push(hold(&share, fits).unwrap());
            free = budget.free();
        }
        drop(held);
        assert_eq!(budget.free(), BUDGET);
        hold(&crm, 32 * MIB).unwrap();
    }

    #[test]
    fn a_share_lives_as_long_as_it_is_used() {
        let budget = Arc::new(BodyBudget::new(MemoryShortage::default()));
        let held = hold(&budget.connection_share("crm"), 32 * MIB).unwrap();
        assert!(hold(&budget.connection_share("crm"), 1).is_err());
        drop(held);
        hold(&budget.connection_share("crm"), 32 * MIB).unwrap();
        budget.connection_share("erp");
        assert_eq!(budget.shares.lock().len(), 1);
    }

    #[test]
    fn while_memory_is_short_no_body_is_begun_and_none_is_lost() {
        // F-164
        let shortage = MemoryShortage::default();
        let budget = Arc::new(BodyBudget::new(shortage.clone()));
        let crm = budget.connection_share("crm");
        let mut held = HeldBody::new(&crm).unwrap();
        shortage.set(true);
        held.push(b"abc", MIB).unwrap();
        assert_eq!(HeldBody::new(&crm).map(drop), Err(Exhausted));
        drop(held);
        shortage.set(false);
        HeldBody::new(&crm).unwrap();
        assert_eq!(budget.free(), BUDGET);
    }

    #[test]
    fn a_growing_body_is_charged_as_it_grows() {
        // F-263
        let budget = Arc::new(BodyBudget::new(MemoryShortage::default()));
        let crm = budget.connection_share("crm");
        let mut held = HeldBody::new(&crm).unwrap();
        assert_eq!(budget.free(), BUDGET);
        for _ in 0..5000 {
            held.push(b"a", 6000).unwrap();
            assert_eq!(BUDGET - budget.free(), held.bytes.capacity() as u64);
        }
        // Doubling the capacity would exceed the greatest length of the body.
        assert_eq!((held.len(), held.bytes.capacity()), (5000, 6000));
        let others = hold(&crm, 32 * MIB - 6000).unwrap();
        held.push(&[b'a'; 1000], 6000).unwrap();
        assert_eq!(held.push(b"a", 7000), Err(Exhausted));
        drop((held, others));
        assert_eq!(budget.free(), BUDGET);
    }
}
