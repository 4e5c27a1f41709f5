//! What the process gives up, so that whoever gets into it or beside it gets less.
//!
//! Four measures, each for good: no image of the memory, which holds every credential (`memory`), no new privileges, no files but the
//! configuration's (`files`, Landlock), no system calls but those of a proxy (`system_calls`, seccomp). The first two belong to the very start. The other two are
//! a thread's own and are inherited by the threads that it starts, so they belong where listeners are bound and files are read, and no thread runs yet.

mod files;
mod memory;
mod system_calls;

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::thread::set_no_new_privs;

/// What the process still needs when it is confined.
#[derive(Clone, Debug, Default)]
pub struct AllowedPaths {
    /// Directories and files that are read again later; what lies beneath a directory is read too.
    pub readable: Vec<PathBuf>,
    /// Unix sockets that are removed at the end.
    pub sockets: Vec<PathBuf>,
}

/// One of the measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// No core file; no process of the same user may attach or read `/proc/PID/mem`.
    Memory,
    /// No program that it would start has more rights than it.
    Privileges,
    /// Landlock: it reads its configuration and itself, and writes nothing.
    Files,
    /// seccomp: an allow-list of system calls.
    SystemCalls,
}

/// What became of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasureState {
    /// Nobody asked for it.
    Off,
    /// It holds.
    Held,
    /// It does not; why.
    Failed(Box<str>),
}

/// What became of all of them.
#[derive(Clone, Debug)]
pub struct Hardening {
    states: [MeasureState; Measure::ALL.len()],
}

impl Measure {
    /// All that there are, in the order in which they are taken.
    pub const ALL: [Self; 4] = [
        Self::Memory,
        Self::Privileges,
        Self::Files,
        Self::SystemCalls,
    ];

    /// A stable name, in `snake_case`.
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
    /// Whether the measure holds.
    pub fn is_held(&self) -> bool {
        *self == Self::Held
    }
}

impl Hardening {
    /// None of it.
    pub fn off() -> Self {
        Self {
            states: [const { MeasureState::Off }; Measure::ALL.len()],
        }
    }

    /// Takes the measures that nothing of the start is in the way of. It belongs before any secret is read.
    pub fn begin() -> Self {
        let mut hardening = Self::off();
        hardening.record(Measure::Memory, memory::refuse_dumps());
        hardening.record(
            Measure::Privileges,
            set_no_new_privs(true).map_err(Into::into),
        );
        hardening
    }

    /// Confines the calling thread, and every thread that it starts from now on, to what is needed. Listeners must be bound before: none can be bound after.
    #[must_use]
    pub fn confine(mut self, paths: &AllowedPaths) -> Self {
        self.record(Measure::Files, files::confine_files(paths));
        self.record(
            Measure::SystemCalls,
            system_calls::confine_system_calls(paths),
        );
        self
    }

    /// As [`Hardening::confine`], for a process that has no other thread: with one, nothing would be gained, and it says so.
    #[must_use]
    pub fn confine_process(self, paths: &AllowedPaths) -> Self {
        match thread_count() {
            Ok(1) => self.confine(paths),
            counted => {
                let why = match counted {
                    Ok(threads) => format!("{threads} threads run already: a bug"),
                    Err(error) => format!("/proc/self/task: {error}"),
                };
                let mut hardening = self.confine(paths);
                hardening.record(Measure::Files, Err(io::Error::other(why.as_str())));
                hardening.record(Measure::SystemCalls, Err(io::Error::other(why)));
                hardening
            }
        }
    }

    /// Every measure and what became of it.
    pub fn states(&self) -> impl Iterator<Item = (Measure, &MeasureState)> {
        Measure::ALL.into_iter().zip(&self.states)
    }

    /// Whether this measure holds.
    pub fn is_held(&self, measure: Measure) -> bool {
        let mut states = self.states();
        states.any(|(found, state)| found == measure && state.is_held())
    }

    /// Whether every measure holds.
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

/// One line: `memory held, privileges held, files failed (…), system_calls held`.
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
