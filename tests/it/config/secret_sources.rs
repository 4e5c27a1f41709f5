//! Definitions can read only secrets that are meant for connections.

use std::fs;

use egressd::cli::Exit;
use serde_json::json;

use super::settings::{loaded, refuses};
use super::world::{World, connection};
use crate::support::{Agent, MountedVolume, Program, Upstream, connection as definition};

const TOKEN_FILE: &str = "connection_details.http.bearer_token.token.file";
const TOKEN_ENV: &str = "connection_details.http.bearer_token.token.env";

/// Returns a connection whose token comes from this source.
fn bearer(reference: &str) -> String {
    let token = format!("{{token: {{{reference}}}}}");
    connection(&[("no_auth", "-"), ("bearer_token", &token)])
}

fn world(settings: &str, reference: &str) -> World {
    World::new()
        .file("conf/token", "allowed")
        .file("conf/egressd.yaml", settings)
        .file("egressd.yaml", settings)
        .file("connections/a.yaml", bearer(reference))
}

#[test]
fn a_file_elsewhere_is_a_problem_that_names_the_setting() {
    // F-256
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("token");
    fs::write(&secret, "of-somebody-else").unwrap();
    let reference = format!("file: {}", secret.display());
    let problem = refuses(&world("", &reference), "secret_not_allowed", TOKEN_FILE);
    assert!(
        problem.remedy.contains("`secrets.allow`"),
        "{}",
        problem.remedy
    );
    for spelling in [
        "secrets: {allow: [conf, §]}",
        "secrets: {allow: ['§/../§']}",
    ] {
        let name = elsewhere.path().file_name().unwrap().to_str().unwrap();
        let full = elsewhere.path().to_str().unwrap();
        let settings = spelling.replace("'§/../§'", &format!("{full}/../{name}"));
        loaded(&world(&settings.replace('§', full), &reference));
    }
    let listed =
        world("", &reference).variable("EGRESSD_SECRETS_ALLOW", elsewhere.path().to_str().unwrap());
    loaded(&listed);
    // The same rule applies without a settings file.
    let alone = World::new().file("a.yaml", bearer(&reference));
    assert_eq!(alone.errors()[0].code, "secret_not_allowed");
    let path = elsewhere.path().to_str().unwrap();
    let alone = alone.variable("EGRESSD_SECRETS_ALLOW", path);
    assert!(alone.errors().is_empty());
}

#[test]
fn the_allowed_directories_are_named() {
    let remedy = |world: &World| refuses(world, "secret_not_allowed", TOKEN_FILE).remedy;
    let default = world("", "file: /etc/hostname");
    let root = fs::canonicalize(default.root()).unwrap();
    let root = root.display();
    let start = format!("move it below `{root}`, `/run/secrets`");
    assert!(remedy(&default).starts_with(&start), "{}", remedy(&default));
    let listed = world("secrets: {allow: [conf]}", "file: /etc/hostname");
    let conf = fs::canonicalize(listed.path("conf")).unwrap();
    let start = format!("move it below `{}`, or list its directory", conf.display());
    assert!(remedy(&listed).starts_with(&start), "{}", remedy(&listed));
    let none = world("secrets: {allow: []}", "file: /etc/hostname");
    let start = "list its directory";
    assert!(remedy(&none).starts_with(start), "{}", remedy(&none));
    let many: Vec<String> = (0..20).map(|number| format!("d{number}")).collect();
    let many = format!("secrets: {{allow: [{}]}}", many.join(", "));
    let remedy = remedy(&world(&many, "file: /etc/hostname"));
    assert!(
        remedy.contains("/d5` or 14 more directories") && !remedy.contains("/d6"),
        "{remedy}"
    );
}

#[test]
fn neither_dots_nor_links_lead_out_of_an_allowed_directory() {
    // F-256
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("token"), "of-somebody-else").unwrap();
    let up = elsewhere
        .path()
        .strip_prefix("/")
        .unwrap()
        .display()
        .to_string();
    let dots = format!("file: {}{up}/token", "../".repeat(40));
    refuses(&world("", &dots), "secret_not_allowed", TOKEN_FILE);
    let linked = world("", "file: link");
    std::os::unix::fs::symlink(
        elsewhere.path().join("token"),
        linked.path("connections/link"),
    )
    .unwrap();
    refuses(&linked, "secret_not_allowed", TOKEN_FILE);
    let linked = world("", "file: dir/token");
    std::os::unix::fs::symlink(elsewhere.path(), linked.path("connections/dir")).unwrap();
    refuses(&linked, "secret_not_allowed", TOKEN_FILE);
}

#[test]
fn links_within_an_allowed_directory_are_followed() {
    // F-256
    let world = world("secrets: {allow: [volume]}", "file: ../volume/token");
    MountedVolume::new(world.path("volume"), &[("token", "mounted".to_owned())]);
    loaded(&world);
}

