//! Tests the writer with streams that are slow, stuck or broken.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::{LogFormatter, LogQueue, MAX_WRITE};

/// A time limit that no step of these tests reaches.
const PATIENCE: Duration = Duration::from_secs(60);

struct Numbers;

impl LogFormatter for Numbers {
    type Item = u64;

    fn append_item(&mut self, item: &u64, into: &mut Vec<u8>) {
        writeln!(into, "{item}").unwrap();
    }

    fn report_lost(&mut self, lines: u64, into: &mut Vec<u8>) {
        writeln!(into, "lost {lines}").unwrap();
    }
}

/// A stream that reports each call, and accepts bytes only when the test allows it.
struct Gated {
    calls: Sender<()>,
    may: Receiver<io::Result<()>>,
    writes: Sender<String>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _receiver_gone = self.calls.send(());
        // The test has dropped its side: everything is accepted.
        self.may.recv().unwrap_or(Ok(()))?;
        let _receiver_gone = self.writes.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gate {
    called: Receiver<()>,
    open: Sender<io::Result<()>>,
    written: Receiver<String>,
}

fn gated_queue(capacity: usize) -> (LogQueue<u64>, Gate) {
    let (calls, called) = channel();
    let (open, may) = channel();
    let (writes, written) = channel();
    let out = Gated { calls, may, writes };
    let queue = LogQueue::start("lines", capacity, Numbers, out).unwrap();
    (
        queue,
        Gate {
            called,
            open,
            written,
        },
    )
}

#[test]
fn a_stuck_stream_blocks_no_sender_and_the_loss_is_reported_once() {
    let (queue, gate) = gated_queue(10);
    assert!(queue.send(0));
    gate.called.recv_timeout(PATIENCE).unwrap();
    // The thread is blocked in its first write.
    for number in 1..=30 {
        assert!(queue.send(number));
    }
    assert_eq!(queue.lost_lines(), 20);
    assert!(!queue.flush(Duration::from_millis(1)));
    drop(gate.open);
    assert!(queue.flush(PATIENCE));
    queue.send(99);
    assert!(queue.flush(PATIENCE));
    let all: String = gate.written.try_iter().collect();
    let expected: String = (0..=10).map(|number| format!("{number}\n")).collect();
    assert_eq!(all, expected + "lost 20\n99\n");
}

#[test]
fn a_write_contains_whole_lines() {
    let (queue, gate) = gated_queue(100_000);
    queue.send(0);
    gate.called.recv_timeout(PATIENCE).unwrap();
    for number in 1..20_000 {
        queue.send(number);
    }
    drop(gate.open);
    assert!(queue.flush(PATIENCE));
    let writes: Vec<String> = gate.written.try_iter().collect();
    assert!(writes.len() > 10);
    for write in &writes {
        assert!(write.len() <= MAX_WRITE && write.ends_with('\n'));
    }
    let expected: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(writes.concat(), expected);
}

#[test]
fn lines_that_a_broken_stream_does_not_accept_are_counted() {
    let (queue, gate) = gated_queue(10);
    gate.open
        .send(Err(io::ErrorKind::Interrupted.into()))
        .unwrap();
    gate.open
        .send(Err(io::ErrorKind::WouldBlock.into()))
        .unwrap();
    gate.open.send(Ok(())).unwrap();
    queue.send(1);
    assert!(queue.flush(PATIENCE));
    assert_eq!(queue.lost_lines(), 0);
    gate.open
        .send(Err(io::ErrorKind::BrokenPipe.into()))
        .unwrap();
    // After this error the stream works again.
    drop(gate.open);
    queue.send(2);
    assert!(queue.flush(PATIENCE));
    assert_eq!(queue.lost_lines(), 1);
    queue.send(3);
    assert!(queue.flush(PATIENCE));
    let all: String = gate.written.try_iter().collect();
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1", "3", "lost 1"]);
}

#[test]
fn queued_lines_are_written_after_the_last_sender_is_dropped() {
    let (queue, gate) = gated_queue(10);
    for number in 0..5 {
        queue.send(number);
    }
    drop((queue, gate.open));
    let all: String = gate.written.iter().collect();
    assert_eq!(all, "0\n1\n2\n3\n4\n");
}
