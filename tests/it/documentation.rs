//! The documentation: its links resolve, its configuration loads, its JSON parses, and its tables
//! name exactly what the program has. `tests/peers/documentation.py` runs its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use egressd::proxy::code::RefusalCode;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use crate::support::help::{commands, options};
use crate::support::limited::output;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the Markdown files under a directory.
fn markdown_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Returns every page that people read, with its text.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut files = Vec::new();
    for directory in ["docs", "config", "benches"] {
        markdown_files(&repository().join(directory), &mut files);
    }
    for entry in fs::read_dir(repository()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files.into_iter().map(read).collect()
}

fn parse(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// Returns the anchor that code hosts give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        })
        .collect()
}

/// Returns the targets of all links of a page, and the anchors of its headings.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most events of Markdown do not matter"
)]
fn links_and_anchors(text: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut links, mut anchors, mut heading) = (Vec::new(), BTreeSet::new(), None::<String>);
    for event in parse(text) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                anchors.extend(heading.take().map(|heading| anchor(&heading)));
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    (links, anchors)
}

/// A fenced code block.
struct Block {
    line: usize,
    /// The info string, such as `yaml` or `sh,demo`.
    info: String,
    text: String,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most events of Markdown do not matter"
)]
fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open = None::<Block>;
    for (event, range) in parse(text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                open = Some(Block {
                    line: text
                        .bytes()
                        .take(range.start)
                        .filter(|byte| *byte == b'\n')
                        .count()
                        + 1,
                    info: info.into_string(),
                    text: String::new(),
                });
            }
            Event::Text(part) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&part);
                }
            }
            Event::End(TagEnd::CodeBlock) => found.extend(open.take()),
            _ => {}
        }
    }
    found
}

/// Returns the path of a page relative to the repository.
fn name(page: &Path) -> String {
    let name = page.strip_prefix(repository()).unwrap();
    name.display().to_string()
}

#[test]
fn every_link_and_anchor_resolves() {
    let pages = pages();
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in links_and_anchors(text).0 {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            let resolves = match target.canonicalize() {
                Err(_) => false,
                Ok(_) if anchor.is_empty() => true,
                Ok(target) => pages
                    .get(&target)
                    .is_some_and(|text| links_and_anchors(text).1.contains(anchor)),
            };
            if !resolves {
                broken.push(format!("{}: {link}", name(page)));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_front_page_is_short() {
    let readme = fs::metadata(repository().join("README.md")).unwrap();
    assert!(readme.len() <= 10_240, "{} bytes", readme.len());
}

#[test]
fn every_page_is_listed_in_the_index_and_in_the_table_of_contents() {
    let index = fs::read_to_string(repository().join("docs/index.md")).unwrap();
    let summary = fs::read_to_string(repository().join("docs/SUMMARY.md")).unwrap();
    for page in pages().keys() {
        let Ok(page) = page.strip_prefix(repository().join("docs")) else {
            continue;
        };
        let page = page.to_str().unwrap();
        let in_index = page.starts_with("decisions/") || page == "index.md";
        assert!(
            page == "SUMMARY.md" || in_index || index.contains(&format!("({page}")),
            "docs/index.md lacks {page}"
        );
        assert!(
            page == "SUMMARY.md" || summary.contains(&format!("({page})")),
            "docs/SUMMARY.md lacks {page}"
        );
    }
}

/// Runs `egressd check` on a configuration block and returns the problems and warnings.
fn check(block: &Block) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("documented.yaml");
    fs::write(&file, &block.text).unwrap();
    let is_definition =
        block.text.contains("connection_details:") || block.text.contains("connectionDetails:");
    let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
    command.args(["check", "--secrets", "skip", "--format", "json"]);
    if is_definition {
        command.arg(&file);
    } else {
        let definition = repository().join("config/connections/example.yaml");
        command.arg("--config").arg(&file).arg(definition);
    }
    let output = output(command.env_clear());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = document["problems"].as_array().unwrap().iter();
    // There is no token store here.
    let of_store = ["consent_missing", "token_store_missing"];
    let problems = problems.filter(|problem| {
        let code = problem["code"].as_str();
        !code.is_some_and(|code| of_store.contains(&code))
    });
    problems.map(Value::to_string).collect()
}

#[test]
fn every_configuration_block_loads_without_a_warning() {
    let mut loaded = 0;
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.info == "yaml") {
            // A Kustomize file, which another test renders.
            if block.text.contains("kustomize.config.k8s.io") {
                continue;
            }
            let problems = check(block);
            assert!(
                problems.is_empty(),
                "{}:{}: {problems:#?}",
                name(&page),
                block.line
            );
            loaded += 1;
        }
    }
    assert!(loaded >= 15, "{loaded}");
}

