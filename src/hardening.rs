//! Privileges that the process drops at the start, to limit what an attacker can do who compromises
//! it or runs as the same user.
//!
//! There are four measures, and none can be undone:
//!
//! - `memory`: the memory, which contains every credential, cannot be dumped or read by other
//!   processes.
//! - privileges: no program that the process executes could gain privileges.
//! - `files`: only the files of the configuration can be read, and only the files of the token
//!   store, if there is one, can be replaced (Landlock).
//! - `system_calls`: only the system calls of a proxy are allowed (seccomp).
//!
//! The first two apply to the process and are taken first. The other two apply to the calling
//! thread and the threads that it starts. They must be taken after the listeners are bound and the
//! files are read, and before any other thread is started.

mod files;
mod memory;
mod system_calls;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::thread::set_no_new_privs;

/// The paths that the confined process still needs.
#[derive(Clone, Debug, Default)]
pub struct AllowedPaths {
    /// Directories and files that are read again later. Access to a directory includes everything
    /// in it.
    pub readable: Vec<PathBuf>,
    /// Unix sockets that are removed when the process stops.
    pub sockets: Vec<PathBuf>,
    /// Directories in which files are created, written, renamed and removed. Access includes the
    /// directories in them. Empty unless consents of persons are stored.
    pub writable: Vec<PathBuf>,
}

/// Makes the memory of this process inaccessible to other processes of the same user, and refuses
/// core files. For commands that hold secrets and start other programs: these may gain privileges.
pub fn protect_memory() -> io::Result<()> {
    memory::refuse_dumps()
}

/// A hardening measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// No core file; no process of the same user can attach or read `/proc/PID/mem`.
    Memory,
    /// No executed program gains privileges (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    Privileges,
    /// Landlock: the process reads its configuration and `/proc/self`, and writes nothing but the
    /// files of the token store, if there is one.
    Files,
    /// seccomp: an allow-list of system calls.
    SystemCalls,
}

/// The state of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasureState {
    /// The measure was not requested.
    Off,
    /// The measure is in effect.
    Held,
    /// The measure could not be taken, for this reason.
    Failed(Box<str>),
}

/// The state of every measure.
#[derive(Clone, Debug)]
pub struct Hardening {
    states: [MeasureState; Measure::ALL.len()],
    /// The directories and files that the process can still read or write after it was confined.
    reachable: Vec<PathBuf>,
}

impl Measure {
    /// All measures, in the order in which they are taken.
    pub const ALL: [Self; 4] = [
        Self::Memory,
        Self::Privileges,
        Self::Files,
        Self::SystemCalls,
    ];

    /// Returns the stable name, in `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Privileges => "privileges",
            Self::Files => "files",
            Self::SystemCalls => "system_calls",
        }
    }
}

impl MeasureState {
    /// Returns whether the measure is in effect.
    pub fn is_held(&self) -> bool {
        *self == Self::Held
    }
}

impl Hardening {
    /// Returns the state before any measure is taken.
    pub fn off() -> Self {
        Self {
            states: [const { MeasureState::Off }; Measure::ALL.len()],
            reachable: Vec::new(),
        }
    }

    /// Takes the measures that do not restrict the start of the process. Must be called before any
    /// secret is read.
    pub fn begin() -> Self {
        let mut hardening = Self::off();
        hardening.record(Measure::Memory, memory::refuse_dumps());
        hardening.record(
            Measure::Privileges,
            set_no_new_privs(true).map_err(Into::into),
        );
        hardening
    }

    /// Confines the calling thread, and every thread that it starts from now on, to the needed
    /// paths and system calls. Listeners must be bound before, because a confined thread cannot
    /// bind one.
    #[must_use]
    pub fn confine(mut self, paths: &AllowedPaths) -> Self {
        // Landlock first: the system calls that set it up are not on the allow-list.
        self.record(Measure::Files, files::confine_files(paths));
        self.record(
            Measure::SystemCalls,
            system_calls::confine_system_calls(paths),
        );
        let reachable = paths.readable.iter().chain(&paths.writable);
        self.reachable = reachable.cloned().collect();
        self
    }

    /// Does the same as [`Hardening::confine`], for a process without other threads. Reports both
    /// measures as failed if there are other threads, because these would stay unconfined.
    #[must_use]
    pub fn confine_process(self, paths: &AllowedPaths) -> Self {
        match thread_count() {
            Ok(1) => self.confine(paths),
            counted => {
                let why = match counted {
                    Ok(threads) => format!("internal error: {threads} threads are already running"),
                    Err(error) => format!("/proc/self/task: {error}"),
                };
                // The measures are still taken, but reported as failed, because other threads are
                // not covered.
                let mut hardening = self.confine(paths);
                hardening.record(Measure::Files, Err(io::Error::other(why.as_str())));
                hardening.record(Measure::SystemCalls, Err(io::Error::other(why)));
                hardening
            }
        }
    }

    /// Returns every measure with its state.
    pub fn states(&self) -> impl Iterator<Item = (Measure, &MeasureState)> {
        Measure::ALL.into_iter().zip(&self.states)
    }

    /// Returns whether this measure is in effect.
    pub fn is_held(&self, measure: Measure) -> bool {
        let mut states = self.states();
        states.any(|(found, state)| found == measure && state.is_held())
    }

    /// Returns whether the process is confined, and this path was not among those that it needs.
    pub fn excludes(&self, path: &Path) -> bool {
        let is_confined = self.is_held(Measure::Files) || self.is_held(Measure::SystemCalls);
        is_confined && !self.reachable.iter().any(|reachable| reachable == path)
    }

    /// Returns whether every measure is in effect.
    pub fn is_complete(&self) -> bool {
        self.states.iter().all(MeasureState::is_held)
    }

    fn record(&mut self, measure: Measure, taken: io::Result<()>) {
        let state = match taken {
            Ok(()) => MeasureState::Held,
            Err(error) => MeasureState::Failed(error.to_string().into()),
        };
        if let Some(place) = self.states.get_mut(measure as usize) {
            *place = state;
        }
    }
}

fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Displays one line: `memory held, privileges held, files failed (…), system_calls held`.
impl fmt::Display for Hardening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (measure, state)) in self.states().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {state}", measure.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Display for MeasureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Held => f.write_str("held"),
            Self::Failed(why) => write!(f, "failed ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_every_measure() {
        let mut hardening = Hardening::off();
        assert_eq!(
            hardening.to_string(),
            "memory off, privileges off, files off, system_calls off"
        );
        for measure in Measure::ALL {
            assert!(!hardening.is_complete());
            hardening.record(measure, Ok(()));
        }
        assert!(hardening.is_complete());
        hardening.record(Measure::Files, Err(io::Error::other("no Landlock")));
        assert_eq!(
            hardening.to_string(),
            "memory held, privileges held, files failed (no Landlock), system_calls held"
        );
    }
}
