//! Decodes the chunked transfer coding (RFC 9112 §7.1) from a buffer, strictly: sizes have at most
//! 16 hexadecimal digits, and only CRLF ends a line.
//!
//! Extensions are ignored and trailers are kept. Together they may have at most 16 KiB per body.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::upstream::failure::ProtocolFault;

/// The most bytes of chunk extensions and trailers in one body.
const MAX_OVERHEAD: usize = 16 * 1024;
/// The size, in bytes, from which a piece is returned without a copy.
const UNCOPIED: usize = 8 * 1024;

/// The state of decoding one body.
#[derive(Debug, Default)]
pub(super) struct ChunkedDecoder {
    state: ChunkState,
    overhead: usize,
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    /// Before the first digit of the first size.
    #[default]
    Start,
    DataEnd,
    /// Inside a chunk, with this many bytes left.
    Data(u64),
    Trailers,
    End,
}

/// The result of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecodeStep {
    /// Data, and the number of chunks that it is from.
    Data(Bytes, u64),
    /// More bytes are needed.
    Starved,
    /// The last chunk and the trailers are consumed.
    End,
}

impl ChunkedDecoder {
    /// Decodes bytes at the front of `buffer`. Many small chunks are gathered into one piece, and a
    /// piece of a large chunk is returned without a copy.
    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> Result<DecodeStep, ProtocolFault> {
        let mut gathered = BytesMut::new();
        let mut chunks = 0;
        loop {
            match self.state {
                ChunkState::Data(left) => {
                    let take = buffer
                        .len()
                        .min(usize::try_from(left).unwrap_or(usize::MAX));
                    if take == 0 || (take >= UNCOPIED && !gathered.is_empty()) {
                        break;
                    }
                    self.state = match left - take as u64 {
                        0 => ChunkState::DataEnd,
                        rest => ChunkState::Data(rest),
                    };
                    chunks += 1;
                    let piece = buffer.split_to(take);
                    if take >= UNCOPIED || (gathered.is_empty() && !self.more_follows(buffer)) {
                        return Ok(DecodeStep::Data(piece.freeze(), chunks));
                    }
                    gathered.extend_from_slice(&piece);
                    if gathered.len() >= UNCOPIED {
                        break;
                    }
                }
                ChunkState::Start | ChunkState::DataEnd => {
                    if !self.size_line(buffer)? {
                        break;
                    }
                }
                ChunkState::Trailers => {
                    if !self.trailer_line(buffer)? {
                        break;
                    }
                }
                ChunkState::End => break,
            }
        }
        if !gathered.is_empty() {
            return Ok(DecodeStep::Data(gathered.freeze(), chunks));
        }
        Ok(if self.state == ChunkState::End {
            DecodeStep::End
        } else {
            DecodeStep::Starved
        })
    }

    #[cfg(test)]
    fn is_end(&self) -> bool {
        self.state == ChunkState::End
    }

    /// Returns whether the buffer has data of another chunk, so that gathering is worth a copy.
    fn more_follows(&self, buffer: &[u8]) -> bool {
        self.state == ChunkState::DataEnd && buffer.len() > 4 && !buffer.starts_with(b"\r\n0\r\n")
    }

    /// Reads `[CRLF] size [;ext] CRLF`. Returns `false` if it is not complete.
    fn size_line(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolFault> {
        let skip = match (self.state, &buffer[..]) {
            (ChunkState::DataEnd, [b'\r', b'\n', ..]) => 2,
            (ChunkState::DataEnd, [b'\r'] | []) => return Ok(false),
            (ChunkState::DataEnd, _) => return Err(ProtocolFault::Body),
            _ => 0,
        };
        let line = buffer.get(skip..).unwrap_or_default();
        let Some(end) = self.line_end(line)? else {
            return Ok(false);
        };
        let line = line.get(..end).unwrap_or_default();
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at_checked(digits).ok_or(ProtocolFault::Body)?;
        let legal_rest =
            matches!(rest.trim_ascii_start(), [] | [b';', ..]) && !rest.contains(&b'\r');
        // RFC 9112 §7.1.1 allows whitespace around extensions only as "bad whitespace". Nothing
        // else may follow a size.
        if digits == 0 || digits > 16 || !legal_rest {
            return Err(ProtocolFault::Body);
        }
        self.overhead += rest.len();
        let size = size.iter().fold(0, |sum, digit| {
            let digit = char::from(*digit).to_digit(16).unwrap_or(0);
            (sum << 4) | u64::from(digit)
        });
        self.state = if size == 0 {
            ChunkState::Trailers
        } else {
            ChunkState::Data(size)
        };
        buffer.advance(skip + end + 2);
        Ok(true)
    }

    /// Takes the trailers of a body that has ended.
    pub(super) fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        self.trailers.take()
    }

