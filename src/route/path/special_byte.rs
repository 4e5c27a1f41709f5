//! The bytes of a raw path that are not plain bytes of a segment.

use super::Reason;

/// A byte that is not a plain byte of a segment.
#[derive(Clone, Copy)]
pub(super) enum Special {
    Slash,
    Percent,
    Refused(Reason),
}

/// Returns the position and the role of the first byte that is not plain.
#[inline]
pub(super) fn find_special(bytes: &[u8]) -> Option<(usize, Special)> {
    let mut bytes = bytes.iter().enumerate();
    bytes.find_map(|(at, byte)| Some((at, special(*byte)?)))
}

/// Returns the role of a raw byte in a path, or `None` if it is plain. The compiler turns this into
/// a table. `[` and `]` are plain, as in Go.
#[inline]
const fn special(byte: u8) -> Option<Special> {
    Some(match byte {
        b'/' => Special::Slash,
        b'%' => Special::Percent,
        b'\\' => Special::Refused(Reason::Backslash),
        0x00..=0x1f | 0x7f => Special::Refused(Reason::Control),
        0x80..=0xff
        | b' '
        | b'"'
        | b'#'
        | b'<'
        | b'>'
        | b'?'
        | b'^'
        | b'`'
        | b'{'
        | b'|'
        | b'}' => Special::Refused(Reason::IllegalByte),
        _ => return None,
    })
}
