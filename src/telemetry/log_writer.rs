//! The writer of both logs: a bounded queue, and a thread that writes its lines to a stream.
//!
//! Senders never wait. A line is lost and counted if the queue is full or the stream fails, and
//! once the stream accepts lines again, their number is reported. A write contains only whole
//! lines, or a single line that is longer than [`MAX_WRITE`], so that two logs on one pipe do not
//! mix within a line.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// The maximum number of bytes of one write, except for a single longer line. A pipe accepts up to
/// this many bytes atomically (`PIPE_BUF`, pipe(7)).
const MAX_WRITE: usize = 4096;
/// The pause after each batch, in which further lines gather. Under load, sending a line then wakes
/// no thread, because the writer sleeps instead of waiting at the queue.
const BATCH_PAUSE: Duration = Duration::from_millis(5);
/// The pause between two attempts on a stream or a queue that is full.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// The minimum time between two reports of lost lines.
const LOSS_REPORT_PAUSE: Duration = Duration::from_secs(10);

/// Turns the items of a log into lines.
pub(super) trait LogFormatter: Send + 'static {
    /// The type of queued items.
    type Item: Send + 'static;

    /// Appends the line of an item, with the line end.
    fn append_item(&mut self, item: &Self::Item, into: &mut Vec<u8>);

    /// Reports that this many lines were lost since the last call. Appends a line if this stream is
    /// where losses are reported.
    fn report_lost(&mut self, lines: u64, into: &mut Vec<u8>);
}

/// The sending half of a log. Dropping it ends the thread, after the queued lines are written.
pub(super) struct LogQueue<T> {
    jobs: SyncSender<Job<T>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Lines that were lost.
    lost: AtomicU64,
    /// Successful writes; `flush` uses them to see whether the stream still accepts bytes.
    writes: AtomicU64,
}

enum Job<T> {
    Line(T),
    /// Answered once all lines before it are written.
    Flush(SyncSender<()>),
}

struct LogWriter<L: LogFormatter, W> {
    jobs: Receiver<Job<L::Item>>,
    formatter: L,
    out: W,
    /// Whole lines that are not written yet.
    buffer: Vec<u8>,
    /// The number of lines in `buffer`.
    buffered: u64,
    progress: Arc<Progress>,
    /// Lost lines that have been reported.
    reported: u64,
    reported_at: Option<Instant>,
}

impl<T: Send + 'static> LogQueue<T> {
    /// Starts a thread with this name that writes to `out`. At most `capacity` items wait in the
    /// queue.
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
            // Room for a full write and the line that exceeds it.
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

    /// Queues an item without waiting. Returns `false` if the thread has ended.
    pub(super) fn send(&self, item: T) -> bool {
        match self.jobs.try_send(Job::Line(item)) {
            Ok(()) => true,
            Err(refused) => {
                self.progress.lost.fetch_add(1, Relaxed);
                matches!(refused, TrySendError::Full(_))
            }
        }
    }

    /// Returns the number of lines that were lost so far.
    pub(super) fn lost_lines(&self) -> u64 {
        self.progress.lost.load(Relaxed)
    }

    /// Waits until everything that was queued before is written, and returns whether it was.
    /// Returns `false` once the stream has accepted nothing for `stall_timeout`, and after ten
    /// times `stall_timeout` at the latest.
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

/// Returns a function that returns whether there is still time to wait. Each successful write moves
/// the deadline.
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
                // This line does not fit into the same write, so the lines before it are written
                // first.
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
                // The caller of `flush` may have stopped waiting.
                let _receiver_gone = done.try_send(());
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
                // Standard streams are shared with other processes, and any of them can make the
                // stream non-blocking (`O_NONBLOCK` belongs to the open file description,
                // fcntl(2)).
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(RETRY_PAUSE)
                }
                // The reader is gone, or the disk is full: the lines are lost, and the next batch
                // tries again.
                Ok(0) | Err(_) => {
                    self.progress.lost.fetch_add(self.buffered, Relaxed);
                    break;
                }
            }
        }
        self.buffer.clear();
        self.buffered = 0;
        let _flushed = self.out.flush();
    }
}

#[cfg(test)]
mod tests;
