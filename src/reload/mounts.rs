//! Finds files that are mounts of their own. Replacing such a file outside the container does not
//! change what this process sees: a Kubernetes `subPath`, or a single file that was bound into a
//! container, stays as it was when the container started.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Returns the mount points of this process, as the kernel lists them, or an empty text if the list
/// cannot be read.
pub(super) fn read_mountinfo() -> String {
    // Without the list no file is reported, because the warning is only advice.
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// Returns the files that are mount points.
pub(super) fn single_file_mounts<'f>(
    mountinfo: &str,
    files: impl Iterator<Item = &'f Path>,
) -> Vec<&'f Path> {
    let points: BTreeSet<Vec<u8>> = mountinfo.lines().filter_map(mount_point).collect();
    files
        .filter(|file| {
            let resolved = fs::canonicalize(file).unwrap_or_default();
            points.contains(resolved.as_os_str().as_bytes())
        })
        .collect()
}

/// Parses the fifth field of a line, the mount point. White space and backslashes in it are written
/// as a backslash and three octal digits (proc(5)).
fn mount_point(line: &str) -> Option<Vec<u8>> {
    let field = line.split(' ').nth(4)?;
    let mut pieces = field.split('\\');
    let mut point = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(3)?;
        point.push(u8::from_str_radix(digits, 8).ok()?);
        point.extend_from_slice(rest.as_bytes());
    }
    Some(point)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{mount_point, single_file_mounts};

    #[test]
    fn a_file_that_is_a_mount_is_found() {
        // F-172
        let world = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(world.path()).unwrap();
        let names = ["with space.yaml", "mounted.yaml", "plain.yaml"];
        let files = names.map(|name| at.join(name));
        for file in &files {
            fs::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink(&files[1], at.join("link.yaml")).unwrap();
        let shown = at.to_str().unwrap();
        let mountinfo = format!(
            "22 28 0:21 / /proc rw,nosuid - proc proc rw\n\
             700 650 8:1 /a\\040b {shown}/with\\040space.yaml ro,relatime shared:1 - ext4 /dev/sda1 rw\n\
             701 650 8:1 /c {shown}/mounted.yaml ro - ext4 /dev/sda1 rw\n\
             702 650 8:1 /d {shown} ro - ext4 /dev/sda1 rw\n\
             cut off\n"
        );
        let link = at.join("link.yaml");
        let all = files.iter().chain([&link]).map(AsRef::as_ref);
        assert_eq!(
            single_file_mounts(&mountinfo, all),
            [&files[0], &files[1], &link].map(|file| file.as_path())
        );
    }

    #[test]
    fn escapes_are_bytes() {
        let parse = |text: &str| mount_point(&format!("1 2 3 4 {text} rw"));
        assert_eq!(parse("/a\\134\\011b"), Some(b"/a\\\tb".to_vec()));
        assert_eq!(parse("/a\\9"), None);
        assert_eq!(parse("/a\\999"), None);
    }
}
