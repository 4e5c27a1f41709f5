//! `egressd probe`: the report of each step on loopback sockets, and the absence of requests to the
//! API.

mod token;

use std::ffi::OsString;
use std::net::TcpListener;

use egressd::cli::{Exit, Process, Streams, run};
use egressd::config::Environment;
use serde_json::{Value, json};

use crate::support::certs::Alpn;
use crate::support::connection::Connection;
use crate::support::{Upstream, certs, connection};

/// The result of a run of the command.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

/// Runs `probe` with these arguments in a directory with these connections.
fn probe_with(settings: &Value, connections: &[Connection], words: &[&str]) -> Ran {
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name);
    std::fs::create_dir(at("connections")).unwrap();
    for (number, connection) in connections.iter().enumerate() {
        let file = at("connections").join(format!("{number}.json"));
        std::fs::write(file, connection.definition().to_string()).unwrap();
    }
    std::fs::write(at("ca.pem"), certs::ca_pem()).unwrap();
    std::fs::write(at("egressd.yaml"), settings.to_string()).unwrap();
    let config = at("egressd.yaml").into_os_string();
    let mut arguments: Vec<OsString> = vec!["egressd".into(), "probe".into()];
    arguments.extend(["--config".into(), config]);
    arguments.extend(words.iter().map(OsString::from));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut plain = anstream::StripStream::new(&mut out);
    let mut streams = Streams {
        out: &mut plain,
        err: &mut err,
        process: Process::default(),
    };
    let environment = Environment::new([("TOKEN", "token-canary"), ("USER", "user-canary")]);
    let exit = run(arguments, environment, &mut streams);
    let (out, err) = (String::from_utf8(out), String::from_utf8(err));
    let (out, err) = (out.unwrap(), err.unwrap());
    assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");
    Ran { exit, out, err }
}

fn settings() -> Value {
    json!({"egress": {"ca_files": ["ca.pem"]}, "connections": ["connections"]})
}

/// Probes the first of these connections.
fn probe(connections: &[Connection]) -> Ran {
    probe_with(&settings(), connections, &["api"])
}

/// Probes a connection. Returns the exit code and the steps of the JSON report.
fn steps(connection: Connection) -> (Exit, Vec<Value>) {
    let ran = probe_with(&settings(), &[connection], &["--format", "json", "api"]);
    let mut report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(report["connection"], "api");
    let Value::Array(steps) = report["steps"].take() else {
        panic!("{report}");
    };
    for step in &steps {
        let keys: Vec<_> = step.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["detail", "ms", "ok", "remedy", "step", "target"],
            "{step}"
        );
        let helped = step["remedy"].as_str().is_some_and(|text| !text.is_empty());
        assert_eq!(helped, step["ok"] == false, "{step}");
        assert!(step["ms"].as_f64().unwrap() >= 0.0, "{step}");
    }
    (ran.exit, steps)
}

fn names(steps: &[Value]) -> Vec<&str> {
    let names = steps.iter().map(|step| step["step"].as_str());
    names.map(Option::unwrap).collect()
}

/// Starts an upstream that reads requests and closes the socket when the client does.
fn listening() -> Upstream {
    Upstream::script(|wire| while wire.request().is_some() {})
}

fn api() -> Connection {
    connection("api").allow("GET /")
}

/// Returns a port of 127.0.0.1 without a listener.
fn free_port() -> u16 {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    held.local_addr().unwrap().port()
}

/// Returns the failed step, its detail and its remedy. The credential step is reported after it.
fn failed(connection: Connection) -> (String, String, String) {
    let (exit, steps) = steps(connection);
    assert_eq!(exit, Exit::Failure, "{steps:?}");
    let bad: Vec<_> = steps.iter().filter(|step| step["ok"] == false).collect();
    let [bad] = bad.as_slice() else {
        panic!("{steps:?}");
    };
    assert_eq!(steps.last().unwrap()["step"], "credential");
    assert_eq!(steps[steps.len() - 2], **bad);
    let text = |key: &str| bad[key].as_str().unwrap().to_owned();
    (text("step"), text("detail"), text("remedy"))
}

