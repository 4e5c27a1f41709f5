//! A located tree → [`Connection`]s. Every mistake is reported; what has one is not made.

use ipnet::IpNet;

use super::credential;
use super::headers;
use super::problem::{Problem, quoted};
use super::raw::{Field, Object, listed};
use super::routes;
use super::secret_ref::Surroundings;
use crate::domain::address::{Forbidden, is_never_range, judge};
use crate::domain::caps::OutOfRange;
use crate::domain::url::InvalidUrl;
use crate::domain::{
    Auth, BaseUrl, Caps, ConcurrencyCap, Connection, ConnectionId, Host, Http2, ResponseCap,
    Secret, Timeout,
};

/// One definition: its id where that is legal, and the connection where all of it is.
pub(super) struct Defined {
    pub(super) id: Option<ConnectionId>,
    /// A finding at the place of the id, to be completed should the id be taken.
    pub(super) id_place: Problem,
    pub(super) connection: Option<Connection>,
}

/// Reads one file's tree: one connection, or `connections: [...]`.
pub(super) fn definitions(root: &Field<'_>, stem: &str, around: &Surroundings<'_>) -> Vec<Defined> {
    let Some(mut object) = root.object() else {
        return Vec::new();
    };
    if !object.has("connections") {
        return vec![definition(object, Some(stem), around)];
    }
    let list = object.take("connections");
    object.finish();
    let items = list.and_then(|field| field.list()).unwrap_or_default();
    let objects = items.iter().filter_map(Field::object);
    objects.map(|item| definition(item, None, around)).collect()
}

fn definition(mut object: Object<'_>, stem: Option<&str>, around: &Surroundings<'_>) -> Defined {
    let (id, id_place) = identity(&mut object, stem);
    let display_name = object.take("display_name").map(|field| field.text());
    let description = object.take("description").map(|field| field.text());
    let typed = connection_type(&mut object);
    let enabled = tool_configurations(&mut object);
    let delete_time = object.take("delete_time").map(|field| timestamp(&field));
    let details = object.require(
        "connection_details",
        "write `connection_details: {http: {…}}`",
    );
    object.finish();
    let http = details.and_then(|field| {
        let mut details = field.object()?;
        let http = details.require("http", "write `http: {base_url: …, allowed_routes: […]}`");
        details.finish();
        Http::read(http?.object()?, around)
    });
    let connection = || {
        let (id, http) = (id.clone()?, http?);
        typed?;
        Some(Connection {
            display_name: display_name
                .unwrap_or_else(|| Some(id.as_str()))?
                .to_owned(),
            id,
            description: description.unwrap_or(Some(""))?.to_owned(),
            base_url: http.base_url,
            allowed_routes: http.allowed_routes,
            headers: http.headers,
            auth: http.auth,
            webhook_signing_secret: http.webhook_signing_secret,
            caps: http.caps,
            allowed_private_cidrs: http.options.cidrs,
            allow_cookies: http.options.allow_cookies,
            allow_encoded_slash: http.options.allow_encoded_slash,
            reflection_guard: http.options.reflection_guard,
            http2: http.options.http2,
            enabled: enabled?,
            delete_time: delete_time.map_or(Some(None), |time| time.map(Some))?,
        })
    };
    let connection = connection();
    Defined {
        id,
        id_place,
        connection,
    }
}

