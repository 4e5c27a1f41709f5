//! The loopback listener of the browser flow.

mod bind;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::header::{COOKIE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::callback::{Callback, WrongIssuer};
use super::gate::{BrowserRequest, Decision, Gate};
use super::pages::{self, Page};
pub(super) use bind::BoundLoopback;

/// The most sockets that are open at a time. More clients wait in the accept queue.
const MAX_SOCKETS: usize = 16;
/// The largest request head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The time within which a head must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which a socket is closed, if the client does not read its answer.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after a failed accept. The usual reason is that no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

static FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// An event of the listener. Each occurs at most once.
pub(super) enum BrowserEvent {
    /// A request arrived that is not part of the login.
    WrongRequest,
    /// The callback arrived with another issuer than the definition has.
    WrongIssuer(WrongIssuer),
    /// The callback arrived.
    Callback(Callback),
    /// A second client has opened the start link.
    Taken,
}

/// The parts that the sockets of a listener share.
pub(super) struct Browser {
    pub(super) gate: Mutex<Gate>,
    pub(super) authorization_url: Zeroizing<String>,
    /// The life of the cookie in seconds.
    pub(super) max_age: u64,
    sockets: Semaphore,
    was_full: AtomicBool,
    events: mpsc::UnboundedSender<BrowserEvent>,
}

/// The listener, which accepts sockets until it is dropped.
pub(super) struct CallbackListener {
    browser: Arc<Browser>,
    events: mpsc::UnboundedReceiver<BrowserEvent>,
    /// The tasks of the sockets end with it.
    _tasks: JoinSet<()>,
}

impl CallbackListener {
    /// Starts to accept sockets. Must be called inside a runtime.
    pub(super) fn start(
        bound: BoundLoopback,
        gate: Gate,
        authorization_url: Zeroizing<String>,
        max_age: Duration,
    ) -> std::io::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let browser = Arc::new(Browser {
            gate: Mutex::new(gate),
            authorization_url,
            max_age: max_age.as_secs(),
            sockets: Semaphore::new(MAX_SOCKETS),
            was_full: AtomicBool::new(false),
            events: sender,
        });
        let mut tasks = JoinSet::new();
        for listener in bound.into_listeners() {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn(accept_sockets(listener, Arc::clone(&browser)));
        }
        Ok(Self {
            browser,
            events,
            _tasks: tasks,
        })
    }

    /// Returns the parts that the sockets share.
    pub(super) fn browser(&self) -> &Arc<Browser> {
        &self.browser
    }

    /// Waits for the next event. Never returns after the last one.
    pub(super) async fn next_event(&mut self) -> BrowserEvent {
        match self.events.recv().await {
            Some(event) => event,
            // `browser` holds a sender, so the channel stays open.
            None => std::future::pending().await,
        }
    }

    /// Returns whether all sockets were in use at some time, so that a browser had to wait.
    pub(super) fn was_full(&self) -> bool {
        self.browser.was_full.load(Relaxed)
    }
}

async fn accept_sockets(listener: TcpListener, browser: Arc<Browser>) {
    // The tasks of the sockets are aborted with this one.
    let mut sockets = JoinSet::new();
    loop {
        if browser.sockets.available_permits() == 0 {
            browser.was_full.store(true, Relaxed);
        }
        // The semaphore is never closed.
        let Ok(permit) = browser.sockets.acquire().await else {
            return;
        };
        permit.forget();
        match listener.accept().await {
            Ok((socket, peer)) => {
                let browser = Arc::clone(&browser);
                sockets.spawn(async move {
                    serve_socket(socket, peer.ip(), &browser).await;
                    browser.sockets.add_permits(1);
                });
            }
            Err(_) => {
                browser.sockets.add_permits(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while sockets.try_join_next().is_some() {}
    }
}

/// Serves one request. Without keep-alive, a browser cannot hold a socket that another request
/// needs.
async fn serve_socket(socket: TcpStream, peer: IpAddr, browser: &Browser) {
    let service = service_fn(|request: Request<Incoming>| {
        let page = browser.answer(peer, &request);
        async move { Ok::<_, Infallible>(page) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .header_read_timeout(HEAD_TIMEOUT)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service);
    // The client of a broken socket tries again.
    let _ended = tokio::time::timeout(SOCKET_TIMEOUT, connection).await;
}

impl Browser {
    fn answer(&self, peer: IpAddr, request: &Request<Incoming>) -> Page {
        let headers = request.headers();
        let is_origin_form = request.uri().authority().is_none();
        let request = BrowserRequest {
            peer,
            method: request.method(),
            host: only_value(headers, &HOST).filter(|_| is_origin_form),
            has_origin: headers.contains_key(ORIGIN),
            // A repeated field is not that of a browser.
            fetch_mode: match headers.contains_key(&FETCH_MODE) {
                true => Some(only_value(headers, &FETCH_MODE).unwrap_or_default()),
                false => None,
            },
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            cookies: headers
                .get_all(COOKIE)
                .iter()
                .map(|value| value.as_bytes())
                .collect(),
        };
        let mut gate = self.gate.lock();
        let is_first_wrong = gate.wrong_requests() == 0;
        let is_first_wrong_issuer = !gate.has_wrong_issuer();
        match gate.answer(&request) {
            Decision::Start => {
                let (url, cookie) = (&self.authorization_url, gate.cookie());
                pages::start_redirect(url, cookie, self.max_age)
            }
            Decision::Taken => {
                self.report(BrowserEvent::Taken);
                pages::taken_page()
            }
            Decision::Accept(callback) => {
                self.report(BrowserEvent::Callback(callback));
                pages::done_redirect()
            }
            Decision::Gone => pages::gone_page(),
            Decision::Done => pages::done_page(),
            Decision::NotFound => {
                self.report_wrong_request(is_first_wrong);
                pages::not_found_page()
            }
            Decision::Wrong => {
                self.report_wrong_request(is_first_wrong);
                pages::wrong_page()
            }
            Decision::WrongIssuer(wrong) => {
                if is_first_wrong_issuer {
                    self.report(BrowserEvent::WrongIssuer(wrong));
                }
                pages::wrong_issuer_page()
            }
        }
    }

    fn report_wrong_request(&self, is_first: bool) {
        if is_first {
            self.report(BrowserEvent::WrongRequest);
        }
    }

    fn report(&self, event: BrowserEvent) {
        // The receiver is dropped only when the listener is.
        let _dropped = self.events.send(event);
    }
}

/// Returns the value of a field that occurs once.
fn only_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        (None | Some(_), _) => None,
    }
}
