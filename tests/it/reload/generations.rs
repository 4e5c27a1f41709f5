//! Reloads under load: each request sees one generation only, and no request is lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use serde_json::json;

use crate::support::connection::Connection;
use crate::support::wire::ReceivedRequest;
use crate::support::{Agent, MountedVolume, Program, Sidecar, Upstream, connection};

/// A generation is visible in three places of every request: path, header and credential.
fn files(up: &Upstream, generation: usize) -> [(&'static str, String); 2] {
    let crm = crm(up, generation).auth("bearer_token", json!({"token": {"file": "token"}}));
    let token = format!("planted-token-{generation:06}\n");
    [("crm.json", crm.definition().to_string()), ("token", token)]
}

fn crm(up: &Upstream, generation: usize) -> Connection {
    let generation = generation.to_string();
    connection("crm")
        .allow("GET /a")
        .upstream_at(up, &format!("/g{generation}"))
        .header("X-Gen", &generation)
}

/// Returns the generation, which is the same in all three places.
fn generation(request: &ReceivedRequest) -> usize {
    let path = request.target.strip_prefix("/g");
    let path = path.and_then(|path| path.strip_suffix("/a")).unwrap();
    let field = |name: &str| request.fields.single_value(name).unwrap();
    assert_eq!(field("x-gen"), path, "{request:?}");
    let number = path.parse().unwrap();
    let expected = format!("Bearer planted-token-{number:06}");
    assert_eq!(field("authorization"), expected, "{request:?}");
    number
}

/// Runs agents that send requests until they are stopped. Returns how many each sent.
struct Crowd {
    stop: Arc<AtomicBool>,
    agents: Vec<JoinHandle<usize>>,
}

impl Crowd {
    fn start(at: SocketAddr, agents: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let agents = (0..agents).map(|number| {
            let stop = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name(format!("world agent {number}"));
            let ask = move || {
                let mut agent = Agent::connect_to(at);
                let mut asked = 0;
                while !stop.load(SeqCst) {
                    agent.get("/crm/a").expect_status(200);
                    asked += 1;
                }
                asked
            };
            thread.spawn(ask).unwrap()
        });
        let agents = agents.collect();
        Self { stop, agents }
    }

    fn end(self) -> usize {
        self.stop.store(true, SeqCst);
        let asked = self.agents.into_iter().map(|agent| agent.join().unwrap());
        asked.sum()
    }
}

#[test]
fn five_hundred_reloads_under_load_lose_nothing_and_mix_nothing() {
    // F-174, F-176
    const RELOADS: usize = 500;
    const SURE: usize = 20;
    let up = Upstream::body("ok");
    let sidecar = Sidecar::with(crm(&up, 0)).start();
    std::fs::remove_file(sidecar.path("connections/crm.json")).unwrap();
    let mut mount = MountedVolume::new(sidecar.path("connections"), &files(&up, 0));
    sidecar.reload_files().unwrap();
    let crowd = Crowd::start(sidecar.address(), 4);
    let mut last = Agent::connect(&sidecar);
    for number in 1..=RELOADS {
        mount.update(&files(&up, number));
        let reloaded = sidecar.reload_files().unwrap();
        assert_eq!(reloaded.generation, number as u64 + 2);
        assert_eq!(reloaded.connections, 1);
        // Some generations are requested in any case, however few requests the agents complete.
        if number % SURE == 0 {
            last.get("/crm/a").expect_status(200);
        }
    }
    let asked = crowd.end() + RELOADS / SURE;
    let requests = up.requests();
    assert_eq!(requests.len(), asked);
    let seen: BTreeSet<usize> = requests.iter().map(generation).collect();
    assert!(seen.len() >= RELOADS / SURE, "{seen:?}");
    assert_eq!(seen.last(), Some(&RELOADS));
}

#[test]
fn a_kubelet_update_under_load_is_loaded_and_loses_no_request() {
    // F-171, F-174
    const UPDATES: usize = 4;
    let up = Upstream::body("ok");
    let program = Program::new(&[], &json!({}));
    let mut config = MountedVolume::new(program.path("connections"), &files(&up, 1));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let crowd = Crowd::start(agents, 4);
    for number in 2..=UPDATES {
        config.update(&files(&up, number));
        running.wait_for_line("reloaded: generation");
        let before = up.requests().len();
        Agent::connect_to(agents).get("/crm/a").expect_status(200);
        let since = &up.requests()[before..];
        assert!(since.iter().any(|request| generation(request) == number));
    }
    let asked = crowd.end() + UPDATES - 1;
    let requests = up.requests();
    assert_eq!(requests.len(), asked);
    let seen: BTreeSet<usize> = requests.iter().map(generation).collect();
    assert_eq!(seen, (1..=UPDATES).collect());
    let (code, _, heard) = running.stop_and_collect();
    assert_eq!(code, Some(0));
    let failed = heard.iter().any(|line| line.contains("not reloaded"));
    assert!(!failed, "{heard:#?}");
}

#[test]
fn definitions_and_secrets_of_two_volumes_each_come_up_to_date() {
    // F-171, F-174
    let up = Upstream::body("ok");
    let program = Program::new(&[], &json!({}));
    let secret = |text: &str| [("token", format!("planted-token-{text}"))];
    let definition = |route: &str| {
        let crm = connection("crm").allow("GET /a").allow(route).upstream(&up);
        let crm = crm.auth(
            "bearer_token",
            json!({"token": {"file": "../secrets/token"}}),
        );
        [("crm.json", crm.definition().to_string())]
    };
    let mut secrets = MountedVolume::new(program.path("secrets"), &secret("000001"));
    let mut config = MountedVolume::new(program.path("connections"), &definition("GET /b"));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.get("/crm/a").expect_status(200);

    secrets.update(&secret("000002"));
    running.wait_for_line("changed crm (bearer_token)");
    agent.get("/crm/a").expect_status(200);
    config.update(&definition("GET /c"));
    running.wait_for_line("changed crm (allowed_routes)");
    agent.get("/crm/b").expect_status(403);
    agent.get("/crm/c").expect_status(200);
    let sent: Vec<_> = up.requests();
    let sent = sent
        .iter()
        .map(|it| it.fields.single_value("authorization").unwrap());
    let expected = ["000001", "000002", "000002"].map(|n| format!("Bearer planted-token-{n}"));
    assert_eq!(sent.collect::<Vec<_>>(), expected);
}