/// The id of `name`, of `id`, or of the file.
fn identity(object: &mut Object<'_>, stem: Option<&str>) -> (Option<ConnectionId>, Problem) {
    let missing = !object.has("name") && !object.has("id");
    let (name, id) = (object.take("name"), object.take("id"));
    let from_name = name.as_ref().and_then(|field| {
        let text = field.text()?;
        let Some(id) = text.strip_prefix("connections/") else {
            let message = format!("{} is no resource name", quoted(text));
            field.report("invalid_id", message, "write `connections/` and the id");
            return None;
        };
        parsed_id(field, id, "write `connections/` and an id")
    });
    let from_id = id
        .as_ref()
        .and_then(|field| parsed_id(field, field.text()?, "write such an id"));
    let place = id.as_ref().or(name.as_ref()).unwrap_or(&object.field);
    let template = place.problem("duplicate_id", "");
    if let (Some(field), Some(a), Some(b)) = (&id, &from_name, &from_id)
        && a != b
    {
        let message = format!(
            "`name` says {}, `id` says {}",
            quoted(a.as_str()),
            quoted(b.as_str())
        );
        field.report("id_mismatch", message, "take one of the two out");
    }
    if !missing {
        return (from_id.or(from_name), template);
    }
    let Some(stem) = stem else {
        let problem = object.field.problem("missing_field", "`name` is missing");
        let remedy = "write `name: connections/…`; inside `connections: [...]` there is no file name to take it from";
        object.field.push(problem.remedy(remedy));
        return (None, template);
    };
    let remedy =
        "rename the file, or write `name: connections/…`; without it the file's stem is the id";
    (parsed_id(&object.field, stem, remedy), template)
}

fn parsed_id(field: &Field<'_>, text: &str, remedy: &str) -> Option<ConnectionId> {
    match ConnectionId::parse(text) {
        Ok(id) => Some(id),
        Err(invalid) => {
            field.report(
                "invalid_id",
                format!("{} is no id: {invalid}", quoted(text)),
                remedy,
            );
            None
        }
    }
}

/// `Some` where the type is absent or the one that exists.
fn connection_type(object: &mut Object<'_>) -> Option<()> {
    match object.take("connection_type") {
        None => Some(()),
        Some(field) => choice(&field, &[("CONNECTION_TYPE_HTTP", ())]),
    }
}

/// One of a closed set of words.
pub(super) fn choice<T: Copy>(field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
    let text = field.text()?;
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("{} is not among the known values", quoted(text));
        field.report(
            "unknown_value",
            message,
            format!("write {}", listed(&names)),
        );
    }
    found.map(|(_, value)| *value)
}

fn tool_configurations(object: &mut Object<'_>) -> Option<bool> {
    let Some(field) = object.take("tool_configurations") else {
        return Some(true);
    };
    let mut enabled = Some(true);
    for (at, item) in field.list()?.iter().enumerate() {
        let Some(mut tool) = item.object() else {
            enabled = None;
            continue;
        };
        let name = tool.require("tool", "write `tool: TOOL_HTTP_REQUEST`");
        let name = name.and_then(|field| choice(&field, &[("TOOL_HTTP_REQUEST", ())]));
        // Left out it would mean `false` in proto-JSON and `true` to most people.
        let on = tool.require("enabled", "write `enabled: true` or `enabled: false`");
        let on = on.and_then(|field| field.boolean());
        tool.finish();
        if at > 0 {
            item.report(
                "duplicate_tool",
                "the one tool stands twice",
                "keep one of the two",
            );
        }
        enabled = enabled.and(name).and(on);
    }
    enabled
}

fn timestamp(field: &Field<'_>) -> Option<jiff::Timestamp> {
    let text = field.text()?;
    match text.parse() {
        Ok(time) => Some(time),
        Err(_) => {
            let message = format!("{} is no RFC 3339 time", quoted(text));
            field.report(
                "invalid_time",
                message,
                "write a time like `2026-01-02T03:04:05Z`",
            );
            None
        }
    }
}

struct Http {
    base_url: BaseUrl,
    allowed_routes: Vec<crate::route::Pattern>,
    headers: Vec<crate::domain::ConfiguredHeader>,
    auth: Auth,
    webhook_signing_secret: Option<Secret>,
    caps: Caps,
    options: HttpOptions,
}

/// The optional fields that are ours.
struct HttpOptions {
    cidrs: Vec<IpNet>,
    allow_cookies: bool,
    allow_encoded_slash: bool,
    reflection_guard: bool,
    http2: Http2,
}

