//! The token store in a confined thread: every operation of the store works, and nothing else can
//! be written. Without a store, the calls that write files fail.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

use egressd::domain::ConnectionId;
use egressd::domain::auth::GrantName;
use egressd::hardening::{AllowedPaths, Measure};
use egressd::token_store::{Recovery, RefreshedTokens, StoredGrant, TokenStore, TokenText};
use jiff::Timestamp;
use rustix::fs::{FallocateFlags, FlockOperation, RenameFlags};
use serde_json::json;
use zeroize::Zeroizing;

use super::{is_held, is_refused};
use crate::support::{Confined, Program, connection};

/// The client in the stored document.
const CLIENT: &str = "sha256:9f";

/// A store with the grant `github`, beside the directory of the configuration and another one.
struct World {
    files: tempfile::TempDir,
}

type Act = fn(&World) -> io::Result<()>;
/// A system call on the world, or on the open lock file of the store.
type Call = fn(&World, &File) -> io::Result<()>;

/// Attempts to write more than the files of the store, each with the measure that forbids it.
#[rustfmt::skip] // one row a line
const ATTEMPTS: &[(&str, Measure, Act)] = &[
    ("write to a file elsewhere", Measure::Files, |w| create().open(w.at("elsewhere/file")).map(drop)),
    ("change its configuration", Measure::Files, |w| create().open(w.at("own/a.yaml")).map(drop)),
    ("create a file elsewhere", Measure::Files, |w| create().open(w.at("elsewhere/new")).map(drop)),
    ("create a file beside the store", Measure::Files, |w| create().open(w.at("new")).map(drop)),
    ("write through a link in the store", Measure::Files, |w| create().open(w.at("tokens/link")).map(drop)),
    ("rename a file out of the store", Measure::Files, |w| fs::rename(w.at("tokens/github.json"), w.at("elsewhere/stolen"))),
    ("rename a file over its configuration", Measure::Files, |w| fs::rename(w.at("tokens/github.json"), w.at("own/a.yaml"))),
    ("rename a file into the store", Measure::Files, |w| fs::rename(w.at("elsewhere/file"), w.at("tokens/file"))),
    ("remove a file elsewhere", Measure::Files, |w| fs::remove_file(w.at("elsewhere/file"))),
    ("remove the store", Measure::SystemCalls, |w| fs::remove_dir(w.at("tokens"))),
    ("empty a file of the store", Measure::SystemCalls, |w| create().truncate(true).open(w.at("tokens/github.json")).map(drop)),
    ("append to a file of the store", Measure::SystemCalls, |w| OpenOptions::new().append(true).create(true).open(w.at("tokens/github.json")).map(drop)),
    ("read and write a file of the store", Measure::SystemCalls, |w| create().read(true).open(w.at("tokens/github.json")).map(drop)),
    ("write a file of the store without creating it", Measure::SystemCalls, |w| OpenOptions::new().write(true).open(w.at("tokens/github.json")).map(drop)),
    ("make a file without a name", Measure::SystemCalls, |w| OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(w.at("tokens")).map(drop)),
    ("make a directory in the store", Measure::SystemCalls, |w| fs::create_dir(w.at("tokens/directory"))),
    ("make a link in the store", Measure::SystemCalls, |w| symlink("/etc/passwd", w.at("tokens/accounts"))),
    ("link a file out of the store", Measure::SystemCalls, |w| fs::hard_link(w.at("tokens/github.json"), w.at("elsewhere/stolen"))),
    ("loosen the mode of a file of the store", Measure::SystemCalls, |w| fs::set_permissions(w.at("tokens/github.json"), Permissions::from_mode(0o666))),
];

/// Calls that replace a file of the store.
#[rustfmt::skip] // one row a line
const STORE_CALLS: &[(&str, Call)] = &[
    ("openat", |w, _| create().open(w.at("tokens/new")).map(drop)),
    ("renameat2", |w, _| Ok(rustix::fs::renameat_with(
        rustix::fs::CWD, w.at("tokens/github.json"), rustix::fs::CWD, w.at("tokens/a"), RenameFlags::NOREPLACE)?)),
    ("renameat", |w, _| Ok(rustix::fs::renameat(
        rustix::fs::CWD, w.at("tokens/a"), rustix::fs::CWD, w.at("tokens/github.json"))?)),
    ("unlinkat", |w, _| Ok(rustix::fs::unlinkat(rustix::fs::CWD, w.at("tokens/link"), rustix::fs::AtFlags::empty())?)),
    ("fallocate", |_, file| Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 4096)?)),
    ("ftruncate", |_, file| file.set_len(10)),
    ("fsync", |_, file| file.sync_all()),
    ("flock", |_, file| Ok(rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?)),
];

impl World {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let world = Self { files };
        for directory in ["own", "elsewhere", "tokens"] {
            fs::create_dir(world.at(directory)).unwrap();
        }
        for file in ["own/a.yaml", "elsewhere/file"] {
            fs::write(world.at(file), "x").unwrap();
        }
        symlink(world.at("elsewhere/file"), world.at("tokens/link")).unwrap();
        let document = format!(
            r#"{{"format": "egressd-token/1", "grant": "github", "client": "{CLIENT}", "sequence": 1,
            "connected_at": "2026-11-28T10:00:00Z", "access_token": "access-1",
            "refresh_token": "refresh-1"}}"#
        );
        fs::write(world.at("tokens/github.json"), document).unwrap();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn needs(&self) -> AllowedPaths {
        AllowedPaths {
            readable: vec![self.at("own")],
            writable: vec![self.at("tokens")],
            ..AllowedPaths::default()
        }
    }

    fn store(&self) -> TokenStore {
        TokenStore::new(self.at("tokens"))
    }

    fn sequence(&self) -> u64 {
        let document = self.store().read(&github()).into_document();
        document.unwrap().version().sequence
    }
}

