//! Bodies that are streamed, recorded and held, without a socket.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::super::body_budget::{BUDGET, BodyBudget, MAX_SHARE};
use super::{MAX_REPLAYED_BYTES, ReplayableBody, RequestUpload, UnsentBody};
use crate::credential::signing::SigningKey;
use crate::domain::Secret;
use crate::domain::secret::SecretSource;
use crate::memory::MemoryShortage;
use crate::proxy::code::RefusalCode;
use crate::proxy::error::AgentFault;
use crate::upstream::Framing;

/// The result of one poll of a body.
#[derive(Clone)]
enum Step {
    Data(Bytes),
    Trailers,
    Wait,
    Fail,
}

/// A body that follows a script.
struct Fake {
    steps: VecDeque<Step>,
    /// `true` if `is_end_stream` is exact, as it is for a body with a length.
    knows_end: bool,
}

impl Body for Fake {
    type Data = Bytes;
    type Error = AgentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AgentFault>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Some(Step::Fail) => Some(Err(AgentFault::Gone)),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows_end && self.steps.is_empty()
    }
}

fn data(bytes: &[u8]) -> Step {
    Step::Data(Bytes::copy_from_slice(bytes))
}

/// Returns a body of these steps in this framing, under a cap of 1 MiB, and the budget that it is
/// charged to.
fn unread(
    framing: Framing,
    steps: &[Step],
) -> (UnsentBody<'static, Fake>, &'static Arc<BodyBudget>) {
    // Leaked, because the budget of a process lives as long as the process.
    let budget: &'static Arc<BodyBudget> = Box::leak(Box::new(Arc::new(BodyBudget::new(
        MemoryShortage::default(),
    ))));
    let share = Box::leak(Box::new(budget.connection_share("crm")));
    let unread = UnsentBody {
        framing,
        body: (framing != Framing::Absent).then(|| Fake {
            steps: steps.iter().cloned().collect(),
            knows_end: matches!(framing, Framing::Length(_)),
        }),
        cap: 1024 * 1024,
        share,
    };
    (unread, budget)
}

/// The end of a body that was sent.
#[derive(Debug, PartialEq)]
enum End {
    Whole,
    Failed,
    /// The end has not been reached.
    Open,
}

/// Sends all data that is available. With `by_end`, polls like hyper's HTTP/2 client: not if the
/// body reports its end, and not after trailers.
fn send(body: &mut ReplayableBody<Fake>, by_end: bool) -> (Vec<u8>, End) {
    let mut sent = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if by_end && body.is_end_stream() {
            return (sent, End::Whole);
        }
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => sent.extend(data),
                Err(_) if by_end => return (sent, End::Whole),
                Err(_) => {}
            },
            Poll::Ready(Some(Err(_))) => return (sent, End::Failed),
            Poll::Ready(None) => return (sent, End::Whole),
            Poll::Pending => return (sent, End::Open),
        }
    }
}

/// Returns the bytes of the first upload, and of the second one if there is one.
fn twice(mut upload: RequestUpload<Fake>, by_end: bool) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut body = upload.take_body();
    let first = body.as_mut().map(|body| send(body, by_end).0);
    let framing = upload.framing();
    let again = upload.rewind().then(|| {
        let mut body = upload.take_body();
        let sent = body.as_mut().map(|body| send(body, by_end));
        assert!(sent.as_ref().is_none_or(|(_, end)| *end == End::Whole));
        sent.map(|(bytes, _)| bytes).unwrap_or_default()
    });
    assert_eq!(upload.framing(), framing);
    (first.unwrap_or_default(), again)
}

