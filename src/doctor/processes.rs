//! Checks of processes, from `/proc`: the user and privileges of this process, the processes that
//! look like egressd, and if their environment and files can be read.
//!
//! To check if the environment of another process can be read, one byte is read and discarded.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::finding::{Finding, SandboxCheck};
use super::socket_error::reason;

/// Capabilities that allow a process to bypass egressd, with their bits (linux/capability.h).
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
/// Commands of egressd that do not serve agents. Their processes are not reported.
const OTHER_COMMANDS: &[&[u8]] = &[
    b"doctor",
    b"healthcheck",
    b"check",
    b"explain",
    b"probe",
    b"schema",
];

/// The directory that lists the processes; `/proc` outside of tests.
pub(super) struct Processes {
    folder: PathBuf,
}

/// A process that looks like egressd.
struct EgressdProcess {
    id: u32,
    user: Option<u32>,
}

/// The content of `/proc/PID/status` (proc_pid_status(5)).
struct ProcessStatus(String);

impl Processes {
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Returns the findings of all checks of processes.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let own = match ProcessStatus::read(&self.folder.join("self")) {
            Ok(own) => own,
            Err(error) => {
                let seen = format!(
                    "{} cannot be read: {}",
                    self.folder.display(),
                    reason(&error)
                );
                let unread = |check: SandboxCheck, target| check.unknown(target, seen.clone());
                return vec![
                    unread(SandboxCheck::SameUser, "processes"),
                    unread(SandboxCheck::Privileges, "status"),
                ];
            }
        };
        let Some(processes) = self.find_egressd() else {
            let seen = "cannot be listed";
            let mut found = own.privilege_findings();
            found.push(SandboxCheck::SameUser.unknown("processes", seen));
            found.push(SandboxCheck::ProcessFiles.unknown("processes", seen));
            return found;
        };
        let mut found = same_user(&own, &processes);
        found.extend(self.file_findings(&processes));
        found.extend(own.privilege_findings());
        found
    }

    /// Returns the processes that look like egressd, except this one. `None` if processes cannot be
    /// listed.
    fn find_egressd(&self) -> Option<Vec<EgressdProcess>> {
        let own = std::process::id();
        let entries = fs::read_dir(&self.folder).ok()?;
        let ids = entries
            // Entries that are not numbers are not processes.
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            // The doctor is a process of egressd too.
            .filter(|id| *id != own);
        let mut found: Vec<EgressdProcess> = ids.filter_map(|id| self.identify(id)).collect();
        found.sort_by_key(|process| process.id);
        Some(found)
    }

    fn identify(&self, id: u32) -> Option<EgressdProcess> {
        let folder = self.folder.join(id.to_string());
        // `comm` can always be read; `exe` only with the rights to trace the process
        // (proc_pid_exe(5)).
        let name = fs::read(folder.join("comm")).unwrap_or_default();
        let program = fs::read_link(folder.join("exe")).ok();
        let program = program.as_deref().and_then(Path::file_name);
        let program = program.unwrap_or_default().as_encoded_bytes();
        // After an update the link of a running program is `egressd (deleted)`, and a program file
        // may have a version in its name.
        let is_ours = name.starts_with(b"egressd") || program.starts_with(b"egressd");
        if !is_ours {
            return None;
        }
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let command = words.split(|b| *b == 0).nth(1);
        if command.is_some_and(|command| OTHER_COMMANDS.contains(&command)) {
            return None;
        }
        let user = ProcessStatus::read(&folder)
            .ok()
            .and_then(|status| status.effective_uid());
        Some(EgressdProcess { id, user })
    }

    /// Checks if the environment and the files of these processes can be read.
    fn file_findings(&self, processes: &[EgressdProcess]) -> Vec<Finding> {
        let check = SandboxCheck::ProcessFiles;
        if processes.is_empty() {
            return vec![check.closed("processes", "none looks like egressd from here")];
        }
        let mut found = Vec::new();
        for process in processes {
            let folder = self.folder.join(process.id.to_string());
            let (environment, root) = (folder.join("environ"), folder.join("root"));
            let seen = File::open(&environment).and_then(|mut file| file.read(&mut [0]));
            let environment = environment.to_string_lossy();
            found.push(match seen {
                // A process without an environment, or one that has ended.
                Ok(0) => check.closed(environment, "is empty"),
                Ok(_) => check.open(environment, "can be read"),
                Err(error) => check.closed(environment, reason(&error).to_ascii_lowercase()),
            });
            let files = fs::read_dir(&root);
            let root = root.to_string_lossy();
            found.push(match files {
                Ok(_) => check.open(root, "its files can be listed"),
                Err(error) => check.closed(root, reason(&error).to_ascii_lowercase()),
            });
        }
        found
    }
}

