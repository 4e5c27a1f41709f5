//! Problems whose message or remedy leads to the right fix at the first attempt.

use std::path::Path;
use std::process::{Command, Output};

use egressd::config::{Environment, Problem, SettingsOverrides, load_texts};

use super::settings::{refuses, world};
use super::world::{World, connection, with_top};
use crate::support::limited::output;

/// The only error of a definition.
#[track_caller]
fn error(content: &str) -> Problem {
    let found = World::new().file("a.yaml", content).errors();
    let [problem] = found.as_slice() else {
        panic!("one problem wanted for {content:?}: {found:#?}")
    };
    problem.clone()
}

#[test]
fn a_field_at_the_wrong_depth_is_moved() {
    let problem = error(&with_top("timeout_seconds: 5"));
    assert_eq!(problem.code, "unknown_field");
    assert_eq!(
        problem.message,
        "`timeout_seconds` belongs under `connection_details.http`"
    );
    let remedy = "move it to `connection_details.http.timeout_seconds`";
    assert_eq!(problem.remedy, remedy);
    let problem = error(&with_top("timeoutSeconds: 5"));
    let remedy = "move it to `connectionDetails.http.timeoutSeconds`";
    assert_eq!(problem.remedy, remedy);
    let problem = refuses(&world("listen: []"), "unknown_field", "listen");
    assert_eq!(
        problem.message,
        "`listen` belongs under `proxy` or `management`"
    );
    // The nearest level counts: `static_headers` has `headers` too.
    let problem = error(&with_top("headers: {}"));
    let remedy = "move it to `connection_details.http.headers`";
    assert_eq!(problem.remedy, remedy);
}

#[test]
fn a_misspelt_field_is_named_with_its_correction() {
    let problem = error(&with_top("descripton: x"));
    assert_eq!(
        (problem.message.as_str(), problem.remedy.as_str()),
        (
            "unknown field `descripton`; did you mean `description`?",
            "write `description`"
        )
    );
}

#[test]
fn a_kind_that_is_not_a_mapping_is_shown_as_one() {
    for (kind, example) in [
        ("bearer_token", "{token: {env: NAME}}"),
        ("basic_auth", "{username: …, password: {env: NAME}}"),
        ("static_headers", "{headers: {X-API-Key: {env: NAME}}}"),
        (
            "oauth_client_credentials",
            "{token_url: https://…, client_id: …, client_secret: {env: NAME}}",
        ),
        ("no_auth", "{}"),
    ] {
        let value = |value| error(&connection(&[("no_auth", "-"), (kind, value)]));
        let problem = value("planted");
        assert_eq!(problem.code, "wrong_type", "{problem:?}");
        assert_eq!(problem.remedy, format!("write `{example}`"));
        let problem = value("");
        assert_eq!(problem.code, "no_value", "{problem:?}");
        let remedy = format!("write `{example}`, or remove the field");
        assert_eq!(problem.remedy, remedy);
    }
}

#[test]
fn a_reference_to_a_variable_is_written_without_a_dollar_sign() {
    for reference in ["$API_TOKEN", "'${API_TOKEN}'"] {
        let token = format!("{{token: {{env: {reference}}}}}");
        let problem = error(&connection(&[("no_auth", "-"), ("bearer_token", &token)]));
        assert_eq!(problem.code, "secret_reference");
        assert!(problem.remedy.contains("without `$`"), "{problem:?}");
        assert!(!format!("{problem:?}").contains("API_TOKEN"), "{problem:?}");
    }
}

#[test]
fn a_url_among_the_routes_is_called_one() {
    let routes = "[GET https://localhost/items]";
    let problem = error(&connection(&[("allowed_routes", routes)]));
    assert!(
        problem.message.ends_with("the pattern contains a URL"),
        "{problem:?}"
    );
    assert!(problem.remedy.contains("`GET /items`"), "{problem:?}");
    let problem = error(&connection(&[("allowed_routes", "['GET items/{id}']")]));
    assert!(
        problem.remedy.starts_with("write `GET /items/{id}`"),
        "{problem:?}"
    );
    assert!(
        problem.message.contains("cannot name a host"),
        "{problem:?}"
    );
}

