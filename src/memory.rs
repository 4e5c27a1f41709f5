//! Measures how close the process is to the memory limit of its control group. New requests are
//! refused before the limit is reached, because beyond it the kernel kills the process and with it
//! every running request.
//!
//! The files of the group are opened once, at the start, and read again through the same handles,
//! so this works after hardening has taken the right to open files. Reading them takes a few
//! microseconds, and is done on a thread that serves no requests.

mod location;
mod shortage;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use location::{GroupLocation, Version};
pub use shortage::MemoryShortage;

/// Memory is short from this percentage of the limit.
const SHORT_PERCENT: u64 = 90;
/// Memory is no longer short below this percentage. The gap keeps the flag from changing with each
/// sample.
const RECOVERED_PERCENT: u64 = 85;
/// Values from here on mean that there is no limit: version 1 shows a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;
/// The most bytes that are read of a file. `memory.stat` has about 2 KiB.
const MOST_READ: usize = 16 * 1024;

/// A size above the largest block that the allocator puts onto a page with others (512 KiB), in
/// bytes.
const OWN_PAGE_SIZE: usize = 1024 * 1024;

/// Makes the allocator return freed memory to the system.
///
/// mimalloc keeps a freed page for a second in case it is needed again (`purge_delay`), and looks
/// for expired pages only when another page is freed. A process that has just become idle frees no
/// page, so this function allocates and frees one. It writes nothing to it, so the page takes no
/// memory. Call this about once a second on each thread that allocates much.
pub fn return_freed() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(
        OWN_PAGE_SIZE,
    )));
}

/// Samples the memory usage of the control groups that limit this process. The innermost group
/// comes first.
pub struct MemoryMonitor {
    levels: Vec<ControlGroup>,
    shortage: MemoryShortage,
}

/// The usage of the group that is closest to its limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The memory that the group uses, without the file pages that the kernel can take back at
    /// once: the working set, as the kubelet counts it.
    pub used: u64,
    /// The limit of the group.
    pub limit: u64,
    /// `true` if memory is short: from 90 % on, until the usage is below 85 %.
    pub is_short: bool,
}

/// The open files of a control group.
struct ControlGroup {
    limit: File,
    usage: File,
    statistics: File,
    /// The name of the line in `memory.stat` with the file pages that were not used lately.
    inactive: &'static str,
}

impl MemoryMonitor {
    /// Creates a monitor for the control group of this process. Returns `None` if the process is in
    /// no group that accounts for memory.
    pub fn from_system() -> Option<Self> {
        let read = |path| std::fs::read_to_string(path).ok();
        let groups = read("/proc/self/cgroup")?;
        let mounts = read("/proc/self/mountinfo")?;
        Self::from_location(&GroupLocation::find(&groups, &mounts)?)
    }

    /// Creates a monitor for the control group of version 2 in this directory.
    pub fn from_directory(directory: &Path) -> Option<Self> {
        Self::from_location(&GroupLocation {
            version: Version::Two,
            directory: directory.to_owned(),
            top: directory.to_owned(),
        })
    }

    fn from_location(location: &GroupLocation) -> Option<Self> {
        let levels: Vec<ControlGroup> = location
            .levels()
            .filter_map(|directory| ControlGroup::open(directory, location.version))
            .collect();
        (!levels.is_empty()).then_some(Self {
            levels,
            shortage: MemoryShortage::default(),
        })
    }

    /// Returns the flag that each sample sets.
    pub fn shortage(&self) -> MemoryShortage {
        self.shortage.clone()
    }

    /// Reads the current usage, and sets the flag. Returns `None` if there is no limit. `expected`
    /// is the number of bytes that running requests may still allocate. They count as used when the
    /// flag is set, but are not part of the returned usage.
    pub fn sample(&mut self, expected: u64) -> Option<Usage> {
        let usages = self.levels.iter().filter_map(ControlGroup::usage);
        let tightest = usages.max_by_key(|(used, limit)| percent(*used, *limit));
        let Some((used, limit)) = tightest else {
            self.shortage.set(false);
            return None;
        };
        let bound = if self.shortage.is_set() {
            RECOVERED_PERCENT
        } else {
            SHORT_PERCENT
        };
        let is_short = percent(used.saturating_add(expected), limit) >= bound;
        self.shortage.set(is_short);
        Some(Usage {
            used,
            limit,
            is_short,
        })
    }
}

impl ControlGroup {
    /// Opens the files of a group, also if it has no limit: it may get one later. The root group
    /// has no such files.
    fn open(directory: &Path, version: Version) -> Option<Self> {
        let (limit, usage, inactive) = match version {
            Version::One => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
            Version::Two => ("memory.max", "memory.current", "inactive_file"),
        };
        let open = |name| File::open(directory.join(name)).ok();
        Some(Self {
            limit: open(limit)?,
            usage: open(usage)?,
            statistics: open("memory.stat")?,
            inactive,
        })
    }

    /// Returns the usage and the limit. Returns `None` if the group has no limit, or if a file
    /// cannot be read or does not contain a number.
    fn usage(&self) -> Option<(u64, u64)> {
        let number = |file| read_text(file)?.trim().parse::<u64>().ok();
        let limit = number(&self.limit).filter(|limit| (1..NO_LIMIT).contains(limit))?;
        let all = number(&self.usage)?;
        // Reading `memory.stat` is expensive with many control groups, because the kernel sums up
        // the statistics of all of them. So it is skipped while the usage is low.
        let used = if percent(all, limit) < RECOVERED_PERCENT {
            all
        } else {
            all.saturating_sub(self.inactive_bytes().unwrap_or(0))
        };
        Some((used, limit))
    }

