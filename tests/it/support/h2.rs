//! Writes HTTP/2 frames by hand (RFC 9113), for upstreams that violate the protocol, which a
//! library does not allow.

use super::wire::Wire;

/// Frame types of RFC 9113 §6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags of frames.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The field `:status: 200` of HPACK's static table (RFC 7541, appendix A).
pub(crate) const STATUS_200: &[u8] = &[0x88];

/// A frame. HPACK is not decoded.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Returns the bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Encodes a field as an HPACK literal that is not indexed (RFC 7541 §6.2.2), without Huffman
/// coding.
pub(crate) fn literal_field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for part in [name, value] {
        bytes.extend(hpack_integer(part.len()));
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Encodes an HPACK integer with a prefix of seven bits (RFC 7541 §5.1).
fn hpack_integer(n: usize) -> Vec<u8> {
    let Some(mut rest) = n.checked_sub(127) else {
        return vec![u8::try_from(n).unwrap()];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// Reads the preface and answers with empty settings. Returns `false` if the handshake failed
/// because `h2` was not offered.
pub(crate) fn accept_preface(wire: &mut Wire) -> bool {
    let preface = wire.take(24);
    if !preface.is_empty() {
        assert_eq!(preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        wire.send(frame(SETTINGS, 0, 0, &[]));
    }
    !preface.is_empty()
}

/// Reads the next frame. Returns `None` if the stream ended.
pub(crate) fn next_frame(wire: &mut Wire) -> Option<Frame> {
    let head = wire.take(9);
    let [a, b, c, kind, flags, s0, s1, s2, s3] = head[..] else {
        return None;
    };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = wire.take(length);
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes([s0, s1, s2, s3]),
        payload,
    })
}

/// Reads until the head of a request is complete, and returns the number of its stream. Returns
/// `None` if the stream ended.
pub(crate) fn request(wire: &mut Wire) -> Option<u32> {
    loop {
        let frame = next_frame(wire)?;
        match (frame.kind, frame.flags & ACK) {
            (HEADERS, _) => return Some(frame.stream),
            (SETTINGS, 0) => {
                wire.send(self::frame(SETTINGS, ACK, 0, &[]));
            }
            _ => {}
        }
    }
}
