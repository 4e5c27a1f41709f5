//! Tests of the recorded states of files, and of when they count as changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Files, SourceFiles};

fn seen(directory: &Path, files: &[&str]) -> SourceFiles {
    let reader = Files::default();
    let listed = reader.list_definitions(directory).unwrap();
    for name in files {
        drop(reader.read(&directory.join(name), 1 << 20));
    }
    reader.into_sources(None, listed)
}

#[test]
fn every_change_of_content_is_seen_and_nothing_else_is() {
    let world = tempfile::tempdir().unwrap();
    let (at, key) = (world.path(), world.path().join("key"));
    fs::write(&key, "one").unwrap();
    fs::write(at.join("a.json"), "{}").unwrap();
    let sources = seen(at, &["key", "a.json", "absent"]);
    assert!(!sources.has_changed().unwrap());
    // The same content is written in place, and then by another file.
    fs::write(&key, "one").unwrap();
    fs::write(at.join("new"), "one").unwrap();
    fs::rename(at.join("new"), &key).unwrap();
    fs::write(at.join(".b.json"), "{}").unwrap();
    fs::write(at.join("notes.txt"), "").unwrap();
    assert!(!sources.has_changed().unwrap());

    fs::write(&key, "two").unwrap();
    assert!(sources.has_changed().unwrap());
    fs::write(&key, "").unwrap();
    assert!(sources.has_changed().unwrap());
    fs::remove_file(&key).unwrap();
    assert!(sources.has_changed().unwrap());
    fs::create_dir(&key).unwrap();
    assert!(sources.has_changed().unwrap());
    fs::remove_dir(&key).unwrap();
    fs::write(&key, "one").unwrap();
    assert!(!sources.has_changed().unwrap());

    for name in ["b.json", "absent"] {
        fs::write(at.join(name), "{}").unwrap();
        assert!(sources.has_changed().unwrap(), "{name}");
        fs::remove_file(at.join(name)).unwrap();
        assert!(!sources.has_changed().unwrap(), "{name}");
    }
}

#[test]
fn a_file_that_changes_during_a_load_counts_as_changed() {
    // F-174
    let world = tempfile::tempdir().unwrap();
    let key = world.path().join("key");
    let reader = Files::default();
    fs::write(&key, "one").unwrap();
    drop(reader.read_secret(&key, None, 100));
    fs::write(&key, "two").unwrap();
    drop(reader.read_secret(&key, None, 100));
    let sources = reader.into_sources(None, Vec::new());
    assert!(sources.has_changed().unwrap());
    fs::write(&key, "one").unwrap();
    assert!(sources.has_changed().unwrap());
}

#[test]
fn the_mount_is_watched_and_not_only_the_target_of_its_link() {
    // F-171
    let world = tempfile::tempdir().unwrap();
    let at = fs::canonicalize(world.path()).unwrap();
    let (mount, other) = (at.join("mount"), at.join("other"));
    fs::create_dir_all(mount.join("..2026_1")).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(mount.join("..2026_1/a.json"), "{}").unwrap();
    symlink("..2026_1", mount.join("..data")).unwrap();
    symlink("..data/a.json", mount.join("a.json")).unwrap();
    symlink("../mount/a.json", other.join("key")).unwrap();
    let reader = Files::default();
    drop(reader.read(&other.join("key"), 100));
    let sources = reader.into_sources(None, Vec::new());
    let resolved = |path: &Path| fs::canonicalize(path).unwrap();
    // The next version is readable too, because Kubernetes creates it in the mount.
    let places = sources.readable_directories();
    assert!(places.iter().any(|path| resolved(path) == mount));
    assert!(places.contains(&other) && !places.contains(&at));
    let watched = sources.watched_directories();
    assert!(watched.iter().any(|path| resolved(path) == mount));
    assert!(watched.contains(&other));

    let listed = seen(&mount, &["a.json"]);
    assert!(listed.readable_directories().contains(&mount));
    assert!(listed.watched_directories().contains(&at));
}

#[test]
fn reading_a_pipe_does_not_block() {
    // F-172
    let world = tempfile::tempdir().unwrap();
    let key = world.path().join("key");
    let made = std::process::Command::new("mkfifo").arg(&key).status();
    assert!(made.unwrap().success());
    assert!(matches!(
        super::read_file(&key, 100),
        Err(super::ReadError::NotRegular)
    ));
    let socket = world.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(matches!(
        super::read_file(&socket, 100),
        Err(super::ReadError::NotRegular)
    ));
}

#[test]
fn a_link_that_is_placed_after_the_check_is_not_followed() {
    // F-256
    let world = tempfile::tempdir().unwrap();
    let at = world.path().canonicalize().unwrap();
    for (directory, content) in [("allowed", "ours"), ("elsewhere", "of-somebody-else")] {
        fs::create_dir_all(at.join(directory).join("dir")).unwrap();
        fs::write(at.join(directory).join("dir/token"), content).unwrap();
    }
    let checked = at.join("allowed/dir/token");
    let read = || Files::default().read_secret(&checked, Some(&checked), 1 << 20);
    assert_eq!(read().ok().unwrap().as_slice(), b"ours");
    let (link, moved) = (at.join("allowed/dir"), at.join("moved"));
    fs::rename(&link, &moved).unwrap();
    symlink(at.join("elsewhere/dir"), &link).unwrap();
    assert!(read().is_err());
    // Also a link in place of the file itself, and one in place of a directory further up.
    fs::remove_file(&link).unwrap();
    fs::rename(&moved, &link).unwrap();
    fs::rename(&checked, at.join("token")).unwrap();
    symlink(at.join("elsewhere/dir/token"), &checked).unwrap();
    assert!(read().is_err());
    fs::remove_file(&checked).unwrap();
    fs::rename(at.join("allowed"), at.join("moved")).unwrap();
    symlink(at.join("elsewhere"), at.join("allowed")).unwrap();
    assert!(read().is_err());
}
