//! What a response pays for being searched for the credential. `cargo bench --bench reflection`.
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
/// As the upstream's TLS records come.
const FRAME: usize = 16 * KIB;

/// The kinds of secret that there are, by length and by what they hold.
#[derive(Clone, Copy, Debug)]
enum Secret {
    /// The shortest that is searched for.
    Short,
    /// An API key.
    Key,
    /// Marks that every encoder writes in its own way.
    Marks,
    /// 1.5 KiB that begin as every token of its issuer.
    Jwt,
    /// 8 KiB of one letter, and another at the end: the worst to follow.
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

/// Bytes without a pattern, always the same (xorshift).
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

/// A list as APIs answer it, with a token of the same issuer in each item.
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

/// The secret without its last byte, again and again.
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

/// One response, its frames fed and let out.
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

/// What the ends of frames cost, where something is held back at every other one.
#[divan::bench(args = SECRETS)]
fn near_matches_in_frames_of_1k(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &near(&secret.bytes(), 256 * KIB), KIB);
}

/// The worst dripping: each byte may go on with the secret. In a proxy pieces this small are gathered first.
#[divan::bench(args = SECRETS)]
fn near_matches_byte_by_byte(bencher: Bencher<'_, '_>, secret: Secret) {
    bench(bencher, secret, &near(&secret.bytes(), 64 * KIB), 1);
}

/// A head of ten fields.
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

/// Once for a connection or a token.
#[divan::bench(args = SECRETS)]
fn make(bencher: Bencher<'_, '_>, secret: Secret) {
    let bytes = secret.bytes();
    bencher.bench_local(|| Patterns::from_secrets([black_box(bytes.as_slice())]).is_some());
}

/// So many secrets of all kinds but the periodic one, as a process has them with many connections.
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

/// The beginning that tokens of one issuer have in common, again and again.
#[divan::bench(args = COUNTS)]
fn common_beginnings_1m_for_many(bencher: Bencher<'_, '_>, count: usize) {
    let begin = b"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.";
    let body: Vec<u8> = begin.iter().copied().cycle().take(KIB * KIB).collect();
    bench_many(bencher, count, &body);
}

/// A text that is decoded as well: references to characters in long words.
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
