//! Series are limited: nothing that an agent sends becomes one, and a fixed number of the statuses
//! of an upstream do.

use super::Scrape;
use crate::support::message::text as lossy;
use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn paths_ids_and_methods_of_agents_do_not_become_labels() {
    // F-200
    let up = Upstream::echo();
    let crm = connection("crm").allow("GET /things/{id}").upstream(&up);
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    let mut ask = |n: usize| {
        for (method, target, status) in [
            ("GET", format!("/crm/things/t{n}"), 200),
            ("GET", format!("/crm/other/p{n}"), 403),
            ("GET", format!("/nobody{n}/p{n}"), 404),
            ("GET", format!("/crm/p{n}%2f"), 400),
        ] {
            assert_eq!(
                agent.request(method, &target, &[], b"").status,
                status,
                "{target}"
            );
        }
        let odd = format!("ODD{n}");
        assert_eq!(agent.request(&odd, "/crm/things/7", &[], b"").status, 405);
        assert_eq!(agent.request(&odd, "/nobody/x", &[], b"").status, 404);
    };
    ask(0);
    let before = Scrape::after(&sidecar, 6);
    for n in 1..=100 {
        ask(n);
    }
    let after = Scrape::after(&sidecar, 606);
    let names = |scrape: &Scrape| scrape.0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    let odd = [("connection", "crm"), ("method", "other"), ("code", "405")];
    assert_eq!(after.sum("egressd_requests_total", &odd), 101.0);
}

#[test]
fn floods_of_unknown_ids_add_one_series() {
    // F-200
    const FLOOD: usize = 100_000;
    const BATCH: usize = 500;
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/nobody/x").refused(404, "connection_not_found");
    let before = Scrape::after(&sidecar, 1).0.len();
    for batch in 0..FLOOD / BATCH {
        let requests = (0..BATCH)
            .map(|n| format!("GET /id{batch}-{n}/path{n} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        agent.send(requests.collect::<String>());
        for _ in 0..BATCH {
            let reply = agent.reply();
            assert_eq!(reply.status, 404, "{}", lossy(&reply.body));
        }
    }
    let after = Scrape::after(&sidecar, FLOOD as u32 + 1);
    assert_eq!(after.0.len(), before);
    let unknown = [("connection", "unknown"), ("code", "404")];
    assert_eq!(
        after.sum("egressd_requests_total", &unknown),
        FLOOD as f64 + 1.0
    );
}

#[test]
fn the_statuses_of_an_upstream_are_limited() {
    // F-200
    let up = Upstream::answer(|request| {
        let status = request.target.trim_start_matches('/');
        format!("HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n")
    });
    let sidecar = Sidecar::with(connection("crm").allow("/{status}").upstream(&up)).start();
    // Several agents, so that more than one worker serves them.
    let mut agents: Vec<_> = (0..8).map(|_| Agent::connect(&sidecar)).collect();
    let statuses: Vec<u16> = (200..600)
        .filter(|status| !matches!(status, 204 | 304))
        .collect();
    for status in &statuses {
        let agent = &mut agents[usize::from(*status) % 8];
        assert_eq!(agent.get(&format!("/crm/{status}")).status, *status);
    }
    let scrape = Scrape::after(&sidecar, statuses.len() as u32);
    let found = scrape.find("egressd_requests_total", &[("connection", "crm")]);
    assert_eq!(found.len(), 41);
    let others = scrape.sum("egressd_requests_total", &[("code", "other")]);
    assert_eq!(others, statuses.len() as f64 - 40.0);
}
