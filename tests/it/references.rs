//! The header fields with references: what an agent that follows them reaches.

mod cookies;

use serde_json::json;

use crate::support::metrics::scrape_until_contains;
use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// The ways to address the connection `crm`: `Host`, and the prefix of its paths.
const MOUNTS: [(&str, &str); 2] = [("127.0.0.1", "/crm"), ("crm.localhost", "")];

/// The fields that hold one reference each.
const PLAIN_FIELDS: [&str; 6] = [
    "Location",
    "Content-Location",
    "Operation-Location",
    "Azure-AsyncOperation",
    "X-Goog-Upload-URL",
    "X-Goog-Upload-Control-URL",
];

fn get(agent: &mut Agent, host: &str, target: &str) -> Reply {
    agent.exchange(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

/// Returns an upstream that sends these fields in every response, and a sidecar with two
/// connections to it: `crm` below `/base`, and `erp`.
fn sending(fields: &str) -> (Upstream, Sidecar) {
    let up = Upstream::reply(format!(
        "HTTP/1.1 201 Created\r\n{fields}Content-Length: 0\r\n\r\n"
    ));
    let crm = connection("crm").allow("/").upstream_at(&up, "/base");
    let erp = connection("erp").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm).with_connection(erp).start();
    (up, sidecar)
}

#[test]
fn every_field_is_mapped_to_what_the_agent_can_follow() {
    // F-275
    let fields =
        PLAIN_FIELDS.map(|name| format!("{name}: /base/next?page=2\r\n{name}: /erp/x\r\n"));
    let (up, sidecar) = sending(
        &[
            &fields.concat(),
            "Link: </base/next>; rel=\"next\", <c>; title=\"a, b\"\r\nLink: </erp/x>; rel=\"prev\"\r\n",
            "Refresh: 5; url=\"/base/next\"\r\nRefresh: 0;url=/erp/x\r\n",
        ]
        .concat(),
    );
    let host = up.address();
    for (name, prefix) in MOUNTS {
        let reply = get(
            &mut Agent::connect(&sidecar),
            name,
            &format!("{prefix}/a/b"),
        );
        reply.expect_status(201);
        for field in PLAIN_FIELDS {
            assert_eq!(
                reply.fields.all(field),
                [
                    format!("{prefix}/next?page=2"),
                    format!("https://{host}/erp/x")
                ],
                "{field}"
            );
        }
        assert_eq!(
            reply.fields.all("link"),
            [
                format!("<{prefix}/next>; rel=\"next\", <{prefix}/a/c>; title=\"a, b\""),
                format!("<https://{host}/erp/x>; rel=\"prev\""),
            ]
        );
        assert_eq!(
            reply.fields.all("refresh"),
            [
                format!("5; url={prefix}/next"),
                format!("0; url=https://{host}/erp/x")
            ]
        );
    }
    let targets: Vec<_> = up
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(targets, ["/base/a/b", "/base/a/b"]);
}

#[test]
fn an_agent_that_follows_links_stays_in_its_connection() {
    // F-275
    let evil = Upstream::reply(concat!(
        "HTTP/1.1 200 OK\r\nLink: </b/secrets>; rel=\"next\"\r\n",
        "Link: <../b/secrets>; rel=\"prev\", <//example.com/b/secrets>\r\nContent-Length: 0\r\n\r\n",
    ));
    let api = Upstream::body("secret");
    let sidecar = Sidecar::with(connection("a").allow("/").upstream(&evil))
        .with_connection(connection("b").allow("/").upstream(&api))
        .start();
    let mut agent = Agent::connect(&sidecar);

    let reply = agent.get("/a/items");

    let host = evil.address();
    // Under `/a/`, the path `/b/secrets` belongs to the upstream of `a`.
    let links = [
        "</a/b/secrets>; rel=\"next\"",
        "</a/b/secrets>; rel=\"prev\", <https://example.com/b/secrets>",
    ];
    assert_eq!(reply.expect_status(200).fields.all("link"), links, "{host}");
    agent.get("/a/b/secrets").expect_status(200);
    let targets: Vec<_> = evil
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(targets, ["/items", "/b/secrets"]);
    assert_eq!(api.sockets(), 0);
}

#[test]
fn a_client_that_follows_links_reads_all_pages() {
    for form in ["path", "https", "http", "relative", "query"] {
        let up = Upstream::answer(move |request| {
            let host = request.fields.single_value("host").unwrap();
            let page: u32 = request.target.rsplit('=').next().unwrap().parse().unwrap();
            let base = match form {
                "path" => "/base/items".to_owned(),
                "https" => format!("https://{host}/base/items"),
                // A server behind a proxy that ends TLS.
                "http" => format!("http://{host}/base/items"),
                "relative" => "items".to_owned(),
                _ => String::new(),
            };
            let next = match page {
                3 => String::new(),
                _ => format!("<{base}?per_page=1&page={}>; rel=\"next\", ", page + 1),
            };
            format!(
                "HTTP/1.1 200 OK\r\nLink: {next}<{base}?per_page=1&page=3>; rel=\"last\"\r\nContent-Length: 5\r\n\r\nitem{page}"
            )
        });
        let crm = connection("crm")
            .allow("GET /items")
            .upstream_at(&up, "/base");
        let sidecar = Sidecar::with(crm).start();
        for (host, prefix) in MOUNTS {
            let mut agent = Agent::connect(&sidecar);
            let mut target = format!("{prefix}/items?per_page=1&page=1");
            let mut items = String::new();

            // Octokit's regular expression: <([^<>]+)>;\s*rel="next"
            loop {
                let reply = get(&mut agent, host, &target);
                items += &reply.expect_status(200).text();
                let links = reply.fields.single_value("link").unwrap();
                let Some((before, _)) = links.split_once(">; rel=\"next\"") else {
                    break;
                };
                target = before.rsplit_once('<').unwrap().1.to_owned();
            }

            assert_eq!(items, "item1item2item3", "{form}");
        }
        let targets: Vec<_> = up
            .requests()
            .into_iter()
            .map(|request| request.target)
            .collect();
        let pages = [1, 2, 3, 1, 2, 3].map(|page| format!("/base/items?per_page=1&page={page}"));
        assert_eq!(targets, pages, "{form}");
    }
}

#[test]
fn what_cannot_be_parsed_is_removed_and_counted() {
    // F-276, F-277, F-279
    let (up, sidecar) = sending(concat!(
        "Location: http://localhost/erp/x\r\n",
        "Link: </base/c>; title=\"a, </erp/x>; rel=next\"; rel=prev, x, </base/d>; rel=next\r\n",
        "Link: </base/e>; title=\"\r\n",
        "Refresh: 0; url=/base/c; url=/erp/x\r\n",
    ));
    let mut agent = Agent::connect(&sidecar);
    let reply = get(&mut agent, "localhost", "/crm/a");
    assert_eq!(reply.expect_status(201).fields.all("location"), [""; 0]);
    assert_eq!(
        reply.fields.all("link"),
        ["</crm/c>; rel=prev, </crm/d>; rel=next"]
    );
    assert_eq!(reply.fields.all("refresh"), [""; 0]);
    // The reference to port 80 is clear at a socket where egressd is not on port 80.
    let own = sidecar.address().to_string();
    let reply = get(&mut agent, &own, "/crm/a");
    assert_eq!(reply.fields.all("location"), ["http://localhost/erp/x"]);
    let name = "egressd_references_dropped_total";
    scrape_until_contains(
        sidecar.management(),
        &format!("\n{name}{{connection=\"crm\"}} 9\n"),
    );
    assert_eq!(up.requests().len(), 2);
}

#[test]
fn a_long_list_of_links_is_bounded() {
    // F-278
    let (up, sidecar) = sending(&format!("Link: {}\r\n", "<>,".repeat(21_000)));
    let target = format!("/crm/{}", "a".repeat(8_000));
    let reply = get(&mut Agent::connect(&sidecar), "localhost", &target);
    let link = reply
        .expect_status(201)
        .fields
        .single_value("link")
        .unwrap();
    let count = link.matches(&format!("<{target}>")).count();
    assert!(
        (100..200).contains(&count) && link.len() < 1024 * 1024,
        "{count}"
    );
    assert_eq!(up.requests().len(), 1);
}

#[test]
fn references_in_trailers_do_not_reach_the_agent() {
    let names = PLAIN_FIELDS.join(", ");
    let trailers = PLAIN_FIELDS
        .map(|name| format!("{name}: /erp/x\r\n"))
        .concat();
    let up = Upstream::reply(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {names}, Link, Refresh, X-A\r\n\r\n\
         2\r\nhi\r\n0\r\n{trailers}Link: </erp/x>\r\nRefresh: 0; url=/erp/x\r\nX-A: 1\r\n\r\n"
    ));
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.http("max_response_size_bytes", json!(1000))).start();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.request("GET", "/crm/x", &[("TE", "trailers")], b"");
    assert_eq!(reply.expect_status(200).text(), "hi");
    assert_eq!(reply.fields.all("trailer"), ["x-a"]);
    assert_eq!(reply.trailers.0.len(), 1, "{:?}", reply.trailers);
    assert_eq!(up.requests().len(), 1);
}
