//! What is checked in under `config/` loads as it stands, and holds no warning but those of two
//! examples: a secret in the definition, and a consent that no person has given yet.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::limited::output;

/// The directory in which the examples expect secret files.
const SECRETS: &str = "/run/secrets/";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `egressd check --format json` from the repository's root.
fn check(arguments: &[&str]) -> Output {
    check_in(repository(), arguments)
}

/// Runs `egressd check --format json` in a directory.
fn check_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
    command
        .current_dir(directory)
        .args(["check", "--format", "json"])
        .args(arguments)
        .env_clear()
        .env("TRACKER_USER", "user")
        .env("TRACKER_PASSWORD", "a-password-of-its-own")
        .env("METRICS_API_KEY", "an-api-key")
        .env("OPENAI_API_KEY", "an-api-key")
        .env("BILLING_CLIENT_ID", "a-client")
        .env("BILLING_CLIENT_SECRET", "a-client-secret");
    output(&mut command)
}

/// File name, field and code of each finding.
fn findings(output: &Output) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |problem: &Value, key: &str| problem[key].as_str().expect("a text").to_owned();
    let problems = document["problems"].as_array().expect("problems");
    let named = problems.iter().map(|problem| {
        let file = text(problem, "file");
        let name = Path::new(&file).file_name().expect("a file");
        (
            name.to_string_lossy().into_owned(),
            text(problem, "field"),
            text(problem, "code"),
        )
    });
    named.collect()
}

/// Copies the examples to where their secret files can be written.
fn with_secrets(folder: &Path) {
    // In the directory of the definitions, where connections may read files.
    let secrets = folder.join("examples/secrets");
    for file in [
        "warehouse/token",
        "warehouse/signing-key",
        "metrics/app-key",
        "tracker/client-id",
        "tracker/client-secret",
    ] {
        let file = secrets.join(file);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
        fs::write(&file, "a-secret-of-its-own\n").expect("a secret");
        private(&file);
    }
    let examples = folder.join("examples");
    for entry in fs::read_dir(repository().join("config/examples")).expect("examples") {
        let entry = entry.expect("an entry");
        let text = fs::read_to_string(entry.path()).expect("an example");
        let here = format!("{}/", secrets.display());
        fs::write(
            examples.join(entry.file_name()),
            text.replace(SECRETS, &here),
        )
        .expect("a copy");
    }
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("permissions");
}

#[test]
fn the_checked_in_settings_and_connections_start_as_they_stand() {
    // A copy, because a reader may have put other definitions beside the one that is checked in.
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("config/connections")).expect("a folder");
    for file in ["config/egressd.yaml", "config/connections/example.yaml"] {
        fs::copy(repository().join(file), folder.path().join(file)).expect("a copy");
    }
    let output = check_in(folder.path(), &[]);
    assert_eq!(findings(&output), []);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_example_loads() {
    let folder = tempfile::tempdir().expect("a folder");
    with_secrets(folder.path());
    let examples = folder.path().join("examples");
    let output = check(&[examples.to_str().expect("a text")]);
    let consent = "connection_details.http.oauth_user_consent";
    let expected = [
        (
            "databricks.json",
            "connection_details.http.bearer_token.token",
            "secret_inline",
        ),
        ("user-consent.yaml", consent, "consent_missing"),
        ("settings", "token_store.directory", "token_store_missing"),
    ];
    let expected =
        expected.map(|(file, field, code)| (file.to_owned(), field.to_owned(), code.to_owned()));
    assert_eq!(findings(&output), expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_mistake_in_an_example_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    with_secrets(folder.path());
    let file = folder.path().join("examples/basic.yaml");
    let text = fs::read_to_string(&file).expect("an example");
    fs::write(&file, text.replace("allowed_routes:", "allowed_route:")).expect("a copy");
    let output = check(&[file.to_str().expect("a text")]);
    let codes: Vec<String> = findings(&output)
        .into_iter()
        .map(|(_, _, code)| code)
        .collect();
    assert!(codes.contains(&"unknown_field".to_owned()), "{codes:?}");
    assert_eq!(output.status.code(), Some(1));
}
