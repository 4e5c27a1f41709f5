//! The cost of searching a response for the credential. `cargo bench --bench reflection`.
#![expect(
    clippy::expect_used,
    reason = "a bench with a broken world should stop"
)]

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use egressd::reflection::{Patterns, ResponseScan};

fn main() {
    divan::main();
}

const KIB: usize = 1024;
/// The size of a frame, as the upstream's TLS records arrive.
const FRAME: usize = 16 * KIB;

/// Kinds of secrets, by length and content.
#[derive(Clone, Copy, Debug)]
enum Secret {
    /// The shortest secret that is searched for.
    Short,
    /// An API key.
    Key,
    /// Characters that each encoder writes differently.
    Marks,
    /// 1.5 KiB with the same beginning as every token of the issuer.
    Jwt,
    /// 8 KiB of one letter with another at the end, the most expensive secret to follow.
    Periodic,
}

const SECRETS: [Secret; 5] = [
    Secret::Short,
    Secret::Key,
    Secret::Marks,
    Secret::Jwt,
    Secret::Periodic,
];

impl Secret {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Short => b"aB3dE5fG7hJ9kL1m".to_vec(),
            Self::Key => b"sk-live-4eC39HqLyjWDarjtT1zdp7dcQx8vNmTr".to_vec(),
            Self::Marks => b"aB3d/E5f+G7h=J9k&L1m<n>\"q'r s".to_vec(),
            Self::Jwt => {
                let digit = |byte: u8| char::from(b'A' + byte % 26);
                let rest: String = noise(1500).into_iter().map(digit).collect();
                format!("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{rest}").into_bytes()
            }
            Self::Periodic => [vec![b'a'; 8 * KIB], b"b".to_vec()].concat(),
        }
    }

    fn patterns(self) -> Arc<Patterns> {
        Arc::new(Patterns::from_secrets([self.bytes().as_slice()]).expect("long enough"))
    }
}

/// Returns random bytes that are the same in every run (xorshift).
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// Returns a list as an API sends it, with a token of the same issuer in each item.
fn json(size: usize) -> Vec<u8> {
    let mut text = String::new();
    for (number, byte) in noise(size).into_iter().enumerate() {
        if text.len() >= size {
            break;
        }
        write!(text, "{{\"id\":{number},\"name\":\"item {byte}\",\"url\":\"https://api.example.com/v1/items/{byte:02x}{number:04x}\",\"note\":\"caf\\u00e9 au lait\",\"next\":\"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{byte:x}\"}},").expect("memory");
    }
    let mut text = text.into_bytes();
    text.truncate(size);
    text
}

/// Returns repetitions of the secret without its last byte.
fn near(secret: &[u8], size: usize) -> Vec<u8> {
    let (_, most) = secret.split_last().expect("a secret");
    most.iter()
        .chain(b"~")
        .copied()
        .cycle()
        .take(size)
        .collect()
}

fn frames(body: &[u8], size: usize) -> Vec<Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice).collect()
}

/// Searches one response, frame by frame.
fn pass(patterns: &Arc<Patterns>, frames: &[Bytes]) -> usize {
    let mut scan = ResponseScan::new(Arc::clone(patterns));
    let mut out = 0;
    for (number, frame) in frames.iter().enumerate() {
        let last = number + 1 == frames.len();
        let fed = scan.feed(black_box(frame).clone(), last);
        let mut piece = fed.ok().expect("a clean body");
        while !piece.is_empty() {
            out += piece.len();
            piece = scan.next_due();
        }
    }
    out
}

fn bench(bencher: Bencher<'_, '_>, secret: Secret, body: &[u8], frame: usize) {
    let (patterns, frames) = (secret.patterns(), frames(body, frame));
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| pass(&patterns, &frames));
}

#[divan::bench(args = SECRETS)]
fn json_1k(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &json(KIB), FRAME);
}

#[divan::bench(args = SECRETS)]
fn json_1m(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &json(KIB * KIB), FRAME);
}

#[divan::bench(args = SECRETS)]
fn binary_1m(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &noise(KIB * KIB), FRAME);
}

