//! Threads, each with one current-thread runtime.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;

/// Starts a thread with a runtime of its own; it ends with `main`.
pub(super) fn on_thread(
    name: String,
    main: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread(name, runtime()?, main)
}

/// How much a thread for operators gives way (`nice`): beside a worker that wants the same core it gets a tenth. Whoever floods it takes from it, not from agents.
const GIVING_WAY: i32 = 10;

/// As [`on_thread`], and the thread gives way to others of the process.
pub(super) fn on_modest_thread(
    name: String,
    main: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    on_thread(name, async move {
        // Linux keeps a priority for each thread, and nobody is forbidden to lower his own. Where it fails all the same, nothing is lost but the courtesy.
        let _unchanged = rustix::process::setpriority_process(None, GIVING_WAY);
        main.await;
    })
}

/// A runtime that runs on the thread that blocks on it.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Starts a thread for this runtime.
pub(super) fn thread(
    name: String,
    runtime: Runtime,
    main: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || runtime.block_on(main))
}
