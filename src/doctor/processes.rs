//! What `/proc` tells: who this process is, which processes look like egressd, and whether their secrets are within reach.
//!
//! Of another process's environment at most one byte is read, to see that it can be, and it is dropped.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::finding::{Check, Finding};
use super::socket_error::reason;

/// Capabilities that lead around egressd, by their bits (linux/capability.h).
const CAPABILITIES: &[(u8, &str)] = &[
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (2, "DAC_READ_SEARCH"),
    (3, "FOWNER"),
    (6, "SETGID"),
    (7, "SETUID"),
    (12, "NET_ADMIN"),
    (13, "NET_RAW"),
    (16, "SYS_MODULE"),
    (17, "SYS_RAWIO"),
    (19, "SYS_PTRACE"),
    (21, "SYS_ADMIN"),
    (27, "MKNOD"),
    (31, "SETFCAP"),
    (38, "PERFMON"),
    (39, "BPF"),
];
/// Commands of egressd that serve nobody.
const ASKING: &[&[u8]] = &[
    b"doctor",
    b"healthcheck",
    b"check",
    b"explain",
    b"probe",
    b"schema",
];

/// Where processes are told of, and which one this is.
pub(super) struct Processes {
    folder: PathBuf,
}

/// A process that looks like egressd.
struct Sidecar {
    id: u32,
    user: Option<u32>,
}

/// What `status` says.
struct Status(String);

impl Processes {
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Everything that can be said of them.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let own = match Status::read(&self.folder.join("self")) {
            Ok(own) => own,
            Err(error) => {
                let seen = format!(
                    "{} cannot be read: {}",
                    self.folder.display(),
                    reason(&error)
                );
                let unread = |check: Check, target| check.unknown(target, seen.clone());
                return vec![
                    unread(Check::SameUser, "processes"),
                    unread(Check::Privileges, "status"),
                ];
            }
        };
        let Some(sidecars) = self.sidecars() else {
            let seen = "they cannot be listed";
            let mut found = own.privileges();
            found.push(Check::SameUser.unknown("processes", seen));
            found.push(Check::ProcessFiles.unknown("processes", seen));
            return found;
        };
        let mut found = same_user(&own, &sidecars);
        found.extend(self.files(&sidecars));
        found.extend(own.privileges());
        found
    }

    /// `None` if processes cannot be listed.
    fn sidecars(&self) -> Option<Vec<Sidecar>> {
        let own = std::process::id();
        let entries = fs::read_dir(&self.folder).ok()?;
        let ids = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|id| *id != own);
        let mut found: Vec<Sidecar> = ids.filter_map(|id| self.sidecar(id)).collect();
        found.sort_by_key(|sidecar| sidecar.id);
        Some(found)
    }

    fn sidecar(&self, id: u32) -> Option<Sidecar> {
        let folder = self.folder.join(id.to_string());
        let name = fs::read(folder.join("comm")).unwrap_or_default();
        let program = fs::read_link(folder.join("exe")).ok();
        let program = program.as_deref().and_then(Path::file_name);
        let program = program.unwrap_or_default().as_encoded_bytes();
        // Its file may have been replaced meanwhile (`egressd (deleted)`), or have a version in its name.
        let is_ours = name.starts_with(b"egressd") || program.starts_with(b"egressd");
        if !is_ours {
            return None;
        }
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let command = words.split(|b| *b == 0).nth(1);
        if command.is_some_and(|command| ASKING.contains(&command)) {
            return None;
        }
        let user = Status::read(&folder).ok().and_then(|status| status.user());
        Some(Sidecar { id, user })
    }

    /// Are the environment and the files of those processes within reach?
    fn files(&self, sidecars: &[Sidecar]) -> Vec<Finding> {
        let check = Check::ProcessFiles;
        if sidecars.is_empty() {
            return vec![check.closed("processes", "none looks like egressd from here")];
        }
        let mut found = Vec::new();
        for sidecar in sidecars {
            let folder = self.folder.join(sidecar.id.to_string());
            let environment = folder.join("environ");
            let seen = File::open(&environment).and_then(|mut file| file.read(&mut [0]));
            found.push(match seen {
                Ok(0) => check.closed(environment.to_string_lossy(), "is empty"),
                Ok(_) => check.open(environment.to_string_lossy(), "can be read"),
                Err(error) => check.closed(environment.to_string_lossy(), refused(&error)),
            });
            let root = folder.join("root");
            found.push(match fs::read_dir(&root) {
                Ok(_) => check.open(root.to_string_lossy(), "its files can be listed"),
                Err(error) => check.closed(root.to_string_lossy(), refused(&error)),
            });
        }
        found
    }
}

fn refused(error: &std::io::Error) -> String {
    reason(error).to_ascii_lowercase()
}

fn same_user(own: &Status, sidecars: &[Sidecar]) -> Vec<Finding> {
    let check = Check::SameUser;
    let mine = own.user();
    let one = |sidecar: &Sidecar| {
        let target = format!("process {}", sidecar.id);
        match (sidecar.user, mine) {
            (Some(user), Some(mine)) if user == mine => check.open(
                target,
                format!("egressd runs as this very user, UID {user}"),
            ),
            (Some(user), Some(mine)) => check.closed(
                target,
                format!("egressd runs as UID {user}, this command as {mine}"),
            ),
            (Some(_) | None, Some(_) | None) => {
                check.unknown(target, "looks like egressd; its user cannot be read")
            }
        }
    };
    if sidecars.is_empty() {
        return vec![check.closed("processes", "none looks like egressd from here")];
    }
    sidecars.iter().map(one).collect()
}

impl Status {
    fn read(folder: &Path) -> std::io::Result<Self> {
        fs::read_to_string(folder.join("status")).map(Self)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.lines().filter_map(|line| line.split_once(':'));
        let mut meant = fields.filter(|(found, _)| *found == name);
        meant.next().map(|(_, value)| value.trim())
    }

    /// The effective user.
    fn user(&self) -> Option<u32> {
        self.field("Uid")?.split_whitespace().nth(1)?.parse().ok()
    }

    fn privileges(&self) -> Vec<Finding> {
        vec![self.root(), self.capabilities(), self.set_uid_programs()]
    }

    fn root(&self) -> Finding {
        let check = Check::Privileges;
        match self.user() {
            Some(0) => check.open("user", "this command runs as root"),
            Some(user) => check.closed("user", format!("UID {user}, not root")),
            None => check.unknown("user", "/proc does not tell"),
        }
    }

    fn capabilities(&self) -> Finding {
        let check = Check::Privileges;
        // What is permitted can be made effective at any time.
        let set = |name| u64::from_str_radix(self.field(name)?, 16).ok();
        let (Some(effective), Some(permitted)) = (set("CapEff"), set("CapPrm")) else {
            return check.unknown("capabilities", "/proc does not tell");
        };
        let bits = effective | permitted;
        let held = CAPABILITIES.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
        let held: Vec<&str> = held.map(|(_, name)| *name).collect();
        if held.is_empty() {
            check.closed("capabilities", "no capability that leads around egressd")
        } else {
            check.open("capabilities", format!("has {}", held.join(", ")))
        }
    }

    fn set_uid_programs(&self) -> Finding {
        let check = Check::Privileges;
        match self.field("NoNewPrivs") {
            Some("1") => check.closed("no_new_privs", "no_new_privs is set"),
            Some(_) => check.open(
                "no_new_privs",
                "not set: a set-uid program gives more rights",
            ),
            None => check.unknown("no_new_privs", "/proc does not tell"),
        }
    }
}

#[cfg(test)]
mod tests;
