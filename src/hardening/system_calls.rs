//! System calls, restricted by a seccomp allow-list (seccomp(2)). A call that is not on the list
//! fails with `EPERM`.
//!
//! The list contains the calls that the allocator, threads, the runtime, sockets, the resolver and
//! reading files need, on glibc and musl. These are left out on purpose:
//!
//! - executing a program (`execve`) and starting a process (`clone` without `CLONE_THREAD`),
//! - inspecting other processes (`ptrace`, `process_vm_readv`, `pidfd_getfd`),
//! - listening (`listen`): every listener is bound before,
//! - sockets other than TCP and UDP (UDP is for DNS),
//! - executable memory (`PROT_EXEC`) and files opened for writing, except that the files of a token
//!   store are replaced where consents are kept,
//! - namespaces, mounts, keys, BPF and io_uring.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::AllowedPaths;

/// Calls that are allowed with any arguments.
const UNCONDITIONAL_CALLS: &[c_long] = &[
    // Bytes of open descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_pipe2,
    // File metadata and directories. Landlock decides which files may be opened.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    // glibc's `realpath` uses these to check if the target of a link is a directory.
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Sockets. The rule for `socket` restricts which kinds can be created.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    // The event loop.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Memory that is not executable.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads and synchronization.
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpriority,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_membarrier,
    // Signals to the process itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, random numbers, and the identity of the process.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Disabled by a second filter: see `confine_system_calls`.
    libc::SYS_clone3,
];

/// Older calls with the same effect, which newer architectures lack.
#[cfg(target_arch = "x86_64")]
const LEGACY_CALLS: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_CALLS: &[c_long] = &[libc::SYS_accept];

/// Calls that replace a file of the token store, in addition to `openat` with [`CREATE_FILE`].
const STORE_CALLS: &[c_long] = &[
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_flock,
];

/// The flags of `openat` that write, create or change files, or decide how they are written.
const WRITE_FLAGS: u64 =
    word(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND | libc::O_TMPFILE);
/// Those of them with which a file of the token store is opened: without `O_TRUNC`, because a file
/// is replaced by a rename and never emptied.
const CREATE_FILE: u64 = word(libc::O_WRONLY | libc::O_CREAT);

/// The allowed commands of `fcntl`. `F_SETOWN` is not among them, because it sends signals to other
/// processes.
const DESCRIPTOR_REQUESTS: &[u64] = &[
    word(libc::F_DUPFD),
    word(libc::F_DUPFD_CLOEXEC),
    word(libc::F_GETFD),
    word(libc::F_SETFD),
    word(libc::F_GETFL),
    word(libc::F_SETFL),
];

/// The flags of `clone` that put a thread into a new namespace.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The allowed requests of `ioctl`: `TCGETS`, `FIONREAD`, `FIONBIO` and `FIOCLEX`. The numbers are
/// those of `asm-generic/ioctls.h`, because C libraries declare the constants with different types.
const DEVICE_REQUESTS: &[u64] = &[0x5401, 0x541b, 0x5421, 0x5451];

