//! Reserving space, saving documents, and what is left behind if that is interrupted or fails.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{World, document, github};
use crate::token_store::reservation::write_zeros;
use crate::token_store::{Recovery, StoreError, StoredFile};

fn mode(world: &World, name: &str) -> u32 {
    fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_saved_document_is_the_file_of_the_grant() {
    let world = World::new();
    assert!(matches!(world.store.read(&github()), StoredFile::Absent));
    world.save(1);
    assert!(world.read() == document(1));
    assert_eq!(world.names(), ["github.json", "github.lock"]);
    world.save(2);
    assert!(world.read() == document(2));
    assert_eq!(world.names(), ["github.json", "github.lock"]);
    assert_eq!(
        (mode(&world, "github.json"), mode(&world, "github.lock")),
        (0o600, 0o600)
    );
    assert_eq!(fs::metadata(world.path("github.lock")).unwrap().len(), 0);
    assert_eq!(world.lock().recovery(), Recovery::Nothing);
}

#[test]
fn a_reservation_holds_the_space_of_the_largest_document() {
    let world = World::new();
    let reservation = world.lock().reserve().unwrap();
    let pending = fs::metadata(world.path("github.json.pending")).unwrap();
    assert_eq!(pending.len(), 64 * 1024);
    // In units of 512 bytes (stat(2)).
    assert!(std::os::unix::fs::MetadataExt::blocks(&pending) >= 128);
    assert_eq!(mode(&world, "github.json.pending"), 0o600);
    reservation.save(&document(1)).unwrap();
    let length = document(1).encode(&github()).unwrap().len() as u64;
    assert_eq!(
        fs::metadata(world.path("github.json")).unwrap().len(),
        length
    );
}

#[test]
fn a_reservation_that_is_not_used_leaves_nothing_behind() {
    let world = World::new();
    world.save(1);
    drop(world.lock().reserve().unwrap());
    assert_eq!(world.names(), ["github.json", "github.lock"]);
    assert_eq!(world.lock().recovery(), Recovery::Nothing);
    world
        .store
        .check_writable(&github(), super::CLIENT, std::time::Duration::ZERO)
        .unwrap();
    assert_eq!(world.names(), ["github.json", "github.lock"]);
    assert!(world.read() == document(1));
}

#[test]
fn a_document_that_is_too_large_leaves_the_previous_one() {
    let world = World::new();
    world.save(1);
    let mut large = document(2);
    large.scopes = Some("x".repeat(64 * 1024));
    let error = world.lock().reserve().unwrap().save(&large).err();
    assert!(matches!(error, Some(StoreError::TooLarge(_))));
    assert!(world.read() == document(1));
    assert_eq!(world.names(), ["github.json", "github.lock"]);
}

#[test]
fn a_rename_that_fails_is_completed_by_the_next_holder() {
    // F-313
    let world = World::new();
    world.save(1);
    let reservation = world.lock().reserve().unwrap();
    // A directory with an entry cannot be replaced by a file.
    let place = world.path("github.json");
    fs::remove_file(&place).unwrap();
    fs::create_dir_all(place.join("entry")).unwrap();
    let error = reservation.save(&document(2)).err().unwrap().to_string();
    assert!(
        error.starts_with("cannot replace `github.json` in the token store: "),
        "{error}"
    );
    fs::remove_dir_all(&place).unwrap();
    let held = world.lock();
    assert_eq!(held.recovery(), Recovery::Adopted);
    assert!(super::usable(held.read()) == document(2));
}

#[test]
fn a_pending_file_that_is_replaced_is_not_renamed() {
    // F-313
    let world = World::new();
    world.save(1);
    let pending = world.path("github.json.pending");
    let reservation = world.lock().reserve().unwrap();
    fs::remove_file(&pending).unwrap();
    assert!(reservation.save(&document(2)).is_err());
    let reservation = world.lock().reserve().unwrap();
    fs::remove_file(&pending).unwrap();
    fs::write(&pending, "of another process").unwrap();
    assert!(reservation.save(&document(2)).is_err());
    assert_eq!(fs::read(&pending).unwrap(), b"of another process");
    assert!(world.read() == document(1));
    world.save(2);
    assert!(world.read() == document(2));
}

#[test]
fn a_file_system_without_fallocate_reserves_space_with_zeros() {
    let world = World::new();
    let reservation = world.lock().reserve().unwrap();
    reservation.pending.set_len(0).unwrap();
    write_zeros(&reservation.pending).unwrap();
    assert_eq!(reservation.pending.metadata().unwrap().len(), 64 * 1024);
    reservation.save(&document(1)).unwrap();
    assert!(world.read() == document(1));
}
