//! File access, restricted by Landlock (landlock(7)): the process can read its configuration and
//! remove its own sockets, and it can neither write nor execute files. The only exception is the
//! directory of the token store, whose files it can replace.
//!
//! All access rights that the kernel supports are restricted. For the rights that older kernels
//! lack, the system-call filter blocks the calls that would use them: binding a TCP address (Linux
//! 6.7), `ioctl` on devices (6.10), and signals and abstract sockets of other processes (6.12).

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use super::AllowedPaths;

/// Paths that are read although they are not configuration: the data of this process and the boot
/// time, for the `process_*` metrics, and random numbers, for a C library without `getrandom`.
const ALWAYS_READABLE: [&str; 3] = ["/proc/self", "/proc/stat", "/dev/urandom"];

/// Removes all access to files from this thread and the threads that it starts, except to the
/// needed paths.
pub(super) fn confine_files(paths: &AllowedPaths) -> io::Result<()> {
    let root_directory = paths.readable.iter().find(|place| is_root(place));
    let status = restrict_files(paths).map_err(io::Error::other)?;
    if let Some(place) = root_directory {
        // Writing is still denied, but the measure is reported as failed.
        return Err(io::Error::other(format!(
            "the configuration is in {}, so every file stays readable; move it to a directory of its own",
            place.display()
        )));
    }
    match status {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(io::Error::other(
            "the kernel does not support Landlock, or Landlock is disabled",
        )),
    }
}

fn restrict_files(paths: &AllowedPaths) -> Result<RulesetStatus, RulesetError> {
    let newest = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let always_readable = ALWAYS_READABLE.iter().map(PathBuf::from);
    let readable = paths.readable.iter().cloned().chain(always_readable);
    // A rename inside a directory needs `MakeReg` and `RemoveFile`, and not `Refer`.
    let replace =
        read | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
    let sockets = paths
        .sockets
        .iter()
        .filter_map(|socket| parent_directory(socket));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        // Without a rule for it, no address can be bound. Connecting is not restricted, because the
        // ports of upstreams change with the configuration.
        .handle_access(BitFlags::from(AccessNet::BindTcp))?
        .scope(Scope::from_all(newest))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(sockets, AccessFs::RemoveFile))?
        .add_rules(path_beneath_rules(&paths.writable, replace))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Returns whether the path is the root directory.
fn is_root(place: &Path) -> bool {
    place
        .canonicalize()
        .is_ok_and(|place| place.parent().is_none())
}

/// Returns the directory of a file, as the path names it.
fn parent_directory(file: &Path) -> Option<PathBuf> {
    let parent = file.parent()?;
    Some(if parent.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        parent.to_owned()
    })
}
