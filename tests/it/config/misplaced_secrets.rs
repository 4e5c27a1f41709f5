//! Checks every place where a secret may be put by mistake: no message repeats it, whatever other
//! problems the file has.

use std::fs;

use serde_json::json;

use super::world::{World, connection};
use crate::support::Program;

/// Secrets of several kinds: with underscores, written like a variable (also one whose parts are
/// short), with slashes, and one long word.
const CANARIES: [&str; 5] = [
    "ghp_cAnArY0123456789abcdefABCDEF0123456789",
    "AKIACANARY0123456789ABCDEF",
    "SK_LIVE_CANARYABCDE_FGHIJKLMNOPQ_RSTUVWXYZ",
    "wJalrCaNaRy1/K7MDENGxyz/bPxRfiCYEXAMPLEKEYq",
    "canaryverylongpassphrasewithoutspaces",
];

/// Whole files. `§` stands for the secret.
const FILES: &[&str] = &[
    "§",
    "\"§\"",
    "'§",
    "- §",
    "[§]",
    "{§}",
    "§:",
    "§: §",
    "token: §",
    "TOKEN=§",
    "export TOKEN=§",
    "Bearer §",
    "Authorization: Bearer §",
    "{\"token\": \"§\",}",
    "{\"token\": \"§\"",
    "{\"connection_details\": {\"http\": {\"bearer_token\": {\"token\": \"§\"},},}",
    "\t§",
    "a:\n\t- §",
    "a: \"§",
    "a: '§",
    "a: §: §",
    "§: [",
    "&§ a",
    "*§",
    "!§ a",
    "%§ 1",
    "§\n---\n§",
    "|\n §",
    "? §",
    "? [§]\n: 1",
    "a: §\n b: §",
    "name: §",
    "id: §",
    "name: connections/§!",
    "connections: §",
    "connections: [§]",
    "connections: [{id: §}]",
    "connections: {§: 1}",
    "connection_details: §",
    "connection_details: [§]",
    "connection_details: {§: {}}",
    "connection_details: {http: §}",
    "connection_details: {http: [§]}",
    "connection_details: {http: {§: 1}}",
    "connection_type: §",
    "delete_time: §",
    "tool_configurations: §",
    "tool_configurations: [§]",
    "tool_configurations: [{tool: §, enabled: §}]",
    "display_name: [§]",
    "description: {§: §}",
    "§: 1\n§: 2",
];

