//! The documentation of the settings against their table.

use super::super::spec::Kind::{Flag, Integer, List, Object, Objects, Value};
use super::super::spec::ObjectSpec;
use super::{ROOT, SETTINGS, variable};

const PAGE: &str = include_str!("../../../docs/settings.md");

/// Returns the cells of the first row of the page whose first cell is this text.
fn row(first: &str) -> Option<Vec<&'static str>> {
    PAGE.lines().find_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        (cells.get(1) == Some(&first)).then(|| cells[1..].to_vec())
    })
}

#[test]
fn the_documentation_has_every_setting_with_its_default_range_and_variable() {
    fn check(object: &ObjectSpec, path: &str, prefix: &str) {
        for field in object.fields {
            let path = if path.is_empty() {
                field.name.to_owned()
            } else {
                format!("{path}.{}", field.name)
            };
            let variable = variable(prefix, field.name);
            if let Object(section) = &field.kind {
                check(section, &path, &variable);
                continue;
            }
            let cells = row(&format!("`{path}`")).unwrap_or_else(|| panic!("no row for {path}"));
            if let Objects(items) = &field.kind {
                check(items, &format!("{path}[]"), "");
            }
            match field.kind {
                Flag(default) => assert_eq!(cells[1], format!("`{default}`"), "{path}"),
                Integer { min, max, default } => assert_eq!(
                    cells[1..3],
                    [format!("`{default}`"), format!("{min} to {max}")],
                    "{path}"
                ),
                Object(_) | Objects(_) | List(_) | Value(_) => {}
            }
            let rows = format!("| `{path}` | `{variable}` |");
            let has_variable = !matches!(field.kind, Objects(_)) && !prefix.is_empty();
            assert_eq!(PAGE.contains(&rows), has_variable, "{path}");
        }
    }
    check(&SETTINGS, "", ROOT);
}

#[test]
fn the_documentation_has_no_other_setting() {
    let (_, table) = PAGE
        .split_once("| setting | variable | flag of `serve` |")
        .unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let mut count = 0;
    for row in rows {
        let variable = row.split('|').nth(2).unwrap().trim().trim_matches('`');
        assert!(super::is_setting(variable), "{variable}");
        count += 1;
    }
    assert_eq!(count, super::variables().len() + 1, "`hardening` included");
}
