//! The upstream's response, searched for credentials.
//!
//! Head and body are searched whatever `Content-Encoding` states: a body that really is compressed
//! never matches. The head waits a moment for the first piece of the body. A secret that is found
//! before the head was sent causes a refusal; one that is found later aborts the response. If there
//! is nothing to search for, this is the upstream's body unchanged.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TRAILER};
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::charset;
use super::error::ExchangeError;
use crate::credential::Credential;
use crate::credential::signing::SignatureValue;
use crate::reflection::{Reflected, ResponseScan};
use crate::telemetry::problem_log::ResponsePart;
use crate::upstream::{PendingUpload, UpstreamBody};

/// The longest time that a head waits for its body.
const MAX_HEAD_DELAY: Duration = Duration::from_millis(50);
/// The longest time that a byte is held back. It is longer than the usual pause within one text,
/// even over a path around the world, and short enough not to be noticed by a person.
const MAX_HOLD_TIME: Duration = Duration::from_millis(250);

/// A body that is searched as it passes. It is boxed, because it is half a kilobyte and a response
/// is moved several times on its way to the agent's socket.
pub(super) struct SearchedBody {
    body: UpstreamBody,
    search: Option<BodyScan>,
}

struct BodyScan {
    scan: ResponseScan,
    credential: Arc<Credential>,
    /// The data that arrived and was searched before the head was sent.
    first: Option<Bytes>,
    /// `true` if the head announces trailers to the agent; other trailers are dropped.
    announces_trailers: bool,
    /// Trailers that were searched, to be sent at the end of the body.
    trailers: Option<Box<HeaderMap>>,
    /// The time when the first byte that is held back arrived.
    held_since: Option<Instant>,
    /// The timer that releases held bytes if nothing more arrives.
    silence: Option<Pin<Box<Sleep>>>,
    /// `true` once a secret was found. Nothing more is sent, and the body does not end.
    reflected: bool,
}

impl SearchedBody {
    /// Searches the head. The beginning of the body is searched by [`SearchedBody::await_first`].
    /// The response is unchanged if there is nothing to search for.
    pub(super) fn begin(
        response: Response<UpstreamBody>,
        credential: Arc<Credential>,
        signature: Option<&SignatureValue>,
    ) -> Result<Response<Box<Self>>, ExchangeError> {
        let Some(scan) = credential.start_scan(signature) else {
            return Ok(response.map(Self::unsearched));
        };
        let is_searchable = search_head(&scan, response.headers())
            .map_err(|reflected| refuse(&credential, ResponsePart::Header, &reflected))?;
        if credential.is_exposed() {
            return Err(ExchangeError::Exposed);
        }
        if response.body().is_end_stream() {
            return Ok(response.map(Self::unsearched));
        }
        if !is_searchable {
            return Err(ExchangeError::Unsearchable);
        }
        let (head, body) = response.into_parts();
        let search = BodyScan {
            scan,
            credential,
            first: None,
            // Only a body of unknown length is sent in chunks, and can have trailers.
            announces_trailers: body.size_hint().exact().is_none()
                && head.headers.contains_key(TRAILER),
            trailers: None,
            held_since: None,
            silence: None,
            reflected: false,
        };
        let guarded = Self {
            body,
            search: Some(search),
        };
        Ok(Response::from_parts(head, Box::new(guarded)))
    }

    fn unsearched(body: UpstreamBody) -> Box<Self> {
        Box::new(Self { body, search: None })
    }

    /// Returns whether the type of the body is `text/event-stream`.
    pub(super) fn is_event_stream(&self) -> bool {
        self.body.is_event_stream()
    }

    /// Returns the bytes that are held back, at the end of a body that is cut off. After a secret
    /// was found, there are none.
    pub(super) fn take_unsent(&mut self) -> Result<Bytes, ExchangeError> {
        let mut unsent = BytesMut::new();
        if let Some(search) = &mut self.search
            && !search.reflected
        {
            let mut piece = search.finish()?;
            unsent.extend(search.first.take());
            while !piece.is_empty() {
                unsent.extend_from_slice(&piece);
                piece = search.scan.next_due();
            }
        }
        Ok(unsent.freeze())
    }

    /// Returns whether the upload continues while the response is received, and after it.
    pub(super) fn has_upload(&self) -> bool {
        self.body.has_upload()
    }

    /// Takes the upload that continues while the response is received, if there is one.
    pub(super) fn take_upload(&mut self) -> Option<PendingUpload> {
        self.body.take_upload()
    }

    /// Searches the part of the body that arrives before the head has to be sent.
    pub(super) async fn await_first(&mut self) -> Result<(), ExchangeError> {
        if self.search.is_none() {
            return Ok(());
        }
        // Most bodies arrive together with their heads, so the timer is created only if needed.
        let first = match poll_fn(|cx| Poll::Ready(self.poll_data(cx))).await {
            Poll::Ready(first) => first,
            Poll::Pending => {
                let first = poll_fn(|cx| self.poll_data(cx));
                match Box::pin(tokio::time::timeout(MAX_HEAD_DELAY, first)).await {
                    Ok(first) => first,
                    Err(_elapsed) => return Ok(()),
                }
            }
        };
        let first = first.transpose()?;
        if let Some(search) = &mut self.search {
            search.first = first;
        }
        Ok(())
    }

