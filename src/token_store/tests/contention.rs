//! Two holders of one lock, in threads and in processes, and lock files that are removed.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::{CLIENT, World, document, github};
use crate::domain::ConnectionId;
use crate::domain::auth::GrantName;
use crate::token_store::{LOCK_RETRY_INTERVAL, LOCK_TIMEOUT, LockError, StoredGrant};

#[test]
fn a_lock_that_is_held_is_busy_after_the_timeout() {
    // F-316
    assert_eq!(LOCK_TIMEOUT, Duration::from_secs(15));
    assert_eq!(LOCK_RETRY_INTERVAL, Duration::from_millis(100));
    let world = World::new();
    let held = world.lock();
    assert!(world.store.try_lock(&github(), CLIENT).unwrap().is_none());
    let timeout = Duration::from_millis(250);
    let start = Instant::now();
    let busy = world.store.lock(&github(), CLIENT, timeout);
    assert!(matches!(busy, Err(LockError::Busy)));
    assert!(start.elapsed() >= timeout);
    // Another grant has a lock of its own.
    let other = GrantName::from(ConnectionId::parse("gitlab").unwrap());
    assert!(world.store.try_lock(&other, CLIENT).unwrap().is_some());
    drop(held);
    assert!(world.store.try_lock(&github(), CLIENT).unwrap().is_some());
}

#[test]
fn a_lock_is_released_although_a_forked_process_has_its_file_open() {
    // A duplicate has the same effect as a fork: it shares the lock (flock(2)).
    let world = World::new();
    let held = world.lock();
    let _fork = held.lock.try_clone().unwrap();
    drop(held.reserve().unwrap());
    assert!(world.store.try_lock(&github(), CLIENT).unwrap().is_some());
}

#[test]
fn a_waiting_holder_gets_the_lock_and_reads_the_new_document() {
    // F-315
    let world = World::new();
    world.save(1);
    let reservation = world.lock().reserve().unwrap();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            barrier.wait();
            let held = world.store.lock(&github(), CLIENT, LOCK_TIMEOUT).unwrap();
            super::usable(held.read())
        });
        barrier.wait();
        reservation.save(&document(2)).unwrap();
        assert!(waiting.join().unwrap() == document(2));
    });
}

#[test]
fn many_threads_rotate_one_grant_without_losing_a_version() {
    // F-315
    const THREADS: u64 = 4;
    const ROTATIONS: u64 = 25;
    let world = World::new();
    world.save(1);
    let holders = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROTATIONS {
                    let held = loop {
                        if let Some(held) = world.store.try_lock(&github(), CLIENT).unwrap() {
                            break held;
                        }
                        thread::yield_now();
                    };
                    assert_eq!(holders.fetch_add(1, SeqCst), 0, "one holder at a time");
                    let reservation = held.reserve().unwrap();
                    let last = super::usable(reservation.held().read());
                    let next =
                        last.refreshed(super::tokens(last.version().sequence + 1), super::at(0));
                    holders.fetch_sub(1, SeqCst);
                    reservation.save(&next).unwrap();
                }
            });
        }
    });
    assert!(world.read() == document(1 + THREADS * ROTATIONS));
    assert_eq!(world.names(), ["github.json", "github.lock"]);
}

#[test]
fn a_lock_file_that_is_removed_does_not_admit_a_second_spender() {
    // F-314
    let world = World::new();
    world.save(1);
    // Before the reservation, the holder notices that its lock protects nothing.
    let held = world.lock();
    fs::remove_file(world.path("github.lock")).unwrap();
    let error = held.reserve().err().unwrap().to_string();
    assert!(
        error.starts_with("cannot keep the lock `github.lock`"),
        "{error}"
    );
    assert_eq!(world.names(), ["github.json"]);

    // A new lock file does not make the first holder valid again.
    let held = world.lock();
    fs::remove_file(world.path("github.lock")).unwrap();
    let second = world.lock();
    assert!(held.reserve().is_err());
    drop(second);

    // After the reservation, the token may be spent, so the other one waits, and the result is
    // saved.
    let reservation = world.lock().reserve().unwrap();
    fs::remove_file(world.path("github.lock")).unwrap();
    assert!(world.store.try_lock(&github(), CLIENT).unwrap().is_none());
    reservation.save(&document(2)).unwrap();
    let next = world.lock();
    assert!(super::usable(next.read()) == document(2));
}

#[test]
fn a_directory_that_is_removed_is_noticed_and_used_when_it_is_back() {
    // F-314
    let world = World::new();
    world.save(1);
    let (moved, path) = (world.path("moved"), world.path("tokens"));
    fs::create_dir(&path).unwrap();
    let store = crate::token_store::TokenStore::new(path.clone());
    let lock = || store.lock(&github(), CLIENT, Duration::ZERO);
    let save = |document: &StoredGrant| lock().unwrap().reserve().unwrap().save(document);
    save(&document(1)).unwrap();

    let (held, _) = (lock().unwrap(), fs::rename(&path, &moved).unwrap());
    let error = held.reserve().err().unwrap().to_string();
    assert!(error.starts_with("cannot find"), "{error}");
    let error = lock().err().unwrap().to_string();
    assert!(error.starts_with("cannot open"), "{error}");

    // Another directory in its place is not the one that was locked.
    fs::rename(&moved, &path).unwrap();
    let reservation = lock().unwrap().reserve().unwrap();
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    let error = reservation.save(&document(2)).err().unwrap().to_string();
    assert!(error.starts_with("cannot find"), "{error}");

    // The document is saved again from memory.
    save(&document(2)).unwrap();
    assert!(super::usable(store.read(&github())) == document(2));
    assert_eq!(super::names_in(&moved), ["github.json", "github.lock"]);
}
