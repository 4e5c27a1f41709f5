//! Cookies of connections with `allow_cookies`, with an agent that stores and returns them.

use serde_json::json;

use crate::support::{Agent, Sidecar, Upstream, connection};

/// A cookie jar (RFC 6265 §5.3 and §5.4), without expiry.
#[derive(Default)]
struct CookieJar(Vec<Cookie>);

struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

impl CookieJar {
    /// Stores a cookie of a response from this URL.
    fn store(&mut self, host: &str, target: &str, set_cookie: &str) {
        let mut parts = set_cookie.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let mut path = default_path(target);
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            assert!(!name.eq_ignore_ascii_case("domain"), "{set_cookie}");
            if name.eq_ignore_ascii_case("path") && value.starts_with('/') {
                path = value.to_owned();
            }
        }
        self.0
            .retain(|old| (&*old.host, &*old.path, &*old.name) != (host, &*path, name));
        let [host, name, value] = [host, name, value].map(str::to_owned);
        self.0.push(Cookie {
            host,
            path,
            name,
            value,
        });
    }

    /// Returns the value of `Cookie` for this URL. Ports make no difference.
    fn value(&self, host: &str, target: &str) -> String {
        let path = target.split('?').next().unwrap();
        let matches = |cookie: &&Cookie| {
            let rest = path.strip_prefix(&*cookie.path);
            let is_below = rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || cookie.path.ends_with('/')
            });
            cookie.host == host && is_below
        };
        let mut sent: Vec<_> = self.0.iter().filter(matches).collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = sent
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value));
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// Returns the path of a cookie without `Path` (RFC 6265 §5.1.4).
fn default_path(target: &str) -> String {
    let path = target.split('?').next().unwrap();
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}

/// Sends a request with the jar's cookies, and stores those of the response. Returns what was sent.
fn visit(agent: &mut Agent, jar: &mut CookieJar, host: &str, target: &str) -> String {
    let cookies = jar.value(host, target);
    let field = match &*cookies {
        "" => String::new(),
        cookies => format!("Cookie: {cookies}\r\n"),
    };
    let reply = agent.exchange(format!(
        "GET {target} HTTP/1.1\r\nHost: {host}:8080\r\n{field}\r\n"
    ));
    for set_cookie in reply.expect_status(200).fields.all("set-cookie") {
        jar.store(host, target, &set_cookie);
    }
    cookies
}

#[test]
fn cookies_come_back_to_the_connection_that_set_them() {
    // F-235
    let up = Upstream::answer(|request| {
        let cookies = match &*request.target {
            "/v1/login" => concat!(
                "Set-Cookie: session=1; Domain=example.com; Path=/v1; Secure; HttpOnly\r\n",
                "Set-Cookie: part=2; Path=/v1/items\r\n",
                "Set-Cookie: outside=3; Path=/other\r\n",
                "Set-Cookie: root=4; Path=/\r\nSet-Cookie: absent=5\r\n",
            ),
            _ => "",
        };
        format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 0\r\n\r\n")
    });
    let passing = |id: &str| {
        let connection = connection(id).allow("/").http("allow_cookies", json!(true));
        connection.upstream_at(&up, "/v1")
    };
    let sidecar = Sidecar::with(passing("crm"))
        .with_connection(passing("erp"))
        .start();
    let mut agent = Agent::connect(&sidecar);
    for (host, prefix) in [("localhost", "/crm"), ("crm.localhost", "")] {
        let mut jar = CookieJar::default();
        let mut visit =
            |target: &str| visit(&mut agent, &mut jar, host, &format!("{prefix}{target}"));

        assert_eq!(visit("/login"), "");

        let everywhere = "session=1; outside=3; root=4; absent=5";
        assert_eq!(visit("/me"), everywhere);
        assert_eq!(visit("/items/1?q"), format!("part=2; {everywhere}"));
        let arrived = up.requests().split_off(up.requests().len() - 3);
        let arrived = arrived.iter().map(|request| {
            let cookie = request.fields.single_value("cookie").unwrap_or_default();
            format!("{} {cookie}", request.target)
        });
        let expected = [
            "/v1/login ".to_owned(),
            format!("/v1/me {everywhere}"),
            format!("/v1/items/1?q part=2; {everywhere}"),
        ];
        assert_eq!(arrived.collect::<Vec<_>>(), expected);

        // Another connection gets none of them.
        let (other_host, other) = match prefix {
            "" => ("erp.localhost", "/items/1"),
            _ => (host, "/erp/items/1"),
        };
        assert_eq!(jar.value(other_host, other), "");
    }
    assert_eq!(up.requests().len(), 6);
}