#[test]
fn a_recorded_body_can_be_sent_again() {
    // F-150
    let most = vec![b'a'; MAX_REPLAYED_BYTES];
    let over = vec![b'a'; MAX_REPLAYED_BYTES + 1];
    let length = |bytes: &[u8]| Framing::Length(bytes.len() as u64);
    let rows: [(Framing, Vec<Step>, bool); 11] = [
        (Framing::Absent, vec![], true),
        (Framing::Length(0), vec![], true),
        (Framing::Chunked, vec![], true),
        (Framing::Length(3), vec![data(b"abc")], true),
        (
            Framing::Chunked,
            vec![data(b"ab"), data(b""), data(b"c"), Step::Trailers],
            true,
        ),
        (length(&most), vec![data(&most)], true),
        (Framing::Chunked, vec![data(&most)], true),
        (Framing::Chunked, vec![data(b"b"); MAX_REPLAYED_BYTES], true),
        (length(&over), vec![data(&over)], false),
        (Framing::Chunked, vec![data(&most), data(b"a")], false),
        (Framing::Chunked, vec![data(b"abc"), Step::Fail], false),
    ];
    for (row, (framing, steps, replays)) in rows.into_iter().enumerate() {
        let whole: Vec<u8> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Data(data) => Some(data.to_vec()),
                Step::Trailers | Step::Wait | Step::Fail => None,
            })
            .flatten()
            .collect();
        for by_end in [false, true] {
            let (body, budget) = unread(framing, &steps);
            let upload = body.stream(true);
            assert_eq!(upload.framing(), framing);
            let (first, again) = twice(upload, by_end);
            assert!(first == whole, "row {row}: other bytes were sent");
            assert_eq!(again.is_some(), replays, "row {row}");
            assert!(again.is_none_or(|again| again == whole), "row {row}");
            assert_eq!(budget.free(), BUDGET, "row {row}");
            // Without `again` nothing is recorded, so only an empty body can be sent twice.
            let empty = matches!(framing, Framing::Absent | Framing::Length(0));
            let (body, budget) = unread(framing, &steps);
            let (first, again) = twice(body.stream(false), by_end);
            assert!(first == whole, "row {row}: other bytes were streamed");
            assert_eq!(again.is_some(), empty, "row {row}");
            assert_eq!(budget.free(), BUDGET);
        }
    }
}

#[test]
fn an_incomplete_body_cannot_be_sent_again() {
    // F-150: the response arrives while the body is still being sent.
    let (body, budget) = unread(Framing::Chunked, &[data(b"abc"), Step::Wait, data(b"def")]);
    let mut upload = body.stream(true);
    let mut sending = upload.take_body().unwrap();
    assert_eq!(send(&mut sending, false), (b"abc".to_vec(), End::Open));
    assert!(budget.free() < BUDGET);
    assert!(!upload.rewind());
    assert!(!upload.rewind());
    assert_eq!(budget.free(), BUDGET);
    // The rest is sent, and nothing more is copied.
    assert_eq!(send(&mut sending, false), (b"def".to_vec(), End::Whole));
    assert_eq!(budget.free(), BUDGET);
    assert!(upload.take_body().is_none());
}

#[test]
fn the_copy_is_freed_as_soon_as_it_is_useless() {
    let crumbs = vec![data(b"a"); 30_000];
    let steps = [
        crumbs.clone(),
        vec![Step::Wait],
        crumbs.clone(),
        vec![Step::Wait],
        crumbs,
    ];
    let (body, budget) = unread(Framing::Chunked, &steps.concat());
    let mut upload = body.stream(true);
    let mut sending = upload.take_body().unwrap();
    send(&mut sending, false);
    // Pieces of one byte take as much memory as one piece would, whose capacity may double.
    let taken = BUDGET - budget.free();
    assert!((30_000..=60_000).contains(&taken), "{taken}");
    send(&mut sending, false);
    assert!(BUDGET - budget.free() <= MAX_REPLAYED_BYTES as u64);
    send(&mut sending, false);
    assert_eq!(budget.free(), BUDGET, "90,000 bytes are not sent again");

    let (body, budget) = unread(Framing::Chunked, &[data(b"abc"), Step::Wait, data(b"d")]);
    let mut upload = body.stream(true);
    let mut sending = upload.take_body().unwrap();
    send(&mut sending, false);
    drop(upload);
    assert_eq!(
        budget.free(),
        BUDGET,
        "a copy without an owner is still charged"
    );
    assert_eq!(send(&mut sending, false), (b"d".to_vec(), End::Whole));
}

#[test]
fn without_memory_nothing_is_recorded() {
    let (body, budget) = unread(Framing::Length(3), &[data(b"abc")]);
    let all = hold(body.share, MAX_SHARE);
    assert_eq!(twice(body.stream(true), false), (b"abc".to_vec(), None));
    drop(all);
    assert_eq!(budget.free(), BUDGET);
}

