//! Saves a document that could not be saved at once.

use std::sync::Arc;
use std::time::Duration;

use super::source::ConsentSource;
use crate::credential::oauth::policy::MAX_BACKOFF;

/// The longest wait for the lock at shutdown.
const LAST_LOCK: Duration = Duration::from_secs(1);
/// The time that the process waits at its end for the answer to a refresh. It is longer than a
/// token request, which takes at most 10 s.
const LAST_ANSWER: Duration = Duration::from_secs(11);

impl ConsentSource {
    /// Starts a task that saves the document in memory, unless one is under way: after 1 s,
    /// doubling to 60 s.
    pub(super) fn save_later(&self) {
        if std::mem::replace(&mut *self.shared.saving_later.lock(), true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.spawn(|this| async move {
            let mut pause = Duration::from_secs(1);
            loop {
                tokio::time::sleep(pause).await;
                let Some(source) = this.upgrade() else {
                    // Another source of the grant can start the next task.
                    *shared.saving_later.lock() = false;
                    return;
                };
                if source.save_unsaved(crate::token_store::LOCK_TIMEOUT).await {
                    return;
                }
                drop(source);
                pause = (pause * 2).min(MAX_BACKOFF);
            }
        });
    }

    /// Returns whether this process holds a document that is not in the store, or soon may.
    pub(in crate::credential::oauth) fn has_unsaved(&self) -> bool {
        self.spend_gate.is_spending() || self.memory().is_unsaved
    }

    /// Waits for the answer to a refresh under way, begins no other one, and saves the document in
    /// memory if that is needed.
    pub(in crate::credential::oauth) async fn finish(&self) {
        let _elapsed = tokio::time::timeout(LAST_ANSWER, self.spend_gate.close()).await;
        if self.memory().is_unsaved {
            self.save_unsaved(LAST_LOCK).await;
        }
    }

    /// Saves the document in memory. Returns `true` if nothing is left to be saved.
    async fn save_unsaved(&self, patience: Duration) -> bool {
        if !self.memory().is_unsaved {
            *self.shared.saving_later.lock() = false;
            return true;
        }
        let Ok(held) = self.lock(patience).await else {
            return false;
        };
        let read = self.run_blocking(move || (held.read(), held));
        let Some((file, held)) = read.await else {
            return false;
        };
        // Another process may have saved a later consent, which wins.
        self.take_in(file);
        let document = {
            let mut memory = self.memory();
            let document = memory.document.clone();
            let document = document.filter(|_| memory.is_unsaved && !memory.is_file_foreign());
            memory.is_saving = document.is_some();
            document
        };
        let Some(document) = document else {
            *self.shared.saving_later.lock() = false;
            self.run_blocking(move || drop(held)).await;
            return true;
        };
        let version = document.version();
        let reserved = self.run_blocking(move || held.reserve()).await;
        let saved = match reserved {
            Some(Ok(reservation)) => self.save(reservation, document).await.is_ok(),
            Some(Err(error)) => {
                self.unwritable(&error);
                false
            }
            None => false,
        };
        let mut memory = self.memory();
        memory.is_saving = false;
        let known = memory.document.as_ref();
        let is_current = known.is_some_and(|known| known.version() == version);
        if saved && is_current {
            memory.is_unsaved = false;
        }
        let is_done = !memory.is_unsaved;
        *self.shared.saving_later.lock() = !is_done;
        is_done
    }
}
