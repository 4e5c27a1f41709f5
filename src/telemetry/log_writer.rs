//! A thread that writes lines to a stream, and the bounded queue before it: both logs are made of this.
//!
//! Whoever sends never waits. A line that finds the queue full, or that the stream does not take, is lost and counted; once the stream takes lines again it is
//! reported how many. A line goes out whole or in a write of its own, so that two logs on one pipe do not mix theirs.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// What one write takes at most, unless a single line is longer: a pipe takes this many bytes in one piece (`PIPE_BUF`).
const MAX_WRITE: usize = 4096;
/// After a batch, lines gather this long: under load, whoever sends one wakes nobody up.
const BATCH_PAUSE: Duration = Duration::from_millis(5);
/// Between two tries on a stream or a queue that is full.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How often it is reported at most that lines were lost.
const LOSS_REPORT_PAUSE: Duration = Duration::from_secs(10);

/// How items become lines.
pub(super) trait LogFormatter: Send + 'static {
    /// What is sent.
    type Item: Send + 'static;

    /// Appends the line of an item, line end included.
    fn append_item(&mut self, item: &Self::Item, into: &mut Vec<u8>);

    /// This many lines were lost since this was last called; appends a line, if it is reported on this stream.
    fn report_lost(&mut self, lines: u64, into: &mut Vec<u8>);
}

/// The queue of the thread. Dropping the last one ends the thread, once it has written what is
/// queued.
pub(super) struct LogQueue<T> {
    jobs: SyncSender<Job<T>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Lines that were lost.
    lost: AtomicU64,
    /// Writes that the stream took.
    writes: AtomicU64,
}

enum Job<T> {
    Line(T),
    /// All lines before this one are written.
    Flush(SyncSender<()>),
}

struct LogWriter<L: LogFormatter, W> {
    jobs: Receiver<Job<L::Item>>,
    formatter: L,
    out: W,
    /// Lines that are not yet written, and how many.
    buffer: Vec<u8>,
    buffered: u64,
    progress: Arc<Progress>,
    reported: u64,
    reported_at: Option<Instant>,
}

impl<T: Send + 'static> LogQueue<T> {
    /// Starts a thread of this name that writes to `out`; at most `capacity` items wait for it.
    pub(super) fn start(
        thread: &str,
        capacity: usize,
        formatter: impl LogFormatter<Item = T>,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(capacity);
        let progress = Arc::default();
        let writer = LogWriter {
            jobs: waiting,
            formatter,
            out,
            buffer: Vec::with_capacity(2 * MAX_WRITE),
            buffered: 0,
            progress: Arc::clone(&progress),
            reported: 0,
            reported_at: None,
        };
        std::thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || writer.run())?;
        Ok(Self { jobs, progress })
    }

    /// Queues an item; never waits. False if the thread is gone.
    pub(super) fn send(&self, item: T) -> bool {
        match self.jobs.try_send(Job::Line(item)) {
            Ok(()) => true,
            Err(refused) => {
                self.progress.lost.fetch_add(1, Relaxed);
                matches!(refused, TrySendError::Full(_))
            }
        }
    }

    /// Lines that were lost so far.
    pub(super) fn lost_lines(&self) -> u64 {
        self.progress.lost.load(Relaxed)
    }

    /// Waits until all that was queued before is written. Gives up once the stream has taken nothing for this long, and after ten times as long in any case.
    /// Whether it is written.
    pub(super) fn flush(&self, stall_timeout: Duration) -> bool {
        let mut has_time = flush_deadline(&self.progress.writes, stall_timeout);
        let (done, written) = sync_channel(1);
        let mut job = Job::Flush(done);
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if has_time() => {
                    job = back;
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return false,
            }
        }
        loop {
            match written.recv_timeout(RETRY_PAUSE) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Timeout) if has_time() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// Returns whether there is still time to wait. The deadline moves with each write that the stream
/// takes.
fn flush_deadline(writes: &AtomicU64, stall_timeout: Duration) -> impl FnMut() -> bool {
    let begun = Instant::now();
    let (mut seen, mut until) = (writes.load(Relaxed), begun + stall_timeout);
    move || {
        let (now, written) = (Instant::now(), writes.load(Relaxed));
        if written != seen {
            (seen, until) = (written, now + stall_timeout);
        }
        now < until.min(begun + 10 * stall_timeout)
    }
}

impl<L: LogFormatter, W: Write> LogWriter<L, W> {
    fn run(mut self) {
        loop {
            match self.next_job() {
                Ok(job) => self.handle_job(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(job) = self.jobs.try_recv() {
                self.handle_job(job);
            }
            self.report_loss(false);
            self.write_buffer();
            std::thread::sleep(BATCH_PAUSE);
        }
    }

    fn next_job(&self) -> Result<Job<L::Item>, RecvTimeoutError> {
        if self.unreported_lines() > 0 {
            self.jobs.recv_timeout(LOSS_REPORT_PAUSE)
        } else {
            self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        }
    }

    fn handle_job(&mut self, job: Job<L::Item>) {
        match job {
            Job::Line(item) => {
                let before = self.buffer.len();
                self.formatter.append_item(&item, &mut self.buffer);
                if self.buffer.len() > MAX_WRITE && before > 0 {
                    let last = self.buffer.split_off(before);
                    self.report_loss(false);
                    self.write_buffer();
                    self.buffer.extend_from_slice(&last);
                }
                self.buffered += 1;
            }
            Job::Flush(done) => {
                self.report_loss(true);
                self.write_buffer();
                // Who asked may have stopped waiting.
                let _unheard = done.try_send(());
            }
        }
    }

    fn unreported_lines(&self) -> u64 {
        self.progress
            .lost
            .load(Relaxed)
            .saturating_sub(self.reported)
    }

    fn report_loss(&mut self, at_once: bool) {
        let unreported = self.unreported_lines();
        let due = self
            .reported_at
            .is_none_or(|at| at.elapsed() >= LOSS_REPORT_PAUSE);
        if unreported > 0 && (due || at_once) {
            self.reported += unreported;
            self.reported_at = Some(Instant::now());
            self.formatter.report_lost(unreported, &mut self.buffer);
        }
    }

    fn write_buffer(&mut self) {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(written @ 1..) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.progress.writes.fetch_add(1, Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody made the stream non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(RETRY_PAUSE)
                }
                // A stream that is gone has no reader to tell.
                Ok(0) | Err(_) => {
                    self.progress.lost.fetch_add(self.buffered, Relaxed);
                    break;
                }
            }
        }
        self.buffer.clear();
        self.buffered = 0;
        let _unheard = self.out.flush();
    }
}

#[cfg(test)]
mod tests;