#[test]
fn secrets_of_management_are_not_for_connections() {
    // F-256
    let file = "management: {basic_auth: {username: ops, password: {file: conf/token}}}\n";
    for allow in ["", "secrets: {allow: [/]}\n"] {
        let settings = format!("{file}{allow}");
        let found = refuses(
            &world(&settings, "file: ../conf/token"),
            "secret_not_allowed",
            TOKEN_FILE,
        );
        assert!(!found.remedy.contains("list its"), "{}", found.remedy);
    }
    let env = "management: {basic_auth: {username: ops, password: {env: OPS}}}\n";
    for allow in [
        "",
        "secrets: {allow_env: [OPS]}\n",
        "secrets: {allowEnv: ['*']}\n",
    ] {
        let world = world(&format!("{env}{allow}"), "env: OPS").variable("OPS", "of-management");
        refuses(&world, "secret_not_allowed", TOKEN_ENV);
    }
    // The management password may come from anywhere.
    let alone = "management: {basic_auth: {username: ops, password: {env: OPS}}}\nsecrets: {allow: [], allow_env: []}\n";
    let world = World::new()
        .file("egressd.yaml", alone)
        .file("connections/a.yaml", connection(&[]))
        .variable("OPS", "of-management");
    loaded(&world);
}

#[test]
fn the_settings_and_other_definitions_are_not_secrets() {
    // F-256
    for file in ["../egressd.yaml", "a.yaml", "b.json"] {
        let world = world("{}", &format!("file: {file}")).file("connections/b.json", "{}");
        let found = world.load().err().unwrap_or_default();
        let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
        assert!(codes.contains(&"secret_not_allowed"), "{file}: {found:?}");
    }
}

#[test]
fn a_directory_that_allows_everything_or_nothing_is_a_warning() {
    // F-256
    let warned = |settings: &str, skip: bool| {
        let world = world(settings, "env: TOKEN").variable("TOKEN", "planted-token-0001");
        let config = world.path("egressd.yaml");
        let mut arguments = vec!["check", "--format", "json", "--config"];
        arguments.push(config.to_str().unwrap());
        if skip {
            arguments.extend(["--secrets", "skip"]);
        }
        let ran = world.run(&arguments);
        assert_eq!(ran.exit, Exit::Success, "{}", ran.out);
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let problems = report["problems"].as_array().unwrap().iter();
        let shown = |problem: &serde_json::Value| {
            assert!(problem["remedy"].is_string(), "{problem}");
            format!("{} {}", problem["code"], problem["field"]).replace('"', "")
        };
        problems.map(shown).collect::<Vec<String>>()
    };
    for (allow, code) in [
        ("[conf]", None),
        ("[conf, /]", Some("allows_every_file secrets.allow[1]")),
        ("[/tmp/..]", Some("allows_every_file secrets.allow[0]")),
        ("[cnf, conf]", Some("missing_directory secrets.allow[0]")),
    ] {
        let settings = format!("secrets: {{allow: {allow}}}\n");
        let expected: Vec<String> = code.map(str::to_owned).into_iter().collect();
        assert_eq!(warned(&settings, false), expected, "{allow}");
    }
    // On a machine without the secrets, their directories are missing too.
    assert!(warned("secrets: {allow: [cnf]}\n", true).is_empty());
}

#[test]
fn variables_of_egressd_are_not_for_connections_unless_listed() {
    // F-256
    let own = |settings: &str, name: &str| {
        world(settings, &format!("env: {name}")).variable(name, "value")
    };
    let password = "EGRESSD_MANAGEMENT_BASIC_AUTH_PASSWORD";
    let with_login = own("", password).variable("EGRESSD_MANAGEMENT_BASIC_AUTH_USERNAME", "ops");
    refuses(&with_login, "secret_not_allowed", TOKEN_ENV);
    let problem = refuses(&own("", "EGRESSD_CRM"), "secret_not_allowed", TOKEN_ENV);
    assert!(
        problem.remedy.contains("`secrets.allow_env`"),
        "{}",
        problem.remedy
    );
    loaded(&own("secrets: {allow_env: [EGRESSD_CRM]}", "EGRESSD_CRM"));
    loaded(&own("", "ANY"));
    loaded(&own("secrets: {allow_env: [CRM_*, ANY]}", "ANY"));
    refuses(
        &own("secrets: {allow_env: [CRM_*]}", "ANY"),
        "secret_not_allowed",
        TOKEN_ENV,
    );
    let listed = own("", "ANY").variable("EGRESSD_SECRETS_ALLOW_ENV", "CRM_*, ANY");
    loaded(&listed);
    refuses(
        &own("secrets: {allow_env: ['A-B']}", "ANY"),
        "invalid_variable",
        "secrets.allow_env[0]",
    );
}