/// Fields of `http` and their invalid values. `§` stands for the secret.
const FIELDS: &[(&str, &str)] = &[
    ("base_url", "§"),
    ("base_url", "http://§"),
    ("base_url", "https://§@h"),
    ("base_url", "https://u:§@h"),
    ("base_url", "https://h?key=§"),
    ("base_url", "[§]"),
    ("base_url", "{env: §}"),
    ("allowed_routes", "§"),
    ("allowed_routes", "[§]"),
    ("allowed_routes", "[GET §]"),
    ("allowed_routes", "[§ /a]"),
    ("allowed_routes", "[[§]]"),
    ("allowed_routes", "[{§: §}]"),
    ("allowed_routes", "[{route: §}]"),
    ("allowed_routes", "[{route: GET /a, §: 1}]"),
    ("allowed_routes", "[{route: GET /a, name: '§!'}]"),
    (
        "allowed_routes",
        "[{route: /a, name: §}, {route: /b, name: §}]",
    ),
    ("allowed_routes", "[{route: /a, description: [§]}]"),
    ("allowed_routes", "[{route: /a, description: {§: 1}}]"),
    ("allowed_routes", "[{route: /a, query: §}]"),
    ("allowed_routes", "[{route: /a, query: {§: int}}]"),
    ("allowed_routes", "[{route: /a, query: {page: §}}]"),
    (
        "allowed_routes",
        "[{route: /a, query: {§: {type: §, §: 1}}}]",
    ),
    ("headers", "§"),
    ("headers", "[§]"),
    ("headers", "{§}"),
    ("headers", "{§: [a]}"),
    ("headers", "{X-A: {env: §}}"),
    ("headers", "{Authorization: §}"),
    ("headers", "{Authorization: Bearer §}"),
    ("headers", "{§: a, §: b}"),
    ("headers", "{§: a, X-B: '§ '}"),
    ("headers", "{Proxy-§: a}"),
    ("headers", "{X-Api-Key: §}"),
    ("allow_agent_headers", "§"),
    ("allow_agent_headers", "[§]"),
    ("allow_agent_headers", "[§, §]"),
    ("allow_agent_headers", "[Sec-Fetch-§, X-Egressd-§]"),
    ("allow_agent_headers", "[§-Api-Key]"),
    ("allow_agent_headers", "['X-Api-Key: §']"),
    ("allow_agent_headers", "[{§: 1}]"),
    ("bearer_token", "§"),
    ("bearer_token", "[§]"),
    ("bearer_token", "{§}"),
    ("bearer_token", "{§: 1}"),
    ("bearer_token", "{tokn: §}"),
    ("bearer_token", "{token: §, §: 1}"),
    ("bearer_token", "{token: [§]}"),
    ("bearer_token", "{token: {§}}"),
    ("bearer_token", "{token: {§: 1}}"),
    ("bearer_token", "{token: {env: §}}"),
    ("bearer_token", "{token: {env: '§ x'}}"),
    ("bearer_token", "{token: {env: [§]}}"),
    ("bearer_token", "{token: {file: §}}"),
    ("bearer_token", "{token: {file: /run/secrets/§}}"),
    ("bearer_token", "{token: {file: ../§/§}}"),
    ("bearer_token", "{token: {file: {a: §}}}"),
    ("bearer_token", "{token: {env: §, file: §}}"),
    ("bearer_token", "{token: {value: §}}"),
    ("bearer_token", "{token: {ENV: §}}"),
    ("basic_auth", "'user:§'"),
    ("basic_auth", "{username: 'u:§', password: §}"),
    ("basic_auth", "{user: §, password: {env: §}}"),
    ("static_headers", "{X-Key: §}"),
    ("static_headers", "{headers: {X-Key: {env: §}}}"),
    ("static_headers", "{headers: {X-Key: {file: §}}}"),
    ("static_headers", "{headers: {§: {env: A}}}"),
    ("static_headers", "{headers: ['X-Key: §']}"),
    ("static_headers", "{headers: {§: a, §: b}}"),
    ("static_headers", "{headers: {Proxy-§: a}}"),
    (
        "static_headers",
        "{headers: {X-Key: {value: §, secret: §}}}",
    ),
    ("static_headers", "{headers: {X-Key: {value: a, §: false}}}"),
    ("reuse_after_body", "§"),
    ("static_headers", "{headers: {'X-Key: §': }}"),
    ("oauth_client_credentials", "§"),
    (
        "oauth_client_credentials",
        "{client_id: §, clientsecret: §}",
    ),
    (
        "oauth_client_credentials",
        "{token_url: §, client_id: {env: §}, client_secret: {file: §}, client_auth: §}",
    ),
    (
        "oauth_client_credentials",
        "{token_url: https://h/t, client_id: a, client_secret: [§], scopes: [§], extra_params: {scope: §, §: [1], b: {c: §}}}",
    ),
    ("webhook_signing_secret", "[§]"),
    ("webhook_signing_secret", "{§}"),
    ("webhook_signing_secret", "{env: §}"),
    ("no_auth", "§"),
    ("no_auth", "{token: §}"),
    ("max_response_size_bytes", "§"),
    ("timeout_seconds", "§"),
    ("max_concurrent_requests", "[§]"),
    ("allow_cookies", "§"),
    ("allow_encoded_slash", "{env: §}"),
    ("http2", "§"),
    ("allowed_private_cidrs", "§"),
    ("allowed_private_cidrs", "[§]"),
    ("token", "§"),
    ("api_key", "{env: §}"),
    ("bearer_tokn", "{token: §}"),
    ("§", "§"),
    ("token_§", "1"),
];

