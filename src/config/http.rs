//! `connection_details.http`: one upstream, what is allowed there, one credential, caps.

use http::HeaderName;
use ipnet::IpNet;

use super::credential;
use super::field::Field;
use super::headers;
use super::object::Object;
use super::redaction::quoted;
use super::routes;
use super::secret_ref::ResolveContext;
use super::urls::{base_url, reachable};
use crate::domain::address::is_never_range;
use crate::domain::caps::OutOfRange;
use crate::domain::{
    Auth, BaseUrl, Caps, ConcurrencyCap, ConfiguredHeader, Http2, ResponseCap, Secret, Timeout,
};
use crate::route::RouteTable;

/// The `http` details, refined.
pub(super) struct Http {
    pub(super) base_url: BaseUrl,
    pub(super) routes: RouteTable,
    pub(super) headers: Vec<ConfiguredHeader>,
    pub(super) allow_agent_headers: Vec<HeaderName>,
    pub(super) auth: Auth,
    pub(super) webhook_signing_secret: Option<Secret>,
    pub(super) caps: Caps,
    pub(super) options: HttpOptions,
}

/// The optional fields that are ours.
pub(super) struct HttpOptions {
    pub(super) cidrs: Vec<IpNet>,
    pub(super) allow_cookies: bool,
    pub(super) allow_encoded_slash: bool,
    pub(super) reflection_guard: bool,
    pub(super) reuse_after_body: bool,
    pub(super) http2: Http2,
}

impl Http {
    /// Reads the details; every mistake in them is reported.
    pub(super) fn read(mut http: Object<'_>, context: &ResolveContext<'_>) -> Option<Self> {
        let base = http.require("base_url", "write `base_url: https://…`");
        let base_url = base.as_ref().and_then(base_url);
        let allowed_routes = http.require(
            "allowed_routes",
            "write at least one, such as `GET /api/status`",
        );
        let caps = caps(&mut http);
        let options = HttpOptions::read(&mut http);
        let allowed_cidrs = options.as_ref().map(|options| options.cidrs.as_slice());
        let auth = credential::auth(&mut http, context, allowed_cidrs);
        let headers = http
            .take("headers")
            .map(|field| headers::configured(&field, auth.as_ref()));
        let from_agent = http.take("allow_agent_headers");
        let from_agent = from_agent.map(|field| {
            let credential = auth.as_ref().map(Auth::header_names);
            let plain = headers
                .iter()
                .flatten()
                .flatten()
                .map(|header| &header.name);
            headers::from_agent(
                &field,
                &credential
                    .into_iter()
                    .flatten()
                    .chain(plain)
                    .collect::<Vec<_>>(),
            )
        });
        let signing = http
            .take("webhook_signing_secret")
            .map(|field| signing(&field, context));
        http.finish();
        // Whether an encoded slash may be matched decides which patterns are dead; where it is unknown, the kinder reading holds.
        let slash = options
            .as_ref()
            .is_none_or(|options| options.allow_encoded_slash);
        let routes = allowed_routes.and_then(|field| routes::compile(&field, slash));
        if let (Some(field), Some(url)) = (&base, &base_url) {
            reachable(field, url.host(), allowed_cidrs)?;
        }
        Some(Self {
            base_url: base_url?,
            routes: routes?,
            headers: headers.unwrap_or_else(|| Some(Vec::new()))?,
            allow_agent_headers: from_agent.unwrap_or_else(|| Some(Vec::new()))?,
            auth: auth?,
            webhook_signing_secret: signing.map_or(Some(None), |secret| secret.map(Some))?,
            caps: caps?,
            options: options?,
        })
    }
}

fn signing(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Secret> {
    let field = field.clone().secret();
    let secret = context.secret(&field)?;
    if secret.len() < 16 {
        let problem = field.problem("short_secret", "the signing secret has less than 16 bytes");
        field.push(
            problem
                .warning()
                .remedy("write a random secret of 32 bytes"),
        );
    }
    Some(secret)
}

fn caps(http: &mut Object<'_>) -> Option<Caps> {
    let response = http.take("max_response_size_bytes");
    let response = response.map(|field| capped(&field, 1, ResponseCap::MAX, ResponseCap::new));
    let timeout = http.take("timeout_seconds");
    let timeout =
        timeout.map(|field| capped(&field, 1, Timeout::MAX_SECONDS, Timeout::from_seconds));
    let concurrency = http.take("max_concurrent_requests");
    let concurrency =
        concurrency.map(|field| capped(&field, 1, ConcurrencyCap::MAX, ConcurrencyCap::new));
    Some(Caps {
        response: response.unwrap_or_else(|| Some(ResponseCap::default()))?,
        timeout: timeout.unwrap_or_else(|| Some(Timeout::default()))?,
        concurrency: concurrency.unwrap_or_else(|| Some(ConcurrencyCap::default()))?,
    })
}

fn capped<T>(
    field: &Field<'_>,
    min: u64,
    max: u64,
    make: fn(u64) -> Result<T, OutOfRange>,
) -> Option<T> {
    make(field.integer(min, max)?).ok()
}

impl HttpOptions {
    fn read(http: &mut Object<'_>) -> Option<Self> {
        let cidrs = http
            .take("allowed_private_cidrs")
            .map(|field| cidrs(&field));
        let mut flag = |name, default| {
            let field: Option<Field<'_>> = http.take(name);
            field.map_or(Some(default), |field| field.boolean())
        };
        let cookies = flag("allow_cookies", false);
        let slash = flag("allow_encoded_slash", false);
        let guard = flag("reflection_guard", true);
        let reuse = flag("reuse_after_body", true);
        let words = [
            ("auto", Http2::Auto),
            ("prefer", Http2::Prefer),
            ("never", Http2::Never),
        ];
        let http2 = http.take("http2").map(|field| field.choice(&words));
        Some(Self {
            cidrs: cidrs.unwrap_or_else(|| Some(Vec::new()))?,
            allow_cookies: cookies?,
            allow_encoded_slash: slash?,
            reflection_guard: guard?,
            reuse_after_body: reuse?,
            http2: http2.unwrap_or(Some(Http2::Auto))?,
        })
    }
}

fn cidrs(field: &Field<'_>) -> Option<Vec<IpNet>> {
    let items = field.list()?;
    let read: Vec<IpNet> = items.iter().filter_map(cidr).collect();
    (read.len() == items.len()).then_some(read)
}

fn cidr(field: &Field<'_>) -> Option<IpNet> {
    let text = field.text()?;
    let Ok(range) = text.parse::<IpNet>() else {
        let message = format!("{} is no range of addresses", quoted(text));
        field.report(
            "invalid_cidr",
            message,
            "write one like `10.20.0.0/16`, or `10.1.2.3/32` for one address",
        );
        return None;
    };
    if range != range.trunc() {
        let message = format!("{} has bits behind its prefix", quoted(text));
        field.report(
            "invalid_cidr",
            message,
            format!("write `{}`", range.trunc()),
        );
        return None;
    }
    if let Some(kind) = is_never_range(&range) {
        let message = format!("`{range}` may never be dialled ({kind})");
        field.report(
            "forbidden_cidr",
            message,
            "take it out; no connection may reach it",
        );
        return None;
    }
    Some(range)
}
