//! The rules that a compiler does not check: which module may use which, which may dial or expose a
//! secret, how long a file may be. Each rule is one row. A violation is reported with its file, its
//! line and the reason of the row.
//!
//! Clippy checks the length of functions, the number of arguments, `exit`, `println!` and `unwrap`
//! (`clippy.toml`, `Cargo.toml`).

#![cfg(test)]

#[path = "architecture/cycles.rs"]
mod cycles;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/wrong.rs"]
mod wrong;

use std::fs;
use std::path::Path as FilePath;

use source::{Source, starts_with};

/// The most lines of a file under `src/`, tests included. Long tables belong in a separate file.
const FILE_BUDGET: usize = 400;

/// The modules that one top module may use.
struct ModuleRule {
    name: &'static str,
    /// `None`: all modules.
    may_use: Option<&'static [&'static str]>,
    why: &'static str,
}

const fn module(
    name: &'static str,
    may_use: &'static [&'static str],
    why: &'static str,
) -> ModuleRule {
    ModuleRule {
        name,
        may_use: Some(may_use),
        why,
    }
}

const fn unrestricted(name: &'static str, why: &'static str) -> ModuleRule {
    ModuleRule {
        name,
        may_use: None,
        why,
    }
}

/// The modules, from the innermost outwards. A module without a row is a violation: consider first
/// what it should be allowed to use.
#[rustfmt::skip] // one row a line
const MODULE_RULES: &[ModuleRule] = &[
    module("route", &[], "the route language is pure: it has no connections, no HTTP server, no configuration"),
    module("domain", &["route"], "what a connection is does not depend on how it is read, served or dialled"),
    module("config", &["domain", "route", "os"], "files become domain values here and nowhere else"),
    module("snapshot", &["domain", "route"], "a snapshot never changes: no tokens, no pools"),
    module("tools", &["domain", "route", "snapshot"], "tools are made from definitions: the proxy and the management API both show them"),
    module("clock", &[], "a clock does not depend on what it measures"),
    module("telemetry", &["clock", "domain"], "labels and log lines see no secrets, bodies or raw paths"),
    module("upstream", &["clock", "domain", "os", "telemetry"], "dialling does not depend on routes"),
    module("reflection", &["domain", "telemetry"], "a search sees secrets and bytes, not requests"),
    module("token_store", &["domain"], "the store reads and writes files: it neither sends a token nor reports events"),
    module("credential", &["clock", "domain", "os", "reflection", "upstream", "telemetry", "token_store"], "a credential does not depend on the agent's request"),
    // The two modules that are served implement the trait `Serve`; `server` depends on neither.
    module("proxy", &["clock", "domain", "memory", "route", "server", "snapshot", "credential", "reflection", "upstream", "telemetry", "tools"], "a request's path parses no configuration and does not dial"),
    module("management", &["domain", "hardening", "os", "route", "server", "snapshot", "telemetry", "credential", "reflection", "tools"], "management reads, and never sees a request or a raw file"),
    module("server", &["clock", "memory", "telemetry"], "the accept loop does not depend on what it serves"),
    module("reload", &["config", "domain", "os", "snapshot", "telemetry"], "a reload loads, compiles and publishes"),
    module("ansi", &[], "escape sequences of text, for every report"),
    module("hardening", &[], "hardening is about the process, not about what it does"),
    module("os", &[], "what several modules need from the operating system"),
    module("memory", &[], "memory is about the machine, not about requests"),
    module("app", &["clock", "config", "credential", "domain", "hardening", "management", "memory", "os", "proxy", "reload", "route", "server", "snapshot", "telemetry", "token_store", "upstream"], "the composition root is used by commands, not the other way round"),
    module("login", &["credential", "domain", "os", "token_store", "upstream"], "a login is a process of its own: it has no listener for agents, and reads no configuration"),
    module("demo", &["ansi", "config", "os"], "the demo's API is an upstream: it does not depend on the proxy"),
    module("probe_client", &[], "it opens sockets that the address guard does not check, so it has no other part of egressd"),
    module("doctor", &["ansi", "domain", "probe_client", "upstream"], "the doctor sees what the agent sees: no credential, no configuration, no app"),
    unrestricted("cli", "commands may use every module"),
    unrestricted("main", "the program"),
    unrestricted("lib", "the crate's root declares the modules"),
];

