//! The upstream's answer, searched for the credential that its request was sent with.
//!
//! The head is searched always, the body unless it is compressed. The head waits for a moment for the first piece of the body: what is found before it
//! went out is a refusal, what is found later breaks the answer off. Where there is nothing to search for, this is the upstream's body and nothing more.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, TRAILER};
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::credential::reflection::{Reflected, Scan};
use crate::upstream::{Failure, Uploading, UpstreamBody};

/// The longest that a head waits for its body.
const HEAD_WAITS: Duration = Duration::from_millis(50);
/// The longest that the end of a piece waits for the next one: longer than a path across the world is silent within one text, and
/// shorter than a person minds.
const TAIL_WAITS: Duration = Duration::from_millis(250);

/// A body that is searched as it passes.
pub(super) struct Guarded {
    body: UpstreamBody,
    search: Option<Search>,
}

struct Search {
    scan: Scan,
    /// What came and was searched before the head went out.
    first: Option<Bytes>,
    /// Whether the head announces trailers to the agent; others end here.
    announces_trailers: bool,
    /// Trailers that were searched, for the end of the body.
    trailers: Option<Box<HeaderMap>>,
    /// Runs while something is held back and nothing comes.
    silence: Option<Pin<Box<Sleep>>>,
    /// A secret was found: nothing more goes out, and this is no whole body.
    reflected: bool,
}

impl Guarded {
    /// Searches the head. `None`: there is nothing to search for. What comes of the body soon enough is searched by [`Guarded::await_first`].
    pub(super) fn begin(
        response: Response<UpstreamBody>,
        scan: Option<Scan>,
    ) -> Result<Response<Self>, Failure> {
        let Some(scan) = scan else {
            return Ok(response.map(Self::unsearched));
        };
        let compressed = search_head(&scan, response.headers())?;
        let mut response = response;
        if compressed {
            // Its trailers would not be searched, so none is announced and none passes.
            response.headers_mut().remove(TRAILER);
        }
        if compressed || response.body().is_end_stream() {
            return Ok(response.map(Self::unsearched));
        }
        let (head, body) = response.into_parts();
        let search = Search {
            scan,
            first: None,
            announces_trailers: head.headers.contains_key(TRAILER),
            trailers: None,
            silence: None,
            reflected: false,
        };
        let guarded = Self {
            body,
            search: Some(search),
        };
        Ok(Response::from_parts(head, guarded))
    }

    fn unsearched(body: UpstreamBody) -> Self {
        Self { body, search: None }
    }

    /// The upload that goes on beside the response, if one does.
    pub(super) fn take_upload(&mut self) -> Option<Uploading> {
        self.body.take_upload()
    }

    /// Searches what comes of the body before the head has to go out.
    pub(super) async fn await_first(&mut self) -> Result<(), Failure> {
        if self.search.is_none() {
            return Ok(());
        }
        // A timer only where it is needed: most bodies come with their heads.
        let first = match poll_fn(|cx| Poll::Ready(self.poll_data(cx))).await {
            Poll::Ready(first) => first,
            Poll::Pending => {
                let first = poll_fn(|cx| self.poll_data(cx));
                match Box::pin(tokio::time::timeout(HEAD_WAITS, first)).await {
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

    /// The next bytes that may go out.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            let more = self.search.as_mut().map(|search| search.scan.more());
            if let Some(more) = more.filter(|more| !more.is_empty()) {
                return Poll::Ready(Some(Ok(more)));
            }
            let polled = Pin::new(&mut self.body).poll_frame(cx)?;
            let Some(search) = &mut self.search else {
                let data = ready!(polled).map(Frame::into_data);
                return Poll::Ready(data.and_then(Result::ok).map(Ok));
            };
            let Poll::Ready(frame) = polled else {
                return search.poll_let_go(cx).map(|held| Some(Ok(held)));
            };
            search.silence = None;
            let data = frame.map(Frame::into_data);
            let out = match data {
                Some(Ok(data)) => search.feed(data, self.body.is_end_stream())?,
                Some(Err(frame)) => {
                    search.keep_trailers(frame)?;
                    continue;
                }
                None if search.scan.held() == 0 => return Poll::Ready(None),
                None => search.scan.finish(),
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(out)));
            }
        }
    }
}

impl Search {
    fn feed(&mut self, data: Bytes, last: bool) -> Result<Bytes, Failure> {
        self.scan.feed(data, last).map_err(|Reflected| {
            self.reflected = true;
            Failure::Reflected
        })
    }

    /// Searches trailers as a head is searched. What is held back of the body goes out first.
    fn keep_trailers(&mut self, frame: Frame<Bytes>) -> Result<(), Failure> {
        if self.announces_trailers
            && let Ok(trailers) = frame.into_trailers()
        {
            self.reflected = search_head(&self.scan, &trailers).is_err();
            self.trailers = Some(Box::new(trailers));
        }
        if self.reflected {
            return Err(Failure::Reflected);
        }
        Ok(())
    }

    /// What was held back for long enough.
    fn poll_let_go(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.scan.held() == 0 {
            return Poll::Pending;
        }
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(sleep(TAIL_WAITS)));
        ready!(silence.as_mut().poll(cx));
        self.silence = None;
        Poll::Ready(self.scan.let_go())
    }

    /// Bytes that came from the upstream and did not go out yet.
    fn waiting(&self) -> usize {
        self.scan.held() + self.first.as_ref().map_or(0, Bytes::len)
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(search) = &mut self.search else {
            return Pin::new(&mut self.body).poll_frame(cx);
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
        let through = |search: &Search| {
            search.waiting() == 0 && !search.reflected && search.trailers.is_none()
        };
        self.search.as_ref().is_none_or(through) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.search.as_ref().map_or(0, Search::waiting);
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + waiting as u64),
            None => SizeHint::default(),
        }
    }
}

/// Searches each name and each value (fields do not run into each other), and says whether the body is compressed.
fn search_head(scan: &Scan, headers: &HeaderMap) -> Result<bool, Failure> {
    let mut compressed = false;
    for (name, value) in headers {
        if scan.finds_in(value.as_bytes()) || scan.finds_in(name.as_str().as_bytes()) {
            return Err(Failure::Reflected);
        }
        compressed |= name == CONTENT_ENCODING && names_compression(value.as_bytes());
    }
    Ok(compressed)
}

/// Whether some coding makes the body unreadable (RFC 9110 §8.4.1, RFC 8878, RFC 9842). Words that are no such coding, such as `identity` or `utf-8`, hide nothing.
fn names_compression(codings: &[u8]) -> bool {
    const COMPRESSIONS: [&str; 9] = [
        "gzip",
        "x-gzip",
        "deflate",
        "compress",
        "x-compress",
        "br",
        "zstd",
        "dcb",
        "dcz",
    ];
    let mut codings = codings.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    codings.any(|coding| {
        COMPRESSIONS
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known.as_bytes()))
    })
}