fn same_user(own: &ProcessStatus, processes: &[EgressdProcess]) -> Vec<Finding> {
    let check = SandboxCheck::SameUser;
    let mine = own.effective_uid();
    let one = |process: &EgressdProcess| {
        let target = format!("process {}", process.id);
        match (process.user, mine) {
            (Some(user), Some(mine)) if user == mine => {
                check.open(target, format!("egressd runs as this user, UID {user}"))
            }
            (Some(user), Some(mine)) => check.closed(
                target,
                format!("egressd runs as UID {user}, this command as {mine}"),
            ),
            (Some(_) | None, Some(_) | None) => {
                check.unknown(target, "looks like egressd; its user cannot be read")
            }
        }
    };
    if processes.is_empty() {
        return vec![check.closed("processes", "none looks like egressd from here")];
    }
    processes.iter().map(one).collect()
}

impl ProcessStatus {
    fn read(folder: &Path) -> std::io::Result<Self> {
        fs::read_to_string(folder.join("status")).map(Self)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.lines().filter_map(|line| line.split_once(':'));
        let mut meant = fields.filter(|(found, _)| *found == name);
        meant.next().map(|(_, value)| value.trim())
    }

    /// Returns the effective user ID.
    fn effective_uid(&self) -> Option<u32> {
        self.field("Uid")?.split_whitespace().nth(1)?.parse().ok()
    }

    fn privilege_findings(&self) -> Vec<Finding> {
        vec![
            self.root_finding(),
            self.capability_finding(),
            self.set_uid_finding(),
        ]
    }

    fn root_finding(&self) -> Finding {
        let check = SandboxCheck::Privileges;
        match self.effective_uid() {
            Some(0) => check.open("user", "this command runs as root"),
            Some(user) => check.closed("user", format!("UID {user}, not root")),
            None => check.unknown("user", "missing in /proc/self/status"),
        }
    }

    fn capability_finding(&self) -> Finding {
        let check = SandboxCheck::Privileges;
        // A process can make its permitted capabilities effective at any time (capabilities(7)).
        let set = |name| u64::from_str_radix(self.field(name)?, 16).ok();
        let (Some(effective), Some(permitted)) = (set("CapEff"), set("CapPrm")) else {
            return check.unknown("capabilities", "missing in /proc/self/status");
        };
        let bits = effective | permitted;
        let held = CAPABILITIES.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
        let held: Vec<&str> = held.map(|(_, name)| *name).collect();
        if held.is_empty() {
            check.closed(
                "capabilities",
                "no capability that allows to bypass egressd",
            )
        } else {
            check.open("capabilities", format!("has {}", held.join(", ")))
        }
    }

    fn set_uid_finding(&self) -> Finding {
        let check = SandboxCheck::Privileges;
        match self.field("NoNewPrivs") {
            Some("1") => check.closed("no_new_privs", "no_new_privs is set"),
            Some(_) => check.open(
                "no_new_privs",
                "not set: a set-uid program can gain privileges",
            ),
            None => check.unknown("no_new_privs", "missing in /proc/self/status"),
        }
    }
}

#[cfg(test)]
mod tests;