#[test]
fn a_changed_definition_is_limited_too_and_allowed_directories_stay_readable() {
    // F-256
    let up = Upstream::body("ok");
    let [allowed, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    for (directory, token) in [
        (&allowed, "planted-token-00001"),
        (&other, "planted-token-00002"),
    ] {
        fs::write(directory.path().join("token"), token).unwrap();
    }
    let crm = |token: serde_json::Value| {
        let crm = definition("crm").allow("GET /a").upstream(&up);
        crm.auth("bearer_token", json!({"token": token}))
    };
    let plain = definition("crm").allow("GET /a").upstream(&up);
    let secrets = json!({"secrets": {"allow": [allowed.path()]}});
    let program = Program::new(&[plain], &secrets);
    let mut running = program.start(&["--log-format", "json"]);
    let (agents, _) = running.addresses();
    program.define(&crm(json!({"file": other.path().join("token")})));
    running.wait_for_line("not reloaded");
    let heard = running.heard.concat();
    assert!(
        heard.contains("secret_not_allowed") && heard.contains("secrets.allow"),
        "{heard}"
    );
    program.define(&crm(json!({"file": allowed.path().join("token")})));
    running.wait_for_line("reloaded: generation");
    Agent::connect_to(agents).get("/crm/a").expect_status(200);
    let seen = up.requests();
    let sent = seen.last().unwrap().fields.all("authorization").concat();
    assert_eq!(sent, "Bearer planted-token-00001");
    let (code, _, _) = running.stop_and_collect();
    assert_eq!(code, Some(0));
}

#[test]
fn definitions_are_checked_without_their_secrets() {
    // F-260
    let settings = "management: {basic_auth: {username: {env: OPS}, password: {file: /run/secrets/not-there}}}\n";
    let basic = "{username: {env: NOT_SET}, password: {file: /run/secrets/not-there-either}}";
    let world = World::new()
        .file("egressd.yaml", settings)
        .file(
            "connections/a.yaml",
            connection(&[("no_auth", "-"), ("basic_auth", basic)]),
        )
        .file("connections/b.yaml", bearer("file: unreadable"))
        .file("connections/unreadable", "line\nbreaks\n");
    let config = world.path("egressd.yaml");
    let config = ["--config", config.to_str().unwrap()];
    let ran = world.run(&[&["check"][..], &config].concat());
    assert_eq!(ran.exit, Exit::Failure);
    let skip = |command: &[&str]| world.run(&[command, &["--secrets", "skip"], &config].concat());
    let ran = skip(&["check"]);
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Success, "2 connections, no warning, no problem\n")
    );
    let ran = skip(&["explain", "GET", "/a/a"]);
    assert_eq!(ran.exit, Exit::Success, "{}", ran.err);
    assert!(ran.out.contains("authorization"), "{}", ran.out);
    let paths = world.path("connections");
    let ran = world.run(&["check", "--secrets", "skip", paths.to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Success, "{}", ran.out);
    let schema = world.run(&["schema", "--secrets", "skip"]);
    assert_eq!(
        (schema.exit, schema.out),
        (Exit::Success, world.run(&["schema"]).out)
    );
}

#[test]
fn everything_but_the_values_is_checked_without_secrets() {
    // F-260
    for (reference, code) in [
        ("env: A, file: b", "secret_reference"),
        ("env: 'A B'", "secret_reference"),
        ("env: [A]", "wrong_type"),
        ("file: /etc/hostname", "secret_not_allowed"),
        ("env: EGRESSD_LOG_LEVEL", "secret_not_allowed"),
    ] {
        let world = World::new().file("a.yaml", bearer(reference));
        let ran = world.check(&["--secrets", "skip", "--format", "json"]);
        assert_eq!(ran.exit, Exit::Failure, "{reference}");
        assert!(ran.out.contains(code), "{reference}: {}", ran.out);
    }
    let literal = connection(&[("no_auth", "-"), ("bearer_token", "{token: \"a\\0b\"}")]);
    let ran = World::new()
        .file("a.yaml", literal)
        .check(&["--secrets", "skip"]);
    assert_eq!(ran.exit, Exit::Failure, "{}", ran.out);
}

#[test]
fn serve_takes_definitions_as_check_does() {
    // F-260
    let up = Upstream::body("ok");
    let crm = definition("crm").allow("GET /a").upstream(&up);
    let program = Program::new(&[crm.clone().rename("listed")], &json!({}));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("more")).unwrap();
    let write = |name: &str, id: &str| {
        let text = crm.clone().rename(id).definition().to_string();
        fs::write(elsewhere.path().join(name), text).unwrap();
    };
    write("one.json", "one");
    write("more/two.json", "two");
    let [one, more] = ["one.json", "more"].map(|name| elsewhere.path().join(name));
    let mut running = program.start(&[one.to_str().unwrap(), more.to_str().unwrap()]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.get("/one/a").expect_status(200);
    agent.get("/two/a").expect_status(200);
    agent.get("/listed/a").refused(404, "connection_not_found");
    // Secrets in the listed directory are watched, and readable after the hardening.
    write("more/three.json", "three");
    running.wait_for_line("added three");
    agent.get("/three/a").expect_status(200);
    let (code, _, _) = running.stop_and_collect();
    assert_eq!(code, Some(0));
}