/// Settings files. `§` stands for the secret.
const SETTINGS: &[&str] = &[
    "§",
    "token: §",
    "§: 1",
    "proxy: §",
    "proxy: {listen: §}",
    "proxy: {listen: [§]}",
    "proxy: {allowed_hosts: ['http://§', '§/']}",
    "proxy: {workers: §}",
    "proxy: {§: 1}",
    "management: {basic_auth: §}",
    "management: {basic_auth: {username: a, password: {env: §}}}",
    "management: {basic_auth: {username: a, password: {file: §}}}",
    "management: {basic_auth: {username: a, pasword: §}}",
    "management: {listen: [§]}",
    "egress: {ca_files: [§]}",
    "connections: §",
    "connections: [§]",
    "log: {level: §, format: [§], access: §}",
    "secrets: {allow: §}",
    "secrets: {allow: [§]}",
    "secrets: {allow: [{§: 1}]}",
    "secrets: {allow_env: [§-]}",
    "secrets: {allow_env: ['§!']}",
    "shutdown: {grace_period_seconds: §}",
    "limits: §",
    "limits: {max_timeout_seconds: §}",
    "limits: {§: 1}",
];

/// Returns the mistakes of all tables, as definitions.
fn definitions(canary: &str) -> Vec<String> {
    let files = FILES.iter().map(|file| file.replace('§', canary));
    let fields = FIELDS.iter().map(|(name, value)| {
        let (name, value) = (name.replace('§', canary), value.replace('§', canary));
        let sound = connection(&[(&name, &value), ("no_auth", "-")]);
        // A second mistake, so that the definition never loads.
        format!("{sound}    timeout_seconds: never\n")
    });
    files.chain(fields).collect()
}

/// Asserts that eight characters of the secret never appear in a row. The case is ignored, because
/// names of headers are shown in lower case.
#[track_caller]
fn silent(shown: &str, canary: &str, slip: &str) {
    let (shown, canary) = (shown.to_lowercase(), canary.to_lowercase());
    for part in canary.as_bytes().windows(8) {
        let part = std::str::from_utf8(part).unwrap();
        assert!(!shown.contains(part), "{slip}\n{shown}");
    }
}

#[test]
fn commands_do_not_repeat_a_misplaced_secret_of_a_definition() {
    // F-255
    for canary in CANARIES {
        let slips = definitions(canary);
        assert!(slips.len() >= 130);
        for slip in slips {
            let world = World::new()
                .file("egressd.yaml", "connections: [a.yaml]")
                .file("a.yaml", &slip);
            let config = world.path("egressd.yaml");
            let config = ["--config", config.to_str().unwrap()];
            for arguments in [
                &["check", "--format", "json"][..],
                &["check"],
                &["check", "--secrets", "skip"],
                &["explain", "GET", "/a/a"],
            ] {
                let ran = world.run(&[arguments, &config].concat());
                silent(&(ran.out + &ran.err), canary, &slip);
            }
        }
    }
}

#[test]
fn commands_do_not_repeat_a_misplaced_secret_of_the_settings() {
    // F-255
    for canary in CANARIES {
        for slip in SETTINGS {
            let world = World::new().file("egressd.yaml", slip.replace('§', canary));
            let config = world.path("egressd.yaml");
            let config = config.to_str().unwrap();
            for arguments in [&["check"][..], &["check", "--format", "json"]] {
                let ran = world.run(&[arguments, &["--config", config]].concat());
                silent(&(ran.out + &ran.err), canary, slip);
            }
        }
    }
}