#[test]
fn every_json_block_parses() {
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.info == "json") {
            let parsed = serde_json::from_str::<Value>(&block.text);
            assert!(parsed.is_ok(), "{}:{}", name(&page), block.line);
        }
    }
}

#[test]
fn every_block_names_its_language() {
    let known = [
        "go",
        "java",
        "javascript",
        "json",
        "mermaid",
        "php",
        "powershell",
        "python",
        "ruby",
        "sh",
        "text",
        "yaml",
    ];
    for (page, text) in pages() {
        for block in blocks(&text) {
            let language = block.info.split(',').next().unwrap();
            assert!(
                known.contains(&language),
                "{}:{}: {:?}",
                name(&page),
                block.line,
                block.info
            );
        }
    }
}

/// Returns the words in backticks in the first cell of the rows of all tables that have this head.
fn first_cells(page: &str, head: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let mut found = BTreeSet::new();
    for table in text.split(head).skip(1) {
        for row in table.lines().skip(1).take_while(|row| row.starts_with('|')) {
            let cell = row.split('|').nth(1).unwrap();
            found.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Returns the text between each pair of these marks in a source file.
fn between(source: &str, begin: &str, end: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join(source)).unwrap();
    let rest = text.split(begin).skip(1);
    rest.filter_map(|rest| Some(rest.split_once(end)?.0.to_owned()))
        .collect()
}

#[test]
fn the_documentation_lists_exactly_the_metrics() {
    let mut metrics = between("src/telemetry/metrics/families.rs", "\"egressd_", "\"");
    metrics = metrics
        .iter()
        .map(|metric| format!("egressd_{metric}"))
        .collect();
    let mut documented = first_cells("docs/metrics.md", "| metric | type | labels | meaning |\n");
    documented.retain(|metric| metric.starts_with("egressd_"));
    assert_eq!(documented, metrics);
}

#[test]
fn the_documentation_lists_exactly_the_events() {
    let mut events = BTreeSet::new();
    for file in ["event", "grant_event"] {
        let file = format!("src/telemetry/problem_log/{file}.rs");
        events.extend(between(&file, "=> \"", "\","));
    }
    assert!(events.len() > 20, "{events:?}");
    let documented = first_cells(
        "docs/operations.md",
        "| event | level | fields | meaning and what to do |\n",
    );
    assert_eq!(documented, events);
}

#[test]
fn the_documentation_lists_exactly_the_refusal_codes() {
    let codes: BTreeSet<_> = RefusalCode::ALL
        .iter()
        .map(|code| code.as_str().to_owned())
        .collect();
    let head = "| code | status | blame | retryable | when |\n";
    assert_eq!(first_cells("docs/agents.md", head), codes);
}

#[test]
fn the_documentation_lists_exactly_the_options() {
    let page = fs::read_to_string(repository().join("docs/cli.md")).unwrap();
    let commands = commands();
    for command in commands.iter().filter(|command| command.names.len() == 1) {
        let name = &command.names[0];
        let section = page
            .split_once(&format!("\n## `{name}`\n"))
            .unwrap_or_else(|| panic!("docs/cli.md has no section on {name}"))
            .1;
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|row| row.starts_with("| `-"));
        let cells: String = rows.filter_map(|row| row.split('|').nth(1)).collect();
        // The section of a command describes those within it too.
        let within = commands
            .iter()
            .filter(|other| other.names.first() == Some(name));
        let mut provided: BTreeSet<_> = within.flat_map(|other| options(&other.text)).collect();
        provided.remove("--help");
        assert_eq!(options(&cells), provided, "{name}");
    }
}
