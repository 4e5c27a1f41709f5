//! Threads, each with one current-thread runtime.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;

use crate::os;

/// Starts a thread with its own runtime. The thread ends when `main` does.
pub(super) fn on_thread(
    name: String,
    main: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // The runtime is created here, so that the caller receives an error if no descriptor is left.
    thread(name, runtime()?, main)
}

/// Starts a thread like [`on_thread`], with a lower priority than the other threads of the process.
pub(super) fn spawn_low_priority(
    name: String,
    main: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    on_thread(name, async move {
        os::lower_thread_priority();
        main.await;
    })
}

/// Creates a runtime that runs on the thread that blocks on it.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Starts a thread that runs `main` on this runtime.
pub(super) fn thread(
    name: String,
    runtime: Runtime,
    main: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || runtime.block_on(main))
}
