//! A response head that the parser accepts has one meaning, however its bytes are split.
//!
//! Input: a byte for the request's method, a byte for the size of the pieces, and the bytes that
//! the upstream sends.
#![no_main]

use bytes::BytesMut;
use egressd::upstream::http1::response_head::{
    BodyLength, HeadProgress, MAX_FIELDS, MAX_HEAD_BYTES, ParsedHead, ResponseHead, take_head,
};
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use libfuzzer_sys::fuzz_target;

/// The result for all bytes: a head and the number of bytes after it, an incomplete head, or an
/// error.
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
            check_head(one, &method);
        }
        // An invalid head may be refused earlier or later, depending on the pieces. But it must not
        // be accepted.
        (End::Partial | End::Refused, End::Partial | End::Refused) => {}
        _ => panic!("whole: {whole:?}, in pieces: {pieces:?}"),
    }
});

/// Passes the bytes to the parser, piece by piece, until there is a final head.
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
                // An earlier call may have consumed empty lines before the head.
                Ok(ParsedHead::Informational(length)) => assert!(buffer.len() + length >= before),
                Ok(ParsedHead::Final(head)) => {
                    assert!(
                        before - buffer.len() <= MAX_HEAD_BYTES,
                        "a head is longer than its limit"
                    );
                    return End::Final(Box::new(head), buffer.len() + bytes.len() - taken);
                }
            }
        }
    }
    End::Partial
}

/// Checks that the status, the number of fields and the framing are in the range that the rest of
/// the proxy relies on.
fn check_head(head: &ResponseHead, method: &Method) {
    assert!((200..=599).contains(&head.status.as_u16()), "{head:?}");
    assert!(head.headers.len() <= MAX_FIELDS, "{head:?}");
    let bodiless = *method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304);
    assert_eq!(head.length == BodyLength::Absent, bodiless, "{head:?}");
    // The parser removes fields about framing and the socket. A `Content-Length` of a response
    // without a body is not framing, so it may stay.
    assert!(!head.headers.contains_key(TRANSFER_ENCODING), "{head:?}");
    let has_length = head.headers.contains_key(CONTENT_LENGTH);
    assert!(bodiless || !has_length, "{head:?}");
    let until_close = head.length == BodyLength::UntilClose;
    assert!(!until_close || !head.keep_alive, "{head:?}");
}
