//! A file system that is full or read-only: a small tmpfs in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{CLIENT, document, github, names_in, usable};
use crate::token_store::{DirectoryState, LockError, StoreError, StoredGrant, TokenStore};

/// Set in the child process, which the test starts from its own binary: the directory of the store.
const CHILD: &str = "EGRESSD_TEST_FULL_DISK";
/// The name by which the child finds the test.
const THIS: &str = "token_store::tests::full_disks::a_full_or_read_only_disk_is_noticed_in_advance";
/// Starts the test twice: on a tmpfs that is as large as one reservation, and after it was made
/// read-only.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=64k,mode=700 egressd "$EGRESSD_TEST_FULL_DISK" || exit 77
"$@" || exit 1
mount -o remount,ro "$EGRESSD_TEST_FULL_DISK" || exit 77
exec "$@"
"#;
/// The exit code for a machine that does not allow such a mount.
const SKIPPED: Option<i32> = Some(77);

#[test]
fn a_full_or_read_only_disk_is_noticed_in_advance() {
    // F-312
    if let Some(directory) = std::env::var_os(CHILD) {
        return check_in_child(PathBuf::from(directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let unshare = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", THIS])
        .env(CHILD, directory.path())
        .output();
    // Not every machine has `unshare(1)` or allows users to create namespaces.
    let is_supported = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .status()
        .is_ok_and(|status| status.success());
    let Ok(output) = unshare else { return };
    if is_supported && output.status.code() != SKIPPED {
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}");
        assert_eq!(printed.matches("1 passed").count(), 2, "{printed}");
    }
}

fn check_in_child(path: PathBuf) {
    let store = TokenStore::new(path);
    if matches!(store.directory_state(), DirectoryState::ReadOnly) {
        check_read_only(&store);
    } else {
        check_full(&store);
    }
}

fn save(store: &TokenStore, document: &StoredGrant) -> Result<(), LockError> {
    let held = store.lock(&github(), CLIENT, Duration::ZERO)?;
    Ok(held.reserve()?.save(document)?)
}

/// Returns the number of the error.
fn error_number(error: LockError) -> Option<i32> {
    match error {
        LockError::Unwritable(StoreError::Io { source, .. }) => source.raw_os_error(),
        LockError::Unwritable(StoreError::TooLarge(_)) | LockError::Busy => None,
    }
}

fn check_full(store: &TokenStore) {
    let state = store.directory_state();
    assert!(matches!(
        state,
        DirectoryState::Writable { is_in_memory: true }
    ));
    save(store, &document(1)).unwrap();
    // The first document needs a page of the memory, so there is no room for a reservation.
    let error = save(store, &document(2)).unwrap_err();
    assert_eq!(error_number(error), Some(libc::ENOSPC));
    assert!(usable(store.read(&github())) == document(1));
    assert_eq!(names_in(store.path()), ["github.json", "github.lock"]);
    // As in a Secret that is mounted (F-357).
    let (file, target) = (store.file_path(&github()), store.path().join("target"));
    fs::rename(&file, target).unwrap();
    symlink("target", file).unwrap();
}

fn check_read_only(store: &TokenStore) {
    let error = save(store, &document(2)).unwrap_err();
    assert_eq!(error_number(error), Some(libc::EROFS));
    assert!(usable(store.read(&github())) == document(1));
    assert!(store.identify(&github()).is_some());
}
