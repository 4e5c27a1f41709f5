//! Unique secrets in every step of a consent. All that the programs write and answer, and all that
//! they show to other processes, is searched for them, in every encoding. They are expected in a
//! few places only: the file of the grant, the terminal of `login`, the command line of the opener,
//! and the output of `connections`.

mod world;

use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;

use super::client::{navigate, send, split_link};
use super::process::Opened;
use crate::support::{Agent, PATIENCE};
use world::{
    ACCESS, ACCOUNT, CLIENT_SECRET, CODE, DEVICE_CODE, ID_TOKEN, PlantedWorld, REFRESH, USER_CODE,
};

/// The paths that an agent or an operator can read at a listener of `serve`.
const PATHS: [&str; 19] = [
    "/",
    "/user",
    "/reflect",
    "/livez",
    "/readyz?verbose",
    "/metrics",
    "/openapi.json",
    "/v1/connections",
    "/v1/connections?show_deleted=true",
    "/v1/connections/api",
    "/v1/connectors",
    "/v1/connectors/github",
    "/v1/connection-types",
    "/api",
    "/api/user",
    "/api/reflect",
    "/api/unknown",
    // F-354
    "/callback?code=c&state=s",
    "/start/x",
];

#[test]
fn no_flow_of_a_consent_shows_a_secret() {
    // F-355
    let world = PlantedWorld::new();
    let mut serve = world.inner.program.start(&["--log-level", "trace"]);
    let (agents, operators) = serve.addresses();
    let pid = serve.id();
    let mut further = serve.heard.iter().filter_map(|line| {
        let address = line.split_once("agents connect to ")?.1;
        address.split(' ').next()?.parse().ok()
    });
    let rooted = further.find(|address| *address != agents).unwrap();
    let listeners = [agents, rooted, operators];
    ask_everything(&world, pid, &listeners);
    by_browser(&world);
    wait_for(agents, 200);
    ask_everything(&world, pid, &listeners);
    world.gather_files();
    // A refresh because of a 401.
    assert_eq!(Agent::connect_to(agents).get("/api/expire").status, 200);
    ask_everything(&world, pid, &listeners);
    world.gather_files();
    run_commands(&world);
    by_device(&world);
    by_paste(&world);
    by_import(&world);
    ask_everything(&world, pid, &listeners);
    world.gather_files();
    let ended = world.inner.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    world.gather(
        "the output of logout",
        format!("{}{}", ended.out, ended.err),
        &[],
    );
    wait_for(agents, 403);
    ask_everything(&world, pid, &listeners);
    world.gather_files();
    let (exit, access, problems) = serve.stop_and_collect();
    assert_eq!(exit, Some(0));
    assert!(access.contains("/api/user"), "{access}");
    assert!(problems.concat().contains("consent_given"), "{problems:?}");
    world.gather("the access log", access, &[]);
    world.gather("the problem log", problems.join("\n"), &[]);
    world.search(&[
        "client secret",
        "access token",
        "newer access token",
        "refresh token",
        "newer refresh token",
        "account",
        "start value",
        "user code",
        "pasted state",
    ]);
}

/// Waits until a request of the agent gets this status.
fn wait_for(agents: SocketAddr, status: u16) {
    let end = Instant::now() + PATIENCE;
    while Agent::connect_to(agents).get("/api/user").status != status {
        assert!(Instant::now() < end, "it never answered {status}");
    }
}

