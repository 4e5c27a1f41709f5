//! Writes the head of a request in HTTP/1.1: the request line, `Host`, the fields in order, and at
//! most one framing field.

use std::io::Write as _;

use crate::upstream::head::{Framing, RequestHead};

/// Appends the head to `output`. If `close` is set, adds `Connection: close`, so that the upstream
/// closes the socket after its response.
pub(super) fn write_head(output: &mut Vec<u8>, head: &RequestHead<'_>, close: bool) {
    output.extend_from_slice(head.method.as_str().as_bytes());
    output.push(b' ');
    for piece in head.target {
        output.extend_from_slice(piece);
    }
    output.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    output.extend_from_slice(head.authority.as_bytes());
    output.extend_from_slice(b"\r\n");
    for field in head.fields {
        output.extend_from_slice(field.name.as_str().as_bytes());
        output.extend_from_slice(b": ");
        output.extend_from_slice(field.value);
        output.extend_from_slice(b"\r\n");
    }
    if let Some(length) = head.content_length() {
        // Writing to a `Vec` cannot fail.
        let _infallible = write!(output, "content-length: {length}\r\n");
    } else if head.framing == Framing::Chunked {
        output.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if close {
        output.extend_from_slice(b"connection: close\r\n");
    }
    output.extend_from_slice(b"\r\n");
}

/// Appends the size line of a chunk.
pub(super) fn write_chunk_size(output: &mut Vec<u8>, size: usize) {
    let _infallible = write!(output, "{size:x}\r\n");
}
