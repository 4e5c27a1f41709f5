//! An upstream that speaks correct HTTP/2, with a library: a head that is compressed with HPACK
//! needs a complete decoder.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::certs::{self, Alpn};
use super::message::text;

/// A server that answers every request with a description of it in JSON: `method`, `target`,
/// `authority`, `headers` (pairs), `body`.
pub(crate) struct H2Echo {
    /// The address of the listener.
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl H2Echo {
    /// Starts the server on a free port.
    pub(crate) fn start() -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let serving = move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = accept(listener) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("world h2".to_owned());
        let thread = thread.spawn(serving).unwrap();
        Self {
            address: told.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

async fn accept(listener: TcpListener) {
    let tls = TlsAcceptor::from(certs::trusted(Alpn::H2));
    while let Ok((tcp, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            // The first attempt offers only http/1.1 and fails.
            if let Ok(stream) = tls.accept(tcp).await {
                let http = http2::Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let _ended = http.serve_connection(io, service_fn(answer)).await;
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let headers = parts.headers.iter();
    let headers: Vec<Value> = headers
        .map(|(name, value)| json!([name.as_str(), text(value.as_bytes())]))
        .collect();
    let account = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.path_and_query().map(ToString::to_string),
        "authority": parts.uri.authority().map(ToString::to_string),
        "headers": headers,
        "body": text(&body),
    });
    Ok(Response::new(Full::from(account.to_string())))
}

impl Drop for H2Echo {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _caught = thread.join();
        }
    }
}
