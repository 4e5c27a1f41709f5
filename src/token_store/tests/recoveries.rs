//! The recovery of the pending file of a killed process by the next holder of the lock.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{CLIENT, World, at, consent, document, github, new_consent};
use crate::token_store::{LockError, Recovery, StoredGrant};

const PENDING: &str = "github.json.pending";

fn encoded(document: &StoredGrant) -> Vec<u8> {
    document.encode(&github()).unwrap().to_vec()
}

/// Appends the bytes that were reserved and not written.
fn reserved(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(64 * 1024, 0);
    bytes
}

#[test]
fn a_process_that_was_killed_leaves_the_previous_or_the_next_document() {
    // F-309, F-310: each state that a kill can leave between two steps.
    let next = encoded(&document(3));
    let half = next.get(..next.len() / 2).unwrap().to_vec();
    let (adopted, lost) = (Recovery::Adopted, Recovery::RotationMayBeLost);
    for (state, pending, expected) in [
        ("created", vec![], lost),
        ("reserved", reserved(vec![]), lost),
        ("half written", reserved(half.clone()), lost),
        ("half written, without reservation", half, lost),
        ("written", reserved(next.clone()), adopted),
        ("truncated", next.clone(), adopted),
    ] {
        let world = World::new();
        world.save(2);
        world.write(PENDING, pending);
        let held = world.lock();
        assert_eq!(held.recovery(), expected, "{state}");
        let sequence = if expected == adopted { 3 } else { 2 };
        assert!(super::usable(held.read()) == document(sequence), "{state}");
        assert_eq!(world.names(), ["github.json", "github.lock"], "{state}");
        drop(held);
        // The file does not have the reserved bytes.
        let length = encoded(&document(sequence)).len() as u64;
        let found = fs::metadata(world.path("github.json")).unwrap().len();
        assert_eq!(found, length, "{state}");
        assert_eq!(world.lock().recovery(), Recovery::Nothing, "{state}");
        world.save(4);
        assert!(world.read() == document(4), "{state}");
    }
}

#[test]
fn the_first_document_is_adopted_without_a_file() {
    // F-310
    for in_place in [None, Some("cut of")] {
        let world = World::new();
        if let Some(content) = in_place {
            world.write("github.json", content);
        }
        world.write(PENDING, reserved(encoded(&consent())));
        assert_eq!(world.lock().recovery(), Recovery::Adopted);
        assert!(world.read() == consent());
    }
}

#[test]
fn a_pending_document_that_is_not_newer_is_removed() {
    // F-332, F-346
    let later = StoredGrant::from_consent(new_consent(), Some(&document(9)), at(60));
    for (in_place, pending) in [
        (document(3), document(3)),
        (document(3), document(2)),
        (later, document(9)),
    ] {
        let world = World::new();
        world.write("github.json", encoded(&in_place));
        world.write(PENDING, encoded(&pending));
        let held = world.lock();
        assert_eq!(held.recovery(), Recovery::Nothing);
        assert!(super::usable(held.read()) == in_place);
        assert_eq!(world.names(), ["github.json", "github.lock"]);
    }
}

#[test]
fn a_pending_document_of_another_client_or_grant_is_removed() {
    // F-303
    let world = World::new();
    world.save(2);
    world.write(PENDING, encoded(&document(3)));
    let held = world.store.lock(&github(), "sha256:other", Duration::ZERO);
    assert_eq!(held.unwrap().recovery(), Recovery::Nothing);
    assert!(world.read() == document(2));
    let other = String::from_utf8(encoded(&document(3))).unwrap();
    world.write(PENDING, other.replace("\"github\"", "\"gitlab\""));
    assert_eq!(world.lock().recovery(), Recovery::RotationMayBeLost);
    assert!(world.read() == document(2));
    assert_eq!(world.names(), ["github.json", "github.lock"]);
}

#[test]
fn something_else_in_the_place_of_the_pending_file_does_not_block() {
    // F-305
    let world = World::new();
    world.save(2);
    let place = world.path(PENDING);
    mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(world.lock().recovery(), Recovery::RotationMayBeLost);
    world.write("elsewhere", encoded(&document(3)));
    symlink("elsewhere", &place).unwrap();
    assert_eq!(world.lock().recovery(), Recovery::RotationMayBeLost);
    assert!(world.read() == document(2));
    fs::remove_file(world.path("elsewhere")).unwrap();
    // A file that egressd cannot remove makes the store unwritable (F-312).
    fs::create_dir(&place).unwrap();
    let error = world.store.lock(&github(), CLIENT, Duration::ZERO).err();
    assert!(matches!(error, Some(LockError::Unwritable(_))));
    fs::remove_dir(&place).unwrap();
    world.save(3);
    assert!(world.read() == document(3));
}

#[test]
fn something_else_in_the_place_of_the_lock_file_makes_the_store_unwritable() {
    // F-312
    let world = World::new();
    let place = world.path("github.lock");
    let lock = || world.store.lock(&github(), CLIENT, Duration::ZERO).err();
    fs::create_dir(&place).unwrap();
    assert!(matches!(lock(), Some(LockError::Unwritable(_))));
    fs::remove_dir(&place).unwrap();
    mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(matches!(lock(), Some(LockError::Unwritable(_))));
    fs::remove_file(&place).unwrap();
    symlink("elsewhere", &place).unwrap();
    assert!(matches!(lock(), Some(LockError::Unwritable(_))));
    assert!(!world.path("elsewhere").exists());
    fs::remove_file(&place).unwrap();
    assert!(lock().is_none());
}
