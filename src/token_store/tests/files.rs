//! Reading files that are absent, hostile or unreadable.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{World, document, github, text_with, usable};
use crate::token_store::{DirectoryState, InvalidDocument, StoredFile, TokenStore, UnusableFile};

/// Returns the reason why the file of the grant is unusable.
fn unusable(world: &World) -> String {
    match world.store.read(&github()) {
        StoredFile::Unusable(why) => why.to_string(),
        StoredFile::Usable { .. } => "usable".to_owned(),
        StoredFile::Absent => "absent".to_owned(),
        StoredFile::DirectoryUnavailable(why) => format!("no directory: {why}"),
    }
}

#[test]
fn a_file_and_a_directory_can_be_absent() {
    // F-304
    let world = World::new();
    assert!(matches!(world.store.read(&github()), StoredFile::Absent));
    assert!(world.store.identify(&github()).is_none());
    let missing = TokenStore::new(world.path("missing"));
    let found = missing.read(&github());
    assert!(
        matches!(found, StoredFile::DirectoryUnavailable(why) if why.kind() == io::ErrorKind::NotFound)
    );
    assert!(matches!(missing.directory_state(), DirectoryState::Missing));
    world.write("file", "");
    let file = TokenStore::new(world.path("file"));
    assert!(matches!(
        file.directory_state(),
        DirectoryState::Unusable(_)
    ));
    assert!(matches!(
        file.read(&github()),
        StoredFile::DirectoryUnavailable(_)
    ));
}

#[test]
fn the_directory_is_created_for_its_owner_only() {
    let world = World::new();
    let store = TokenStore::new(world.path("config/tokens"));
    store.create_directory().unwrap();
    for path in ["config", "config/tokens"] {
        let mode = fs::metadata(world.path(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
    assert!(matches!(
        store.directory_state(),
        DirectoryState::Writable { .. }
    ));
    // An existing directory stays as it is.
    fs::set_permissions(store.path(), Permissions::from_mode(0o750)).unwrap();
    store.create_directory().unwrap();
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
}

#[test]
fn a_directory_in_memory_is_recognized() {
    // /dev/shm is a tmpfs (shm_overview(7)), unless the machine has none.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let is_tmpfs = mounts.lines().any(|line| line.contains(" /dev/shm tmpfs "));
    let state = TokenStore::new(Path::new("/dev/shm").to_owned()).directory_state();
    if is_tmpfs && let DirectoryState::Writable { is_in_memory } = state {
        assert!(is_in_memory);
    }
}

#[test]
fn something_else_in_the_place_of_the_file_is_unusable() {
    // F-305. None of these may block.
    let world = World::new();
    let place = world.path("github.json");
    fs::create_dir(&place).unwrap();
    assert_eq!(unusable(&world), "is not a regular file");
    fs::remove_dir(&place).unwrap();
    mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(unusable(&world), "is not a regular file");
    fs::remove_file(&place).unwrap();
    let listener = UnixListener::bind(&place).unwrap();
    assert_eq!(unusable(&world), "is not a regular file");
    drop(listener);
    fs::remove_file(&place).unwrap();
    world.write("elsewhere", text_with(&json!({})));
    symlink("elsewhere", &place).unwrap();
    assert_eq!(
        unusable(&world),
        "is a symbolic link, which is not followed in a directory that can be written"
    );
    fs::remove_file(world.path("elsewhere")).unwrap();
    assert!(unusable(&world).starts_with("is a symbolic link"));
}

#[test]
fn a_file_is_read_up_to_the_limit_only() {
    // F-305
    let world = World::new();
    let text = text_with(&json!({}));
    let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
    world.write("github.json", padded(64 * 1024));
    assert_eq!(unusable(&world), "usable");
    world.write("github.json", padded(64 * 1024 + 1));
    assert_eq!(unusable(&world), "is larger than 64 KiB");
    // A sparse file of a terabyte takes no time and no memory.
    let file = fs::File::create(world.path("github.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(unusable(&world), "is larger than 64 KiB");
    world.write("github.json", "");
    let found = world.store.read(&github());
    let expected = InvalidDocument::Empty;
    assert!(matches!(found, StoredFile::Unusable(UnusableFile::Content(why)) if why == expected));
}

#[test]
fn a_file_that_others_can_read_is_used_and_reported() {
    // F-306
    let world = World::new();
    world.save(1);
    for (mode, expected) in [(0o600, false), (0o640, false), (0o604, true), (0o644, true)] {
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(world.path("github.json"), permissions).unwrap();
        let StoredFile::Usable {
            document: found,
            is_readable_by_others,
            ..
        } = world.store.read(&github())
        else {
            panic!("unusable: {mode:o}");
        };
        assert!(*found == document(1));
        assert_eq!(is_readable_by_others, expected, "{mode:o}");
    }
}

#[test]
fn a_file_that_this_process_cannot_read_names_its_owner() {
    // F-306
    let world = World::new();
    world.save(1);
    let path = world.path("github.json");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    // Root can read every file.
    if fs::File::open(&path).is_err() {
        let owner = rustix::process::geteuid().as_raw();
        let expected = format!("cannot be read by this process: the file belongs to user {owner}");
        assert_eq!(unusable(&world), expected);
    }
}

#[test]
fn a_read_only_directory_is_recognized_and_its_links_are_followed() {
    // F-357, as far as reading goes: the files of a mounted Secret are links.
    let world = World::new();
    fs::create_dir(world.path("..2026")).unwrap();
    world.write("..2026/github.json", text_with(&json!({})));
    symlink("..2026", world.path("..data")).unwrap();
    symlink("..data/github.json", world.path("github.json")).unwrap();
    fs::set_permissions(world.directory.path(), Permissions::from_mode(0o500)).unwrap();
    // Root can write to every directory.
    if fs::write(world.path("new"), "").is_err() {
        assert!(matches!(
            world.store.directory_state(),
            DirectoryState::ReadOnly
        ));
        assert_eq!(unusable(&world), "usable");
        assert!(world.store.try_lock(&github(), super::CLIENT).is_err());
    }
    fs::set_permissions(world.directory.path(), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn each_change_of_a_file_changes_its_identity() {
    let world = World::new();
    world.save(1);
    let identify = || world.store.identify(&github()).unwrap();
    let StoredFile::Usable { identity, .. } = world.store.read(&github()) else {
        panic!("unusable");
    };
    // A file that changed a moment ago can change again within the resolution of the clock.
    assert!(!identity.is_unchanged(&identify()));
    let settled = identity.settled_for_test();
    assert!(settled.is_unchanged(&identify()));
    world.save(2);
    assert!(!settled.is_unchanged(&identify()));
    assert!(usable(world.store.read(&github())) == document(2));
}