/// Takes this many bytes of a share.
fn hold(share: &Arc<super::BudgetShare>, bytes: u64) -> super::HeldBody {
    let bytes = vec![b'a'; usize::try_from(bytes).unwrap()];
    let mut held = super::HeldBody::new(share).unwrap();
    held.push(&bytes, bytes.len()).unwrap();
    held
}

fn key() -> SigningKey {
    let secret = Secret::new(b"0123456789abcdef".to_vec(), SecretSource::Inline);
    SigningKey::new(&secret.unwrap())
}

#[tokio::test]
async fn the_signed_bytes_are_the_sent_bytes() {
    // F-102, F-107
    let large = vec![b'a'; MAX_REPLAYED_BYTES + 1];
    let rows: [(Framing, Vec<Step>, &[u8], bool); 6] = [
        (Framing::Length(3), vec![data(b"abc")], b"abc", true),
        (
            Framing::Length(3),
            vec![data(b"a"), Step::Wait, data(b"bc")],
            b"abc",
            true,
        ),
        (Framing::Length(9), vec![data(b"abc")], b"abc", true),
        (
            Framing::Chunked,
            vec![data(b"ab"), data(b"c"), Step::Trailers],
            b"abc",
            true,
        ),
        (Framing::Length(65_537), vec![data(&large)], &large, false),
        (
            Framing::Chunked,
            vec![data(&large[1..]), data(b"a")],
            &large,
            false,
        ),
    ];
    for (row, (framing, steps, bytes, replays)) in rows.into_iter().enumerate() {
        let (body, budget) = unread(framing, &steps);
        let upload = body.sign(&key()).await.unwrap();
        let signature = upload.signature();
        assert_eq!(
            signature.as_deref(),
            Some(&key().sign([bytes])),
            "row {row}"
        );
        assert_eq!(upload.framing(), Framing::Length(bytes.len() as u64));
        assert!(BUDGET - budget.free() >= bytes.len() as u64, "row {row}");
        let (first, again) = twice(upload, false);
        assert!(first == bytes, "row {row}");
        assert_eq!(again.as_deref(), replays.then_some(bytes), "row {row}");
        assert_eq!(budget.free(), BUDGET, "row {row}");
    }
}

#[tokio::test]
async fn an_empty_body_is_not_signed() {
    // F-102
    for framing in [Framing::Absent, Framing::Length(0), Framing::Chunked] {
        let (body, _) = unread(framing, &[]);
        let upload = body.sign(&key()).await.unwrap();
        let length = Framing::Length(0);
        let sent_as = if framing == Framing::Absent {
            framing
        } else {
            length
        };
        assert_eq!((upload.framing(), upload.signature()), (sent_as, None));
        assert_eq!(twice(upload, false), (vec![], Some(vec![])));
    }
}

#[tokio::test]
async fn announced_bytes_that_do_not_arrive_are_not_charged() {
    // F-263
    let (body, budget) = unread(Framing::Length(1024 * 1024), &[data(b"abc"), Step::Wait]);
    let key = key();
    let mut signing = Box::pin(body.sign(&key));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(signing.as_mut().poll(&mut cx).is_pending());
    let taken = BUDGET - budget.free();
    assert!(taken <= 4096, "{taken} bytes for three");
    drop(signing);
    assert_eq!(budget.free(), BUDGET);
}

#[tokio::test]
async fn a_body_that_cannot_be_held_is_refused_and_its_charge_released() {
    // F-162
    let (body, budget) = unread(
        Framing::Chunked,
        &[data(&[b'a'; 5000]), data(&[b'a'; 5000])],
    );
    let others = hold(body.share, MAX_SHARE - 6000);
    let refusal = body.sign(&key()).await.err().map(|refusal| refusal.code());
    assert_eq!(refusal, Some(RefusalCode::Overloaded));
    assert_eq!(budget.free(), MAX_SHARE + 6000);
    drop(others);

    let (body, budget) = unread(Framing::Length(10), &[data(b"abc"), Step::Fail]);
    let refusal = body.sign(&key()).await.err().map(|refusal| refusal.code());
    assert_eq!(refusal, Some(RefusalCode::MalformedRequest));
    assert_eq!(budget.free(), BUDGET);
}
