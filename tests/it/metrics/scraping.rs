//! The scrape itself: the requests that are answered, the text, and its size.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Scrape, text};
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

#[test]
fn it_is_prometheus_text_and_needs_no_login() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut operator = Agent::connect_to(sidecar.management());
    for method in ["GET", "HEAD"] {
        let reply = operator.request(method, "/metrics", &[], b"");
        reply.expect_status(200);
        let kind = reply.fields.single_value("content-type");
        assert_eq!(
            kind.as_deref(),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
    }
    assert_eq!(operator.request("POST", "/metrics", &[], b"").status, 405);
}

#[test]
fn every_family_is_described_once_and_before_its_samples() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").expect_status(200);
    agent.get("/nobody/x").refused(404, "connection_not_found");
    Scrape::after(&sidecar, 2);
    let mut families: Vec<String> = Vec::new();
    for line in text(&sidecar).lines() {
        if let Some(description) = line.strip_prefix("# HELP ") {
            let (name, help) = description.split_once(' ').unwrap();
            assert!(
                help.len() > 10 && !families.iter().any(|f| f == name),
                "{line}"
            );
            families.push(name.to_owned());
        } else {
            let family = families.last().unwrap();
            let name = line.strip_prefix("# TYPE ").unwrap_or(line);
            assert!(name.starts_with(family.as_str()), "{line} under {family}");
        }
    }
    for family in families {
        assert!(
            family.starts_with("egressd_") || family.starts_with("process_"),
            "{family}"
        );
    }
}

#[test]
fn scrapes_are_rendered_once_a_second_and_none_is_refused_while_others_flood() {
    // F-261
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let (operators, over) = (sidecar.management(), Gate::new());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (name, over) = (format!("world flood {number}"), over.clone());
            let flood = move || {
                let mut agent = Agent::connect_to(operators);
                while !over.is_open() {
                    agent.get("/metrics").expect_status(200);
                }
            };
            let thread = std::thread::Builder::new().name(name);
            thread.spawn_scoped(scope, flood).unwrap();
        }
        let _end = over.open_on_drop();
        let (begun, mut seen) = (Instant::now(), BTreeSet::new());
        let mut agent = Agent::connect(&sidecar);
        for _ in 0..20 {
            // The values that each scrape would show if it were rendered separately.
            agent.get("/crm/x").expect_status(200);
            seen.insert(text(&sidecar));
        }
        let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
        assert!(seen.len() <= most, "{} of {most}", seen.len());
    });
    // The counts are visible a second later.
    Scrape::after(&sidecar, 20);
}

#[test]
fn five_hundred_connections_stay_small() {
    // F-200
    const CONNECTIONS: u32 = 500;
    let up = Upstream::answer(|request| {
        let status = if request.target.ends_with("0") {
            404
        } else {
            200
        };
        format!("HTTP/1.1 {status} Done\r\nContent-Length: 0\r\n\r\n")
    });
    let to = |n: u32| {
        let one = connection(&format!("c{n}")).upstream(&up);
        one.allow("GET /things/{id}")
            .allow("POST /things")
            .allow("/other/")
    };
    let mut plan = Sidecar::with(to(0)).setting("proxy.workers", 1);
    for n in 1..CONNECTIONS {
        plan = plan.with_connection(to(n));
    }
    let sidecar = plan.start();
    let mut agent = Agent::connect(&sidecar);
    for n in 0..CONNECTIONS {
        for (method, path, status) in [
            ("GET", "things/1", 200),
            ("GET", "things/0", 404),
            ("POST", "things", 200),
            ("GET", "other/1", 200),
            ("PUT", "other/0", 404),
            ("GET", "forbidden", 403),
            ("DELETE", "things", 405),
        ] {
            let reply = agent.request(method, &format!("/c{n}/{path}"), &[], b"");
            assert_eq!(reply.status, status, "{path}");
        }
    }
    let scrape = Scrape::after(&sidecar, CONNECTIONS * 7);
    let series = scrape.0.len();
    assert!((17_500..=20_000).contains(&series), "{series}");
}