/// Restricts this thread and the threads that it starts to the allowed calls.
///
/// # Errors
///
/// Fails if filters do not support the architecture, or the kernel does not accept one.
pub(super) fn confine_system_calls(paths: &AllowedPaths) -> io::Result<()> {
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let list = compile_filter(allowed_calls(paths)?, refused, SeccompAction::Allow)?;
    // The flags of `clone3` are in memory, which a filter cannot read. If the call does not exist,
    // the C library starts threads with `clone`, whose flags are an argument.
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let inert = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let inert = compile_filter(inert, SeccompAction::Allow, absent)?;
    // The allow-list is applied last, because it does not allow another filter to be installed.
    apply_filter(&inert).map_err(io::Error::other)?;
    apply_filter(&list).map_err(io::Error::other)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile_filter(
    rules: Rules,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> io::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH.try_into().map_err(invalid_input)?;
    let filter = SeccompFilter::new(rules, otherwise, then, architecture).map_err(invalid_input)?;
    filter.try_into().map_err(invalid_input)
}

fn allowed_calls(paths: &AllowedPaths) -> io::Result<Rules> {
    let plain = UNCONDITIONAL_CALLS.iter().chain(LEGACY_CALLS);
    let mut rules: Rules = plain.map(|call| (*call, Vec::new())).collect();
    if !paths.sockets.is_empty() {
        // Socket files are removed at the end, under a lock on their directory.
        rules.insert(libc::SYS_flock, Vec::new());
        rules.insert(libc::SYS_unlinkat, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_unlink, Vec::new());
    }
    rules.extend(conditional_rules().map_err(invalid_input)?);
    if !paths.writable.is_empty() {
        rules.extend(STORE_CALLS.iter().map(|call| (*call, Vec::new())));
        // A call is allowed if one of its rules matches. Landlock limits these to the store.
        let create = all([masked(2, WRITE_FLAGS, CREATE_FILE)]).map_err(invalid_input)?;
        rules.entry(libc::SYS_openat).or_default().push(create);
    }
    Ok(rules)
}

/// Returns the rules for calls that are allowed with certain arguments only.
fn conditional_rules() -> Result<Rules, seccompiler::BackendError> {
    let (stream, datagram) = (word(libc::SOCK_STREAM), word(libc::SOCK_DGRAM));
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6].map(word) {
        for (kind, protocol) in [(stream, libc::IPPROTO_TCP), (datagram, libc::IPPROTO_UDP)] {
            // 0 stands for the default protocol of the type. Other protocols (MPTCP, SCTP) are not
            // TCP to Landlock, so its rules would not apply to them.
            for protocol in [0, word(protocol)] {
                let is_it = [equal(0, family), masked(1, 0xf, kind), equal(2, protocol)];
                sockets.push(all(is_it)?);
            }
        }
    }
    // A datagram socket of a pair could send to any socket with an address, so only stream pairs
    // are allowed.
    let pair = all([equal(0, word(libc::AF_UNIX)), masked(1, 0xf, stream)])?;
    let writing = word(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC);
    let read_only = |flags| Ok(vec![all([masked(flags, writing, word(libc::O_RDONLY))])?]);
    let not_run = || Ok(vec![all([masked(2, word(libc::PROT_EXEC), 0)])?]);
    let thread = word(libc::CLONE_THREAD);
    let one_of = |at: u8, values: &[u64]| {
        let rules = values.iter().map(|value| all([equal(at, *value)]));
        rules.collect::<Result<Vec<_>, _>>()
    };
    let itself = u64::from(std::process::id());
    Ok(BTreeMap::from([
        (libc::SYS_socket, sockets),
        // The runtime uses a pair for signals.
        (libc::SYS_socketpair, vec![pair]),
        (libc::SYS_fcntl, one_of(1, DESCRIPTOR_REQUESTS)?),
        (libc::SYS_openat, read_only(2)?),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, read_only(1)?),
        (libc::SYS_mmap, not_run()?),
        (libc::SYS_mprotect, not_run()?),
        (
            libc::SYS_clone,
            vec![all([masked(0, thread | word(NAMESPACES), thread)])?],
        ),
        // A thread lowers its own priority only: the second argument, 0, is the calling thread.
        (
            libc::SYS_setpriority,
            vec![all([equal(0, u64::from(libc::PRIO_PROCESS)), equal(1, 0)])?],
        ),
        (
            libc::SYS_prctl,
            one_of(0, &[word(libc::PR_SET_NAME), word(libc::PR_SET_VMA)])?,
        ),
        (libc::SYS_ioctl, one_of(1, DEVICE_REQUESTS)?),
        // The process reads its own limits, and sets none: the new limit is a null pointer.
        (libc::SYS_prlimit64, vec![all([equal(0, 0), null(2)])?]),
        // For `abort`, which signals the calling thread.
        (libc::SYS_tgkill, one_of(0, &[itself])?),
    ]))
}

type Condition = Result<SeccompCondition, seccompiler::BackendError>;

fn all<const N: usize>(
    conditions: [Condition; N],
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

/// Compares the lower half of an argument, for arguments of type `int`. The upper half may contain
/// anything.
fn equal(argument: u8, value: u64) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Condition {
    let operator = SeccompCmpOp::MaskedEq(mask);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn null(argument: u8) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

/// Returns an `int` of the C library as the filter compares it.
const fn word(value: libc::c_int) -> u64 {
    value.cast_unsigned() as u64
}

fn invalid_input(error: seccompiler::BackendError) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, error)
}
