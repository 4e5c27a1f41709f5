//! A response head that the parser lets through has one meaning, however its bytes arrive.
//!
//! Input: a byte for the request's method, a byte for the size of the pieces, and what the upstream sends.
#![no_main]

use bytes::BytesMut;
use egressd::upstream::http1::response_head::{
    BodyLength, HeadProgress, MAX_FIELDS, MAX_HEAD_BYTES, ParsedHead, ResponseHead, take_head,
};
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use libfuzzer_sys::fuzz_target;

/// What became of all the bytes: a head and how many bytes stand behind it, nothing yet, or a refusal.
#[derive(Debug)]
enum End {
    Final(Box<ResponseHead>, usize),
    Partial,
    Refused,
}

fuzz_target!(|input: &[u8]| {
    let [kind, size, bytes @ ..] = input else {
        return;
    };
    let method = if kind % 2 == 0 {
        Method::GET
    } else {
        Method::HEAD
    };
    let whole = read(bytes, bytes.len().max(1), &method);
    let pieces = read(bytes, usize::from(*size).max(1), &method);
    match (&whole, &pieces) {
        (End::Final(one, rest), End::Final(other, same)) => {
            assert_eq!(
                (one.status, one.length, one.keep_alive),
                (other.status, other.length, other.keep_alive)
            );
            assert_eq!((&one.headers, rest), (&other.headers, same));
            one_meaning(one, &method);
        }
        // When bytes that can be no head are refused may depend on how they come; that none of them is taken may not.
        (End::Partial | End::Refused, End::Partial | End::Refused) => {}
        _ => panic!("whole: {whole:?}, in pieces: {pieces:?}"),
    }
});

/// Hands the bytes over piece by piece until there is a final head.
fn read(bytes: &[u8], size: usize, method: &Method) -> End {
    let (mut buffer, mut progress, mut taken) = (BytesMut::new(), HeadProgress::default(), 0);
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        taken += piece.len();
        loop {
            let before = buffer.len();
            match take_head(&mut buffer, &mut progress, method) {
                Err(_) => return End::Refused,
                Ok(ParsedHead::Partial) => break,
                // Empty lines before it may have been consumed by an earlier call.
                Ok(ParsedHead::Informational(length)) => assert!(buffer.len() + length >= before),
                Ok(ParsedHead::Final(head)) => {
                    assert!(
                        before - buffer.len() <= MAX_HEAD_BYTES,
                        "a head over its cap"
                    );
                    return End::Final(Box::new(head), buffer.len() + bytes.len() - taken);
                }
            }
        }
    }
    End::Partial
}

/// Status, number of fields and framing are as the rest of the proxy takes them to be.
fn one_meaning(head: &ResponseHead, method: &Method) {
    assert!((200..=599).contains(&head.status.as_u16()), "{head:?}");
    assert!(head.headers.len() <= MAX_FIELDS, "{head:?}");
    let bodiless = *method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304);
    assert_eq!(head.length == BodyLength::Absent, bodiless, "{head:?}");
    // Fields of the framing and of the socket are left out; a length without a body is not framing.
    assert!(!head.headers.contains_key(TRANSFER_ENCODING), "{head:?}");
    let has_length = head.headers.contains_key(CONTENT_LENGTH);
    assert!(bodiless || !has_length, "{head:?}");
    let until_close = head.length == BodyLength::UntilClose;
    assert!(!until_close || !head.keep_alive, "{head:?}");
}
