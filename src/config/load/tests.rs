//! Every field of the settings and of a connection with values of every type: a load that fails
//! names its reason.

use serde_json::{Map, Value, json};

use super::super::connection_spec::CONNECTION;
use super::super::problem::Problem;
use super::super::secret_policy::SecretValues;
use super::super::settings_spec::SETTINGS;
use super::super::spec::ObjectSpec;
use super::{Environment, LoadOptions, load, load_paths};

/// A settings file in which every section has the fields that depend on each other.
fn settings() -> Value {
    json!({"management": {"basic_auth": {"username": "u", "password": "p"}}})
}

/// Returns a valid connection with this auth kind.
fn connection(kind: &str, auth: &Value) -> Value {
    json!({
        "id": "crm",
        "connection_details": {"http": {
            "base_url": "https://api.example.com",
            "allowed_routes": ["GET /"],
            kind: auth,
        }},
    })
}

/// Returns values of every type.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1e30),
        json!(""),
        json!("\u{0}"),
        json!("x"),
        json!([]),
        json!([null]),
        json!([""]),
        json!([{}]),
        json!({}),
        json!({"x": null}),
        json!({"": "x"}),
        json!({"env": null}),
        json!({"env": "UNSET", "file": "unset"}),
    ]
}

/// Returns the path of every field, as a JSON pointer.
fn pointers(object: &ObjectSpec, path: &str) -> Vec<String> {
    let fields = object.fields.iter().flat_map(|field| {
        let path = format!("{path}/{}", field.name);
        let inside = field.object_spec().map(|spec| pointers(spec, &path));
        [vec![path], inside.unwrap_or_default()].concat()
    });
    fields.collect()
}

/// Returns the document with each of these fields removed, and set to each value.
fn variants(document: &Value, pointers: Vec<String>) -> impl Iterator<Item = Value> {
    let values = values();
    pointers.into_iter().flat_map(move |pointer| {
        let all = values.iter().cloned().map(Some).chain([None]);
        let variants: Vec<Value> = all
            .map(|value| with_field(document, &pointer, value))
            .collect();
        variants
    })
}

fn with_field(document: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut changed = document.clone();
    let (path, name) = pointer.rsplit_once('/').unwrap();
    let mut object = &mut changed;
    for name in path.split('/').skip(1) {
        let fields = object.as_object_mut().unwrap();
        object = fields.entry(name).or_insert_with(|| Map::new().into());
    }
    let fields = object.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
    changed
}

/// Asserts that a load which failed has an error with a reason.
#[track_caller]
fn assert_explained(problems: &[Problem], document: &Value) {
    assert!(
        problems.iter().any(Problem::is_error),
        "no reason for {document}"
    );
    let internal = problems.iter().find(|problem| problem.code == "internal");
    assert!(internal.is_none(), "no reason of its own for {document}");
}

#[test]
fn settings_that_are_rejected_have_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("egressd.json");
    let mut rejected = 0;
    for document in [json!({}), settings()] {
        for document in variants(&document, pointers(&SETTINGS, "")) {
            std::fs::write(&file, document.to_string()).unwrap();
            let loaded = load(&LoadOptions {
                config: Some(file.clone()),
                // The default directory does not exist, which would be a reason of its own.
                overrides: super::SettingsOverrides {
                    connections: vec![directory.path().to_owned()],
                    ..Default::default()
                },
                environment: Environment::default(),
            });
            if let Err(problems) = loaded {
                rejected += 1;
                assert_explained(&problems, &document);
            }
        }
    }
    assert!(rejected > 500, "{rejected}");
}

#[test]
fn a_connection_that_is_left_out_has_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crm.json");
    let oauth = json!({"token_url": "https://t.example", "client_id": "i", "client_secret": "s"});
    let kinds = [
        ("no_auth", json!({})),
        ("bearer_token", json!({"token": "t"})),
        ("basic_auth", json!({"username": "u", "password": "p"})),
        ("static_headers", json!({"headers": {"X-Key": "k"}})),
        ("oauth_client_credentials", oauth),
    ];
    let mut rejected = 0;
    for (kind, auth) in kinds {
        let mut fields = pointers(&CONNECTION, "");
        if kind != "no_auth" {
            fields.retain(|pointer| pointer.contains(kind));
        }
        for document in variants(&connection(kind, &auth), fields) {
            std::fs::write(&file, document.to_string()).unwrap();
            let paths = [file.clone()];
            match load_paths(&paths, &Environment::default(), SecretValues::Read) {
                Ok(loaded) => assert_eq!(loaded.connections.len(), 1, "{document}"),
                Err(problems) => {
                    rejected += 1;
                    assert_explained(&problems, &document);
                }
            }
        }
    }
    assert!(rejected > 400, "{rejected}");
}