/// The files that a rule applies to. Each name is a top module or a file.
enum Scope {
    In(&'static [&'static str]),
    Outside(&'static [&'static str]),
}

/// The code that must not occur in these files.
enum Pattern {
    /// A path that begins with these segments, in `use` or inline.
    PathStart(&'static [&'static str]),
    /// A path that contains these segments in sequence.
    PathPart(&'static [&'static str]),
    /// These tokens in sequence.
    Tokens(&'static [&'static str]),
}

struct Ban {
    scope: Scope,
    pattern: Pattern,
    why: &'static str,
}

const fn ban(scope: Scope, pattern: Pattern, why: &'static str) -> Ban {
    Ban {
        scope,
        pattern,
        why,
    }
}

use Pattern::{PathPart, PathStart, Tokens};
use Scope::{In, Outside};

const PURE: Scope = In(&["route", "domain"]);
const EXPOSE: Scope = Outside(&[
    "credential",
    "reflection",
    "login",
    "src/token_store/encode.rs",
    "src/domain/secret.rs",
    "src/domain/auth.rs",
    "src/domain/auth/header.rs",
    "src/domain/auth/oauth.rs",
    "src/domain/auth/user_consent.rs",
]);
const TOKEN_LIVES: &[&str] = &[
    "src/clock.rs",
    "src/credential/oauth/policy.rs",
    "src/credential/oauth/response.rs",
    "src/credential/oauth/token.rs",
];
/// These files also measure the time until the token endpoint is contacted again.
const TOKEN_TIMES: &[&str] = &[
    "src/clock.rs",
    "src/credential/oauth/endpoint.rs",
    "src/credential/oauth/grant.rs",
    "src/credential/oauth/policy.rs",
    "src/credential/oauth/requester.rs",
    "src/credential/oauth/response.rs",
    "src/credential/oauth/state.rs",
    "src/credential/oauth/token.rs",
];
const TOKEN_CLOCK_WHY: &str = "the lifetime of a token is measured on the boot-time clock (`crate::clock`): the system time can jump, and `Instant` stops during suspension";
const NO_IO: &str = "routes and definitions are values: no I/O, nothing async";
const EXPOSE_WHY: &str = "a secret is exposed in two modules only (`credential`, `reflection`), where the domain builds a fixed header, where a document of the token store is written, and where a person logs in";
const DIAL_WHY: &str =
    "only `upstream` opens sockets to the outside, because it has the address guard";
/// The module that opens sockets without the address guard, to test if they open.
const PROBE_CLIENT: &str = "src/probe_client.rs";
/// The commands that probe from outside. Neither may hold a credential.
const PROBING_COMMANDS: &[&str] = &["src/cli/doctor.rs", "src/cli/healthcheck.rs"];
const PROBE_WHY: &str = "the address guard does not check what `probe_client` dials: only `healthcheck` and the doctor use it, and they hold no credential";
/// The flows, and the commands that obtain, end and list consents.
const LOGIN_COMMANDS: &[&str] = &[
    "login",
    "src/cli/login.rs",
    "src/cli/login/api_keys.rs",
    "src/cli/login/target.rs",
    "src/cli/logout.rs",
    "src/cli/connections.rs",
];
const LOGIN_WHY: &str =
    "the code of `serve` does not link to the flows of `login`: the agent can reach its listeners";
const STDERR_WHY: &str =
    "only main.rs writes to stderr or exits, so that a command is a value with an exit code";

const STDOUT_WHY: &str =
    "a thread that is blocked in a write must not hold the lock of a standard stream";

