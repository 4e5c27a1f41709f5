//! The cost of signing a body. `cargo bench --bench signing`.
#![expect(
    clippy::expect_used,
    reason = "a bench with a broken world should stop"
)]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use egressd::credential::signing::SigningKey;
use egressd::domain::Secret;
use egressd::domain::secret::SecretSource;

fn main() {
    divan::main();
}

fn key() -> SigningKey {
    let secret = Secret::new(
        b"0123456789abcdef0123456789abcdef".to_vec(),
        SecretSource::Inline,
    );
    SigningKey::new(&secret.expect("a secret"))
}

#[divan::bench(args = [0, 1024, 4 * 1024, 1024 * 1024])]
fn signature(bencher: Bencher<'_, '_>, size: usize) {
    let (key, body) = (key(), vec![b'a'; size]);
    bencher
        .counter(BytesCount::new(size))
        .bench(|| key.sign([black_box(body.as_slice())]));
}