const BOTH: [&[&rustls::SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

#[test]
fn a_client_certificate_that_is_required_fails_the_handshake() {
    // F-225: under TLS 1.3 the server checks the certificate only after the client has finished the
    // handshake.
    for versions in BOTH {
        for alpn in [Alpn::Http1, Alpn::H2] {
            let up = Upstream::with_tls(certs::asking_for_certificates(alpn, false, versions));
            let (step, detail, remedy) = failed(api().upstream(&up));
            assert_eq!(step, "handshake");
            assert!(detail.contains("certificate_required"), "{detail}");
            assert!(remedy.contains("client certificate"), "{remedy}");
        }
    }
}

#[test]
fn an_optional_client_certificate_request_is_reported() {
    // F-225
    for versions in BOTH {
        let config = certs::asking_for_certificates(Alpn::Http1, true, versions);
        let (exit, steps) = steps(api().upstream(&Upstream::with_tls(config)));
        assert_eq!(exit, Exit::Success, "{steps:?}");
        let detail = steps[3]["detail"].as_str().unwrap();
        let end = "certificate trusted; the server requested a client certificate and continued without one";
        assert!(detail.ends_with(end), "{detail}");
    }
}

#[test]
fn a_certificate_of_an_authority_says_why_it_is_refused() {
    // F-226
    let up = Upstream::with_tls(certs::self_signed_authority());
    let (step, detail, remedy) = failed(api().upstream(&up));
    assert_eq!(step, "handshake");
    assert!(detail.contains("CA:TRUE"), "{detail}");
    assert!(remedy.contains("CA:FALSE"), "{remedy}");
}

#[test]
fn a_good_connection_is_reported_in_columns_and_gets_no_byte_of_http() {
    let up = listening();
    let bearer = api().auth("bearer_token", json!({"token": {"env": "TOKEN"}}));
    let ran = probe(&[bearer.upstream_at(&up, "/base")]);
    assert_eq!(ran.exit, Exit::Success, "{}{}", ran.out, ran.err);
    let target = up.address().to_string();
    let lines: Vec<Vec<&str>> = ran
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [id, resolve, address, connect, handshake, credential, end] = lines.as_slice() else {
        panic!("{}", ran.out);
    };
    assert_eq!(id, &["api"]);
    for (line, step) in [
        (resolve, "resolve"),
        (address, "address"),
        (connect, "connect"),
        (handshake, "handshake"),
    ] {
        assert_eq!(line[..3], [step, &target, "ok"], "{}", ran.out);
        assert!(line[3].parse::<f64>().is_ok(), "{}", ran.out);
        assert_eq!(line[4], "ms", "{}", ran.out);
    }
    assert_eq!(
        handshake[5..].join(" "),
        "TLS 1.3 with X25519MLKEM768, http/1.1, certificate trusted"
    );
    assert_eq!(credential[..3], ["credential", "bearer_token", "ok"]);
    assert_eq!(credential[5..].join(" "), "from env:TOKEN");
    assert_eq!(
        end.join(" "),
        "every step succeeded; no request was sent to the API"
    );
    up.wait_closed(1);
    assert_eq!((up.sockets(), up.raw()), (1, Vec::new()));
}

#[test]
fn credentials_are_reported_by_source() {
    let up = listening();
    let pair = json!({"username": {"env": "USER"}, "password": {"env": "TOKEN"}});
    let keys = json!({"headers": {"X-A": {"env": "TOKEN"}, "X-B": "inline-canary"}});
    let signing = api().http("webhook_signing_secret", json!({"env": "TOKEN"}));
    for (connection, kind, detail) in [
        (
            api().auth("basic_auth", pair),
            "basic_auth",
            "username from env:USER, password from env:TOKEN",
        ),
        (
            api().auth("static_headers", keys),
            "static_headers",
            "x-a from env:TOKEN, x-b inline",
        ),
        (api(), "no_auth", "the upstream needs no credential"),
        (
            signing,
            "no_auth",
            "the upstream needs no credential; bodies are signed with a key from env:TOKEN",
        ),
    ] {
        let (exit, steps) = steps(connection.upstream(&up));
        assert_eq!(exit, Exit::Success, "{steps:?}");
        let last = steps.last().unwrap();
        assert_eq!(
            (&last["step"], &last["target"]),
            (&json!("credential"), &json!(kind))
        );
        assert_eq!(last["detail"], detail);
    }
}

#[test]
fn a_forbidden_address_is_reported_with_the_cidr_that_would_allow_it() {
    // A literal address that is not allowed is a problem of the configuration, so a name must lead
    // to it.
    let up = listening();
    let url = format!("https://localhost:{}", up.address().port());
    let closed = api()
        .http("allowed_private_cidrs", json!([]))
        .base_url(&url);
    let (step, detail, remedy) = failed(closed);
    assert_eq!(step, "address");
    assert!(detail.contains("127.0.0.1 (loopback)"), "{detail}");
    let hole = "`allowed_private_cidrs: [127.0.0.1/32";
    assert!(remedy.contains(hole), "{remedy}");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_connection_that_leads_back_to_egressd_is_refused() {
    let up = listening();
    let mut settings = settings();
    settings["proxy"] = json!({"listen": [up.address().to_string()]});
    let ran = probe_with(&settings, &[api().upstream(&up)], &["api"]);
    assert_eq!(ran.exit, Exit::Failure);
    assert!(
        ran.out.contains("leads to a listener of egressd itself"),
        "{}",
        ran.out
    );
    assert_eq!(up.sockets(), 0);
}

#[test]
fn each_step_can_fail() {
    let untrusted = Upstream::untrusted();
    let nobody = format!("https://127.0.0.1:{}", free_port());
    for (connection, step, says, remedy) in [
        (
            api().base_url("https://api.invalid"),
            "resolve",
            "has no address",
            "`base_url`",
        ),
        (
            api().base_url(&nobody),
            "connect",
            "refused the connection",
            "the port of `base_url`",
        ),
        (
            api().upstream(&untrusted),
            "handshake",
            "not trusted (unknown issuer)",
            "`egress.ca_files`",
        ),
    ] {
        let outcome = failed(connection);
        assert_eq!(outcome.0, step);
        assert!(outcome.1.contains(says), "{outcome:?}");
        assert!(outcome.2.contains(remedy), "{outcome:?}");
    }
    untrusted.wait_closed(1);
    assert_eq!(untrusted.raw(), b"");
}

#[test]
fn a_failed_step_is_reported_with_its_remedy_below() {
    let ran = probe(&[api().base_url("https://api.invalid")]);
    let lines: Vec<&str> = ran.out.lines().collect();
    let [_, step, remedy, _credential, end] = lines.as_slice() else {
        panic!("{}", ran.out);
    };
    assert!(
        step.contains("resolve     api.invalid:443  failed"),
        "{step}"
    );
    assert!(remedy.trim_start().starts_with("remedy: "), "{remedy}");
    assert_eq!(*end, "a step failed; no request was sent to the API");
}

#[test]
fn a_token_endpoint_is_dialled_even_if_the_upstream_fails() {
    let idp = Upstream::untrusted();
    let oauth = json!({
        "token_url": format!("https://{}/token", idp.address()),
        "client_id": {"env": "USER"},
        "client_secret": {"env": "TOKEN"},
    });
    let api = api().auth("oauth_client_credentials", oauth);
    let (exit, steps) = steps(api.base_url("https://api.invalid"));
    assert_eq!(exit, Exit::Failure);
    let outcome: Vec<_> = steps
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["ok"] == true))
        .collect();
    // No token is requested, because the handshake failed.
    assert_eq!(
        outcome,
        [
            ("resolve", false),
            ("credential", true),
            ("resolve", true),
            ("address", true),
            ("connect", true),
            ("handshake", false),
        ]
    );
    assert_eq!(
        steps[1]["detail"],
        format!(
            "token from https://{}/token, client_id from env:USER, client_secret from env:TOKEN",
            idp.address()
        )
    );
    assert_eq!(steps[2]["target"], idp.address().to_string());
    for (step, whom) in [(0, "the upstream's"), (5, "the token endpoint's")] {
        let detail = steps[step]["detail"].as_str().unwrap();
        assert!(detail.starts_with(whom), "{detail}");
    }
    idp.wait_closed(1);
    assert_eq!(idp.raw(), b"");
}

#[test]
fn a_disabled_or_deleted_connection_is_probed_and_reported_as_such() {
    let up = listening();
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    for (connection, says, state) in [
        (
            api().with_field("tool_configurations", tools),
            "disabled: requests",
            "disabled",
        ),
        (
            api().with_field("delete_time", json!("2026-01-02T03:04:05Z")),
            "soft-deleted",
            "deleted",
        ),
        (api(), "api", "live"),
    ] {
        let connection = connection.upstream(&up);
        let ran = probe(std::slice::from_ref(&connection));
        assert_eq!(ran.exit, Exit::Success, "{}", ran.out);
        assert!(ran.out.contains(says), "{}", ran.out);
        let ran = probe_with(&settings(), &[connection], &["--format", "json", "api"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(report["state"], state);
    }
}

#[test]
fn an_unknown_connection_is_reported_with_the_nearest_one() {
    let connections = [
        connection("billing")
            .allow("GET /")
            .base_url("https://127.0.0.1:1"),
        connection("crm")
            .allow("GET /")
            .base_url("https://127.0.0.1:1"),
    ];
    for (asked, says) in [
        (
            "biling",
            "there is no connection `biling`; did you mean `billing`?",
        ),
        ("zebra", "there is no connection `zebra`; the settings in `"),
        ("zebra", "egressd.yaml` define `billing`, `crm`"),
    ] {
        let ran = probe_with(&settings(), &connections, &[asked]);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failure, ""));
        assert!(ran.err.contains(says), "{}", ran.err);
        let words = ["--format", "json", asked];
        let ran = probe_with(&settings(), &connections, &words);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Failure, ""));
        let document: Value = serde_json::from_str(&ran.out).expect("JSON");
        let problem = &document["problems"][0];
        assert_eq!(problem["code"], "unknown_connection", "{document}");
        let text = |key: &str| problem[key].as_str().unwrap();
        let told = format!("{}; {}", text("message"), text("remedy"));
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn problems_and_misuse_end_before_anything_is_dialled() {
    let bad = api().base_url("http://127.0.0.1");
    let ran = probe(std::slice::from_ref(&bad));
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""));
    assert!(ran.err.contains("base_url"), "{}", ran.err);
    let ran = probe_with(&settings(), &[bad], &["--format", "json", "api"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Usage, ""));
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    let field = document["problems"][0]["field"].as_str().unwrap();
    assert!(field.ends_with("base_url"), "{document}");
    let ran = probe_with(&settings(), &[], &[]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("CONNECTION"), "{}", ran.err);
}