    /// Stores one trailer, or drops it if it is not a valid field.
    fn keep_trailer(&mut self, name: &[u8], value: &[u8]) {
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            self.trailers.get_or_insert_default().append(name, value);
        }
    }

    /// Reads one trailer line, or the empty line at the end. Returns false if the line is
    /// incomplete.
    fn trailer_line(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolFault> {
        let Some(end) = self.line_end(buffer)? else {
            return Ok(false);
        };
        let line = buffer.get(..end).unwrap_or_default();
        match memchr::memchr(b':', line).map(|at| line.split_at(at)) {
            None if end == 0 => self.state = ChunkState::End,
            None => return Err(ProtocolFault::Body),
            Some((name, value)) => {
                let (name, value) = (name.to_vec(), value.get(1..).unwrap_or_default().to_vec());
                self.keep_trailer(&name, &value);
            }
        }
        self.overhead += end;
        buffer.advance(end + 2);
        Ok(true)
    }

    /// Returns the offset of the CRLF that ends this line, or `None` if it has not arrived. A bare
    /// LF and a line over the limit are errors.
    fn line_end(&self, line: &[u8]) -> Result<Option<usize>, ProtocolFault> {
        let end = memchr::memchr(b'\n', line);
        if self.overhead + end.unwrap_or(line.len()) > MAX_OVERHEAD {
            return Err(ProtocolFault::Body);
        }
        match end {
            None => Ok(None),
            Some(at) if at > 0 && line.get(at - 1) == Some(&b'\r') => Ok(Some(at - 1)),
            Some(_) => Err(ProtocolFault::Body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChunkedDecoder, DecodeStep};
    use bytes::BytesMut;

    /// Decodes `text` in pieces of `size` bytes. Returns the data, whether the body ended, and the
    /// bytes after it.
    fn decode(text: &[u8], size: usize) -> Result<(Vec<u8>, bool, Vec<u8>), ()> {
        let (mut chunks, mut buffer, mut data) =
            (ChunkedDecoder::default(), BytesMut::new(), Vec::new());
        for piece in text.chunks(size) {
            buffer.extend_from_slice(piece);
            while let DecodeStep::Data(bytes, _) = chunks.step(&mut buffer).map_err(drop)? {
                data.extend_from_slice(&bytes);
            }
        }
        Ok((data, chunks.is_end(), buffer.to_vec()))
    }

    #[test]
    fn decodes_pieces_of_any_size() {
        let large = [&b"2400\r\n"[..], &[b'x'; 0x2400], b"\r\n0\r\n\r\n"].concat();
        for (text, data, left) in [
            (&b"5\r\nhello\r\n0\r\n\r\n"[..], &b"hello"[..], &b""[..]),
            (
                b"1\r\na\r\n2;x=y\r\nbc\r\n000\r\nT: v\r\n\r\nNEXT",
                b"abc",
                b"NEXT",
            ),
            (
                b"A\r\n0123456789\r\na \t;q=\"1\"\r\n0123456789\r\n0;e\r\n\r\n",
                b"01234567890123456789",
                b"",
            ),
            (&large, &[b'x'; 0x2400], b""),
        ] {
            for size in [1, 2, 3, 7, 4096, 100_000] {
                let expected = Ok((data.to_vec(), true, left.to_vec()));
                assert_eq!(decode(text, size), expected, "{size}");
            }
        }
    }

    #[test]
    fn an_incomplete_body_has_not_ended() {
        // F-123
        for text in [
            &b"5\r\nhel"[..],
            b"5\r\nhello\r\n",
            b"5\r\nhello\r\n0\r\n",
            b"5\r\nhello\r\n0\r\nA: b\r\n",
        ] {
            assert_eq!(decode(text, 100).map(|r| r.1), Ok(false));
        }
    }

    #[test]
    fn rejects_sizes_and_line_ends_in_other_forms() {
        let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(20_000));
        for text in [
            "0x5\r\nhello\r\n",
            "5_0\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            " 5\r\nhello\r\n",
            "\r\n",
            "11111111111111111\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5 x\r\nhello\r\n",
            "0\r\nno colon\r\n\r\n",
            "g\r\n",
            long_extension.as_str(),
        ] {
            assert!(decode(text.as_bytes(), 100_000).is_err(), "{text:?}");
        }
    }

    #[test]
    fn small_chunks_are_gathered() {
        let mut buffer = BytesMut::from(&b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"[..]);
        let mut chunks = ChunkedDecoder::default();
        assert_eq!(
            chunks.step(&mut buffer),
            Ok(DecodeStep::Data("abc".into(), 3))
        );
        assert_eq!(chunks.step(&mut buffer), Ok(DecodeStep::End));
    }
}