    /// Polls for the next bytes that may be sent.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        loop {
            let more = self.search.as_mut().map(|search| search.scan.next_due());
            if let Some(more) = more.filter(|more| !more.is_empty()) {
                return Poll::Ready(Some(Ok(more)));
            }
            let polled = Pin::new(&mut self.body).poll_frame(cx)?;
            let Some(search) = &mut self.search else {
                let data = ready!(polled).map(Frame::into_data);
                return Poll::Ready(data.and_then(Result::ok).map(Ok));
            };
            let Poll::Ready(frame) = polled else {
                return search.poll_release_held(cx).map(Some);
            };
            let data = frame.map(Frame::into_data);
            let out = match data {
                Some(Ok(data)) => search.feed(data, self.body.is_end_stream())?,
                Some(Err(frame)) => {
                    search.keep_trailers(frame)?;
                    continue;
                }
                None if search.scan.held() == 0 => return Poll::Ready(None),
                None => search.finish()?,
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(out)));
            }
        }
    }
}

impl BodyScan {
    fn feed(&mut self, data: Bytes, last: bool) -> Result<Bytes, ExchangeError> {
        let length = data.len();
        let followed = self.credential.update_scan(&mut self.scan);
        let fed = followed.and_then(|()| self.scan.feed(data, last));
        let fed = fed.map_err(|reflected| refuse(&self.credential, ResponsePart::Body, &reflected));
        // Other responses in flight must not reveal the results of further guesses either.
        let fed = match fed {
            Ok(_) if self.credential.is_exposed() => Err(ExchangeError::Exposed),
            fed => fed,
        };
        self.reflected = fed.is_err();
        let kept_back = self.scan.kept_back();
        if kept_back <= length || self.held_since.is_none() {
            // The bytes that were held back before are sent now.
            self.held_since = (kept_back > 0).then(Instant::now);
            self.silence = None;
        }
        fed
    }

    /// Searches and returns the bytes that were held back, at the end of the body.
    fn finish(&mut self) -> Result<Bytes, ExchangeError> {
        let finished = self.scan.finish();
        let finished =
            finished.map_err(|found| refuse(&self.credential, ResponsePart::Body, &found));
        self.reflected = finished.is_err();
        finished
    }

    /// Searches trailers like a head. Bytes of the body that are held back are sent first.
    fn keep_trailers(&mut self, frame: Frame<Bytes>) -> Result<(), ExchangeError> {
        if self.announces_trailers
            && let Ok(trailers) = frame.into_trailers()
        {
            let followed = self.credential.update_scan(&mut self.scan);
            let found = followed.and_then(|()| search_head(&self.scan, &trailers));
            if let Err(reflected) = found {
                self.reflected = true;
                return Err(refuse(&self.credential, ResponsePart::Header, &reflected));
            }
            self.trailers = Some(Box::new(trailers));
        }
        Ok(())
    }

    /// Polls for bytes that were held back for long enough.
    fn poll_release_held(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ExchangeError>> {
        if self.scan.held() == 0 || self.scan.holds_guesses() {
            return Poll::Pending;
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(sleep_until(since + MAX_HOLD_TIME)));
        ready!(silence.as_mut().poll(cx));
        self.silence = None;
        self.held_since = None;
        let held = self.scan.release_held();
        self.reflected = held.is_err();
        Poll::Ready(
            held.map_err(|reflected| refuse(&self.credential, ResponsePart::Body, &reflected)),
        )
    }

    /// Returns the number of bytes that arrived and are not sent yet.
    fn waiting(&self) -> usize {
        self.scan.held() + self.first.as_ref().map_or(0, Bytes::len)
    }
}

impl Drop for BodyScan {
    /// Closes the connection even if the response ends before the secret is reported.
    fn drop(&mut self) {
        if let Some(found) = self.scan.take_found() {
            self.credential
                .report_reflection(ResponsePart::Body, &found);
        }
    }
}

impl http_body::Body for SearchedBody {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let Some(search) = &mut self.search else {
            return Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into);
        };
        if let Some(first) = search.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let polled = ready!(self.poll_data(cx)?);
        let frame = polled.map(Frame::data).or_else(|| {
            let trailers = self.search.as_mut()?.trailers.take()?;
            Some(Frame::trailers(*trailers))
        });
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let through = |search: &BodyScan| {
            search.waiting() == 0 && !search.reflected && search.trailers.is_none()
        };
        self.search.as_ref().is_none_or(through) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.search.as_ref().map_or(0, BodyScan::waiting);
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + waiting as u64),
            None => SizeHint::default(),
        }
    }
}

/// Searches each name and each value separately, because a client never joins two fields. Returns
/// whether a body of this type can be searched.
fn search_head(scan: &ResponseScan, headers: &HeaderMap) -> Result<bool, Reflected> {
    let mut is_searchable = true;
    for (name, value) in headers {
        let value = value.as_bytes();
        scan.find(value)?;
        scan.find_name(name.as_str().as_bytes())?;
        if *name == TRAILER {
            scan.find_name(&value.to_ascii_lowercase())?;
        } else if *name == CONTENT_TYPE {
            is_searchable &= charset::is_searchable(value);
        }
    }
    Ok(is_searchable)
}

/// Reports a secret that was found. If another response closed the connection in the meantime, the
/// failure is the same as for a response without a secret, so that an agent cannot distinguish the
/// two.
#[cold]
fn refuse(credential: &Credential, place: ResponsePart, reflected: &Reflected) -> ExchangeError {
    let was_exposed = credential.is_exposed();
    credential.report_reflection(place, reflected);
    if was_exposed {
        ExchangeError::Exposed
    } else {
        ExchangeError::Reflected
    }
}
