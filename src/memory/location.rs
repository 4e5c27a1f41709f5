//! Finds the control group of this process (cgroups(7), proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

/// The most nested groups that are sampled.
const MOST_LEVELS: usize = 8;

/// The directory of a group that accounts for memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GroupLocation {
    pub(super) version: Version,
    pub(super) directory: PathBuf,
    /// The outermost visible group: `directory` itself or one of its ancestors.
    pub(super) top: PathBuf,
}

/// The version of control groups, which determines the names of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl GroupLocation {
    /// Finds the group in the contents of `/proc/self/cgroup` and `/proc/self/mountinfo`. On a
    /// machine that uses both versions, version 1 accounts for memory.
    pub(super) fn find(groups: &str, mounts: &str) -> Option<Self> {
        let locate = |version| Self::for_version(version, groups, mounts);
        locate(Version::One).or_else(|| locate(Version::Two))
    }

    fn for_version(version: Version, groups: &str, mounts: &str) -> Option<Self> {
        let group = groups.lines().find_map(|line| version.group(line))?;
        let (root, top) = mounts.lines().find_map(|line| version.mount(line))?;
        let top = PathBuf::from(top);
        // In a container the mount is often the group itself, while the path is the one on the
        // host.
        let below = Path::new(group).strip_prefix(root).ok();
        let below = below.filter(|below| !below.components().any(|part| part.as_os_str() == ".."));
        Some(Self {
            version,
            directory: below.map_or_else(|| top.clone(), |below| top.join(below)),
            top,
        })
    }

    /// Returns the directories of the group and of the groups that contain it, the innermost first.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Path> {
        let above = self.directory.ancestors();
        above
            .take_while(|level| level.starts_with(&self.top))
            .take(MOST_LEVELS)
    }
}

impl Version {
    /// Returns the path of the group in a line of `/proc/self/cgroup`: `4:memory:/a/b`, or
    /// `0::/a/b`.
    fn group(self, line: &str) -> Option<&str> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = match self {
            Self::One => controllers.split(',').any(|name| name == "memory"),
            Self::Two => number == "0" && controllers.is_empty(),
        };
        fits.then_some(path)
    }

    /// Returns the mounted directory and the mount point in a line of `/proc/self/mountinfo`.
    fn mount(self, line: &str) -> Option<(&str, &str)> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let (kind, _source, options) = (system.next()?, system.next()?, system.next()?);
        let fits = match self {
            Self::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
            Self::Two => kind == "cgroup2",
        };
        fits.then_some((root, point))
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupLocation, Version};

    fn found(groups: &str, mounts: &str) -> Option<(Version, String, usize)> {
        let location = GroupLocation::find(groups, mounts)?;
        let levels = location.levels().count();
        let directory = location.directory.display().to_string();
        Some((location.version, directory, levels))
    }

    const V2: &str = "22 1 0:5 / / rw - ext4 /dev/vda rw\n30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_group_is_found_with_every_kind_of_mount() {
        let two = |directory: &str, levels| Some((Version::Two, directory.to_owned(), levels));
        let one = |directory: &str, levels| Some((Version::One, directory.to_owned(), levels));
        // A container with its own cgroup namespace; a service; a login session.
        assert_eq!(found("0::/\n", V2), two("/sys/fs/cgroup/", 1));
        assert_eq!(
            found("0::/system.slice/egressd.service\n", V2),
            two("/sys/fs/cgroup/system.slice/egressd.service", 3)
        );
        // A group outside this namespace: only the mount is visible.
        assert_eq!(found("0::/../sibling\n", V2), two("/sys/fs/cgroup", 1));
        // Both versions are mounted, and version 1 accounts for memory.
        let groups = "8:pids:/\n4:memory,hugetlb:/docker/1f\n0::/docker/1f\n";
        assert_eq!(found(groups, V1), one("/sys/fs/cgroup/memory/docker/1f", 3));
        // A container without a cgroup namespace: the path is the host's, and the mount is its last
        // directory.
        let mounted = V1.replace("0:33 / ", "0:33 /docker/1f ");
        assert_eq!(found(groups, &mounted), one("/sys/fs/cgroup/memory/", 1));
        let elsewhere = V1.replace("0:33 / ", "0:33 /kubepods/2e ");
        assert_eq!(found(groups, &elsewhere), one("/sys/fs/cgroup/memory", 1));
    }

    #[test]
    fn invalid_or_missing_groups_are_not_found() {
        for (groups, mounts) in [
            ("", ""),
            ("0::/\n", ""),
            ("0::/\n", V1.lines().next().unwrap()),
            ("nonsense\n\n::\n", "nonsense\n - \na b - c\n"),
            ("4:memory:/a\n", V2),
        ] {
            assert_eq!(found(groups, mounts), None, "{groups:?}");
        }
        let deep = format!("0::{}\n", "/a".repeat(100));
        assert_eq!(found(&deep, V2).unwrap().2, super::MOST_LEVELS);
    }
}