#[rustfmt::skip] // one row a line
const BANS: &[Ban] = &[
    ban(In(&["route"]), PathStart(&["http"]), "the matcher takes text, not server types"),
    ban(PURE, PathStart(&["hyper"]), NO_IO),
    ban(PURE, PathStart(&["hyper_util"]), NO_IO),
    ban(PURE, PathStart(&["tokio"]), NO_IO),
    ban(PURE, PathStart(&["std", "fs"]), NO_IO),
    ban(PURE, PathStart(&["std", "env"]), NO_IO),
    ban(PURE, Tokens(&["async"]), NO_IO),
    ban(PURE, PathStart(&["serde"]), "files are read by `config`; a domain value is made by its constructor alone"),
    ban(PURE, PathStart(&["serde_json"]), "files are read by `config`; a domain value is made by its constructor alone"),
    ban(EXPOSE, Tokens(&[".", "expose"]), EXPOSE_WHY),
    ban(EXPOSE, PathPart(&["Secret", "expose"]), EXPOSE_WHY),
    ban(Outside(&["upstream", PROBE_CLIENT]), PathPart(&["TcpStream", "connect"]), DIAL_WHY),
    // Before a listener replaces a socket file, it connects to check that no process listens on it.
    ban(Outside(&["upstream", "src/server/unix_socket.rs", PROBE_CLIENT]), PathPart(&["UnixStream", "connect"]), DIAL_WHY),
    ban(Outside(&["upstream", PROBE_CLIENT]), PathPart(&["UdpSocket"]), DIAL_WHY),
    ban(Outside(&["doctor", PROBE_CLIENT, "src/cli/doctor.rs", "src/cli/healthcheck.rs"]), PathStart(&["crate", "probe_client"]), PROBE_WHY),
    // With a re-export, another command could use `probe_client` without naming it.
    ban(In(&["doctor"]), Tokens(&["pub", "(", "crate", ")", "use", "crate"]), "the doctor re-exports nothing of other modules, above all not the probe client"),
    ban(In(PROBING_COMMANDS), PathStart(&["crate", "credential"]), PROBE_WHY),
    ban(In(PROBING_COMMANDS), PathStart(&["crate", "app"]), PROBE_WHY),
    ban(In(PROBING_COMMANDS), PathStart(&["crate", "config", "load"]), PROBE_WHY),
    ban(Outside(LOGIN_COMMANDS), PathStart(&["crate", "login"]), LOGIN_WHY),
    ban(Outside(&["upstream"]), PathPart(&["TcpStream", "connect_timeout"]), DIAL_WHY),
    ban(Outside(&["upstream"]), PathPart(&["TcpSocket"]), DIAL_WHY),
    ban(Outside(&["upstream", "src/server/unix_socket.rs", PROBE_CLIENT]), Tokens(&[".", "connect", "("]), DIAL_WHY),
    ban(Outside(&["upstream"]), PathStart(&["hickory_resolver"]), "only `upstream` resolves names"),
    ban(Outside(&["upstream"]), PathPart(&["ToSocketAddrs"]), "only `upstream` resolves names"),
    ban(Outside(&[]), Tokens(&["#", "[", "path", "="]), "a module's file is where the compiler looks for it"),
    ban(Outside(&["config"]), PathStart(&["granit_parser"]), "files are read by `config`"),
    // F-153, F-253
    ban(In(TOKEN_LIVES), Tokens(&["SystemTime"]), TOKEN_CLOCK_WHY),
    ban(In(TOKEN_TIMES), Tokens(&["Instant"]), TOKEN_CLOCK_WHY),
    ban(Outside(&["main"]), PathPart(&["process", "exit"]), STDERR_WHY),
    ban(Outside(&["main"]), Tokens(&["eprintln", "!"]), STDERR_WHY),
    ban(Outside(&["main"]), Tokens(&["eprint", "!"]), STDERR_WHY),
    ban(Outside(&["main"]), PathPart(&["io", "stderr"]), STDERR_WHY),
    ban(Outside(&["main"]), PathPart(&["io", "stdout"]), STDOUT_WHY),
];

impl Scope {
    fn contains(&self, source: &Source) -> bool {
        let (names, is_inside) = match self {
            In(names) => (names, true),
            Outside(names) => (names, false),
        };
        let is_named = names
            .iter()
            .any(|name| *name == source.top_module() || *name == source.file);
        is_named == is_inside
    }
}

impl Pattern {
    /// Returns the lines on which the pattern occurs.
    fn lines(&self, source: &Source) -> Vec<usize> {
        let on_paths = |is_match: &dyn Fn(&[String]) -> bool| {
            let paths = source.paths.iter().filter(|path| is_match(&path.segments));
            paths.map(|path| path.line).collect()
        };
        match self {
            PathStart(start) => on_paths(&|segments| {
                segments.len() >= start.len() && starts_with_words(segments, start)
            }),
            PathPart(part) => on_paths(&|segments| {
                segments
                    .windows(part.len())
                    .any(|window| starts_with_words(window, part))
            }),
            Tokens(words) => (0..source.tokens.len())
                .filter_map(|at| source.tokens.get(at..))
                .filter(|rest| starts_with(rest, words))
                .filter_map(|rest| rest.first().map(|token| token.line))
                .collect(),
        }
    }
}