fn create() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    options
}

fn github() -> GrantName {
    GrantName::from(ConnectionId::parse("github").unwrap())
}

fn token(text: &str) -> TokenText {
    TokenText::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn next(document: &StoredGrant) -> StoredGrant {
    let tokens = RefreshedTokens {
        access_token: token("access-2"),
        expires_in: Some(Duration::from_secs(3600)),
        refresh_token: Some(token("refresh-2")),
        refresh_token_expires_in: None,
        scopes: None,
        answer: serde_json::Map::new(),
    };
    document.refreshed(tokens, Timestamp::now())
}

/// Rotates the tokens once, as a refresh does.
fn rotate(store: &TokenStore) {
    let held = store.lock(&github(), CLIENT, Duration::ZERO).unwrap();
    let document = held.read().into_document().unwrap();
    held.reserve().unwrap().save(&next(&document)).unwrap();
}

#[test]
fn the_store_works_in_a_confined_thread() {
    let world = World::new();
    let world = Confined::run(world.needs(), move || {
        let store = world.store();
        for _ in 0..100 {
            rotate(&store);
        }
        assert_eq!(world.sequence(), 101);
        let free = Duration::ZERO;
        store.check_writable(&github(), CLIENT, free).unwrap();
        assert!(store.try_lock(&github(), CLIENT).unwrap().is_some());
        assert!(store.identify(&github()).is_some());
        world
    });
    // The documents that interrupted holders of the lock left.
    for (length, recovery) in [
        (None, Recovery::Adopted),
        (Some(10), Recovery::RotationMayBeLost),
    ] {
        let saved = fs::read_to_string(world.at("tokens/github.json")).unwrap();
        let newer = saved.replace("\"sequence\": 101", "\"sequence\": 102");
        let newer = newer.get(..length.unwrap_or(newer.len())).unwrap();
        // Space that was reserved and not used.
        fs::write(
            world.at("tokens/github.json.pending"),
            format!("{newer}\0\0"),
        )
        .unwrap();
        let store = world.store();
        let found = Confined::run(world.needs(), move || {
            let held = store.lock(&github(), CLIENT, Duration::ZERO).unwrap();
            held.recovery()
        });
        assert_eq!(found, recovery, "{saved}");
        assert!(!world.at("tokens/github.json.pending").exists());
        assert_eq!(world.sequence(), 102);
    }
}

// F-356
#[test]
fn a_confined_thread_writes_only_the_files_of_the_store() {
    for (attempt, measure, act) in ATTEMPTS {
        let world = World::new();
        let free = std::thread::spawn(move || act(&world)).join().unwrap();
        assert!(!is_refused(&free), "{attempt}: {free:?}");
        if is_held(*measure) {
            let world = World::new();
            let confined = Confined::run(world.needs(), move || act(&world));
            assert!(is_refused(&confined), "{attempt}: {confined:?}");
        }
    }
}

#[test]
fn the_calls_of_the_store_are_allowed_only_with_a_store() {
    for has_store in [true, false] {
        let world = World::new();
        let needs = if has_store {
            world.needs()
        } else {
            AllowedPaths {
                readable: vec![world.at("own")],
                ..AllowedPaths::default()
            }
        };
        let file = create().open(world.at("tokens/github.lock")).unwrap();
        let results = Confined::run(needs, move || {
            let calls = STORE_CALLS.iter();
            let results = calls.map(|(call, act)| (*call, act(&world, &file)));
            results.collect::<Vec<_>>()
        });
        for (call, result) in results {
            if has_store {
                assert!(result.is_ok(), "{call}: {result:?}");
            } else if is_held(Measure::SystemCalls) {
                let refusal = result.unwrap_err().raw_os_error();
                assert_eq!(refusal, Some(libc::EPERM), "{call}");
            }
        }
    }
}

/// A store that did not exist at the start is out of reach until a restart, and one that existed is
/// not reported.
#[test]
fn a_store_that_appears_after_the_start_is_reported() {
    if !is_held(Measure::Files) {
        return;
    }
    let store = tempfile::tempdir().unwrap();
    let directory = store.path().join("tokens");
    let crm = connection("crm")
        .allow("/")
        .base_url("https://crm.test")
        .auth(
            "oauth_user_consent",
            json!({
                "client_id": "id",
                "authorization_url": "https://crm.test/authorize",
                "token_url": "https://crm.test/token",
            }),
        );
    let settings = json!({"token_store": {"directory": directory}});
    let program = Program::new(&[crm], &settings);
    let mut running = program.start(&[]);
    running.addresses();
    fs::create_dir(&directory).unwrap();
    running.hang_up();
    let line = "the token store cannot be written: hardening gives this process no access";
    running.wait_for_line(line);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
    let mut running = program.start(&[]);
    running.addresses();
    running.hang_up();
    running.wait_for_line("reloaded: generation");
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0));
    assert!(!lines.iter().any(|found| found.contains(line)), "{lines:?}");
}
