//! The arguments of `explain`: mistakes in them, headers as curl reads them, and notes on standard
//! error.

use egressd::cli::Exit;
use serde_json::json;

use super::super::world::{Ran, World};
use super::{DEFINITION, explain_json};

/// Runs `explain` on `/crm/users/1` with these further arguments.
fn explain_crm(more: &[&str]) -> Ran {
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", DEFINITION)
        .variable("TOKEN", "token-canary-0123456789");
    let config = world.path("egressd.yaml");
    let fixed = ["explain", "--config", config.to_str().unwrap(), "GET"];
    world.run(&[&fixed[..], more].concat())
}

#[test]
fn an_invalid_header_is_reported_by_its_number_and_mistake() {
    for (wrong, message) in [
        ("canary", "has no colon"),
        ("@canary", "names a file"),
        (": canary", "has no name"),
        ("canary name: x", "has a blank in its name"),
        ("canary : x", "has a blank in its name"),
        ("canary(: x", "has a character in its name"),
        ("a: canary\nb", "has a line break"),
    ] {
        let ran = explain_crm(&["/crm/users/1", "-H", "A: b", "-H", wrong]);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{wrong}");
        let expected = format!("egressd explain: header 2 (`-H`) {message}");
        assert!(ran.err.starts_with(&expected), "{wrong}: {}", ran.err);
        assert!(!ran.err.contains("canary"), "{}", ran.err);
    }
}

#[test]
fn headers_are_read_as_curl_reads_them() {
    // curl sends `X-Empty:` with an empty value for the first, and nothing for the others.
    let headers = ["-H", "X-Empty;", "-H", "X-None:", "-H", "Accept: "];
    let ran = explain_crm(&[&["/crm/users/1", "-H", "X-Utf8: ä"][..], &headers].concat());
    assert_eq!(ran.exit, Exit::Success, "{}{}", ran.out, ran.err);
    let names = ran.out.to_lowercase();
    assert!(
        names.contains("x-empty") && names.contains("x-utf8"),
        "{names}"
    );
    assert!(!names.contains("x-none"), "{names}");
    assert!(!names.contains("passed      accept"), "{names}");
    let ran = explain_crm(&["/crm/users/1", "-H", "Host:"]);
    assert_eq!(ran.exit, Exit::Failure, "{}{}", ran.out, ran.err);
}

#[test]
fn a_fragment_is_reported_as_ignored() {
    let ran = explain_crm(&["/crm/users/1?q#part"]);
    assert_eq!(ran.exit, Exit::Success, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("users/1?q\n"), "{}", ran.out);
    assert!(
        ran.err.contains("the fragment (`#…`) is ignored"),
        "{}",
        ran.err
    );
}

#[test]
fn a_soft_deleted_connection_is_reported_to_the_operator_alone() {
    let deleted = format!("{DEFINITION}delete_time: 2026-01-02T03:04:05Z\n");
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", deleted)
        .variable("TOKEN", "token-canary-0123456789");
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    let ran = world.run(&["explain", "--config", config, "GET", "/crm/users/1"]);
    assert_eq!(ran.exit, Exit::Failure, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("404 connection_not_found"), "{}", ran.out);
    assert!(!ran.out.contains("delete"), "{}", ran.out);
    assert!(
        ran.err.contains("connection `crm` is soft-deleted"),
        "{}",
        ran.err
    );
}

#[test]
fn warnings_of_the_configuration_are_shown_on_stderr() {
    let inline = DEFINITION.replace("{env: TOKEN}", "inline-canary-0123456789");
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", inline);
    let (exit, explained) = explain_json(&world, "/crm/users/1", &[]);
    assert_eq!(
        (exit, &explained["result"]),
        (Exit::Success, &json!("forwarded"))
    );
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    let ran = world.run(&["explain", "--config", config, "GET", "/crm/users/1"]);
    assert_eq!(ran.exit, Exit::Success, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("secret_inline"), "{}", ran.err);
    assert!(!ran.err.contains("canary"), "{}", ran.err);
}

