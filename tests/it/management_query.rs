//! Filtered and ordered lists, over the wire, and the errors of invalid queries, which reveal
//! nothing about secrets.

use serde_json::Value;

use crate::support::{Agent, Sidecar, Upstream, connection};

fn world(up: &Upstream) -> Sidecar {
    let crm = connection("crm").allow("GET /a").upstream(up);
    let billing = crm
        .clone()
        .rename("billing")
        .bearer("a-secret-of-the-billing-api");
    let gone = crm.clone().rename("gone");
    Sidecar::with(crm.with_field("display_name", "The CRM".into()))
        .with_connection(billing)
        .with_connection(gone.with_field("delete_time", "2026-01-02T03:04:05Z".into()))
        .start()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn ids(answer: &Value) -> Vec<String> {
    let rows = answer["connections"].as_array().unwrap().iter();
    let id = |row: &Value| row["name"].as_str().unwrap().replace("connections/", "");
    rows.map(id).collect()
}

#[test]
fn lists_are_filtered_and_ordered() {
    let up = Upstream::echo();
    let sidecar = world(&up);
    Agent::connect(&sidecar).get("/crm/a").expect_status(200);
    let mut operator = Agent::connect_to(sidecar.management());
    let mut listed = |query: &str| {
        let reply = operator.get(&format!("/v1/connections?{query}"));
        ids(&reply.expect_status(200).json())
    };
    let filtered = |filter: &str| format!("filter={}", escaped(filter));
    for (query, expected) in [
        (String::new(), &["billing", "crm"][..]),
        ("show_deleted=true".into(), &["billing", "crm", "gone"]),
        ("order_by=name+desc".into(), &["crm", "billing"]),
        ("page_size=1".into(), &["billing"]),
        ("pageSize=0&orderBy=displayName".into(), &["crm", "billing"]),
        (filtered(r#"connection_type="http""#), &["billing", "crm"]),
        (filtered("connectionType = 'HTTP' AND crm"), &["crm"]),
        (filtered("display_name:crm"), &["crm"]),
        (filtered("NOT display_name:crm"), &["billing"]),
        (filtered("name=\"connections/b*\""), &["billing"]),
        (filtered("last_used_time:*"), &["crm"]),
        (filtered("-last_used_time:*"), &["billing"]),
        (filtered("connection_type=postgres"), &[]),
        (
            format!(
                "show_deleted=true&{}",
                filtered("delete_time < 2026-02-01T00:00:00Z")
            ),
            &["gone"],
        ),
    ] {
        assert_eq!(listed(&query), expected, "{query}");
    }
}

#[test]
fn an_invalid_query_is_refused_with_the_parameter() {
    let up = Upstream::echo();
    let sidecar = world(&up);
    let mut operator = Agent::connect_to(sidecar.management());
    let deep = format!("filter={}", "(".repeat(10_000));
    let broad = format!("filter={}", escaped(&"a ".repeat(1_500)));
    for (query, place) in [
        // F-190
        (deep.as_str(), "filter"),
        (&broad, "filter"),
        ("filter=name%3D%22crm", "filter"),
        ("filter=nope%3D1", "filter"),
        ("filter=name%3D~%22%5Ec.*%22", "filter"),
        ("filter=create_time%3Dyesterday", "filter"),
        // F-191
        ("filter=password%3D%22a*%22", "filter"),
        ("filter=bearer_token.token%3A%22a%22", "filter"),
        (
            "filter=connection_details.http.bearer_token.token%3A*",
            "filter",
        ),
        // F-192
        ("order_by=bearer_token.token", "order_by"),
        ("order_by=nope", "order_by"),
        ("order_by=name,name", "order_by"),
        ("order_by=name+sideways", "order_by"),
        ("page_size=-1", "page_size"),
        ("page_size=x", "page_size"),
        ("page_size=1.5", "page_size"),
        ("page_token=x", "page_token"),
        ("show_deleted=maybe", "show_deleted"),
        ("page_size=1&page_size=2", "page_size"),
        ("nope=1", "nope"),
    ] {
        // A filter that walks 10,000 levels or backtracks without end does not finish within the
        // reader's patience.
        let reply = operator.get(&format!("/v1/connections?{query}"));
        let document = reply.expect_status(400).json();
        let error = &document["error"];
        assert_eq!(error["status"], "INVALID_ARGUMENT", "{query}");
        assert_eq!(
            error["details"][0]["fieldViolations"][0]["field"], place,
            "{document}"
        );
        assert!(!reply.text().contains("a-secret"), "{query}");
    }
    // An unknown field and a secret one are refused in the same words.
    let mut words = |field: &str| {
        let filter = escaped(&format!("{field}=1"));
        let reply = operator.get(&format!("/v1/connections?filter={filter}"));
        reply.expect_status(400).text().replace(field, "FIELD")
    };
    assert_eq!(words("password"), words("whatever"));
    for size in ["1000", "1001", "1000000000", "99999999999999999999"] {
        let reply = operator.get(&format!("/v1/connections?page_size={size}"));
        assert_eq!(ids(&reply.expect_status(200).json()).len(), 2);
    }
}

#[test]
fn a_page_token_is_good_for_its_list_alone() {
    let up = Upstream::echo();
    let (one, other) = (world(&up), world(&up));
    let mut operator = Agent::connect_to(one.management());
    let first = operator.get("/v1/connections?page_size=1&order_by=name");
    let document = first.expect_status(200).json();
    let token = document["nextPageToken"].as_str().unwrap();
    let asked = |rest: &str| format!("/v1/connections?page_token={token}&{rest}");
    let next = operator.get(&asked("order_by=name&page_size=2"));
    assert_eq!(ids(&next.expect_status(200).json()), ["crm"]);
    // F-193
    for rest in [
        "page_size=1",
        "order_by=name+desc",
        "order_by=name&filter=crm",
        "order_by=name&show_deleted=true",
    ] {
        operator.get(&asked(rest)).expect_status(400);
    }
    let types = format!("/v1/connection-types?page_token={token}&order_by=name");
    operator.get(&types).expect_status(400);
    let mut elsewhere = Agent::connect_to(other.management());
    elsewhere.get(&asked("order_by=name")).expect_status(400);
    for at in 0..token.len() {
        let mut forged = token.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let query = format!("/v1/connections?page_token={forged}&order_by=name");
        operator.get(&query).expect_status(400);
    }
}
