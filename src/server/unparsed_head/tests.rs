//! Tests of the records of heads that hyper may reject.

use super::{
    HeadFault, HeadRecord, MAX_RECORDED, RawByte, count_after_empty_line, keeps_socket,
    skip_empty_lines,
};

const HEAD: &[u8] = b"GET /?\"a\" HTTP/1.1\r\n\r\n";

fn answered(bytes: &[u8]) -> Box<HeadRecord> {
    let mut record = HeadRecord::new(bytes);
    record.answer = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    record
}

#[test]
fn the_first_raw_byte_is_found_in_its_line() {
    for (read, place) in [
        (&b"GET /?\"a\" HTTP/1.1\r\n\r\n"[..], RawByte::FirstLine),
        (b"GET /?a", RawByte::FirstLine),
        (b"GET /?a HTTP/1.1\r\nHost: a\r\n\r\n", RawByte::Absent),
        (b"GET /?a HTTP/1.1\r\nHost: a", RawByte::Absent),
        (b"GET / HTTP/1.1\r\nIf-Match: \"a\"\r\n\r\n", RawByte::Later),
        (b"POST / HTTP/1.1\r\n\r\n{\"a\"}", RawByte::Later),
    ] {
        let found = RawByte::find(read, super::ends_with_empty_line(read));
        assert_eq!(found, place, "{}", String::from_utf8_lossy(read));
    }
}

#[test]
fn bytes_behind_an_empty_line_are_counted() {
    for (read, count) in [
        (&b"GET / HTTP/1.1\r\nA: b\r\n\r\nabc"[..], Some(3)),
        (b"GET / HTTP/1.1\nA: b\n\nabcd", Some(4)),
        (b"GET / HTTP/1.1\nA: b\n\r\n", Some(0)),
        (b"GET / HTTP/1.1\nA: b\n", None),
        (b"GET / HTTP/1.1\nA: b\r\n\r", None),
        (b"", None),
    ] {
        assert_eq!(count_after_empty_line(read), count);
    }
    assert_eq!(skip_empty_lines(b"\r\n\nGET /\r\n"), b"GET /\r\n");
    assert_eq!(skip_empty_lines(b"\r\n"), b"");
}

#[test]
fn only_a_whole_head_without_a_sent_answer_can_be_replaced() {
    let record = answered(HEAD);
    let head = record.unparsed_head(HeadFault::Target, b"");
    assert!(head.is_whole && head.can_answer);
    assert_eq!(head.bytes, HEAD);
    // hyper's own answer is sent.
    let record = HeadRecord::new(HEAD);
    let head = record.unparsed_head(HeadFault::Target, b"");
    assert!(!head.is_whole && !head.can_answer);
    // The end of the head is missing, or its beginning.
    let record = answered(&HEAD[..20]);
    assert!(!record.unparsed_head(HeadFault::Target, b"").is_whole);
    let mut unknown = HeadRecord::default();
    unknown.append(HEAD);
    unknown.answer = record.answer.clone();
    let head = unknown.unparsed_head(HeadFault::Target, b"");
    assert!(!head.is_whole && head.can_answer);
    assert_eq!(head.bytes, b"");
}

#[test]
fn a_head_that_is_too_large_stays_unrecorded() {
    let mut record = answered(&HEAD[..HEAD.len() - 4]);
    record.append(&vec![b'a'; MAX_RECORDED]);
    record.append(HEAD);
    let head = record.unparsed_head(HeadFault::Target, b"");
    assert!(!head.is_whole);
    assert_eq!(head.bytes, b"");
}

#[test]
fn bytes_behind_the_head_do_not_belong_to_it() {
    let record = answered(&[HEAD, b"GET /next"].concat());
    let head = record.unparsed_head(HeadFault::Target, b"GET /next");
    assert_eq!(head.bytes, HEAD);
    assert!(head.is_whole);
}

#[test]
fn only_a_final_response_without_a_connection_field_keeps_the_socket() {
    for (response, keeps) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], true),
        (
            b"HTTP/1.1 200 OK\r\na: connection: close\r\n\r\n\r\nconnection: close",
            true,
        ),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", false),
        (
            b"HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\n",
            false,
        ),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (b"HTTP/1.1 100 Continue\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\na: b\r\n", false),
    ] {
        assert_eq!(
            keeps_socket(response),
            keeps,
            "{}",
            String::from_utf8_lossy(response)
        );
    }
}