    fn inactive_bytes(&self) -> Option<u64> {
        let statistics = read_text(&self.statistics)?;
        let mut lines = statistics.lines();
        lines.find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == self.inactive).then_some(value)?.parse().ok()
        })
    }
}

fn percent(used: u64, limit: u64) -> u64 {
    // The limit is never 0, and a usage is far too small to overflow.
    used.saturating_mul(100).checked_div(limit).unwrap_or(0)
}

/// Reads the current content of a file from its beginning.
fn read_text(file: &File) -> Option<String> {
    let mut bytes = vec![0; MOST_READ];
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read_at(room, length as u64).ok()? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{MemoryMonitor, Usage, Version};
    use crate::memory::location::GroupLocation;
    use std::fs;
    use std::path::Path;

    const MIB: u64 = 1024 * 1024;

    fn write(directory: &Path, files: [(&str, String); 3]) {
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    /// Writes the files of a group of version 2 that uses this many MiB of 100, of which so many
    /// are for files that were not used lately.
    fn write_usage(directory: &Path, all: u64, inactive: u64) {
        let statistics = format!(
            "anon 1\nfile 2\nactive_file 3\ninactive_file {}\ntotal_inactive_file 7\n",
            inactive * MIB
        );
        write(
            directory,
            [
                ("memory.max", format!("{}\n", 100 * MIB)),
                ("memory.current", format!("{}\n", all * MIB)),
                ("memory.stat", statistics),
            ],
        );
    }

    #[test]
    fn memory_is_short_from_90_percent_until_below_85() {
        // F-164
        let group = tempfile::tempdir().unwrap();
        write_usage(group.path(), 10, 0);
        let mut memory = MemoryMonitor::from_directory(group.path()).unwrap();
        for (all, inactive, used, is_short) in [
            (10, 0, 10, false),
            (89, 0, 89, false),
            (90, 0, 90, true),
            (100, 0, 100, true),
            (86, 0, 86, true),
            (85, 0, 85, true),
            (84, 0, 84, false),
            (89, 0, 89, false),
            // Pages of files that were not used lately do not count as used.
            (99, 30, 69, false),
            (99, 5, 94, true),
            (99, 15, 84, false),
        ] {
            write_usage(group.path(), all, inactive);
            let expected = Usage {
                used: used * MIB,
                limit: 100 * MIB,
                is_short,
            };
            assert_eq!(memory.sample(0), Some(expected), "{all} {inactive}");
        }
    }

    #[test]
    fn expected_growth_counts_as_used() {
        // F-268
        let group = tempfile::tempdir().unwrap();
        write_usage(group.path(), 80, 0);
        let mut memory = MemoryMonitor::from_directory(group.path()).unwrap();
        for (expected, is_short) in [(9, false), (10, true), (5, true), (4, false)] {
            let usage = memory.sample(expected * MIB).unwrap();
            assert_eq!((usage.used, usage.is_short), (80 * MIB, is_short));
        }
    }

    #[test]
    fn limits_may_change_and_invalid_values_are_ignored() {
        let group = tempfile::tempdir().unwrap();
        write_usage(group.path(), 95, 0);
        let mut memory = MemoryMonitor::from_directory(group.path()).unwrap();
        assert!(memory.sample(0).unwrap().is_short);
        for none in ["max\n", "", "0\n", "-1\n", "9223372036854771712\n", "1e9"] {
            fs::write(group.path().join("memory.max"), none).unwrap();
            assert_eq!(memory.sample(0), None, "{none:?}");
        }
        write_usage(group.path(), 86, 0);
        assert!(
            !memory.sample(0).unwrap().is_short,
            "the missing limit has reset the flag"
        );
        fs::write(group.path().join("memory.current"), "lots").unwrap();
        assert_eq!(memory.sample(0), None);
        fs::remove_file(group.path().join("memory.stat")).unwrap();
        assert!(MemoryMonitor::from_directory(group.path()).is_none());
    }

    #[test]
    fn the_tightest_limit_above_counts() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("slice/service");
        fs::create_dir_all(&inner).unwrap();
        let of = |limit: &str, usage: u64| {
            [
                ("memory.limit_in_bytes", limit.to_owned()),
                ("memory.usage_in_bytes", format!("{usage}\n")),
                ("memory.stat", "total_inactive_file 50\n".to_owned()),
            ]
        };
        write(&inner, of("9223372036854771712\n", 500));
        write(top.path(), of("1000\n", 940));
        let location = GroupLocation {
            version: Version::One,
            directory: inner,
            top: top.path().to_owned(),
        };
        let mut memory = MemoryMonitor::from_location(&location).unwrap();
        let usage = memory.sample(0).unwrap();
        assert_eq!(
            (usage.used, usage.limit, usage.is_short),
            (890, 1000, false)
        );
        write(top.path(), of("1000\n", 960));
        assert!(memory.sample(0).unwrap().is_short);
    }

    #[test]
    fn the_system_is_read_without_errors() {
        // The result depends on the machine: a container with a limit, or a machine without control
        // groups.
        if let Some(mut memory) = MemoryMonitor::from_system() {
            let limits_nothing_silly = |usage: Usage| usage.limit > 0 && usage.used > 0;
            assert!(memory.sample(0).is_none_or(limits_nothing_silly));
        }
    }
}
