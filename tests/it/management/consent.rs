//! A connection that a person consents to: its status while a login and a logout change the token
//! store, and that no answer contains a token or the account.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::canary::encodings::{Canary, assert_clean};
use crate::support::program::RunningProgram;
use crate::support::reply::Reply;
use crate::support::{Agent, Program, connection};

/// The longest wait for a change of the token store to be noticed.
const PATIENCE: Duration = Duration::from_secs(20);

const SECRET: &str = "canary-secret-0123456789abcdef";
const ACCESS: &str = "canary-access-0123456789abcdef";
const REFRESH: &str = "canary-refresh-0123456789abcdef";
const ACCOUNT: &str = "canary-account-octocat";

const CANARIES: &[Canary] = &[
    canary("client secret", SECRET),
    canary("access token", ACCESS),
    canary("refresh token", REFRESH),
    canary("account", ACCOUNT),
];

const fn canary(name: &'static str, secret: &'static str) -> Canary {
    Canary { name, secret }
}

/// A running process with the connection `person`, which needs a consent, and two others that share
/// its grant and are not usable.
struct World {
    program: Program,
    running: RunningProgram,
    agents: SocketAddr,
    operators: SocketAddr,
}

impl World {
    fn start() -> Self {
        let consent = json!({
            "client_id": "the-client", "client_secret": SECRET, "scopes": "read:user", "grant": "shared",
            "authorization_url": "https://id.test/authorize", "token_url": "https://id.test/token",
            "identity": {"answer": "/account"},
        });
        let person = |id: &str| {
            let connection = connection(id)
                .base_url("https://api.test")
                .allow("GET /user");
            connection.auth("oauth_user_consent", consent.clone())
        };
        let disabled = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
        let all = [
            person("person"),
            person("off").with_field("tool_configurations", disabled),
            person("gone").with_field("delete_time", "2026-01-02T03:04:05Z".into()),
            connection("fixed")
                .base_url("https://api.test")
                .allow("/")
                .bearer("t"),
        ];
        let program = Program::new(&all, &json!({"token_store": {"directory": "store/tokens"}}));
        let mut running = program.start(&[]);
        let (agents, operators) = running.addresses();
        Self {
            program,
            running,
            agents,
            operators,
        }
    }

