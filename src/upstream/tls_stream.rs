//! A TLS client stream over rustls' unbuffered API.
//!
//! `tokio_rustls::client::TlsStream` does the same over the buffered API, which reads at most 4 KiB
//! at a time and queues each record in allocated chunks in both directions. Here records are read
//! into one buffer, in which rustls decrypts them. rustls copies the data of each record into
//! memory of its own, and from there it goes to the caller's buffer. Written data is encrypted into
//! one buffer, and sent by one system call. docs/decisions/tls-stream.md has the figures.
//!
//! Invariants:
//!
//! - The end of the TCP stream is an error, unless the upstream has sent `close_notify` (F-92).
//!   Bytes after `close_notify` are ignored (RFC 8446 §6.1).
//! - After an error of the TLS session, every read and write fails with the same error. Data that
//!   arrived intact before it is returned first.
//! - One poll processes a limited number of records, and at most one buffer of written records is
//!   kept, so neither a fast nor a slow upstream can make a socket use much time or memory.

mod buffers;
mod io_traits;

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{ClientConfig, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;
use tokio::task::yield_now;

use self::buffers::{ReceivedRecords, UnsentRecords};

/// The most records with data that one poll decrypts.
pub(super) const MAX_RECORDS: usize = 64;
/// The most reads of the socket in one poll, if they return no data. Session tickets are the
/// reason: the upstream may send any number of them, and rustls derives a key for each.
const MAX_READS: usize = 4;
/// The most bytes of data that are encrypted before they are sent.
pub(super) const MAX_UNSENT: usize = 32 * 1024;
/// The number of unsent bytes from which a write sends them first.
const SEND_THRESHOLD: usize = MAX_UNSENT / 2;
/// The most data of one record (RFC 8446 §5.1).
const MAX_RECORD_DATA: usize = 16 * 1024;
/// The bytes that encryption adds to a record: the header, the content type and the tag, or under
/// TLS 1.2 the header, the nonce and the tag.
const RECORD_OVERHEAD: usize = 29;

/// A TLS session with an upstream over the stream `IO`.
pub struct TlsStream<IO> {
    io: IO,
    session: UnbufferedClientConnection,
    received: ReceivedRecords,
    unsent: UnsentRecords,
    /// Data that was decrypted before a caller asked for it, or more than a caller had room for.
    decrypted: BytesMut,
    /// `true` if `received` may have whole records, because one poll has processed its limit.
    may_have_records: bool,
    /// `true` if the last read has stopped at [`MAX_READS`].
    is_paused: bool,
    /// `true` once the upstream has sent `close_notify`.
    is_closed: bool,
    /// The error that ended the session.
    error: Option<Error>,
}

/// The data that a step of the session sends, besides the messages of the protocol itself.
#[derive(Clone, Copy)]
enum ToSend<'a> {
    Nothing,
    Data(&'a [u8]),
    CloseNotify,
}

/// A step of the session.
enum Step {
    /// A message of the protocol was encoded.
    Protocol,
    /// The data of records was passed on.
    Data,
    /// The upstream has sent `close_notify`.
    PeerClosed,
    /// What was to be sent is encrypted. rustls needs more bytes for the next step.
    Sent,
    /// Nothing can be sent: rustls needs more bytes first, or the session has ended in both
    /// directions.
    Blocked,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Performs the handshake. Boxed, because the state of a session is large.
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        io: IO,
    ) -> io::Result<Box<Self>> {
        let session = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Box::new(Self {
            io,
            session,
            received: ReceivedRecords::default(),
            unsent: UnsentRecords::default(),
            decrypted: BytesMut::new(),
            may_have_records: false,
            is_paused: false,
            is_closed: false,
            error: None,
        });
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        stream.release_buffers();
        Ok(stream)
    }

    /// Returns the stream below TLS.
    pub(super) fn io(&self) -> &IO {
        &self.io
    }

    /// Returns the state of the session.
    pub(super) fn session(&self) -> &UnbufferedClientConnection {
        &self.session
    }

    /// Appends received data to `buffer` and returns its length. 0 means that the upstream has
    /// ended the session properly, with `close_notify`.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if !self.decrypted.is_empty() {
            let decrypted = mem::take(&mut self.decrypted);
            buffer.extend_from_slice(&decrypted);
            return Poll::Ready(Ok(decrypted.len()));
        }
        self.poll_decrypt(cx, &mut |data| buffer.extend_from_slice(data))
    }

    /// Returns whether bytes may have arrived that the last read did not return: a part of a
    /// record, or records behind those of one read.
    pub(super) fn has_unread(&self) -> bool {
        self.is_paused || !self.received.is_empty()
    }

    /// Reduces the memory of an idle stream.
    pub(super) fn release_buffers(&mut self) {
        self.received.shrink();
        self.unsent.shrink();
    }

    /// Returns the sizes of the buffers for received and for unsent records.
    #[cfg(test)]
    pub(super) fn buffer_sizes(&self) -> (usize, usize) {
        (self.received.size(), self.unsent.size())
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Err(error) = self.process_keeping_data(ToSend::Nothing) {
                return Poll::Ready(Err(self.fail(cx, error)));
            }
            // A server that has not finished its flight may not read yet, so a full pipe towards it
            // must not stop the reads.
            let sent = self.poll_send(cx)?;
            if !self.session.is_handshaking() {
                ready!(sent);
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Passes received data to `sink`, record by record, and returns its length. 0 means that the
    /// upstream has sent `close_notify`.
    fn poll_decrypt(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        self.is_paused = false;
        for _ in 0..MAX_READS {
            if let Some(error) = &self.error {
                return Poll::Ready(Err(session_error(error.clone())));
            }
            if self.is_closed {
                return Poll::Ready(Ok(0));
            }
            if self.may_have_records {
                // A read of the socket counts towards tokio's budget by itself.
                ready!(poll_proceed(cx)).made_progress();
            } else {
                // A failure is reported by the next write. The upstream may have responded before
                // it closed the socket.
                let _ = self.poll_send(cx);
                ready!(self.poll_receive(cx))?;
            }
            let mut length = 0;
            let processed = self.process(ToSend::Nothing, &mut |data| {
                length += data.len();
                sink(data);
            });
            let failed = processed.map_err(|error| self.fail(cx, error));
            if length > 0 {
                return Poll::Ready(Ok(length));
            }
            failed?;
        }
        self.is_paused = true;
        // Wakes the task after the runtime has looked for events of other sockets. The waker alone
        // would let an upstream that sends only session tickets delay them.
        let _pending = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// Processes the session like `process`. Keeps data that arrives meanwhile for the next read.
    fn process_keeping_data(&mut self, to_send: ToSend<'_>) -> Result<bool, Error> {
        let mut decrypted = mem::take(&mut self.decrypted);
        let processed = self.process(to_send, &mut |data| decrypted.extend_from_slice(data));
        self.decrypted = decrypted;
        processed
    }

    /// Processes the records in `received`, and then encrypts what is to be sent into `unsent`.
    /// Returns `false` if there is something to send, and the session did not encrypt it.
    fn process(
        &mut self,
        to_send: ToSend<'_>,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<bool, Error> {
        self.may_have_records = false;
        let mut records = 0;
        let is_sent = loop {
            let UnbufferedStatus { mut discard, state } =
                self.session.process_tls_records(self.received.used_mut());
            let step = state
                .and_then(|state| take_step(state, to_send, &mut self.unsent, &mut discard, sink));
            // rustls requires this before its next call, also after an error.
            self.received.discard(discard);
            match step? {
                Step::Protocol => {}
                Step::Data => records += 1,
                Step::PeerClosed => self.is_closed = true,
                Step::Sent => break true,
                Step::Blocked => break matches!(to_send, ToSend::Nothing),
            }
            if matches!(to_send, ToSend::Nothing) && self.pause_after(records) {
                break true;
            }
        };
        if self.is_closed {
            self.received.clear();
        }
        Ok(is_sent)
    }

    /// Pauses a read after this number of records with data, before rustls asks for more bytes, if
    /// that loses nothing. Returns `true` if the read pauses. That saves a call for each response.
    fn pause_after(&mut self, records: usize) -> bool {
        if self.is_closed {
            return true;
        }
        if records == 0 || self.session.wants_write() {
            return false;
        }
        let is_empty = self.received.is_empty();
        self.may_have_records = !is_empty && records >= MAX_RECORDS;
        is_empty || self.may_have_records
    }

    /// Ends the session with an error. Sends the alert that rustls has prepared, if the socket
    /// accepts it now.
    fn fail(&mut self, cx: &mut Context<'_>, error: Error) -> io::Error {
        while self.session.wants_write() {
            let UnbufferedStatus { discard, state } =
                self.session.process_tls_records(self.received.used_mut());
            let is_encoded = if let Ok(ConnectionState::EncodeTlsData(mut alert)) = state {
                self.unsent.append(0, |free| alert.encode(free)).is_ok()
            } else {
                false
            };
            self.received.discard(discard);
            if !is_encoded {
                break;
            }
        }
        let _ = self.poll_send(cx);
        self.error = Some(error.clone());
        session_error(error)
    }

    /// Reads from the socket into `received`.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let free = self.received.free_mut();
        if free.is_empty() {
            // rustls prepares no alert, because it has not rejected anything.
            return Poll::Ready(Err(self.fail(cx, Error::PeerSentOversizedRecord)));
        }
        let mut free = ReadBuf::new(free);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut free))?;
        let length = free.filled().len();
        if length == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.received.add(length);
        Poll::Ready(Ok(()))
    }

    /// Sends the records in `unsent`.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, self.unsent.used()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.discard(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO> fmt::Debug for TlsStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

