//! Watches the files of all grants that are in use, and keeps idle grants alive.
//!
//! One task checks all files. It compares their identities twice a second, which needs one system
//! call for each grant besides opening the directory, and reads their contents every 5 s. So a new
//! version is in use within a second, even if the system does not report changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::credential::oauth::grant::Grant;

/// The time between two comparisons of the identities of files.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The number of looks after which contents are read.
const LOOKS_PER_READING: u32 = 10;

/// Watches the grants that `grants` returns, until the future is dropped.
pub(in crate::credential::oauth) async fn watch_grants(grants: impl Fn() -> Vec<Arc<Grant>>) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        interval.tick().await;
        let grants = grants();
        if grants.is_empty() {
            continue;
        }
        let reads_content = looks.is_multiple_of(LOOKS_PER_READING);
        looks = looks.wrapping_add(1);
        let looked = Arc::new(grants);
        let grants = Arc::clone(&looked);
        let looking = tokio::task::spawn_blocking(move || {
            let sources = looked.iter().filter_map(|grant| grant.consent());
            sources.for_each(|source| source.look(reads_content));
        });
        // If a check has panicked, the panic hook has logged it, and the next check may succeed.
        let _ended = looking.await;
        for grant in grants.iter() {
            grant.synchronize();
            if reads_content && grant.consent().is_some_and(|it| it.is_keep_alive_due()) {
                grant.keep_alive();
            }
        }
    }
}
