//! Costs, credit and open streams, frame by frame. The clock advances only if a test advances it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;

use super::error_code::INTERNAL_ERROR;
use super::{
    DATA, END_STREAM, FrameBudget, GOAWAY, HEADERS, INITIAL_CREDIT, MAX_CREDIT,
    MAX_HEADS_PER_STREAM, PREFACE_LENGTH, RST_STREAM, SessionState,
};
use crate::upstream::failure::ProtocolFault;

const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xfe;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const FLOOD: Result<(), ProtocolFault> = Err(ProtocolFault::FrameFlood);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Creates a session whose preface is sent.
fn session() -> FrameBudget {
    let mut count = FrameBudget::new(Arc::<SessionState>::default());
    count.scan_sent(&[b'P'; PREFACE_LENGTH]);
    count
}

impl FrameBudget {
    fn send_request_frames(&mut self, stream: u32) {
        self.scan_sent(&frame(HEADERS, END_STREAM, stream, b"x"));
    }

    fn receive_frames(&mut self, bytes: &[u8]) -> Result<(), ProtocolFault> {
        self.scan_received(&mut bytes.to_vec())
    }

    /// Returns how many of these frames are accepted in a row.
    fn accepted_in_a_row(&mut self, frame: &[u8]) -> u32 {
        let most = MAX_CREDIT + 1;
        let accepted = (0..most).find(|_| self.receive_frames(frame) == FLOOD);
        accepted.unwrap_or(most)
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_found_across_read_boundaries() {
    // F-136
    let ping = frame(PING, 0, 0, &[0; 8]);
    let allowed = usize::try_from(INITIAL_CREDIT).unwrap();
    for size in [1, 2, 9, 10, 16, 17, 18, 4096] {
        let mut count = session();
        let bytes = ping.repeat(allowed);
        assert!(
            bytes
                .chunks(size)
                .all(|cut| count.receive_frames(cut) == Ok(()))
        );
        assert_eq!(count.receive_frames(&ping), FLOOD, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_frame_that_is_not_part_of_a_response_is_charged() {
    // F-228
    for (what, flood) in [
        ("window updates", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        (
            "window updates of a stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ),
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("acknowledgements of pings", frame(PING, ACK, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("acknowledgements of settings", frame(SETTINGS, ACK, 0, &[])),
        ("priorities", frame(PRIORITY, 0, 3, &[0; 5])),
        ("unknown frames", frame(UNKNOWN, 0, 0, &[])),
        ("resets", frame(RST_STREAM, 0, 1, &[0; 4])),
        (
            "heads of a stream that has ended",
            frame(HEADERS, 0, 1, b"x"),
        ),
        ("data of a stream that has ended", frame(DATA, 0, 1, b"x")),
        ("empty data", frame(DATA, 0, 3, &[])),
        ("continuations", frame(CONTINUATION, 0, 3, b"x")),
    ] {
        let mut count = session();
        count.send_request_frames(1);
        count
            .receive_frames(&frame(HEADERS, END_STREAM, 1, b"x"))
            .unwrap();
        count.send_request_frames(3);
        let accepted = count.accepted_in_a_row(&flood);
        assert!(accepted <= 2 * INITIAL_CREDIT, "{what}: {accepted}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_frames_cost_more_than_short_ones() {
    // F-228
    let (short, long) = (session(), session());
    let accepted = [(short, 0), (long, 16_384)].map(|(mut count, length)| {
        count.accepted_in_a_row(&frame(UNKNOWN, 0, 0, &vec![0; length]))
    });
    assert_eq!(accepted, [INITIAL_CREDIT, INITIAL_CREDIT / 5]);
}

#[tokio::test(start_paused = true)]
async fn all_bytes_of_an_idle_socket_are_charged() {
    // F-229
    let mut count = session();
    let mut received = 0_u64;
    while count.charge_idle_bytes(100).is_ok() {
        received += 100;
        assert!(received < 4 << 20, "the bytes are not charged");
    }
    assert!(received > 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn request_frames_earn_credit() {
    // F-228: two window updates for every 512 bytes of an upload, as some servers send them.
    let mut count = session();
    let updates = [
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 2, 0]),
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 2, 0]),
    ]
    .concat();
    count.scan_sent(&frame(HEADERS, 0, 1, b"x"));
    for _ in 0..10_000 {
        count.scan_sent(&frame(DATA, 0, 1, &[0; 16_384]));
        for _ in 0..32 {
            assert_eq!(count.receive_frames(&updates), Ok(()));
        }
    }
    // Frames that only answer the upstream earn nothing.
    let mut count = session();
    let ping = frame(PING, 0, 0, &[0; 8]);
    for _ in 0..INITIAL_CREDIT {
        assert_eq!(count.receive_frames(&ping), Ok(()));
        count.scan_sent(&frame(PING, ACK, 0, &[0; 8]));
        count.scan_sent(&frame(SETTINGS, ACK, 0, &[]));
        count.scan_sent(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    }
    assert_eq!(count.receive_frames(&ping), FLOOD);
}

#[tokio::test(start_paused = true)]
async fn pings_every_few_seconds_for_a_day_are_not_a_flood() {
    // F-228
    let mut count = session();
    for second in 0..86_400_u32 {
        advance(Duration::from_secs(1)).await;
        if second % 2 == 0 {
            assert_eq!(count.receive_frames(&frame(PING, 0, 0, &[0; 8])), Ok(()));
            assert_eq!(count.charge_idle_bytes(39), Ok(()));
        }
    }
    // A day without frames does not pay for an endless flood.
    let accepted = count.accepted_in_a_row(&frame(PING, 0, 0, &[0; 8]));
    assert!(accepted <= MAX_CREDIT + INITIAL_CREDIT, "{accepted}");
}

#[tokio::test(start_paused = true)]
async fn a_response_in_flight_to_a_reset_stream_is_not_a_flood() {
    // F-228: as much as the window of a stream, on each of the streams that a connection has by
    // default.
    let mut count = session();
    for stream in 0..64 {
        count.send_request_frames(stream * 2 + 1);
    }
    for stream in 0..64 {
        count.scan_sent(&frame(RST_STREAM, 0, stream * 2 + 1, &[0, 0, 0, 8]));
    }
    for _ in 0..16 {
        for stream in 0..64 {
            let data = frame(DATA, 0, stream * 2 + 1, &[0; 16_384]);
            assert_eq!(count.charge_idle_bytes(data.len() as u64), Ok(()));
            assert_eq!(count.receive_frames(&data), Ok(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn informational_heads_are_counted_for_each_stream() {
    // F-136
    let mut count = session();
    count.send_request_frames(1);
    count.send_request_frames(3);
    for _ in 0..MAX_HEADS_PER_STREAM {
        assert_eq!(count.receive_frames(&frame(HEADERS, 4, 1, b"x")), Ok(()));
        assert_eq!(count.receive_frames(&frame(HEADERS, 4, 3, b"x")), Ok(()));
    }
    let end = frame(HEADERS, 4 | END_STREAM, 1, b"x");
    assert_eq!(
        count.receive_frames(&end),
        Ok(()),
        "the head that ends a stream"
    );
    let flooded = count.receive_frames(&frame(HEADERS, 4, 3, b"x"));
    assert_eq!(flooded, Err(ProtocolFault::Informational));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_removed_when_the_upstream_ends_it_or_either_side_resets_it() {
    // F-231
    let mut count = session();
    for stream in (1..400_001).step_by(4) {
        count.send_request_frames(stream);
        count.send_request_frames(stream + 2);
        assert_eq!(
            count.receive_frames(&frame(HEADERS, 4, stream, b"x")),
            Ok(())
        );
        assert_eq!(
            count.receive_frames(&frame(HEADERS, 4, stream + 2, b"x")),
            Ok(())
        );
        assert_eq!(count.open.len(), 2);
        match stream % 12 {
            1 => assert_eq!(
                count.receive_frames(&frame(DATA, END_STREAM, stream, &[])),
                Ok(())
            ),
            5 => assert_eq!(
                count.receive_frames(&frame(RST_STREAM, 0, stream, &[0; 4])),
                Ok(())
            ),
            _ => count.scan_sent(&frame(RST_STREAM, 0, stream, &[0; 4])),
        }
        count.scan_sent(&frame(RST_STREAM, 0, stream + 2, &[0, 0, 0, 8]));
        assert!(count.open.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_reset_that_truncates_a_response_gets_another_code() {
    // F-231
    let no_error = frame(RST_STREAM, 0, 1, &[0; 4]);
    let marked = frame(RST_STREAM, 0, 1, &[0, 0, 0, INTERNAL_ERROR]);
    let refused = frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]);
    let end = frame(DATA, END_STREAM, 1, b"x");
    for (first, reset, passed) in [
        (frame(DATA, 0, 1, b"x"), &no_error, &marked),
        (frame(DATA, 0, 1, b"x"), &refused, &refused),
        (end, &no_error, &no_error),
    ] {
        for size in [1, 2, 3, 12, 13, 100] {
            let mut count = session();
            count.send_request_frames(1);
            count.receive_frames(&first).unwrap();
            let mut bytes = reset.repeat(2);
            let cuts = bytes.chunks_mut(size);
            cuts.for_each(|cut| count.scan_received(cut).unwrap());
            // The second reset meets a stream that has ended.
            assert_eq!(bytes, [&passed[..], reset].concat(), "{size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_goaway_that_truncates_a_response_gets_another_code() {
    // F-231
    let go_away =
        |last: u8, code: u8| frame(GOAWAY, 0, 0, &[0, 0, 0, last, 0, 0, 0, code, b'x', 0]);
    let head = frame(HEADERS, END_HEADERS, 3, b"");
    for (first, last, code, passed) in [
        (&head[..], 1, 0, INTERNAL_ERROR),
        (&head[..], 3, 0, 0),
        (&head[..], 1, 7, 7),
        (&[], 1, 0, 0),
    ] {
        for size in [1, 2, 5, 17, 100] {
            let mut count = session();
            count.send_request_frames(1);
            count.send_request_frames(3);
            count.receive_frames(first).unwrap();
            let mut bytes = go_away(last, code);
            let cuts = bytes.chunks_mut(size);
            cuts.for_each(|cut| count.scan_received(cut).unwrap());
            assert_eq!(bytes, go_away(last, passed), "{last} {code} {size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_remembers_whether_later_streams_were_answered() {
    // F-232
    let mut count = session();
    let state = Arc::clone(&count.state);
    count.send_request_frames(1);
    count
        .receive_frames(&frame(HEADERS, END_STREAM, 1, b"x"))
        .unwrap();
    let before = state.last_opened();
    count.send_request_frames(3);
    assert!(!state.has_answered_after(before));
    count.receive_frames(&frame(PING, 0, 0, &[0; 8])).unwrap();
    assert!(!state.has_answered_after(before));
    let mut other = session();
    other.send_request_frames(1);
    other.receive_frames(&frame(GOAWAY, 0, 0, &[0; 8])).unwrap();
    assert!(other.state.has_answered_after(1));
    count.receive_frames(&frame(HEADERS, 0, 3, b"x")).unwrap();
    assert!(state.has_answered_after(before));
}
