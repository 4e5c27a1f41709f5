//! Listeners in the life of the process: start, reload and restart.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use super::{ask, listed, with_listeners};
use crate::support::connection::Connection;
use crate::support::{Agent, Program, Upstream, connection};

fn crm(up: &Upstream) -> Connection {
    connection("crm").allow("/").upstream(up)
}

#[test]
fn a_listener_answers_404_while_its_connection_has_no_definition() {
    // F-284
    let up = Upstream::echo();
    let erp = crm(&up).rename("erp");
    let listeners = json!([
        {"listen": ["127.0.0.1:0"], "connection": "crm"},
        {"listen": ["127.0.0.1:0"], "connections": ["crm"]},
    ]);
    let sidecar = with_listeners(&[crm(&up), erp.clone()], &listeners);
    let [_, mounted, some] = sidecar.addresses() else {
        panic!("three addresses")
    };
    let (mut mounted, mut some) = (Agent::connect_to(*mounted), Agent::connect_to(*some));
    let expect_served = |mounted: &mut Agent, some: &mut Agent| {
        mounted.get("/x").expect_status(200);
        some.get("/crm/x").expect_status(200);
        assert_eq!(listed(&some.get("/")), ["crm"]);
    };
    expect_served(&mut mounted, &mut some);

    sidecar.reload(std::slice::from_ref(&erp)).unwrap();
    mounted.get("/x").refused(404, "connection_not_found");
    mounted.get("/").refused(404, "connection_not_found");
    some.get("/crm/x").refused(404, "connection_not_found");
    assert_eq!(listed(&some.get("/")), [""; 0]);

    sidecar.reload(&[crm(&up), erp]).unwrap();
    expect_served(&mut mounted, &mut some);
    assert_eq!(up.requests().len(), 4);
}

#[test]
fn a_reload_warns_of_a_missing_connection_and_of_listeners_that_need_a_restart() {
    let up = Upstream::echo();
    let listeners = json!([{"listen": ["127.0.0.1:0"], "connection": "crm"}]);
    let proxy = json!({"proxy": {"listen": [], "listeners": listeners}});
    let program = Program::new(&[crm(&up), crm(&up).rename("erp")], &proxy);
    let mut running = program.start(&["--log-format", "json"]);
    let (mounted, _): (SocketAddr, _) = running.addresses();
    let mut agent = Agent::connect_to(mounted);
    ask(&mut agent, "GET", "localhost", "/x").expect_status(200);

    // The listener keeps running without its connection, and the operator learns of it.
    fs::remove_file(program.path("connections/crm.json")).unwrap();
    let message = running.wait_for_line("no definition has the id `crm`");
    let warning: Value = serde_json::from_str(running.heard.last().unwrap()).unwrap();
    assert_eq!(warning["event"], "config_warning", "{message}");
    assert_eq!(warning["code"], "unknown_connection");
    assert_eq!(warning["field"], "proxy.listeners[0].connection");
    running.wait_for_line("reloaded: generation 2");
    agent.get("/x").refused(404, "connection_not_found");

    // A start with the same files fails.
    let (exit, _, stderr) = program.run(&[]);
    assert_eq!(exit, Some(64), "{stderr}");
    assert!(
        stderr.contains("no definition has the id `crm`"),
        "{stderr}"
    );

    program.define(&crm(&up));
    running.wait_for_line("reloaded: generation 3");
    agent.get("/x").expect_status(200);
    let file = program.path("egressd.yaml");
    let mut settings: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    settings["proxy"]["listeners"][0]["connection"] = json!("erp");
    fs::write(&file, settings.to_string()).unwrap();
    running.wait_for_line("only after a restart: proxy.listeners");
    agent.get("/x").expect_status(200);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}

#[test]
fn operators_see_which_connections_a_listener_serves() {
    let up = Upstream::echo();
    let listeners = json!([
        {"listen": ["127.0.0.1:0"], "connection": "crm"},
        {"listen": ["127.0.0.1:0"], "connections": ["crm", "erp"]},
    ]);
    let proxy = json!({"proxy": {"listen": ["127.0.0.1:0"], "listeners": listeners}});
    let program = Program::new(&[crm(&up), crm(&up).rename("erp")], &proxy);
    let mut running = program.start(&["--log-format", "json"]);
    let mut bound = || {
        running.wait_for_line(r#""event":"listening""#);
        let event: Value = serde_json::from_str(running.heard.last().unwrap()).unwrap();
        let address = event["address"].as_str().unwrap().to_owned();
        (address, event)
    };
    let [
        (all, every),
        (mounted, one),
        (some, listed),
        (operators, own),
    ] = std::array::from_fn(|_| bound());
    for event in [every, own] {
        let scope = (event.get("connection"), event.get("connections"));
        assert_eq!(scope, (None, None), "{event}");
    }
    assert_eq!(one["connection"], "crm");
    let message = format!("agents connect to {mounted} for connection crm, at the root");
    assert_eq!(one["message"], message);
    assert_eq!(listed["connections"], json!(["crm", "erp"]));
    let message = format!("agents connect to {some} for connections crm, erp");
    assert_eq!(listed["message"], message);

    running.wait_for_line("ready with");
    let mut operator = Agent::connect_to(operators.parse().unwrap());
    let probe = operator.get("/readyz?verbose").text();
    let lines = format!(
        "[i]listener {all}: every connection\n\
         [i]listener {mounted}: crm, at the root\n\
         [i]listener {some}: crm, erp\n"
    );
    assert!(probe.contains(&lines), "{probe}");
    let page = operator.get("/").text();
    for (address, served) in [
        (all, "every connection"),
        (mounted, "crm, at the root"),
        (some, "crm, erp"),
    ] {
        let item = format!("<li>{address} <span class=\"muted\">{served}</span></li>");
        assert!(page.contains(&item), "{page}");
    }
}

#[test]
fn an_address_that_cannot_be_bound_names_the_setting() {
    let up = Upstream::echo();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listeners = json!([{"listen": [address], "connection": "crm"}]);
    let proxy = json!({"proxy": {"listen": ["127.0.0.1:0"], "listeners": listeners}});
    let (exit, _, stderr) = Program::new(&[crm(&up)], &proxy).run(&[]);
    assert_eq!(exit, Some(69), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
    assert!(
        stderr.contains("set another one in `proxy.listeners`"),
        "{stderr}"
    );
}

#[test]
fn the_socket_file_of_a_listener_is_removed_at_the_end() {
    let up = Upstream::echo();
    let listeners = json!([{"listen": ["unix:agent.sock"], "connections": ["crm"]}]);
    let proxy = json!({"proxy": {"listen": ["127.0.0.1:0"], "listeners": listeners}});
    let program = Program::new(&[crm(&up)], &proxy);
    let mut running = program.start(&[]);
    let path = program.path("agent.sock");
    assert!(
        running
            .wait_for_line("agents connect to unix:")
            .ends_with("agent.sock for connection crm")
    );
    running.wait_for_line("ready with");
    Agent::connect_unix(&path).get("/crm/x").expect_status(200);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
    assert!(!path.exists());
}