#[divan::bench(args = SECRETS)]
fn near_matches_1m(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &near(&secret.bytes(), KIB * KIB), FRAME);
}

/// The cost of frame ends, where bytes are held back at every other end.
#[divan::bench(args = SECRETS)]
fn near_matches_in_frames_of_1k(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &near(&secret.bytes(), 256 * KIB), KIB);
}

/// The most expensive pieces: single bytes that each may continue the secret. In the proxy, pieces
/// this small are gathered first.
#[divan::bench(args = SECRETS)]
fn near_matches_byte_by_byte(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &near(&secret.bytes(), 64 * KIB), 1);
}

/// Searches a head of ten fields.
#[divan::bench(args = SECRETS)]
fn head(bencher: Bencher<'_, '_>, secret: Secret) {
    const VALUES: [&str; 10] = [
        "nginx/1.22.1",
        "Mon, 23 Nov 2026 00:00:00 GMT",
        "application/json; charset=utf-8",
        "1024",
        "max-age=0, private, must-revalidate",
        "W/\"0123456789abcdef0123456789abcdef\"",
        "Accept-Encoding, Authorization",
        "nosniff",
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let scan = ResponseScan::new(secret.patterns());
    bencher.bench_local(|| {
        VALUES
            .iter()
            .any(|value| scan.find(black_box(value).as_bytes()).is_err())
    });
}

/// Compiles the patterns, as happens once per connection or token.
#[divan::bench(args = SECRETS)]
fn make(bencher: Bencher<'_, '_>, secret: Secret) {
    let bytes = secret.bytes();
    bencher.bench_local(|| Patterns::from_secrets([black_box(bytes.as_slice())]).is_some());
}

/// Returns this many secrets of all kinds except the periodic one, as a process with many
/// connections has them.
fn many(count: usize) -> Arc<Patterns> {
    let kinds = [Secret::Short, Secret::Key, Secret::Marks, Secret::Jwt];
    let secrets: Vec<Vec<u8>> = (0..count)
        .zip(kinds.into_iter().cycle())
        .map(|(number, kind)| {
            let mut secret = kind.bytes();
            let end = secret.len() - 8;
            secret.splice(end.., format!("{number:08}").into_bytes());
            secret
        })
        .collect();
    let patterns = Patterns::from_secrets(secrets.iter().map(Vec::as_slice));
    Arc::new(patterns.expect("long enough"))
}

const COUNTS: [usize; 3] = [1, 50, 1000];

fn bench_many(bencher: Bencher<'_, '_>, count: usize, body: &[u8]) {
    let (patterns, frames) = (many(count), frames(body, FRAME));
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| pass(&patterns, &frames));
}

#[divan::bench(args = COUNTS)]
fn json_1k_for_many(bencher: Bencher<'_, '_>, count: usize) {
    bench_many(bencher, count, &json(KIB));
}

#[divan::bench(args = COUNTS)]
fn json_1m_for_many(bencher: Bencher<'_, '_>, count: usize) {
    bench_many(bencher, count, &json(KIB * KIB));
}

#[divan::bench(args = COUNTS)]
fn binary_1m_for_many(bencher: Bencher<'_, '_>, count: usize) {
    bench_many(bencher, count, &noise(KIB * KIB));
}

/// Repetitions of the common beginning of one issuer's tokens.
#[divan::bench(args = COUNTS)]
fn common_beginnings_1m_for_many(bencher: Bencher<'_, '_>, count: usize) {
    let begin = b"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.";
    let body: Vec<u8> = begin.iter().copied().cycle().take(KIB * KIB).collect();
    bench_many(bencher, count, &body);
}

/// A text that is searched decoded as well: character references in long words.
#[divan::bench(args = COUNTS)]
fn escaped_1m_for_many(bencher: Bencher<'_, '_>, count: usize) {
    let body: Vec<u8> = b"aGVsbG8&#43;d29ybGQ&#x2F;YW5k&amp;bW9yZQ "
        .iter()
        .copied()
        .cycle()
        .take(KIB * KIB)
        .collect();
    bench_many(bencher, count, &body);
}