/// Gathers the answers of all listeners, those to MCP messages, and what other processes see.
fn ask_everything(world: &PlantedWorld, pid: u32, listeners: &[SocketAddr]) {
    for address in listeners {
        for path in PATHS {
            let mut agent = Agent::connect_to(*address);
            agent.get(path);
            world.gather(&format!("the answer to {path}"), agent.received(), &[]);
        }
    }
    for (method, params) in [
        ("tools/list", json!({})),
        (
            "tools/call",
            json!({"name": "api_get_user", "arguments": {}}),
        ),
        (
            "tools/call",
            json!({"name": "api_get_reflect", "arguments": {}}),
        ),
    ] {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let fields = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        let mut agent = Agent::connect_to(listeners[0]);
        let reply = agent.request("POST", "/mcp", &fields, message.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        world.gather("the answer to an MCP message", agent.received(), &[]);
    }
    world.gather_processes("serve", &[pid], &[]);
}

/// Logs in with a browser that an opener starts. Other requests arrive as well.
fn by_browser(world: &PlantedWorld) {
    let mut login = world.login(&["api"]);
    let link = world.opened_link();
    world.plant("start value", link.rsplit('/').next().unwrap());
    world.gather_processes("the opener and login", &[login.id()], &["start value"]);
    world.end_opener();
    let opened = Opened::at(&link);
    plant_browser(world, &opened);
    let (authority, _) = split_link(&link);
    let right = opened.callback("code=planted");
    for (method, path) in [
        ("GET", "/other"),
        ("GET", "/callback?code=c&state=s"),
        ("GET", &right),
        ("POST", &right),
        ("GET", "/done"),
    ] {
        let host = format!("Host: {authority}\r\n");
        let answer = send(authority, method, path, &host);
        world.gather(
            &format!("the answer of login to {path}"),
            answer.text(),
            &[],
        );
    }
    world.gather_processes("login", &[login.id()], &[]);
    let code = percent_encoded(CODE);
    let path = opened.callback(&format!("code={code}"));
    for (path, status) in [(path.as_str(), 303), ("/done", 200), (path.as_str(), 410)] {
        let answer = navigate(authority, path, &opened.cookie);
        assert_eq!(answer.status, status, "{answer:?}");
        world.gather("the answer of login to the callback", answer.text(), &[]);
    }
    login.wait_for_line("account:");
    world.gather_processes("login at its question", &[login.id()], &[]);
    let shown = login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    world.gather("the terminal", shown, &["account", "start value"]);
    let said = format!("{}{}", ended.out, ended.err);
    assert!(said.contains(ACCOUNT), "{said}");
    world.gather("the output of login", said, &["account", "start value"]);
    world.plant_verifier("code_verifier of the browser flow");
}

fn plant_browser(world: &PlantedWorld, opened: &Opened) {
    let (_, cookie) = opened.cookie.split_once('=').unwrap();
    world.plant("cookie value", cookie);
    world.plant("state", &opened.parameter("state").unwrap());
}

/// Gathers the output of the commands that read the configuration and the store.
fn run_commands(world: &PlantedWorld) {
    for (name, arguments, expected) in [
        ("check", &[][..], &[][..]),
        ("check", &["--format", "json"], &[]),
        ("connections", &[], &["account"]),
        ("connections", &["--format", "json"], &["account"]),
        ("explain", &["GET", "/api/user"], &[]),
        ("explain", &["--format", "json", "GET", "/api/user"], &[]),
        ("probe", &["api"], &[]),
        ("probe", &["--format", "json", "api"], &[]),
    ] {
        let ended = world.inner.run(name, arguments);
        assert_ne!(ended.exit, Some(64), "{name} {arguments:?}: {ended:?}");
        let said = format!("{}{}", ended.out, ended.err);
        let is_expected = expected.contains(&"account");
        assert_eq!(said.contains(ACCOUNT), is_expected, "{name}: {said}");
        world.gather(
            &format!("the output of {name} {arguments:?}"),
            said,
            expected,
        );
    }
    world.gather("the output of doctor", world.doctor(), &[]);
}

fn by_device(world: &PlantedWorld) {
    let mut login = world.login(&["--device", "--replace", "api"]);
    login.wait_for_line(USER_CODE);
    world.gather_processes("login --device", &[login.id()], &[]);
    let shown = login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let said = format!("{shown}{}{}", ended.out, ended.err);
    world.gather("login --device", said, &["account", "user code"]);
}

fn by_paste(world: &PlantedWorld) {
    let mut login = world.login(&["--paste", "--replace", "api"]);
    let line = login.wait_for_line("/authorize?");
    let url = url::Url::parse(line.trim()).unwrap();
    let parameter = |name| url.query_pairs().find(|(n, _)| n == name).unwrap().1;
    world.plant("pasted state", &parameter("state"));
    let code = percent_encoded(CODE);
    let state = parameter("state");
    let callback = format!("{}?code={code}&state={state}", parameter("redirect_uri"));
    let prompt = login.reply("Paste that address", &callback);
    login.wait_for_line("account:");
    world.gather_processes("login --paste", &[login.id()], &[]);
    let shown = login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let said = format!("{prompt}{shown}{}{}", ended.out, ended.err);
    world.gather("login --paste", said, &["account", "pasted state"]);
    world.plant_verifier("code_verifier of --paste");
}

fn by_import(world: &PlantedWorld) {
    let file = world.inner.program.path("import");
    fs::write(&file, world::answer(1).to_string()).unwrap();
    let arguments = [
        "--yes",
        "--replace",
        "--import",
        file.to_str().unwrap(),
        "api",
    ];
    let ended = world.inner.run("login", &arguments);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    world.gather(
        "login --import",
        format!("{}{}", ended.out, ended.err),
        &["account"],
    );
    fs::remove_file(&file).unwrap();
}

fn percent_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[test]
fn a_login_that_crashes_leaves_no_core_file() {
    // F-355
    let world = PlantedWorld::new();
    let mut login = world.login_with_core(&["--no-browser", "api"]);
    let link = login.wait_for_line("/start/");
    let opened = Opened::at(&link);
    let code = percent_encoded(CODE);
    assert_eq!(opened.call_back(&format!("code={code}")), 303);
    login.wait_for_line("account:");
    let limits = fs::read_to_string(format!("/proc/{}/limits", login.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let mut words = core.unwrap().split_whitespace().skip(4);
    assert_eq!(words.nth(1), Some("0"), "{core:?}");
    login.signal(Signal::ABORT);
    assert_eq!(login.end().exit, None);
    world.plant("start value", link.rsplit('/').next().unwrap());
    plant_browser(&world, &opened);
    world.gather_files();
    let names: Vec<_> = fs::read_dir(world.inner.program.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("core"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    world.search(&["client secret"]);
}

#[test]
fn the_search_of_canaries_finds_what_is_planted() {
    let world = PlantedWorld::new();
    for secret in [
        CLIENT_SECRET,
        CODE,
        ACCESS[0],
        ACCESS[1],
        REFRESH[0],
        REFRESH[1],
        ID_TOKEN,
        DEVICE_CODE,
        ACCOUNT,
        USER_CODE,
    ] {
        let found = world.unexpected(format!("a {secret} b"), &[]);
        assert_eq!(found.len(), 1, "{secret}: {found:?}");
    }
    assert!(world.unexpected(ACCOUNT, &["account"]).is_empty());
}
