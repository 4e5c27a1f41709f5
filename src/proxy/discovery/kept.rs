//! Listings that were written once and are sent many times. However many agents read one slowly, there is one copy of it.
//!
//! The Markdown names the host that the agent wrote, and an agent can write many: of those one is kept, and every copy is paid for like a body that is held.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{json, markdown};
use crate::proxy::body_budget::{BodyBudget, Exhausted, Held};
use crate::snapshot::Snapshot;

/// The listings of one generation.
#[derive(Default)]
pub struct Kept(Mutex<Texts>);

#[derive(Default)]
struct Texts {
    generation: u64,
    json: Option<Bytes>,
    /// And the host that it names.
    markdown: Option<(Box<str>, Bytes)>,
}

impl Kept {
    pub(super) fn json(&self, snapshot: &Snapshot) -> Bytes {
        let known = self.of(snapshot, |texts| texts.json.clone());
        known.unwrap_or_else(|| {
            let text = Bytes::from(json(snapshot));
            self.of(snapshot, |texts| texts.json = Some(text.clone()));
            text
        })
    }

    pub(super) fn markdown(
        &self,
        host: &str,
        snapshot: &Snapshot,
        budget: &Arc<BodyBudget>,
    ) -> Result<Bytes, Exhausted> {
        let known = self.of(snapshot, |texts| {
            let (of_host, text) = texts.markdown.as_ref()?;
            (**of_host == *host).then(|| text.clone())
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let text = markdown(host, snapshot);
        let mut held = Held::with_capacity(budget, text.len())?;
        held.push(text.as_bytes(), text.len())?;
        let text = held.freeze();
        self.of(snapshot, |texts| {
            texts.markdown = Some((host.into(), text.clone()));
        });
        Ok(text)
    }

    /// What is done with the texts of this generation. A request that has an older one leaves nothing behind.
    fn of<T>(&self, snapshot: &Snapshot, with: impl FnOnce(&mut Texts) -> T) -> T {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = snapshot.generation();
        if texts.generation < generation {
            *texts = Texts {
                generation,
                ..Texts::default()
            };
        }
        if texts.generation == generation {
            with(&mut texts)
        } else {
            with(&mut Texts::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;
    use crate::proxy::body_budget::{BUDGET, BodyBudget, Held};
    use crate::snapshot::Snapshot;
    use std::sync::Arc;

    #[test]
    fn all_readers_share_a_copy_and_copies_have_a_budget() {
        let (kept, budget) = (Kept::default(), Arc::new(BodyBudget::new()));
        let first = Snapshot::compile(Vec::new());
        let markdown = |host, snapshot| kept.markdown(host, snapshot, &budget);
        let one = kept.json(&first);
        assert_eq!(one, r#"{"connections":[]}"#);
        assert_eq!(one.as_ptr(), kept.json(&first).as_ptr());
        let here = markdown("localhost", &first).unwrap();
        let paid = here.len() as u64;
        assert_eq!(
            here.as_ptr(),
            markdown("localhost", &first).unwrap().as_ptr()
        );
        assert_eq!(budget.free(), BUDGET - paid);
        let there = markdown("a.localhost", &first).unwrap();
        assert!(there.starts_with(
            b"# HTTP connections\n\nThe base URL of a connection is `http://a.localhost/"
        ));
        drop(here);
        assert_eq!(budget.free(), BUDGET - there.len() as u64, "one is kept");

        let second = first.succeed(Vec::new());
        assert_ne!(one.as_ptr(), kept.json(&second).as_ptr());
        let _again = (kept.json(&first), markdown("a.localhost", &second).unwrap());
        drop(there);
        let taken = BUDGET - budget.free();
        let all = usize::try_from(budget.free()).unwrap();
        let _rest = Held::with_capacity(&budget, all).unwrap();
        assert!(markdown("b.localhost", &second).is_err());
        assert!(markdown("a.localhost", &second).is_ok());
        assert_eq!(taken, BUDGET - all as u64);
    }
}
