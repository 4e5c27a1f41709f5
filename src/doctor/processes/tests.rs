//! Checks of processes on a directory that has the layout of `/proc`.

use std::fs;
use std::path::Path;

use super::super::finding::{Finding, FindingState, SandboxCheck};
use super::Processes;

const PLAIN: &str = "Uid:\t1000\t1000\t1000\t1000\nNoNewPrivs:\t1\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";

fn process(folder: &Path, id: &str, name: &str, words: &str, status: &str) {
    let at = folder.join(id);
    fs::create_dir(&at).unwrap();
    fs::write(at.join("comm"), format!("{name}\n")).unwrap();
    fs::write(at.join("cmdline"), words.replace(' ', "\0")).unwrap();
    fs::write(at.join("status"), status).unwrap();
}

fn states(found: &[Finding], check: SandboxCheck) -> Vec<(FindingState, &str)> {
    let of = found.iter().filter(|f| f.check == check);
    of.map(|f| (f.state, f.seen.as_str())).collect()
}

#[test]
fn a_plain_user_alone_is_closed() {
    let world = tempfile::tempdir().unwrap();
    process(world.path(), "self", "egressd", "egressd doctor", PLAIN);
    process(world.path(), "1", "python3", "python3 agent.py", PLAIN);
    process(world.path(), "2", "egressd", "/egressd doctor", PLAIN);
    let found = Processes::new(world.path()).findings();
    let open = found.iter().filter(|f| f.state != FindingState::Closed);
    assert_eq!(open.count(), 0, "{found:?}");
    assert_eq!(found.len(), 5);
}

#[test]
fn egressd_as_the_same_user_is_open_and_so_is_its_environment() {
    let world = tempfile::tempdir().unwrap();
    process(world.path(), "self", "egressd", "egressd doctor", PLAIN);
    process(world.path(), "7", "egressd", "/egressd serve", PLAIN);
    fs::write(world.path().join("7/environ"), "TOKEN=planted-canary\0").unwrap();
    fs::create_dir(world.path().join("7/root")).unwrap();
    let other = PLAIN.replace("1000", "65532");
    process(world.path(), "8", "egressd", "/egressd serve", &other);
    let found = Processes::new(world.path()).findings();
    assert_eq!(
        states(&found, SandboxCheck::SameUser),
        [
            (FindingState::Open, "egressd runs as this user, UID 1000"),
            (
                FindingState::Closed,
                "egressd runs as UID 65532, this command as 1000"
            ),
        ]
    );
    let files: Vec<FindingState> = states(&found, SandboxCheck::ProcessFiles)
        .iter()
        .map(|s| s.0)
        .collect();
    assert_eq!(
        files,
        [
            FindingState::Open,
            FindingState::Open,
            FindingState::Closed,
            FindingState::Closed
        ]
    );
    assert!(!serde_json::to_string(&found).unwrap().contains("canary"));
}

#[test]
fn a_renamed_process_is_recognised_by_its_program() {
    let world = tempfile::tempdir().unwrap();
    process(world.path(), "self", "egressd", "egressd doctor", PLAIN);
    process(world.path(), "7", "sidecar", "sidecar", PLAIN);
    std::os::unix::fs::symlink("/egressd (deleted)", world.path().join("7/exe")).unwrap();
    process(world.path(), "8", "egressd-1.2", "egressd-1.2 serve", PLAIN);
    let found = Processes::new(world.path()).findings();
    let open = states(&found, SandboxCheck::SameUser);
    assert_eq!(open.len(), 2, "{found:?}");
    assert!(
        open.iter().all(|(state, _)| *state == FindingState::Open),
        "{found:?}"
    );
}

#[test]
fn root_capabilities_and_set_uid_programs_are_open() {
    let world = tempfile::tempdir().unwrap();
    let status =
        "Uid:\t0\t0\t0\t0\nNoNewPrivs:\t0\nCapPrm:\t0000000000083004\nCapEff:\t0000000000083000\n";
    process(world.path(), "self", "egressd", "egressd doctor", status);
    let found = Processes::new(world.path()).findings();
    let seen = states(&found, SandboxCheck::Privileges);
    assert_eq!(
        seen,
        [
            (FindingState::Open, "this command runs as root"),
            (
                FindingState::Open,
                "has DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_PTRACE"
            ),
            (
                FindingState::Open,
                "not set: a set-uid program can gain privileges"
            ),
        ]
    );
}

#[test]
fn without_proc_every_finding_is_unknown() {
    let world = tempfile::tempdir().unwrap();
    let found = Processes::new(world.path()).findings();
    assert!(
        found
            .iter()
            .all(|f| f.state == FindingState::Unknown && f.remedy.is_some()),
        "{found:?}"
    );
    assert_eq!(found.len(), 2);
}