fn starts_with_words(segments: &[String], words: &[&str]) -> bool {
    segments
        .iter()
        .zip(words)
        .all(|(segment, word)| segment == word)
}

/// Returns every violation in one file that is not test code, as `file:line: what, because why`.
fn violations(source: &Source) -> Vec<String> {
    let mut found = import_violations(source);
    for rule in BANS.iter().filter(|rule| rule.scope.contains(source)) {
        let what = match &rule.pattern {
            PathStart(words) | PathPart(words) => words.join("::"),
            Tokens(words) => words.join(" "),
        };
        let lines = rule.pattern.lines(source);
        found.extend(
            lines
                .iter()
                .map(|line| format!("{}:{line}: `{what}`: {}", source.file, rule.why)),
        );
    }
    found.dedup();
    found
}

fn import_violations(source: &Source) -> Vec<String> {
    let own = source.top_module();
    let file = &source.file;
    let Some(rule) = MODULE_RULES.iter().find(|rule| rule.name == own) else {
        return vec![format!(
            "{file}:1: `{own}` has no row in MODULE_RULES of tests/architecture.rs"
        )];
    };
    let Some(may_use) = rule.may_use else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in source
        .paths
        .iter()
        .filter(|path| path.segments.first().is_some_and(|s| s == "crate"))
    {
        let used = path
            .segments
            .get(1)
            .map_or("the whole crate", String::as_str);
        if used != own && !may_use.contains(&used) {
            found.push(format!(
                "{file}:{}: {own} may not use {used}: {}",
                path.line, rule.why
            ));
        }
    }
    found
}

/// Returns the violations that apply to test code too.
fn file_violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if source.lines > FILE_BUDGET {
        let lines = source.lines;
        found.push(format!(
            "{}:{lines}: {lines} lines: a file has at most {FILE_BUDGET}; split it by topic",
            source.file
        ));
    }
    if source.file.ends_with("/mod.rs") {
        found.push(format!(
            "{}:1: a module is `NAME.rs` with its children in `NAME/`",
            source.file
        ));
    }
    if !source.has_module_docs {
        found.push(format!(
            "{}:1: has no `//!` comment: describe the content of the module",
            source.file
        ));
    }
    found
}

/// Returns all violations in a set of files. Only the rules for files apply to modules declared
/// under `#[cfg(test)]`.
fn all_violations(sources: &[Source]) -> Vec<String> {
    let tests: Vec<&Vec<String>> = sources
        .iter()
        .flat_map(|source| &source.test_modules)
        .collect();
    let mut found = Vec::new();
    for source in sources {
        found.extend(file_violations(source));
        if !tests.iter().any(|test| source.module().starts_with(test)) {
            found.extend(violations(source));
        }
    }
    found
}

fn sources_below(folder: &FilePath, found: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            sources_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
            let file = path.strip_prefix(root).expect("a path below the root");
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            found.push(Source::parse(&file.to_string_lossy(), &text));
        }
    }
}

/// The sources that are not test code.
fn without_test_modules(sources: Vec<Source>) -> Vec<Source> {
    let tests: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| source.test_modules.clone())
        .collect();
    let is_test = |source: &Source| tests.iter().any(|test| source.module().starts_with(test));
    sources
        .into_iter()
        .filter(|source| !is_test(source))
        .collect()
}

fn crate_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    sources_below(
        &FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    assert!(sources.len() > 1, "no source was read");
    sources
}

#[test]
fn no_module_imports_itself_through_others() {
    let found = cycles::import_cycles(&without_test_modules(crate_sources()));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_module_rules_hold() {
    let sources = crate_sources();
    let found = all_violations(&sources);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The tour in `src/lib.rs` names the tests that hold each security invariant. A test that is moved
/// must be moved there too.
#[test]
fn the_tests_that_the_tour_names_exist() {
    let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let tour = fs::read_to_string(root.join("src/lib.rs")).expect("source is UTF-8");
    let code_spans = tour.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = code_spans
        .filter(|span| span.starts_with("tests/") || span.starts_with("src/"))
        .collect();
    assert!(paths.len() > 17, "an invariant names no test: {paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "src/lib.rs names {path}");
    }
}