    /// Runs another command on the same configuration, and returns its exit code and its output.
    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_egressd"))
            .arg(command)
            .arg("--config")
            .arg(self.program.path("egressd.yaml"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// Stores a consent as `egressd login` does.
    fn log_in(&self) {
        let answer = json!({
            "access_token": ACCESS, "refresh_token": REFRESH, "expires_in": 3600,
            "refresh_token_expires_in": 86400, "scope": "read:user", "account": ACCOUNT,
        });
        let file = self.program.path("answer.json");
        std::fs::write(&file, answer.to_string()).unwrap();
        let arguments = ["--yes", "--import", file.to_str().unwrap(), "person"];
        assert_eq!(self.run("login", &arguments).0, Some(0));
    }

    fn connection(&self, id: &str) -> Value {
        let reply = self.ask(&format!("/v1/connections/{id}"));
        reply.expect_status(200).json()["connection"].take()
    }

    fn ask(&self, target: &str) -> Reply {
        Agent::connect_to(self.operators).get(target)
    }

    fn names(&self, filter: &str) -> Vec<String> {
        let reply = self.ask(&format!("/v1/connections?{filter}"));
        let listed = reply.expect_status(200).json();
        let rows = listed["connections"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().replace("connections/", ""))
            .collect()
    }

    /// Returns the connection once it has this status.
    fn wait_for(&self, status: &str) -> Value {
        let began = Instant::now();
        loop {
            let person = self.connection("person");
            if person["status"] == status {
                return person;
            }
            assert!(began.elapsed() < PATIENCE, "never {status}: {person}");
            // The process looks at the store twice a second.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks that `egressd connections` shows the same status, and that no answer contains a
    /// secret.
    fn check_answers(&self, shown: &Value) {
        let (_, listed) = self.run("connections", &["--format", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let rows = listed["connections"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == "person").unwrap();
        assert_eq!(row["status"], shown["status"], "{row}");
        assert_eq!(
            row["status_reason"],
            *shown.get("statusReason").unwrap_or(&Value::Null)
        );
        for target in [
            "/",
            "/v1/connections?show_deleted=true",
            "/v1/connections/person",
            "/v1/connectors",
            "/readyz?verbose",
            "/metrics",
        ] {
            let reply = self.ask(target);
            reply.expect_status(200);
            assert_clean(CANARIES, target, reply.text().as_bytes());
        }
        for target in ["/", "/person/user"] {
            let reply = Agent::connect_to(self.agents).get(target);
            assert_clean(CANARIES, target, reply.text().as_bytes());
        }
    }

    /// Checks that agents, the probe and the page show this status.
    fn check_overviews(&self, status: &str, reason: &str, label: &str) {
        let mut agent = Agent::connect_to(self.agents);
        let listed = agent.get("/").expect_status(200).json();
        let rows = listed["connections"].as_array().unwrap().iter();
        let rows: Vec<_> = rows
            .map(|row| (row["id"].as_str(), row["status"].as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                (Some("fixed"), Some("connected")),
                (Some("person"), Some(status))
            ]
        );
        let accept = [("Accept", "text/markdown")];
        let markdown = agent
            .request("GET", "/", &accept, b"")
            .expect_status(200)
            .text();
        let line = format!("\nStatus: `{status}`. ");
        assert_eq!(
            markdown.contains(&line),
            status != "connected",
            "{markdown}"
        );
        let ready = self.ask("/readyz?verbose").expect_status(200).text();
        let grant = format!("\n[i]grant shared: {status}{reason}: person\n");
        assert!(ready.contains(&grant), "{ready}");
        let page = self.ask("/").expect_status(200).text();
        assert!(page.contains(&format!(">{label}</span>")), "{page}");
        let shown = format!("<code>{status}</code>{reason}</dd>");
        assert!(page.contains(&shown), "{page}");
    }
}

fn time(connection: &Value, field: &str) -> jiff::Timestamp {
    let time = connection[field].as_str();
    let time = time.unwrap_or_else(|| panic!("no {field}: {connection}"));
    time.parse().expect("RFC 3339")
}

#[test]
fn the_status_follows_the_token_store() {
    let mut world = World::start();
    // No token request was made, and the first answer states the status.
    let person = world.connection("person");
    assert_eq!(person["status"], "needs_consent");
    assert_eq!(person["statusReason"], "never_connected");
    let consent_required = |person: &Value| {
        let status = &person["connectionStatus"];
        assert_eq!(status["code"], 16, "{status}");
        assert_eq!(
            status["details"],
            json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "CONSENT_REQUIRED",
                "domain": "egressd",
            }])
        );
    };
    consent_required(&person);
    for absent in ["connectedTime", "refreshTokenExpireTime", "connector"] {
        assert_eq!(person.get(absent), None, "{person}");
    }
    let consent = &person["connectionDetails"]["http"]["oauthUserConsent"];
    for redacted in ["clientId", "clientSecret", "refreshToken"] {
        assert_eq!(consent[redacted], "[redacted]", "{redacted}");
    }
    let sources = &person["credentialSources"];
    assert_eq!(sources["oauthUserConsent.refreshToken"], "store:shared");
    assert_eq!(world.names("filter=status%3Dneeds_consent"), ["person"]);
    world.check_answers(&person);
    world.check_overviews("needs_consent", " (never_connected)", "needs consent");

    let before = jiff::Timestamp::now().as_millisecond();
    world.log_in();
    let person = world.wait_for("connected");
    assert_eq!(person.get("statusReason"), None, "{person}");
    assert_eq!(person["connectionStatus"], json!({"code": 0}));
    assert!(
        time(&person, "connectedTime").as_millisecond() >= before,
        "{person}"
    );
    let lives = ["tokenExpiresAt", "refreshTokenExpireTime"].map(|field| {
        let life = time(&person, field).as_second() - time(&person, "connectedTime").as_second();
        (life + 5) / 10 * 10
    });
    assert_eq!(lives, [3600, 86400], "{person}");
    assert_eq!(world.names("filter=connectedTime%3A*"), ["person"]);
    world.check_answers(&person);
    world.check_overviews("connected", "", "ok");

    assert_eq!(world.run("logout", &["--local", "person"]).0, Some(0));
    let person = world.wait_for("revoked");
    assert_eq!(person["statusReason"], "logged_out");
    consent_required(&person);
    world.check_answers(&person);
    world.check_overviews("revoked", " (logged_out)", "revoked");
    world.running.terminate();
    assert_eq!(world.running.wait_for_exit(), Some(0));
}

#[test]
fn other_connections_have_a_status_too() {
    let world = World::start();
    let fixed = world.connection("fixed");
    assert_eq!(fixed["status"], "connected");
    assert_eq!(fixed["tools"][0]["isEnabled"], true);
    assert_eq!(fixed["toolsStatus"], "ready");
    assert_eq!(fixed["toolsSyncedTime"], fixed["createTime"]);
    for id in ["off", "gone"] {
        let unusable = world.connection(id);
        assert_eq!(unusable["status"], "disabled", "{id}");
        assert_eq!(unusable.get("statusReason"), None, "{id}");
        assert_eq!(unusable["tools"][0]["isEnabled"], false, "{id}");
    }
    assert_eq!(
        world.names("order_by=status&show_deleted=true"),
        ["fixed", "gone", "off", "person"]
    );
    assert_eq!(world.names("filter=status_reason%3Anever*"), ["person"]);
    let refused = world.ask("/v1/connections?filter=account%3D%22a%22");
    refused.expect_status(400);
}