/// Does what a state of rustls requires. Adds the bytes of records to `discard`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; a client receives no early data"
)]
fn take_step<D>(
    state: ConnectionState<'_, '_, D>,
    to_send: ToSend<'_>,
    unsent: &mut UnsentRecords,
    discard: &mut usize,
    sink: &mut impl FnMut(&[u8]),
) -> Result<Step, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                *discard += record.discard;
                sink(record.payload);
            }
            Ok(Step::Data)
        }
        ConnectionState::EncodeTlsData(mut message) => {
            // Cannot fail, because `unsent` grows and each message is encoded once.
            unsent
                .append(0, |free| message.encode(free))
                .map_err(|error| Error::General(error.to_string()))?;
            Ok(Step::Protocol)
        }
        ConnectionState::TransmitTlsData(transmission) => {
            // The messages are in `unsent`, which is sent before anything else.
            transmission.done();
            Ok(Step::Protocol)
        }
        ConnectionState::PeerClosed => Ok(Step::PeerClosed),
        ConnectionState::WriteTraffic(mut traffic) => {
            encrypt(&mut traffic, to_send, unsent).map_err(|_| Error::EncryptError)?;
            Ok(Step::Sent)
        }
        _ => Ok(Step::Blocked),
    }
}

/// Encrypts what is to be sent.
fn encrypt<D>(
    traffic: &mut WriteTraffic<'_, D>,
    to_send: ToSend<'_>,
    unsent: &mut UnsentRecords,
) -> Result<(), EncryptError> {
    match to_send {
        ToSend::Nothing => Ok(()),
        ToSend::Data(data) => {
            let records = data.len() / MAX_RECORD_DATA + 1;
            let expected = data.len() + RECORD_OVERHEAD * records;
            unsent.append(expected, |free| traffic.encrypt(data, free))
        }
        ToSend::CloseNotify => {
            unsent.append(RECORD_OVERHEAD, |free| traffic.queue_close_notify(free))
        }
    }
}

fn session_error(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