#[test]
fn an_unknown_value_is_named_with_its_correction() {
    let problem = error(&connection(&[("http2", "nevr")]));
    assert_eq!(
        problem.message,
        "unknown value `nevr`; did you mean `never`?"
    );
}

#[test]
fn a_value_out_of_range_is_named_with_the_range() {
    for (name, value, parts) in [
        ("timeout_seconds", "301", ["from 1 to 300", "`301`"]),
        (
            "base_url",
            "https://api.example.com:99999",
            ["from 1 to 65535", "`99999`"],
        ),
    ] {
        let message = error(&connection(&[(name, value)])).message;
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn addresses_of_listeners_are_reported_with_the_reason() {
    let message = |text: &str, code: &str, field: &str| refuses(&world(text), code, field).message;
    let twice = "proxy: {listen: [127.0.0.1:1, 127.0.0.1:1]}";
    let message_of_twice = message(twice, "duplicate_address", "proxy.listen[1]");
    let first = "`127.0.0.1:1` is listed twice, first as `proxy.listen[0]`";
    assert_eq!(message_of_twice, first);
    let both = "proxy: {listen: [127.0.0.1:1, 0.0.0.0:1], allow_non_loopback: true}";
    let both = message(both, "duplicate_address", "proxy.listen[1]");
    assert!(both.contains("conflicts with `127.0.0.1:1`"), "{both}");
    let long = format!("proxy: {{listen: ['unix:/{}']}}", "a/".repeat(60));
    let long = message(&long, "invalid_address", "proxy.listen[0]");
    assert!(long.contains("1 to 107 bytes, not 121"), "{long}");
}

#[test]
fn a_connection_file_is_not_read_as_settings() {
    let several = "connections: [{id: a, connection_details: {}}]";
    for text in [&*connection(&[]), "base_url: https://h", several] {
        let mut found = world(text).load().err().unwrap_or_default();
        found.retain(Problem::is_error);
        let [problem] = found.as_slice() else {
            panic!("one problem wanted for {text:?}: {found:#?}")
        };
        assert!(
            problem.message.contains("is a connection file") && problem.line == Some(1),
            "{problem:?}"
        );
        assert!(problem.remedy.contains("without `--config`"), "{problem:?}");
    }
}

#[test]
fn a_settings_file_is_not_read_as_a_connection() {
    for text in ["proxy: {workers: 2}", "log: {}", "connections: [a.yaml]"] {
        let problem = error(text);
        assert!(
            problem.message.contains("is a settings file"),
            "{problem:?}"
        );
        assert!(problem.remedy.contains("`--config`"), "{problem:?}");
    }
}

#[test]
fn a_missing_file_is_called_missing() {
    let mut absent = world("connections: [nowhere]");
    let problem = refuses(&absent, "file_unreadable", "");
    assert!(problem.message.contains("no such file"), "{problem:?}");
    absent.overrides.connections = vec![absent.path("nowhere.yaml")];
    let problem = refuses(&absent, "file_unreadable", "");
    assert!(problem.message.contains("no such file"), "{problem:?}");
    let token = "{token: {file: nowhere}}";
    let problem = error(&connection(&[("no_auth", "-"), ("bearer_token", token)]));
    assert!(problem.message.contains("no such file"), "{problem:?}");
}

#[test]
fn only_a_similar_variable_is_suggested() {
    let variable = |name: &str| refuses(&world("").variable(name, "1"), "unknown_field", name);
    let remedy = variable("EGRESSD_FOO").remedy;
    assert!(!remedy.contains("EGRESSD_"), "{remedy}");
    let remedy = variable("EGRESSD_LOG_LEVLE").remedy;
    assert!(remedy.contains("`EGRESSD_LOG_LEVEL`"), "{remedy}");
    // The name of the section is missing. The name is shown although it is long.
    let remedy = variable("EGRESSD_LISTEN").remedy;
    let both = "set `EGRESSD_PROXY_LISTEN` or `EGRESSD_MANAGEMENT_LISTEN`, or unset it";
    assert_eq!(remedy, both);
    let remedy = variable("EGRESSD_MAX_REQUEST_BODY_BYTES").remedy;
    assert!(
        remedy.contains("`EGRESSD_PROXY_MAX_REQUEST_BODY_BYTES`"),
        "{remedy}"
    );
}

/// Runs the program in a directory, with no variables.
fn run_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
    command.current_dir(directory).args(arguments).env_clear();
    output(&mut command)
}

#[test]
fn a_default_directory_that_is_missing_is_called_the_default() {
    let default = "it is read by default, because no definitions were named";
    let empty = World::new();
    for command in ["check", "serve"] {
        let ran = run_in(empty.root(), &[command]);
        let shown = [ran.stdout, ran.stderr].concat();
        let shown = String::from_utf8(shown).unwrap();
        for part in [default, "config/connections", "`--config FILE`"] {
            assert!(shown.contains(part), "{command}: {shown}");
        }
    }
    let problem = refuses(
        &World::new().file("egressd.yaml", ""),
        "file_unreadable",
        "",
    );
    assert!(problem.message.contains(default), "{problem:?}");
    assert!(
        problem.remedy.contains("`connections` of the settings"),
        "{problem:?}"
    );
    let mut named = world("connections: [nowhere]");
    let problem = refuses(&named, "file_unreadable", "");
    assert!(!problem.message.contains(default), "{problem:?}");
    named.overrides.connections = vec![named.path("nowhere")];
    let problem = refuses(&named, "file_unreadable", "");
    assert!(!problem.message.contains(default), "{problem:?}");
    let variable = World::new().file("egressd.yaml", "");
    let variable = variable.variable("EGRESSD_CONNECTIONS", "connections");
    let problem = refuses(&variable, "file_unreadable", "");
    assert!(!problem.message.contains(default), "{problem:?}");
}

#[test]
fn an_unknown_connection_names_the_settings_that_were_found() {
    let world = World::new()
        .file("config/egressd.yaml", "")
        .file("config/connections/example.yaml", connection(&[]))
        .file("other/crm.yaml", connection(&[]));
    let found = "the settings in `config/egressd.yaml` define `example`";
    let probe = ["probe", "zebra"];
    let explain = ["explain", "GET", "/zebra/a"];
    for command in [&probe[..], &explain] {
        let shown = String::from_utf8(run_in(world.root(), command).stderr).unwrap();
        assert!(shown.contains(found), "{command:?}: {shown}");
        let named = [command, &["other"]].concat();
        let shown = String::from_utf8(run_in(world.root(), &named).stderr).unwrap();
        assert!(!shown.contains("the settings in"), "{named:?}: {shown}");
    }
}

#[test]
fn a_program_without_settings_is_not_advised_to_set_one() {
    let listen = vec!["0.0.0.0:0".to_owned()];
    let overrides = SettingsOverrides {
        listen: listen.clone(),
        management_listen: listen,
        ..SettingsOverrides::default()
    };
    let found = load_texts(Vec::new(), &overrides, &Environment::default());
    let found = found.err().unwrap_or_default();
    assert_eq!(found.len(), 2, "{found:?}");
    for problem in found {
        let remedy = "listen on 127.0.0.1, [::1] or unix:/path";
        assert_eq!((problem.code, &*problem.remedy), ("non_loopback", remedy));
    }
    let text = "proxy: {listen: [0.0.0.0:0]}";
    let remedy = refuses(&world(text), "non_loopback", "proxy.listen[0]").remedy;
    assert!(remedy.contains("allow_non_loopback: true"), "{remedy}");
}

#[test]
fn a_line_end_in_a_secret_is_traced_to_its_cause() {
    let inline = "{token: \"planted-token\\n\"}";
    let problem = error(&connection(&[("no_auth", "-"), ("bearer_token", inline)]));
    assert!(problem.remedy.contains("`|-`"), "{problem:?}");
    let bearer = connection(&[("no_auth", "-"), ("bearer_token", "{token: {env: TOKEN}}")]);
    let world = World::new()
        .file("a.yaml", bearer)
        .variable("TOKEN", "planted-token\n");
    let found = world.warnings();
    assert_eq!(found[0].code, "secret_line_end");
    assert!(found[0].remedy.contains("not `echo`"), "{found:?}");
}