impl Http {
    fn read(mut http: Object<'_>, around: &Surroundings<'_>) -> Option<Self> {
        let base = http.require("base_url", "write `base_url: https://…`");
        let base_url = base.as_ref().and_then(base_url);
        let routes = http.require(
            "allowed_routes",
            "write at least one, such as `GET /api/status`",
        );
        let auth = credential::auth(&mut http, around);
        let headers = http
            .take("headers")
            .map(|field| headers::configured(&field, auth.as_ref()));
        let signing = http
            .take("webhook_signing_secret")
            .map(|field| signing(&field, around));
        let caps = caps(&mut http);
        let options = HttpOptions::read(&mut http);
        http.finish();
        // Whether an encoded slash may be matched decides which patterns are dead; where it is unknown, the kinder reading holds.
        let slash = options
            .as_ref()
            .is_none_or(|options| options.allow_encoded_slash);
        let allowed_routes = routes.and_then(|field| routes::allowed(&field, slash));
        if let (Some(field), Some(url), Some(options)) = (&base, &base_url, &options) {
            reachable(field, url.host(), &options.cidrs)?;
        }
        Some(Self {
            base_url: base_url?,
            allowed_routes: allowed_routes?,
            headers: headers.unwrap_or_else(|| Some(Vec::new()))?,
            auth: auth?,
            webhook_signing_secret: signing.map_or(Some(None), |secret| secret.map(Some))?,
            caps: caps?,
            options: options?,
        })
    }
}

fn base_url(field: &Field<'_>) -> Option<BaseUrl> {
    let text = field.text()?;
    BaseUrl::parse(text)
        .map_err(|invalid| url_problem(field, text, invalid))
        .ok()
}

/// Reports an unusable URL. One that may hold a password or a key is not shown.
pub(super) fn url_problem(field: &Field<'_>, text: &str, invalid: InvalidUrl) {
    let port = text.rsplit(':').next().unwrap_or_default();
    let password = invalid == InvalidUrl::Port && !port.bytes().all(|b| b.is_ascii_digit());
    if password || text.contains(['@', '?', '#']) {
        let hidden = field.clone().secret();
        hidden.report(
            "invalid_url",
            format!("the URL {invalid}"),
            invalid.remedy(),
        );
    } else {
        field.report(
            "invalid_url",
            format!("{} {invalid}", quoted(text)),
            invalid.remedy(),
        );
    }
}

/// A literal address must be one that the connection may dial.
fn reachable(field: &Field<'_>, host: &Host, holes: &[IpNet]) -> Option<()> {
    let Host::Ip(address) = host else {
        return Some(());
    };
    match judge(*address, holes) {
        Ok(()) => Some(()),
        Err(Forbidden::NotGlobal(kind)) => {
            let remedy = format!(
                "write a public name, or add `{}` to `allowed_private_cidrs`",
                IpNet::from(*address)
            );
            field.report(
                "forbidden_address",
                format!("`{address}` is not public ({kind})"),
                remedy,
            );
            None
        }
        Err(Forbidden::Never(kind)) => {
            let message = format!("`{address}` may never be dialled ({kind})");
            field.report(
                "forbidden_address",
                message,
                "write a public name or address",
            );
            None
        }
    }
}

fn signing(field: &Field<'_>, around: &Surroundings<'_>) -> Option<Secret> {
    let field = field.clone().secret();
    field.push(not_yet_supported(&field, "webhook signing is"));
    let secret = around.secret(&field)?;
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

/// The connection loads, and its requests are refused rather than sent without what they need.
pub(super) fn not_yet_supported(field: &Field<'_>, what: &str) -> Problem {
    let message = format!(
        "{what} not supported yet: every request of this connection is refused with 502 `credential_unavailable`"
    );
    let problem = field.problem("not_yet_supported", message).warning();
    problem.remedy("use another auth kind until then")
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
        let words = [
            ("auto", Http2::Auto),
            ("prefer", Http2::Prefer),
            ("never", Http2::Never),
        ];
        let http2 = http.take("http2").map(|field| choice(&field, &words));
        Some(Self {
            cidrs: cidrs.unwrap_or_else(|| Some(Vec::new()))?,
            allow_cookies: cookies?,
            allow_encoded_slash: slash?,
            reflection_guard: guard?,
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
