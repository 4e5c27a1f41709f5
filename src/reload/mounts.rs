//! Files that are mounts of their own. Whoever replaces such a file outside replaces a name that this process never sees: a Kubernetes `subPath` stays
//! what it was at the start of the container, and so does a single file that was bound into one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Mount points, as the kernel lists them for this process.
pub(super) fn read_mountinfo() -> String {
    // Without it nothing is known, and nothing is said.
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// Those of the files that are mount points.
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

/// The fifth field of a line; white space and backslashes in it are three octal digits after a backslash (proc(5)).
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
