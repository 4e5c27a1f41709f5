//! Files, by Landlock (`landlock(7)`): the configuration is read, our own sockets are removed, nothing is written or run.
//!
//! Every right that the kernel knows is taken; one that an older kernel does not know is left to the system-call filter, which lets none of these be used either:
//! binding a TCP address (Linux 6.7), `ioctl` on devices (6.10), signals and abstract sockets of others (6.12).

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use super::AllowedPaths;

/// What is no configuration and still read: of this process and of the system's start, for `process_*` metrics; and chance, where a C library does not hand on `getrandom`.
const ALWAYS_READABLE: [&str; 3] = ["/proc/self", "/proc/stat", "/dev/urandom"];

/// Takes every right to files from this thread and from those that it starts, but for what is needed.
pub(super) fn confine_files(paths: &AllowedPaths) -> io::Result<()> {
    let root_directory = paths.readable.iter().find(|place| is_root(place));
    let status = restrict_files(paths).map_err(io::Error::other)?;
    if let Some(place) = root_directory {
        // Nothing is written all the same.
        return Err(io::Error::other(format!(
            "configuration lies in {}, so every file stays readable; give it a directory of its own",
            place.display()
        )));
    }
    match status {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(io::Error::other(
            "this kernel has no Landlock, or it is switched off",
        )),
    }
}

fn restrict_files(paths: &AllowedPaths) -> Result<RulesetStatus, RulesetError> {
    let newest = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let always_readable = ALWAYS_READABLE.iter().map(PathBuf::from);
    let readable = paths.readable.iter().cloned().chain(always_readable);
    let sockets = paths
        .sockets
        .iter()
        .filter_map(|socket| parent_directory(socket));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        // No rule: no address can be bound. Connecting is left alone: the ports of upstreams change with the configuration.
        .handle_access(BitFlags::from(AccessNet::BindTcp))?
        .scope(Scope::from_all(newest))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(sockets, AccessFs::RemoveFile))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Whether everything lies beneath it.
fn is_root(place: &Path) -> bool {
    place
        .canonicalize()
        .is_ok_and(|place| place.parent().is_none())
}

/// The directory of a file, as it is named.
fn parent_directory(file: &Path) -> Option<PathBuf> {
    let parent = file.parent()?;
    Some(if parent.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        parent.to_owned()
    })
}
