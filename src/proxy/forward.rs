//! The stage *forward*: drops and adds request fields, sends the request, and drops response
//! fields.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;

use super::accounting::RequestProgress;
use super::authorize::Permitted;
use super::error::ExchangeError;
use super::references::ReferenceContext;
use super::refusal::Refusal;
use super::request_fields::{Accept, FieldSources};
use super::request_id::RequestId;
use super::searched_body::SearchedBody;
use super::token_retry::acquire_token;
use super::upload::{RequestUpload, UnsentBody};
use super::written_target::written_query;
use super::{cookies, references, response_fields, token_retry, trailers};
use crate::credential::Credential;
use crate::credential::oauth::{AcquiredToken, Token};
use crate::credential::signing::{SignatureValue, SigningKey, X_WEBHOOK_SIGNATURE};
use crate::domain::Connection;
use crate::telemetry::metrics::Recorder;
use crate::upstream::failure::ConnectFault;
use crate::upstream::{
    Client, ExchangeOptions, Failure, Field, Framing, RequestHead, UpstreamBody, UpstreamPool,
    expects_body,
};

/// The resources that a request is sent with.
#[derive(Clone, Copy)]
pub(super) struct ForwardContext<'a> {
    pub(super) client: &'a Client,
    pub(super) pool: &'a Arc<UpstreamPool>,
    pub(super) credential: &'a Arc<Credential>,
    pub(super) own_hosts: &'a [String],
    pub(super) request_id: &'a RequestId,
    pub(super) recorder: &'a Recorder,
}

/// Sends a prepared request. Returns the response without the fields that agents must not see.
///
/// The request and the context are passed by reference, because the future stores every argument
/// for as long as it runs.
pub(super) async fn forward(
    permitted: &Permitted<'_>,
    body: UnsentBody<'_>,
    context: &ForwardContext<'_>,
    account: &mut RequestProgress,
) -> Result<Response<Box<SearchedBody>>, Refusal> {
    let ForwardContext {
        client,
        pool,
        credential,
        ..
    } = *context;
    let connection = &permitted.entry().connection;
    let (parts, announced) = (permitted.parts, body.framing);
    let mut acquired = match token_retry::ready_token(credential) {
        Ok(token) => token,
        // Boxed: obtaining a token is rare, and this future is too large for every request to
        // carry.
        Err(grant) => {
            Some(Box::pin(acquire_token(grant, &connection.id, client, pool, account)).await?)
        }
    };
    let mut upload = match credential.signing_key() {
        // Boxed: few connections sign bodies, and this future is too large for every request to
        // carry.
        Some(key) => Box::pin(read_and_sign(body, key, context, account)).await?,
        None => body.stream(credential.grant().is_some()),
    };
    let mut sending = AttemptContext {
        sources: FieldSources {
            headers: &parts.headers,
            connection,
            is_response_searched: credential.is_response_searched(),
            accept: Accept::new(),
            request_id: context.request_id,
        },
        credential,
        method: &parts.method,
        target: &upstream_target(connection, permitted.path(), written_query(parts)),
        // A signed body that turned out to be empty is sent without any framing for chunks, so
        // the upstream cannot leave it unread.
        may_reuse_socket: upload.is_empty()
            || leaves_socket_usable(&parts.method, announced, connection),
        context,
        account,
    };
    let mut response = match sending.send(token_of(&acquired), &mut upload).await {
        Err(AttemptError::CredentialExpired) => {
            // Once only. If the next token expires on the way too, the request is refused.
            if let Some(grant) = credential.grant() {
                let acquiring = acquire_token(grant, &connection.id, client, pool, sending.account);
                acquired = Some(Box::pin(acquiring).await?);
            }
            Box::pin(sending.send(token_of(&acquired), &mut upload)).await?
        }
        sent => sent?,
    };
    let sent = acquired.as_ref();
    let retry_token =
        token_retry::second_token(&response, credential, sent, || upload.rewind()).await;
    if let Some(token) = &retry_token {
        response = Box::pin(sending.send(Some(token), &mut upload)).await?;
    }
    scrub_response(&mut response, permitted, context);
    let credential = Arc::clone(credential);
    let mut response = SearchedBody::begin(response, credential, upload.signature().as_deref())?;
    let awaited = response.body_mut().await_first().await;
    awaited.map_err(|error| find_cause(error, connection, client, account))?;
    Ok(response)
}

