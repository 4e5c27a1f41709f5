//! The documentation of the fields against their tables.

use super::super::consent_spec::CONNECTOR;
use super::super::spec::Kind::{Flag, Integer, List, Object, Objects, Value};
use super::{CONNECTION, HTTP, OAUTH_CLIENT_CREDENTIALS, OAUTH_USER_CONSENT};

const CONNECTIONS: &str = include_str!("../../../docs/connections.md");
const CONNECTORS: &str = include_str!("../../../docs/connectors.md");
const CREDENTIALS: &str = include_str!("../../../docs/credentials.md");

/// Returns the cells of the first row of a page whose first cell names this field.
fn row(page: &'static str, field: &str) -> Option<Vec<&'static str>> {
    let name = format!("`{field}`");
    page.lines().find_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        cells
            .get(1)
            .is_some_and(|first| first.contains(&name))
            .then(|| cells[1..].to_vec())
    })
}

#[test]
fn the_documentation_has_every_field_with_its_default_and_range() {
    let objects = [
        (&CONNECTION, CONNECTIONS),
        (&HTTP, CONNECTIONS),
        (&OAUTH_CLIENT_CREDENTIALS, CREDENTIALS),
        (&OAUTH_USER_CONSENT, CREDENTIALS),
        (&CONNECTOR, CONNECTORS),
    ];
    for (object, page) in objects {
        for field in object.fields {
            let name = field.name;
            let cells = row(page, name).unwrap_or_else(|| panic!("no row for `{name}`"));
            match field.kind {
                Flag(default) => assert_eq!(cells[1], format!("`{default}`"), "{name}"),
                Integer { min, max, default } => {
                    assert_eq!(cells[1], default.to_string(), "{name}");
                    assert!(cells[2].contains(&format!("from {min} to {max}")), "{name}");
                }
                Object(_) | Objects(_) | List(_) | Value(_) => {}
            }
        }
    }
}