#[test]
fn warnings_about_other_parts_are_counted() {
    let pattern = DEFINITION.replace("POST /users/", "GET /items/*");
    let other = pattern.replace("/crm", "/erp");
    let disabled = "tool_configurations: [{tool: TOOL_HTTP_REQUEST, enabled: false}]\n";
    let world = World::new()
        .file(
            "egressd.yaml",
            "limits: {max_timeout_seconds: 400}\nconnections: [crm.yaml, erp.yaml]",
        )
        .file("crm.yaml", pattern)
        .file("erp.yaml", other + disabled)
        .variable("TOKEN", "token-canary-0123456789");
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    for (target, exit, file, others) in [
        (
            "/crm/users/1",
            Exit::Success,
            Some("crm.yaml"),
            "2 warnings",
        ),
        (
            "/erp/users/1",
            Exit::Failure,
            Some("erp.yaml"),
            "2 warnings",
        ),
        ("/none/users/1", Exit::Failure, None, "3 warnings"),
        ("/", Exit::Success, None, "3 warnings"),
    ] {
        let ran = world.run(&["explain", "--config", config, "GET", target]);
        assert_eq!(ran.exit, exit, "{}{}", ran.out, ran.err);
        let shown = ran.err.matches("literal_wildcard").count();
        assert_eq!(shown, usize::from(file.is_some()), "{}", ran.err);
        assert!(ran.err.contains(file.unwrap_or_default()), "{}", ran.err);
        let counted = format!("egressd explain: {others} about other parts");
        assert!(ran.err.contains(&counted), "{}", ran.err);
        assert!(!ran.err.contains("raised_ceiling"), "{}", ran.err);
    }
}

#[test]
fn a_target_that_no_agent_sends_is_reported_with_the_form_to_write() {
    let own = "write `http://` instead of `https://`";
    let foreign = "that is not a URL of egressd; write what the agent sends, such as `/<connection id>/<path>`";
    for (proxy, target, says) in [
        ("{}", "crm/users/1", "begin with `/`"),
        ("{}", "crm", "begin with `/`"),
        ("{}", "https://localhost:8080/crm/users/1", own),
        ("{}", "https://localhost:18443/users/1", foreign),
        ("{}", "https://[::1]/users/1", foreign),
        ("{listen: ['127.0.0.1:0']}", "https://localhost:9/crm/", own),
        ("{listen: ['unix:/a']}", "https://localhost:8080/", foreign),
        // The name may be published with another port.
        ("{allowed_hosts: [egressd]}", "https://egressd/crm/", own),
    ] {
        let settings = format!("connections: [crm.yaml]\nproxy: {proxy}\n");
        let world = World::new()
            .file("egressd.yaml", settings)
            .file("crm.yaml", DEFINITION)
            .variable("TOKEN", "token-canary-0123456789");
        let (exit, explained) = explain_json(&world, target, &[]);
        assert_eq!(exit, Exit::Usage, "{target}: {explained}");
        let message = explained["message"].as_str().unwrap();
        assert!(message.contains(says), "{target}: {message}");
    }
}

#[test]
fn usage_errors_are_json_where_json_is_requested() {
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", DEFINITION)
        .variable("TOKEN", "token-canary-0123456789");
    let (exit, explained) = explain_json(&world, "crm/users/1", &[]);
    assert_eq!(
        (exit, &explained["result"]),
        (Exit::Usage, &json!("invalid"))
    );
    assert!(
        explained["message"]
            .as_str()
            .unwrap()
            .contains("the target")
    );
    let broken = World::new().file("egressd.yaml", "conections: []");
    let (exit, document) = explain_json(&broken, "/crm/", &[]);
    assert_eq!(
        (exit, &document["problems"][0]["code"]),
        (Exit::Usage, &json!("unknown_field"))
    );
}
