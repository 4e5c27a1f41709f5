//! The state that all sources of one grant share. If a definition changes, its grant gets a new
//! source. A document that could not be saved yet must outlive the old source, because no other
//! copy of its refresh token exists.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::memory::Memory;
use crate::domain::auth::{ConsentParameters, GrantName};
use crate::token_store::FileIdentity;

/// The state of one grant of one client.
#[derive(Default)]
pub(in crate::credential::oauth) struct SharedMemory {
    pub(super) memory: Mutex<Memory>,
    /// The identity of the file when it was read last.
    pub(super) seen: Mutex<Option<FileIdentity>>,
    /// `true` while a task saves the document in memory.
    pub(super) saving_later: Mutex<bool>,
}

/// The states of all grants that have a source.
#[derive(Default)]
pub(in crate::credential::oauth) struct SharedMemories {
    by_grant: Mutex<HashMap<(GrantName, String), Weak<SharedMemory>>>,
}

impl SharedMemories {
    /// Returns the state of the grant of a definition. Another client or token host has a state of
    /// its own, because it must not get the tokens.
    pub(in crate::credential::oauth) fn get_or_create(
        &self,
        parameters: &ConsentParameters,
    ) -> Arc<SharedMemory> {
        let mut by_grant = self.by_grant.lock();
        by_grant.retain(|_, memory| memory.strong_count() > 0);
        let key = (parameters.grant.clone(), parameters.client());
        let memory = by_grant.entry(key).or_default();
        memory.upgrade().unwrap_or_else(|| {
            let created = Arc::default();
            *memory = Arc::downgrade(&created);
            created
        })
    }
}
