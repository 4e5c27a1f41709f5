//! Problems do not show a planted secret, whatever mistake is next to it.

use super::world::{World, connection};

const CANARY: &str = "cAnArY0123456789abcdef";

/// The `http` fields that hold secrets. `§` stands for the secret.
const FIELDS: &[(&str, &str)] = &[
    ("bearer_token", "{token: §}"),
    ("bearerToken", "{token: §}"),
    ("basic_auth", "{username: §, password: §}"),
    ("static_headers", "{headers: {X-Key: §, Authorization: §}}"),
    (
        "oauth_client_credentials",
        "{token_url: https://h/t, client_id: §, client_secret: §, extra_params: {a: §}}",
    ),
    ("webhook_signing_secret", "§"),
];

/// Wrong values. `§` stands for the secret.
const MISTAKES: &[&str] = &[
    "§",
    "' §'",
    "\"§\\n\"",
    "\"§\\u0000\"",
    "[§]",
    "{§: 1}",
    "{§}",
    "{env: §-x}",
    "{env: {a: §}}",
    "{env: [§]}",
    "{file: [§]}",
    "{value: §}",
    "{env: A, value: §}",
    "{env: A, env: A, value: §}",
    "{a: §, a: §}",
    "*§",
    "&§ x",
    "!§ x",
    "\"§",
    "'§",
    "§: §: §",
    "§ #",
    "|\n      §\n     §",
    "%§",
    "`§`",
    "§]",
    "{token: §}",
    "{headers: §}",
    "{headers: {§}}",
    "{headers: {'X-Key: §'}}",
    "{headers: {'X-Key: §': 5}}",
    "{headers: {Host: §}}",
    "{headers: {X-A: §, x-a: §}}",
    "{username: \"§:\", password: [§]}",
    "{usernam: §, pasword: §}",
    "{token_url: \"https://a:§@h\", client_id: [§], clientsecret: §}",
    "{token_url: \"https://h?key=§\", client_id: [§], client_secret: {§}}",
    "{token_url: https://h/, extra_params: {scope: §, b: [§], c: 5}}",
];

fn silent(content: &str) {
    let world = World::new().file("a.yaml", content);
    for more in [&[][..], &["--format", "json"]] {
        let ran = world.check(more);
        let shown = ran.out + &ran.err;
        assert!(!shown.contains(CANARY), "{content}\n{shown}");
        assert!(!shown.contains("cAnA"), "a part of it: {content}\n{shown}");
    }
}

#[test]
fn no_problem_shows_a_secret() {
    for (field, shape) in FIELDS {
        // The secret alone, and next to each mistake.
        for mistake in MISTAKES {
            let inner = mistake.replace('§', CANARY);
            silent(&connection(&[
                ("no_auth", "-"),
                (field, &shape.replace('§', &inner)),
            ]));
            silent(&connection(&[("no_auth", "-"), (field, &inner)]));
            silent(&connection(&[
                (field, &shape.replace('§', CANARY)),
                ("timeout_seconds", "x"),
            ]));
        }
        let one_line = format!(
            "{{connection_details: {{http: {{base_url: http://h, {field}: {}, allowed_routs: 5, timeout_seconds: 0}}}}}}",
            shape.replace('§', CANARY)
        );
        silent(&one_line);
        silent(&format!("{one_line} x"));
    }
}

#[test]
fn problems_about_misplaced_or_misspelt_secrets_do_not_show_them() {
    for line in [
        "base_url: https://user:§@h",
        "base_url: https://h/?key=§",
        "bearer_tokn: {token: §}",
        "bearer: §",
        "token: §",
        "headers: {Authorization: Bearer §}",
        "headers: {X-Key: \"§\\n\"}",
        "headers: {X-Key: [§]}",
        "headers: {'X-Key: §'}",
        "auth: {kind: bearer, token: §}",
        "bearer_token: {token: §}\n    bearerToken: {token: §}",
        "bearer_token: {token: §, token: §}",
    ] {
        let (name, value) = line.split_once(": ").unwrap();
        silent(&connection(&[(name, &value.replace('§', CANARY))]));
    }
}

#[test]
fn problems_about_references_do_not_show_their_values() {
    for content in [
        format!("{CANARY}\n\n"),
        format!(" {CANARY}"),
        format!("{CANARY}\0"),
        CANARY.repeat(4000),
    ] {
        let text = |reference: &str| {
            connection(&[
                ("no_auth", "-"),
                ("bearer_token", &format!("{{token: {{{reference}}}}}")),
            ])
        };
        let world = World::new()
            .file("a.yaml", text("file: token"))
            .file("token", &content);
        let shown = world.check(&["--format", "json"]).out + &world.check(&[]).out;
        assert!(
            !shown.contains(CANARY) && shown.contains("token"),
            "{shown}"
        );
        let world = World::new()
            .file("a.yaml", text("env: TOKEN"))
            .variable("TOKEN", &content);
        let shown = world.check(&["--format", "json"]).out + &world.check(&[]).out;
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn problems_about_settings_do_not_show_secrets() {
    for auth in [
        "{username: §, password: §, more: §}",
        "{username: '§:', password: [§]}",
        "§",
        "{username: §}",
        "{password: {env: '§ '}}",
    ] {
        let text = format!(
            "management: {{basic_auth: {}}}\nfoo: 1\n",
            auth.replace('§', CANARY)
        );
        let world = World::new()
            .file("egressd.yaml", text)
            .variable(
                "EGRESSD_MANAGEMENT_BASIC_AUTH_USERNAME",
                &format!("{CANARY}:"),
            )
            .variable("EGRESSD_MANAGEMENT_BASIC_AUTH_PASSWORT", CANARY);
        let config = world.path("egressd.yaml");
        let ran = world.run(&["check", "--config", config.to_str().unwrap()]);
        assert!(
            !ran.out.contains(CANARY) && ran.out.contains("foo"),
            "{}",
            ran.out
        );
    }
}
