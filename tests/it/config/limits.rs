//! Hostile files: each is one reported problem, and none causes a panic.

use proptest::prelude::*;

use super::world::{World, connection};

#[track_caller]
fn refused(content: impl AsRef<[u8]>, code: &str) {
    let found = World::new().file("a.yaml", content).errors();
    let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [code]);
    assert!(!found[0].remedy.is_empty() && found[0].file.ends_with("a.yaml"));
}

#[test]
fn hostile_files() {
    let good = connection(&[]);
    // F-18
    refused(
        format!("{good}# {}", "x".repeat(1 << 20)),
        "file_unreadable",
    );
    refused(format!("\u{feff}{good}"), "file_unreadable");
    refused(format!("{good}# \0"), "file_unreadable");
    refused([good.as_bytes(), b"# \xff"].concat(), "file_unreadable");
    refused(format!("{good}---\n{good}"), "several_documents");
    refused("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias");
    refused("a: *nowhere\n", "alias");
    refused(
        "<<: {a: 1}\nconnection_details: {http: {base_url: https://h, allowed_routes: [/a], no_auth: {}}}\n",
        "unknown_field",
    );
    refused("a: !!binary aGk=\n", "tag");
    refused("? {a: b}\n: c\n", "complex_key");
    refused(format!("{good}    no_auth: {{}}\n"), "duplicate_key");
    refused(format!("{}{}", "[".repeat(65), "]".repeat(65)), "too_deep");
    refused("[".repeat(500_000), "too_deep");
    refused("- ".repeat(500_000), "too_deep");
    refused("{a: ".repeat(100_000), "too_deep");
    refused("- x\n".repeat(250_000), "too_many_values");
    refused("", "file_unreadable");
    refused("# nothing\n", "file_unreadable");
}

#[test]
fn sixty_four_levels_are_read() {
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    refused(deep, "wrong_type");
}

/// The file is sparse. Reading all of it would take 50 MB.
#[test]
fn a_file_of_50_megabytes_is_refused_by_its_size() {
    let world = World::new().file("a.yaml", "");
    let file = std::fs::File::options()
        .write(true)
        .open(world.path("a.yaml"))
        .unwrap();
    file.set_len(50 << 20).unwrap(); // F-18
    let found = world.errors();
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("1 MiB"), "{found:?}");
}

#[test]
fn many_mistakes_are_cut_off() {
    let text: String = (0..5_000).map(|n| format!("k{n}: 1\n")).collect();
    let found = World::new().file("a.yaml", text).errors();
    assert_eq!(found.len(), 1001);
    assert!(
        found
            .iter()
            .any(|problem| problem.code == "too_many_problems")
    );
}

#[test]
fn reading_a_pipe_does_not_block() {
    let world = World::new();
    let pipe = world.path("a.yaml");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    assert_eq!(world.errors()[0].message, "is not a regular file");
}

#[test]
fn ten_thousand_routes_load() {
    let routes: String = (0..10_000)
        .map(|n| format!("\n      - GET /api/{n}/{{id}}"))
        .collect();
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", &routes)]));
    let loaded = world
        .definitions()
        .unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!(loaded.connections[0].routes.patterns().len(), 10_000);
}

/// Generates text from words that matter to the parser and the reader.
fn yamlish() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "connection_details",
        "http",
        "base_url",
        "https://h",
        "allowed_routes",
        "GET /a",
        "bearer_token",
        "token",
        "no_auth",
        "env",
        "file",
        "connections",
        "name",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "|",
        ">",
        "&a ",
        "*a",
        "!x ",
        "#",
        "---",
        "...",
        "\t",
        "5",
        "null",
        "true",
        "é",
        "\u{85}",
        "\u{2028}",
        "%YAML 1.2\n",
        "\r",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let ran = World::new().file("a.yaml", &bytes).check(&[]);
        prop_assert!(ran.out.ends_with("problem\n") || ran.out.ends_with("problems\n"));
    }

    #[test]
    fn no_text_panics(text in yamlish()) {
        let ran = World::new().file("a.yaml", &text).check(&[]);
        prop_assert!(ran.out.ends_with("problem\n") || ran.out.ends_with("problems\n"));
    }
}
