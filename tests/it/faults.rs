//! Which rows of the catalogue of bad inputs and faults (`tests/faults.tsv`) have a test.
//!
//! A test names the rows that it holds: an `F`, a dash and the row's number, in a comment beside it
//! or in its table. A number that no row has is an error, and so is a row whose scope is `now` and
//! that no test names. How many rows are covered is written past the test harness' capture, so that
//! every run shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;

const TABLE: &str = include_str!("../faults.tsv");
/// The rows of the groups A to M, which have every number up to this one. The rows of group N have
/// numbers from 301 on, and not every number is used.
const EARLIER_ROWS: u32 = 292;
const FIRST_OF_CONSENTS: u32 = 301;
const KINDS: [&str; 5] = ["rs", "py", "sh", "js", "mjs"];

struct Row {
    number: u32,
    group: char,
    scope: Scope,
    title: &'static str,
}

#[derive(PartialEq)]
enum Scope {
    Now,
    Later,
}

fn table() -> Vec<Row> {
    TABLE.lines().skip(1).map(row).collect()
}

fn row(line: &'static str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let [number, group, scope, title] = fields[..] else {
        panic!("four fields, tabs between them: {line:?}");
    };
    let scope = match scope {
        "now" => Scope::Now,
        "later" => Scope::Later,
        other => panic!("scope is `now` or `later`: {other:?}"),
    };
    let number = number.parse().expect("a row's number");
    let group = group.parse().expect("a group's letter");
    Row {
        number,
        group,
        scope,
        title,
    }
}

/// The numbers that `text` names: an `F` that no letter or digit stands before, a dash, digits.
fn marks(text: &str) -> Vec<u32> {
    let parts: Vec<&str> = text.split("F-").collect();
    parts
        .windows(2)
        .filter(|pair| !pair[0].ends_with(char::is_alphanumeric))
        .filter_map(|pair| pair[1].split(|c: char| !c.is_ascii_digit()).next())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Every mark below `folder`, with the files that hold it.
fn collect(folder: &Path, found: &mut BTreeMap<u32, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a folder entry").path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if path.is_dir() {
            collect(&path, found);
        } else if kind.is_some_and(|kind| KINDS.contains(&kind)) && !path.ends_with("it/faults.rs")
        {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            for number in marks(&text) {
                let file = path.display().to_string();
                found.entry(number).or_default().insert(file);
            }
        }
    }
}

fn all_marks() -> BTreeMap<u32, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    collect(&root.join("tests"), &mut found);
    collect(&root.join("src"), &mut found);
    found
}

#[test]
fn the_table_has_every_row_once_and_in_order() {
    let table = table();
    let numbers: Vec<u32> = table.iter().map(|row| row.number).collect();
    let (earlier, consents) = numbers.split_at(EARLIER_ROWS as usize);
    assert_eq!(earlier, (1..=EARLIER_ROWS).collect::<Vec<_>>());
    assert!(consents.iter().all(|number| *number >= FIRST_OF_CONSENTS));
    assert!(consents.is_sorted_by(|first, second| first < second));
    let groups: Vec<char> = table.iter().map(|row| row.group).collect();
    assert!(groups.is_sorted(), "groups stand together");
    assert_eq!((groups.first(), groups.last()), (Some(&'A'), Some(&'N')));
    let titles: BTreeSet<&str> = table.iter().map(|row| row.title).collect();
    assert_eq!(titles.len(), table.len(), "titles tell rows apart");
}

#[test]
fn no_test_names_an_unknown_row() {
    let known: BTreeSet<u32> = table().iter().map(|row| row.number).collect();
    let unknown: Vec<_> = all_marks()
        .into_iter()
        .filter(|(number, _)| !known.contains(number))
        .collect();
    assert!(unknown.is_empty(), "no such rows: {unknown:?}");
}

#[test]
fn every_row_in_scope_is_named_by_a_test() {
    let marks = all_marks();
    let table = table();
    let covered = table.iter().filter(|row| marks.contains_key(&row.number));
    let missing: Vec<&Row> = table
        .iter()
        .filter(|row| row.scope == Scope::Now && !marks.contains_key(&row.number))
        .collect();
    let numbers: Vec<String> = missing.iter().map(|row| row.number.to_string()).collect();
    let told = match numbers.as_slice() {
        [] => "none".to_owned(),
        some => some.join(" "),
    };
    let covered = covered.count();
    let rows = table.len();
    let line = format!("faults: {covered} of {rows} rows covered; missing in scope: {told}");
    writeln!(std::io::stderr(), "{line}").expect("stderr");
    let rows = missing
        .iter()
        .map(|row| format!("  {}{}: {}", row.group, row.number, row.title));
    let rows: Vec<String> = rows.collect();
    assert!(rows.is_empty(), "{line}\n{}", rows.join("\n"));
}

#[test]
fn marks_are_found_and_other_words_are_not() {
    assert_eq!(marks("// F-51, F-52\n/// F-7: dots"), [51, 52, 7]);
    assert_eq!(marks("UTF-8, F-, F-x, PDF-9, (F-203) F-204."), [203, 204]);
}
