//! The list of connections (`GET /`): its representations, and that it contains nothing that an
//! attacker could use.

use serde_json::json;

use crate::support::{Agent, Sidecar, Upstream, connection};

fn sidecar(up: &Upstream) -> Sidecar {
    let crm = connection("crm")
        .allow("GET /users/{id}")
        .allow("/files/{path...}")
        .upstream_at(up, "/planted-base")
        .bearer("planted-bearer-token-0123456789abcdef")
        .header("X-Planted", "planted-header-value")
        .with_field("display_name", json!("The `CRM`\n# Not a heading"))
        .with_field("description", json!("## Users\n\n```\nnot closed"));
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = connection("planted-off")
        .allow("/")
        .upstream(up)
        .with_field("tool_configurations", tools);
    let gone = connection("planted-gone").allow("/").upstream(up);
    let gone = gone.with_field("delete_time", json!("2026-01-02T03:04:05Z"));
    Sidecar::with(crm)
        .with_connection(off)
        .with_connection(gone)
        .start()
}

#[test]
fn the_preferred_representation_is_sent() {
    let up = Upstream::echo();
    let sidecar = sidecar(&up);
    let mut agent = Agent::connect(&sidecar);
    let rows: [(&[(&str, &str)], &str); 7] = [
        (&[], "application/json"),
        (&[("Accept", "*/*")], "application/json"),
        (&[("Accept", "text/markdown;q=0, */*")], "application/json"),
        (
            &[("Accept", "text/markdown, application/json")],
            "application/json",
        ),
        (
            &[("Accept", "text/markdown;q=0.9, application/json;q=0.8")],
            "text/markdown; charset=utf-8",
        ),
        (
            &[("Accept", "text/markdown, text/html, */*")],
            "text/markdown; charset=utf-8",
        ),
        (
            &[
                ("Accept", "application/json;q=0.1"),
                ("Accept", "text/markdown"),
            ],
            "text/markdown; charset=utf-8",
        ),
    ];
    for (fields, form) in rows {
        let reply = agent.request("GET", "/", fields, b"");
        let field = |name: &str| reply.fields.single_value(name);
        assert_eq!(
            reply
                .expect_status(200)
                .fields
                .single_value("content-type")
                .as_deref(),
            Some(form),
            "{fields:?}"
        );
        assert_eq!(field("vary").as_deref(), Some("Accept"));
        assert_eq!(field("cache-control").as_deref(), Some("no-store"));
        let head = agent.request("HEAD", "/", fields, b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-type", "content-length", "vary", "cache-control"] {
            assert_eq!(head.fields.single_value(name), field(name), "{name}");
        }
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn markdown_explains_the_use_and_keeps_its_structure() {
    let up = Upstream::echo();
    let sidecar = sidecar(&up);
    let mut agent = Agent::connect(&sidecar);
    let host = sidecar.address();
    let asked = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/markdown\r\n\r\n");
    let text = agent.exchange(asked).expect_status(200).text();
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        headings,
        [
            "# HTTP connections",
            "## crm: The \\`CRM\\` \\# Not a heading"
        ]
    );
    for words in [
        format!("Base URL: `http://{host}/crm`\n\n> ## Users\n>\n> ```\n> not closed\n\nRoutes:\n"),
        "\n- `GET /users/{id}`\n- `/files/{path...}`\n".to_owned(),
    ] {
        assert!(text.contains(&words), "{words}\n{text}");
    }
    // The base URL in the text is the connection's.
    let (_, named) = text
        .split_once(&format!("Base URL: `http://{host}"))
        .unwrap();
    let (base, _) = named.split_once('`').unwrap();
    Agent::connect(&sidecar).get(&format!("{base}/files/a/b"));
    assert_eq!(up.requests()[0].target, "/planted-base/files/a/b");
}

#[test]
fn every_host_gets_the_whole_text_with_its_own_name() {
    // F-262: many routes, so that the text is sent in many pieces.
    let up = Upstream::echo();
    let wide = |id: &str| {
        let wide = connection(id).upstream(&up);
        (0..2000).fold(wide, |wide, n| wide.allow(&format!("GET /{n}/{{id}}")))
    };
    let sidecar = Sidecar::with(wide("crm"))
        .with_connection(wide("erp"))
        .start();
    let mut agent = Agent::connect(&sidecar);
    let mut texts = Vec::new();
    for host in ["localhost", "a.localhost:8080", "127.0.0.1:1", "localhost"] {
        let fields = format!("Host: {host}\r\nAccept: text/markdown\r\n");
        agent.send(format!("HEAD / HTTP/1.1\r\n{fields}\r\n"));
        let head = agent.head_reply();
        let reply = agent.exchange(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        let text = reply.expect_status(200).text();
        let length = text.len().to_string();
        for reply in [&head, &reply] {
            assert_eq!(
                reply.fields.single_value("content-length"),
                Some(length.clone())
            );
        }
        assert_eq!(
            text.matches(&format!("http://{host}/")).count(),
            4,
            "{host}"
        );
        texts.push(text.replace(&format!("http://{host}/"), "http://HOST/"));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
}

#[test]
fn nothing_is_listed_that_an_attacker_could_use() {
    let up = Upstream::echo();
    let sidecar = sidecar(&up);
    let mut agent = Agent::connect(&sidecar);
    for accept in ["application/json", "text/markdown"] {
        let reply = agent.request("GET", "/", &[("Accept", accept)], b"");
        let all = format!("{:?} {}", reply.fields, reply.expect_status(200).text()).to_lowercase();
        let upstream = up.address().to_string();
        for word in [
            "planted",
            "bearer",
            upstream.as_str(),
            "oauth",
            "base_url",
            "https",
        ] {
            assert!(!all.contains(word), "{word}: {all}");
        }
    }
    // Only the root path lists connections, and only for agents.
    agent.request("POST", "/", &[], b"").problem();
    let page = agent.request("GET", "/", &[("Origin", "https://evil.example")], b"");
    page.refused(403, "browser_request_refused");
    let asked = "GET / HTTP/1.1\r\nHost: evil.example\r\nAccept: text/markdown\r\n\r\n";
    agent.exchange(asked).refused(421, "host_not_allowed");
}

#[test]
fn described_routes_are_shown_with_what_describes_them() {
    let up = Upstream::echo();
    let crm = connection("crm").upstream(&up).allow("GET /plain");
    let crm = crm.allow_described(json!({
        "route": "GET /repos/{owner}",
        "name": "list_repos",
        "description": "Lists repositories.\n\n# Of an owner",
        "query": {"page": "integer", "a": {"type": "array", "description": "Any\n- of them."}},
    }));
    let crm = crm.allow_described(json!({"route": "GET /bare"}));
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    let list = agent.get("/").expect_status(200).json();
    assert_eq!(
        list["connections"][0]["allowed_routes"],
        json!([
            "GET /plain",
            {
                "route": "GET /repos/{owner}",
                "name": "list_repos",
                "description": "Lists repositories.\n\n# Of an owner",
                "query": {
                    "page": {"type": "integer"},
                    "a": {"type": "array", "description": "Any\n- of them."},
                },
            },
            "GET /bare",
        ])
    );
    let markdown = agent.request("GET", "/", &[("Accept", "text/markdown")], b"");
    let text = markdown.expect_status(200).text();
    let routes = "\n- `GET /plain`\n- `GET /repos/{owner}`: Lists repositories. # Of an owner\n  \
                  - query `a` (array): Any - of them.\n  - query `page` (integer)\n- `GET /bare`\n";
    assert!(text.ends_with(routes), "{text}");
    // The documentation restricts nothing.
    let other = agent.get("/crm/repos/x?page=two&b=1");
    other.expect_status(200);
    assert_eq!(up.requests()[0].target, "/repos/x?page=two&b=1");
}
