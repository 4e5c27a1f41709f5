//! A token endpoint (RFC 6749 §3.2) over TLS with scripted responses. It records all calls.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socket2::{Domain, Socket, Type};

use super::message::{Fields, text};
use super::wire::{ReceivedRequest, Wire};
use super::{PATIENCE, TokenAnswer, Upstream};

/// A token endpoint on a free port. It can be stopped and started again at the same address.
pub(crate) struct TokenEndpoint {
    address: SocketAddr,
    // A bound socket that never listens. It keeps the port reserved while the endpoint is stopped.
    _keeper: Socket,
    calls: Arc<TokenCalls>,
    script: Script,
    running: Mutex<Option<Upstream>>,
    sockets_before: Mutex<usize>,
}

/// A call as the endpoint received it.
#[derive(Clone, Debug)]
pub(crate) struct TokenCall {
    /// The number of the call, from 0, in the order of arrival.
    pub(crate) number: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    /// The body's parameters, decoded, in order.
    pub(crate) form: Vec<(String, String)>,
    /// The body as it was received.
    pub(crate) body: String,
}

/// All calls so far, also those before a restart of the endpoint.
#[derive(Default)]
struct TokenCalls {
    list: Mutex<Vec<TokenCall>>,
    changed: Condvar,
}

type Script = Arc<dyn Fn(&TokenCall) -> TokenAnswer + Send + Sync>;

impl TokenEndpoint {
    /// Answers the n-th call with the n-th of these, and all further ones with the last.
    pub(crate) fn script(answers: impl IntoIterator<Item = TokenAnswer>) -> Self {
        let answers: Vec<TokenAnswer> = answers.into_iter().collect();
        Self::with_script(move |call| {
            let last = answers.len() - 1;
            answers[call.number.min(last)].clone()
        })
    }

    /// Answers every call with a new token: `token-1`, `token-2` and so on, each [padded](token) to
    /// a length that the reflection guard searches for.
    pub(crate) fn with_new_tokens(expires_in: i64) -> Self {
        Self::with_script(move |call| {
            TokenAnswer::bearer_expiring_in(&token(call.number + 1), expires_in)
        })
    }

    /// Answers each call with the result of `script`.
    pub(crate) fn with_script(
        script: impl Fn(&TokenCall) -> TokenAnswer + Send + Sync + 'static,
    ) -> Self {
        Self::start(([127, 0, 0, 1], 0).into(), Arc::new(script))
    }

    /// Starts like [`TokenEndpoint::with_new_tokens`], on 127.0.0.2.
    pub(crate) fn with_new_tokens_elsewhere(expires_in: i64) -> Self {
        let script = move |call: &TokenCall| {
            TokenAnswer::bearer_expiring_in(&token(call.number + 1), expires_in)
        };
        Self::start(([127, 0, 0, 2], 0).into(), Arc::new(script))
    }

    fn start(address: SocketAddr, script: Script) -> Self {
        let keeper = bind_without_listening(address);
        let address = keeper.local_addr().unwrap().as_socket().unwrap();
        let endpoint = Self {
            address,
            _keeper: keeper,
            calls: Arc::default(),
            script,
            running: Mutex::new(None),
            sockets_before: Mutex::new(0),
        };
        endpoint.restart();
        endpoint
    }

    /// Stops the endpoint: its sockets are closed, and new ones are refused.
    pub(crate) fn kill(&self) {
        let ended = lock(&self.running).take();
        if let Some(upstream) = ended {
            *lock(&self.sockets_before) += upstream.sockets();
        }
    }

    /// Starts the endpoint again at the same address.
    pub(crate) fn restart(&self) {
        let listener = bind_without_listening(self.address);
        listener.listen(1024).unwrap();
        let (calls, script) = (Arc::clone(&self.calls), Arc::clone(&self.script));
        let serve = move |wire: &mut Wire| {
            while let Some(arrived) = wire.request()
                && script(&calls.add(&arrived)).send_to(wire)
            {}
        };
        let listener = TcpListener::from(listener);
        *lock(&self.running) = Some(Upstream::script_on(listener, serve));
    }

    /// Returns the URL for a connection's `token_url`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/oauth2/token", self.address)
    }

    /// Returns the address of the listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of calls.
    pub(crate) fn calls(&self) -> usize {
        lock(&self.calls.list).len()
    }

    /// Returns the n-th call, from 0.
    pub(crate) fn call(&self, n: usize) -> TokenCall {
        lock(&self.calls.list)[n].clone()
    }

    /// Returns the number of sockets that were opened to the endpoint.
    pub(crate) fn sockets(&self) -> usize {
        let now = lock(&self.running).as_ref().map_or(0, Upstream::sockets);
        *lock(&self.sockets_before) + now
    }

    /// Blocks until `n` calls were received. They may be unanswered.
    pub(crate) fn wait_for_calls(&self, n: usize) {
        let list = lock(&self.calls.list);
        let (list, wait) = self
            .calls
            .changed
            .wait_timeout_while(list, PATIENCE, |list| list.len() < n)
            .unwrap_or_else(PoisonError::into_inner);
        let came = list.len();
        drop(list);
        assert!(!wait.timed_out(), "waited in vain for {n} calls: {came}");
    }
}

/// Returns the token of the n-th call to [`TokenEndpoint::with_new_tokens`], from 1.
pub(crate) fn token(n: usize) -> String {
    format!("token-{n}.0123456789-planted")
}

impl TokenCalls {
    fn add(&self, arrived: &ReceivedRequest) -> TokenCall {
        let mut list = lock(&self.list);
        let body = text(&arrived.body.bytes);
        let call = TokenCall {
            number: list.len(),
            method: arrived.method.clone(),
            target: arrived.target.clone(),
            fields: arrived.fields.clone(),
            form: parse_form(&body),
            body,
        };
        list.push(call.clone());
        self.changed.notify_all();
        call
    }
}

impl TokenCall {
    /// Returns the value of a parameter. A second value fails the test.
    pub(crate) fn single_param(&self, name: &str) -> Option<&str> {
        let mut named = self.form.iter().filter(|(key, _)| key == name);
        let first = named.next().map(|(_, value)| value.as_str());
        assert_eq!(named.next(), None, "{name} came twice: {}", self.body);
        first
    }

    /// Returns the client's id and secret from HTTP Basic, decoded according to RFC 6749 §2.3.1:
    /// base64, a colon, then each as a form value.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let value = self.fields.single_value("authorization")?;
        let pair = value.strip_prefix("Basic ").expect("Basic");
        let pair = STANDARD.decode(pair).expect("base64");
        let pair = String::from_utf8(pair).expect("ASCII, once encoded");
        let (id, secret) = pair.split_once(':').expect("a colon");
        assert!(!secret.contains(':'), "a colon that is not encoded");
        Some((decoded(id), decoded(secret)))
    }
}

/// Parses `application/x-www-form-urlencoded` strictly.
fn parse_form(body: &str) -> Vec<(String, String)> {
    let pairs = body.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').expect("a name and a value");
            (decoded(key), decoded(value))
        })
        .collect()
}

fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: Option<u8>| char::from(digit.expect("a digit")).to_digit(16);
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (hex(rest.next()), hex(rest.next()));
                u8::try_from(high.expect("hex") * 16 + low.expect("hex")).unwrap()
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' | b'~' => byte,
            other => panic!("{:?} is not encoded: {part}", char::from(other)),
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// Creates a bound socket that does not listen yet. With `SO_REUSEADDR`, several sockets may be
/// bound to one address as long as none of them listens.
fn bind_without_listening(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
