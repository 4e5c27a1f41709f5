//! Processes that are killed while they rotate a grant. Each time, the store has the last document
//! that was saved, or the next one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::{CLIENT, World, at, consent, document, github, tokens, usable};
use crate::token_store::{Recovery, TokenStore};

/// Set in the child process, which a test starts from its own binary: the directory of the store.
const CHILD: &str = "EGRESSD_TEST_TOKEN_STORE";
/// Set in a child process that is to be killed by the kernel: an index in [`STEPS`].
const KILL_AT: &str = "EGRESSD_TEST_KILL_AT";
/// The name by which the child finds the function that it runs.
const CHILD_TEST: &str = "token_store::tests::crashes::rotate_in_a_child_process";
/// The number of kills at moments that differ from run to run.
const ROUNDS: u64 = 40;
/// Written by the child at the start of a line, before a number.
const SAVED: &str = "saved ";

/// The system calls of a rotation, with what the next holder of the lock finds if the process is
/// killed before the call.
const STEPS: &[(&str, &[libc::c_long], Recovery)] = &[
    ("lock", &[libc::SYS_flock], Recovery::Nothing),
    ("create", &[libc::SYS_openat], Recovery::Nothing),
    (
        "reserve",
        &[libc::SYS_fallocate],
        Recovery::RotationMayBeLost,
    ),
    ("write", &[libc::SYS_write], Recovery::RotationMayBeLost),
    ("truncate", &[libc::SYS_ftruncate], Recovery::Adopted),
    ("flush", &[libc::SYS_fsync], Recovery::Adopted),
    (
        "rename",
        &[libc::SYS_renameat, libc::SYS_renameat2],
        Recovery::Adopted,
    ),
];

#[test]
fn a_kill_before_each_step_leaves_the_previous_or_the_next_document() {
    // F-309, F-310
    for (index, (step, _, expected)) in STEPS.iter().enumerate() {
        let world = World::new();
        world.save(1);
        let (mut child, lines) = start_child(world.directory.path(), Some(index));
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{step}");
        assert_eq!(last_saved(lines), None, "{step}");
        let held = world.lock();
        assert_eq!(held.recovery(), *expected, "{step}");
        let sequence = if *expected == Recovery::Adopted { 2 } else { 1 };
        assert!(usable(held.read()) == document(sequence), "{step}");
        assert_eq!(world.names(), ["github.json", "github.lock"], "{step}");
    }
}

#[test]
fn a_kill_at_any_moment_loses_no_document() {
    // F-309, F-310
    let world = World::new();
    world.lock().reserve().unwrap().save(&consent()).unwrap();
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

#[test]
fn two_processes_rotate_one_grant_in_turns() {
    // F-315
    let world = World::new();
    world.save(1);
    let children = [(); 2].map(|()| start_child(world.directory.path(), None));
    let saved = children.map(|(mut child, mut lines)| {
        let lines = lines.by_ref().map_while(Result::ok);
        let mut sequences = lines.filter_map(|line| saved_sequence(&line));
        // The first process is read and killed while the second one runs.
        let first: Vec<u64> = sequences.by_ref().take(20).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        first.into_iter().chain(sequences).collect::<Vec<u64>>()
    });
    let [one, two] = saved;
    assert!(one.len() >= 20 && two.len() >= 20, "{one:?} {two:?}");
    assert!(one.is_sorted_by(|a, b| a < b) && two.is_sorted_by(|a, b| a < b));
    assert!(one.iter().all(|sequence| !two.contains(sequence)));
    // Each process can be killed between saving a document and reporting it.
    let sequence = usable(world.lock().read()).version().sequence;
    let reported = (one.len() + two.len()) as u64;
    assert!(
        (reported + 1..=reported + 3).contains(&sequence),
        "{sequence}"
    );
}

/// Starts a child, waits until it has saved a few documents, and kills it a moment later. Returns
/// the last sequence that the child has reported.
fn run_and_kill(world: &World, round: u64) -> Option<u64> {
    let (mut child, mut lines) = start_child(world.directory.path(), None);
    let saved = lines
        .by_ref()
        .map_while(Result::ok)
        .filter_map(|line| saved_sequence(&line))
        .take(2)
        .last();
    // A rotation takes between a fraction of a millisecond and a few, depending on the disk.
    thread::sleep(Duration::from_micros(round * 173 % 7000));
    child.kill().unwrap();
    child.wait().unwrap();
    saved.max(last_saved(lines))
}

fn start_child(directory: &Path, kill_at: Option<usize>) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", CHILD_TEST, "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(index) = kill_at {
        command.env(KILL_AT, index.to_string());
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn last_saved(lines: Lines<BufReader<ChildStdout>>) -> Option<u64> {
    let lines = lines.map_while(Result::ok);
    lines.filter_map(|line| saved_sequence(&line)).last()
}

fn saved_sequence(line: &str) -> Option<u64> {
    line.strip_prefix(SAVED)?.parse().ok()
}

/// Does nothing, except in a child process: there it rotates the grant until the process is killed.
#[test]
fn rotate_in_a_child_process() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let store = TokenStore::new(directory.into());
    let mut out = std::io::stdout();
    if let Ok(index) = std::env::var(KILL_AT) {
        let (_, calls, _) = STEPS.get(index.parse::<usize>().unwrap()).unwrap();
        kill_before(calls);
    }
    loop {
        // Without pauses, so that two processes get the lock in turns.
        let held = loop {
            match store.try_lock(&github(), CLIENT).unwrap() {
                Some(held) => break held,
                None => thread::yield_now(),
            }
        };
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

/// Lets the kernel kill this process before it makes one of these calls. A file may still be opened
/// if it is not created exclusively.
fn kill_before(calls: &[libc::c_long]) {
    let rules = calls.iter().map(|call| {
        let exclusive = u64::from(libc::O_EXCL.unsigned_abs());
        let only_exclusive = SeccompCondition::new(
            2,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(exclusive),
            exclusive,
        );
        let rule = SeccompRule::new(vec![only_exclusive.unwrap()]).unwrap();
        let is_open = *call == libc::SYS_openat;
        (*call, if is_open { vec![rule] } else { Vec::new() })
    });
    let filter = SeccompFilter::new(
        rules.collect::<BTreeMap<_, _>>(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
}