#[test]
fn commands_do_not_repeat_a_misplaced_secret_of_the_environment_or_command_line() {
    // F-255
    for canary in CANARIES {
        for name in [
            "PROXY_LISTEN",
            "PROXY_WORKERS",
            "PROXY_ALLOWED_HOSTS",
            "PROXY_ALLOW_NON_LOOPBACK",
            "MANAGEMENT_LISTEN",
            "EGRESS_CA_FILES",
            "CONNECTIONS",
            "LOG_LEVEL",
            "SECRETS_ALLOW_ENV",
            "TOKEN",
            "HARDENING",
            canary,
        ] {
            let name = format!("EGRESSD_{name}");
            let world = World::new()
                .file("egressd.yaml", "")
                .variable(&name, &format!("{canary}!"));
            let config = world.path("egressd.yaml");
            let ran = world.run(&["check", "--config", config.to_str().unwrap()]);
            silent(&(ran.out + &ran.err), canary, &name);
        }
        let world = World::new()
            .file("egressd.yaml", "connections: [a.yaml]")
            .file("a.yaml", connection(&[]));
        let config = world.path("egressd.yaml");
        let config = ["--config", config.to_str().unwrap()];
        let ran = world.run(&[&["probe", canary][..], &config].concat());
        assert!(ran.err.contains("no connection"), "{}", ran.err);
        silent(&(ran.out + &ran.err), canary, "probe");
        let flag = format!("--format={canary}");
        for arguments in [
            &["check", canary][..],
            &["check", "--config", canary],
            &["check", "--format", canary],
            &["check", &flag],
            &["check", "--secrets", canary],
            &["explain", canary],
            &["explain", "GET", "/x", canary],
            &["probe", "x", canary],
            &["schema", canary],
            &["serve", "--hardening", canary],
            &[canary],
        ] {
            let ran = World::new().run(arguments);
            assert!(!(ran.out.clone() + &ran.err).is_empty());
            silent(&(ran.out + &ran.err), canary, &format!("{arguments:?}"));
        }
    }
}

/// Checks the log of a running process, in both formats.
#[test]
fn a_reload_does_not_log_a_misplaced_secret() {
    // F-255
    let canary = CANARIES[0];
    for format in ["json", "text"] {
        let program = Program::new(&[], &json!({}));
        let mut running = program.start(&["--log-format", format]);
        running.addresses();
        for slip in definitions(canary) {
            let next = program.path("next");
            fs::write(&next, &slip).unwrap();
            fs::rename(&next, program.path("connections/a.yaml")).unwrap();
            running.hang_up();
            running.wait_for_line("not reloaded");
        }
        let (code, out, heard) = running.stop_and_collect();
        assert_eq!(code, Some(0));
        silent(&(out + &heard.join("\n")), canary, format);
    }
}

#[test]
fn a_problem_without_a_quote_still_has_its_place() {
    // F-255
    let canary = CANARIES[0];
    let token = format!("{{token: {{file: {canary}}}}}");
    let world = World::new().file(
        "a.yaml",
        connection(&[("no_auth", "-"), ("bearer_token", &token)]),
    );
    let found = world.errors();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].line, found[0].column), (Some(5), Some(34)));
    assert_eq!(
        found[0].field,
        "connection_details.http.bearer_token.token.file"
    );
    let directory = world.root().display().to_string();
    assert!(
        found[0].message.contains(&directory),
        "{}",
        found[0].message
    );
}

#[test]
fn names_of_variables_and_short_values_are_quoted() {
    // F-255
    let token = "{token: {env: WAREHOUSE_ACCESS_TOKEN}}";
    let world = World::new().file(
        "a.yaml",
        connection(&[
            ("no_auth", "-"),
            ("bearer_token", token),
            ("http2", "always"),
        ]),
    );
    let shown = world.check(&[]).out;
    for quoted in ["`WAREHOUSE_ACCESS_TOKEN`", "`always`"] {
        assert!(shown.contains(quoted), "{shown}");
    }
}