fn token_of(acquired: &Option<AcquiredToken>) -> Option<&Token> {
    acquired.as_ref().map(|acquired| &*acquired.token)
}

/// Reads the whole body and signs it. Resolves the upstream first, so that no body is read for an
/// upstream whose addresses are forbidden.
async fn read_and_sign(
    body: UnsentBody<'_>,
    key: &SigningKey,
    context: &ForwardContext<'_>,
    account: &mut RequestProgress,
) -> Result<RequestUpload, Refusal> {
    context.client.resolve(context.pool).await?;
    let upload = body.sign(key).await?;
    account.is_signed = upload.signature().is_some();
    Ok(upload)
}

/// Returns the error with what the upstream module does not report: the fault of the agent's body,
/// the connection's cap, and the connect timeout.
fn find_cause(
    error: ExchangeError,
    connection: &Connection,
    client: &Client,
    account: &RequestProgress,
) -> ExchangeError {
    if let ExchangeError::Upstream(Failure::TooLarge { announced }) = error {
        let cap = connection.caps.response.bytes();
        ExchangeError::ResponseTooLarge { cap, announced }
    } else if error == ExchangeError::Upstream(ConnectFault::Timeout.into()) {
        ExchangeError::ConnectTimeout(client.connect_timeout())
    } else {
        account.find_cause(error)
    }
}

/// The parts of a request that are the same in every attempt. The token and the body differ.
struct AttemptContext<'a> {
    sources: FieldSources<'a>,
    credential: &'a Credential,
    method: &'a Method,
    target: &'a [&'a [u8]],
    /// `true` if the upstream's socket may be used again afterwards.
    may_reuse_socket: bool,
    context: &'a ForwardContext<'a>,
    account: &'a mut RequestProgress,
}

impl AttemptContext<'_> {
    /// Sends the request with the agent's remaining fields, egressd's, the credential and the
    /// signature, in this order.
    async fn send(
        &mut self,
        token: Option<&Token>,
        upload: &mut RequestUpload,
    ) -> Result<Response<UpstreamBody>, AttemptError> {
        self.account.set_token(token);
        let signature = upload.signature();
        let connection = self.sources.connection;
        let mut fields = self.sources.build().fields;
        self.credential
            .inject_headers(connection, token, &mut fields)
            .map_err(|unavailable| {
                AttemptError::Refused(Refusal::without_credential(unavailable, &connection.id))
            })?;
        fields.extend(signature.as_deref().map(signature_field));
        let head = RequestHead {
            method: self.method,
            target: self.target,
            authority: connection.base_url.authority(),
            fields: &fields,
            framing: upload.framing(),
        };
        let options = ExchangeOptions {
            cap: connection.caps.response.bytes(),
            sent_flag: &self.account.sent_flag,
            credential_expiry: token.and_then(Token::expiry),
            may_reuse_socket: self.may_reuse_socket,
        };
        let mut body = upload.take_body();
        let ForwardContext { client, pool, .. } = *self.context;
        let account = &*self.account;
        let exchanged = client.exchange(pool, &head, &mut body, options).await;
        exchanged.map_err(|failure| {
            if failure == Failure::CredentialExpired {
                upload.restore_body(body);
                AttemptError::CredentialExpired
            } else {
                AttemptError::Refused(
                    find_cause(failure.into(), connection, client, account).into(),
                )
            }
        })
    }
}

