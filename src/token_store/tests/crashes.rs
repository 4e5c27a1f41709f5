//! A process that rotates a grant in a loop is killed at many moments. Each time, the store has the
//! last document that was saved, or the next one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{CLIENT, World, at, consent, document, github, tokens, usable};
use crate::token_store::{Recovery, TokenStore};

/// Set in the child process, which the test starts from its own binary: the directory of the store.
const CHILD: &str = "EGRESSD_TEST_TOKEN_STORE";
/// The name by which the child finds the test.
const THIS: &str = "token_store::tests::crashes::a_kill_at_any_moment_loses_no_document";
/// The number of kills.
const ROUNDS: u64 = 40;
/// Written by the child at the start of a line, before a number.
const SAVED: &str = "saved ";

#[test]
fn a_kill_at_any_moment_loses_no_document() {
    // Consent faults 309, 310
    if let Some(directory) = std::env::var_os(CHILD) {
        rotate(&TokenStore::new(PathBuf::from(directory)));
    }
    let world = World::new();
    let held = world.lock();
    held.reserve().unwrap().save(&consent()).unwrap();
    let (mut sequence, mut adopted, mut removed) = (1, 0, 0);
    for round in 0..ROUNDS {
        let saved = run_and_kill(&world, round).unwrap_or(sequence);
        let held = world.lock();
        match held.recovery() {
            Recovery::Nothing => {}
            Recovery::Adopted => adopted += 1,
            Recovery::RotationMayBeLost => removed += 1,
        }
        let found = usable(held.read());
        sequence = found.version().sequence;
        // The child can be killed between saving a document and reporting it.
        assert!(
            (saved..=saved + 1).contains(&sequence),
            "round {round}: saved {saved}, found {sequence}"
        );
        assert!(found == document(sequence), "round {round}");
        assert_eq!(world.names(), ["github.json", "github.lock"]);
    }
    // Without kills in the middle of a rotation, the test would show nothing.
    assert!(
        sequence > ROUNDS && adopted + removed > 0,
        "{sequence} rotations, {adopted} documents adopted, {removed} removed"
    );
}

/// Starts a child, waits until it has saved a few documents, and kills it a moment later. Returns
/// the last sequence that the child has reported.
fn run_and_kill(world: &World, round: u64) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS, "--nocapture"])
        .env(CHILD, world.directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut saved = lines
        .by_ref()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(SAVED)?.parse().ok())
        .take(2)
        .last();
    // A rotation takes between a fraction of a millisecond and a few, depending on the disk.
    thread::sleep(Duration::from_micros(round * 173 % 7000));
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.map_while(Result::ok) {
        let number = line
            .strip_prefix(SAVED)
            .and_then(|number| number.parse().ok());
        saved = saved.max(number);
    }
    saved
}

/// Rotates the grant until the process is killed.
fn rotate(store: &TokenStore) -> ! {
    let mut out = std::io::stdout();
    loop {
        let held = store
            .lock(&github(), CLIENT, Duration::from_secs(10))
            .unwrap();
        let reservation = held.reserve().unwrap();
        let last = usable(reservation.held().read());
        let sequence = last.version().sequence + 1;
        let next = last.refreshed(tokens(sequence), at(0));
        reservation.save(&next).unwrap();
        out.write_all(format!("{SAVED}{sequence}\n").as_bytes())
            .unwrap();
        out.flush().unwrap();
    }
}
