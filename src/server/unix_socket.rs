//! The file of a Unix listener: it is created with its final mode, replaces only a file on which no
//! process listens, and is removed only by the process that created it.
//!
//! Processes that start or stop at the same path at the same time exclude each other with a lock on
//! the directory. The lock is held for a moment and leaves nothing behind. It is advisory: an agent
//! that can read the directory could hold it forever, so a process that does not get it continues
//! without it.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// The mode of the file: the owner and the group may connect, others may not.
const MODE: u32 = 0o660;
/// The maximum number of attempts to get the lock, and the pause after each: one second in total.
const MAX_LOCK_TRIES: u32 = 100;
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// A reference of one worker to the shared listener.
pub struct SharedUnixListener(Arc<SocketFile>);

/// The listener and its file, which is removed when the last reference is dropped.
struct SocketFile {
    socket: Socket,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// The directory of the file. It is opened at the start, because the hardened process may not
    /// open it.
    directory: Option<File>,
    /// The number of references that still accept sockets.
    open: AtomicUsize,
}

/// Listens at this path, and returns this many references.
pub(super) fn listen(
    path: &Path,
    backlog: i32,
    copies: usize,
) -> io::Result<Vec<SharedUnixListener>> {
    let directory = open_directory(path);
    let lock = directory.as_ref().and_then(DirectoryLock::acquire);
    remove_stale(path)?;
    let socket = bind_path(path)?;
    let found = fs::symlink_metadata(path)?;
    let mut file = SocketFile {
        socket,
        path: path.to_owned(),
        identity: file_id(&found),
        directory: None,
        open: AtomicUsize::new(copies),
    };
    if found.mode() & 0o777 != MODE {
        // The umask of the process removed some bits.
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    // The file has its final mode before the socket listens. Until then the kernel refuses every
    // caller, so no other user can connect.
    file.socket.listen(backlog)?;
    drop(lock);
    file.directory = directory;
    let file = Arc::new(file);
    Ok((0..copies)
        .map(|_| SharedUnixListener(Arc::clone(&file)))
        .collect())
}

/// Returns a socket that is bound and does not listen yet. The mode is set on the socket before it
/// is bound: the kernel creates the file with the mode of the socket, less the umask, so at no
/// moment do others have more access than at the end.
fn bind_path(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    File::from(OwnedFd::from(socket.try_clone()?)).set_permissions(Permissions::from_mode(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Removes the socket file that an ended process left behind. Any other file stays, and then
/// listening fails.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(address_in_use(
            "the file at this path is not a socket; remove it",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // With a full accept queue, a blocking connect would wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(address_in_use(
            "a socket of another user is at this path; remove it if no process listens on it",
        )),
        Ok(()) | Err(_) => Err(address_in_use("another process listens there")),
    }
}

fn address_in_use(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, why)
}

/// Opens the directory of the file. `None` if it cannot be read; then there is no lock.
fn open_directory(path: &Path) -> Option<File> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).ok()
}

fn file_id(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The lock for replacing or removing files in a directory, which excludes other processes that
/// take it too.
struct DirectoryLock<'a>(&'a File);

impl<'a> DirectoryLock<'a> {
    fn acquire(directory: &'a File) -> Option<Self> {
        for _ in 0..MAX_LOCK_TRIES {
            match directory.try_lock() {
                Ok(()) => return Some(Self(directory)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY_PAUSE),
                Err(TryLockError::Error(_)) => return None,
            }
        }
        None
    }
}

impl Drop for DirectoryLock<'_> {
    fn drop(&mut self) {
        // Closing the directory releases the lock as well.
        let _held = self.0.unlock();
    }
}

impl SharedUnixListener {
    /// Returns a listener to accept from.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        Ok(OwnedFd::from(self.0.socket.try_clone()?).into())
    }

    /// Records that this reference accepts no more sockets, and returns whether it was the last
    /// one. From then on the kernel refuses new callers, and those in the queue can still be
    /// accepted.
    ///
    /// The listener is not shut down earlier: accept(2) would then fail at once instead of waiting,
    /// and the accept loops of the other workers would try again and again.
    pub(super) fn release_handle(&self) -> bool {
        let last = self.0.open.fetch_sub(1, AcqRel) == 1;
        if last {
            self.0.refuse_newcomers();
        }
        last
    }
}

impl SocketFile {
    fn refuse_newcomers(&self) {
        // The shutdown fails only if it was done before.
        let _closed = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.refuse_newcomers();
        let _lock = self.directory.as_ref().and_then(DirectoryLock::acquire);
        // The socket is still open, so no other file can have its inode.
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| file_id(&found) == self.identity);
        if ours {
            // If the directory is no longer writable, the file stays. The next start replaces it.
            let _kept = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MODE, bind_path, listen};
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixStream;

    fn mode(path: &std::path::Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn other_users_have_no_access_at_any_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = bind_path(&path).unwrap();
        assert_eq!(mode(&path) & !MODE, 0, "{:o}", mode(&path));
        // No caller can connect before the mode is final.
        assert!(UnixStream::connect(&path).is_err());
        drop(socket);
        let listeners = listen(&path, 1, 2).unwrap();
        assert_eq!(mode(&path), MODE);
        UnixStream::connect(&path).unwrap();
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn a_stopping_process_keeps_the_file_of_its_successor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = listen(&path, 1, 1).unwrap();
        fs::remove_file(&path).unwrap();
        let second = listen(&path, 1, 1).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn only_one_of_many_processes_that_start_together_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // The file of a process that was killed.
        drop(bind_path(&path).unwrap());
        let together = std::sync::Barrier::new(8);
        let all: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        listen(&path, 8, 1)
                    })
                })
                .collect();
            let started = starting.into_iter();
            started.map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
        UnixStream::connect(&path).unwrap();
    }
}