/// The reason why an attempt has no response.
enum AttemptError {
    /// The token expired while the body was awaited or the upstream was dialled. Nothing was sent,
    /// and the socket is kept for the next attempt.
    CredentialExpired,
    Refused(Refusal),
}

impl From<AttemptError> for Refusal {
    fn from(unsent: AttemptError) -> Self {
        match unsent {
            AttemptError::CredentialExpired => Failure::CredentialExpired.into(),
            AttemptError::Refused(refusal) => refusal,
        }
    }
}

/// Returns whether an upstream has most likely read all of a request with this framing by the time
/// it answers. If it leaves a body unread, it takes these bytes, which the agent chose, for the
/// head of the next request on the socket. That request was matched against no route, and the
/// credential of the next real request would complete it (request smuggling of the CL.0 kind).
/// Servers skip bodies that they do not expect, and those in chunks if they cannot parse them.
fn leaves_socket_usable(method: &Method, announced: Framing, connection: &Connection) -> bool {
    match announced {
        Framing::Absent | Framing::Length(0) => true,
        Framing::Length(_) => connection.reuse_after_body && expects_body(method),
        Framing::Chunked => false,
    }
}

/// Removes from a response's head what agents must not see, and rewrites references and cookies.
fn scrub_response(
    response: &mut Response<UpstreamBody>,
    permitted: &Permitted<'_>,
    context: &ForwardContext<'_>,
) {
    let connection = &permitted.entry().connection;
    let request = permitted.parts;
    let status = response.status();
    let is_chunked = response.body().size_hint().exact().is_none();
    let headers = response.headers_mut();
    // RFC 9110 §8.6: a 204 has no length, whatever the method.
    let keeps_length = request.method == Method::HEAD && status != StatusCode::NO_CONTENT;
    let length = keeps_length
        .then(|| headers.get(CONTENT_LENGTH).cloned())
        .flatten();
    // Before the fields are dropped, because `Trailer` is one of them.
    let trailers = is_chunked
        .then(|| trailers::announced_names(&request.headers, headers, connection))
        .flatten();
    if response_fields::remove_dropped_fields(headers, connection) {
        rewrite_references(headers, permitted, context);
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
    if let Some(trailers) = trailers {
        headers.insert(TRAILER, trailers);
    }
}

/// Rewrites references and cookies for the agent.
#[cold]
fn rewrite_references(
    headers: &mut HeaderMap,
    permitted: &Permitted<'_>,
    context: &ForwardContext<'_>,
) {
    let connection = &permitted.entry().connection;
    let prefix = permitted.prefix();
    cookies::rewrite(headers, &connection.base_url, prefix);
    let references = ReferenceContext {
        base_url: &connection.base_url,
        allow_encoded_slash: connection.allow_encoded_slash,
        prefix,
        path: permitted.path(),
        parts: permitted.parts,
        is_own_port: &|port| context.client.has_listener_on(port),
        allowed_hosts: context.own_hosts,
    };
    let dropped = references::rewrite(&references, headers);
    if dropped > 0 {
        context.recorder.count_dropped_references(dropped);
    }
}

/// Returns the field of the signature. It is sensitive, so HTTP/2 never indexes it (RFC 7541
/// §7.1.3). A leaked signature would allow a replay of its body, and a value that never repeats
/// should not fill the header table.
fn signature_field(signature: &SignatureValue) -> Field<'_> {
    Field {
        name: &X_WEBHOOK_SIGNATURE,
        value: signature.as_bytes(),
        sensitive: true,
    }
}

/// Returns the pieces of the target: the base URL's path, the matched bytes and the unchanged
/// query. Nothing is resolved as a URL reference, because that could change the authority.
pub(crate) fn upstream_target<'r>(
    connection: &'r Connection,
    path: &'r [u8],
    query: Option<&'r str>,
) -> [&'r [u8]; 4] {
    let base = connection.base_url.path().as_bytes();
    match query {
        Some(query) => [base, path, b"?", query.as_bytes()],
        None => [base, path, b"", b""],
    }
}
