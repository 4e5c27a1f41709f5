//! Tests of the built-in connectors, and of what a directory may hold.

use std::fs;
use std::path::Path;

use super::{BUILT_IN, Catalogue, ConnectorFile, built_in, read};
use crate::config::document::Origin;
use crate::config::problem::{Problem, Problems};
use crate::config::sources::Files;
use crate::domain::connector::ConnectorAuth;

fn read(text: &str) -> Result<ConnectorFile, Vec<Problem>> {
    let problems = Problems::default();
    let bytes = text.as_bytes().to_vec();
    let origin = Origin::from_bytes("x.yaml".into(), bytes, &problems).unwrap();
    read::read_connector(origin, &problems).map_err(|_| problems.into_sorted())
}

#[test]
fn every_built_in_connector_loads_without_a_warning() {
    for (slug, text) in built_in::FILES {
        let problems = Problems::default();
        let bytes = text.as_bytes().to_vec();
        let origin = Origin::from_bytes(slug.into(), bytes, &problems).unwrap();
        let file = read::read_connector(origin, &problems);
        let found = problems.into_sorted();
        assert!(found.is_empty(), "{slug}: {found:#?}");
        let connector = file.ok().unwrap().connector().clone();
        assert_eq!(connector.slug.as_str(), slug);
        assert!(connector.docs.starts_with("https://"), "{slug}");
        assert!(connector.checked.year() >= 2026, "{slug}");
        assert!(!connector.description.is_empty(), "{slug}");
    }
    assert_eq!(BUILT_IN.len(), built_in::FILES.len());
}

#[test]
fn the_built_in_connectors_are_the_files_of_the_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors");
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let files = built_in::FILES.map(|(slug, _)| format!("{slug}.yaml"));
    assert_eq!(names, files);
}

const GOOD: &str = "\
slug: notes
display_name: Notes
auth_type: api_key
checked: 2026-11-30
docs: https://notes.test/docs
placeholders: {site: {description: Host of the site}}
base_url: https://{site}/api
credential_fields: [{key: basicAuth.username, label: User, secret: false}, {key: basicAuth.password, label: Key}]
routes: {read: [GET /notes]}
";

#[test]
fn a_connector_of_a_directory() {
    let file = read(GOOD).ok().unwrap();
    let connector = file.connector();
    assert_eq!(connector.auth_type, ConnectorAuth::ApiKey);
    let [user, key] = &connector.credential_fields[..] else {
        panic!("two fields")
    };
    assert!(user.is_required && !user.is_secret && key.is_secret);
    let values = [("site".to_owned(), "notes.test".to_owned())];
    let printed = file.template().definition(&values).unwrap();
    assert!(
        printed.contains("base_url: \"https://notes.test/api\""),
        "{printed}"
    );
    assert!(
        printed.contains("username: {file: ../secrets/notes-username}"),
        "{printed}"
    );
    assert!(
        printed.contains("password: {file: ../secrets/notes-password}"),
        "{printed}"
    );
}

#[test]
fn the_documented_connector_loads() {
    let page = include_str!("../../../docs/connectors.md");
    let (_, block) = page.split_once("```text\nslug:").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert!(read(&format!("slug:{block}")).is_ok());
}

#[test]
fn mistakes_in_a_connector_are_reported_with_field_and_remedy() {
    // F-301
    for (from, to, field) in [
        ("slug: notes", "slug: Notes", "slug"),
        ("slug: notes\n", "", "slug"),
        ("auth_type: api_key", "auth_type: key", "auth_type"),
        (
            "auth_type: api_key",
            "auth_type: oauth",
            "oauth_user_consent",
        ),
        ("auth_type: api_key", "auth_type: none", "credential_fields"),
        ("checked: 2026-11-30", "checked: 2026-13-30", "checked"),
        ("checked: 2026-11-30\n", "", "checked"),
        ("docs: https://notes.test/docs\n", "", "docs"),
        ("docs: https:", "docs: http:", "docs"),
        ("{site}/api", "{sites}/api", "base_url"),
        ("{site}/api", "{site}/a b", "base_url"),
        (
            "{site: {description",
            "{Site: {description",
            "placeholders.Site",
        ),
        (
            "of the site}",
            "of it, default: a/b}",
            "placeholders.site.default",
        ),
        (
            "of the site}",
            "of it, defaults: a}",
            "placeholders.site.defaults",
        ),
        (
            "basicAuth.username",
            "basicAuth.user",
            "credential_fields[0].key",
        ),
        (
            "basicAuth.username",
            "bearerToken.token",
            "credential_fields",
        ),
        ("label: Key", "lable: Key", "credential_fields[1].lable"),
        ("GET /notes", "get /notes", "routes.read[0]"),
        ("[GET /notes]", "[]", "routes.read"),
        ("routes:", "headers: {Host: a}\nroutes:", "headers.Host"),
        ("routes:", "scopez: a\nroutes:", "scopez"),
        ("routes:", "setup: [\"a\\nb\"]\nroutes:", "setup[0]"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let found = read(&GOOD.replace(from, to)).err().unwrap();
        assert!(
            found.iter().any(|problem| problem.field == field
                && problem.is_error()
                && !problem.remedy.is_empty()),
            "{to}: {found:#?}"
        );
    }
}

#[test]
fn a_directory_replaces_built_in_connectors_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(
        path("github.yaml"),
        GOOD.replace("slug: notes", "slug: github"),
    )
    .unwrap();
    fs::write(path("notes.yaml"), GOOD).unwrap();
    fs::write(path("other.yaml"), GOOD).unwrap();
    fs::write(path("broken.yaml"), "slug: broken").unwrap();
    let problems = Problems::default();
    let directories = [directory.path().to_owned()];
    let catalogue = Catalogue::read(&directories, &Files::default(), &problems);
    let github = catalogue.find("github").unwrap();
    assert_eq!(github.connector().display_name, "Notes");
    assert_eq!(catalogue.connectors().len(), built_in::FILES.len() + 1);
    assert_eq!(catalogue.unusable, ["broken"]);
    let found = problems.into_sorted();
    let codes = found.iter().map(|problem| problem.code);
    let codes: Vec<_> = codes.filter(|code| *code != "missing_field").collect();
    assert_eq!(codes, ["connector_replaced", "duplicate_connector"]);
    assert!(
        !found
            .iter()
            .any(|p| p.code == "connector_replaced" && p.is_error())
    );
}
