//! The house rules that a compiler does not hold: which room may use which, who may dial, who may expose a secret, how long a
//! file may be. Each rule is one row; a breach is reported with its file, its line and the row's reason.
//!
//! Functions over 60 lines or five arguments, `exit`, `println!` and `unwrap` are clippy's (`clippy.toml`, `Cargo.toml`).

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

/// Lines that a file under `src/` may have, tests in it included: long tables belong in a file of their own.
const FILE_BUDGET: usize = 400;

/// What one room may name of the others.
struct Room {
    name: &'static str,
    /// `None`: all of them.
    may_use: Option<&'static [&'static str]>,
    why: &'static str,
}

const fn room(name: &'static str, may_use: &'static [&'static str], why: &'static str) -> Room {
    Room {
        name,
        may_use: Some(may_use),
        why,
    }
}

const fn anything(name: &'static str, why: &'static str) -> Room {
    Room {
        name,
        may_use: None,
        why,
    }
}

/// From the inside out. A room that is not here is a breach: give it a row, and think about it first.
#[rustfmt::skip] // one row a line
const ROOMS: &[Room] = &[
    room("route", &[], "the route language is pure: it knows no connections, no HTTP server, no configuration"),
    room("domain", &["route"], "what a connection is does not depend on how it is read, served or dialled"),
    room("config", &["domain", "route", "shortage"], "files become domain values here and nowhere else"),
    room("snapshot", &["domain", "route"], "a snapshot never changes: no tokens, no pools"),
    room("telemetry", &["domain"], "labels and log lines see no secrets, bodies or raw paths"),
    room("clock", &[], "a clock knows nothing of what is counted on it"),
    room("upstream", &["clock", "domain", "shortage", "telemetry"], "dialling knows no routes"),
    room("reflection", &["domain", "telemetry"], "a search sees secrets and bytes, not requests"),
    room("credential", &["clock", "domain", "reflection", "upstream", "telemetry"], "a credential does not depend on the agent's request"),
    // The two that are served implement the seam that `server` states; `server` knows neither.
    room("proxy", &["domain", "memory", "route", "server", "snapshot", "credential", "reflection", "upstream", "telemetry"], "a request's path parses no configuration and does not dial"),
    room("management", &["domain", "hardening", "route", "server", "snapshot", "telemetry", "credential", "reflection"], "management reads, and never sees a request or a raw file"),
    room("server", &["memory", "telemetry"], "the accept loop does not know what it serves"),
    room("reload", &["config", "domain", "snapshot", "telemetry"], "a reload loads, compiles and publishes"),
    room("hardening", &[], "the process, not what it does"),
    room("shortage", &[], "errors of the system, whatever they stopped"),
    room("memory", &[], "the machine, not what is done on it"),
    room("app", &["clock", "config", "credential", "domain", "hardening", "management", "memory", "proxy", "reload", "route", "server", "snapshot", "telemetry", "upstream"], "the composition root is used by commands, not the other way round"),
    room("demo", &["config"], "the demo's API is an upstream: it knows nothing of the proxy before it"),
    room("probe_client", &[], "it opens sockets that the address guard does not check, and knows nothing else of egressd"),
    room("doctor", &["domain", "probe_client", "upstream"], "the doctor sees what the agent sees: no credential, no configuration, no app"),
    anything("cli", "commands may use every room"),
    anything("main", "the program"),
    anything("lib", "the crate's root declares the rooms"),
];

/// Where a row holds. A place is a room or a file.
enum Where {
    In(&'static [&'static str]),
    Outside(&'static [&'static str]),
}

/// What must not be seen there.
enum Sight {
    /// A path that begins with these segments, in `use` or inline.
    Path(&'static [&'static str]),
    /// A path that holds these segments one after another.
    Within(&'static [&'static str]),
    /// These words one after another.
    Words(&'static [&'static str]),
}

struct Banned {
    place: Where,
    sight: Sight,
    why: &'static str,
}

const fn banned(place: Where, sight: Sight, why: &'static str) -> Banned {
    Banned { place, sight, why }
}

use Sight::{Path, Within, Words};
use Where::{In, Outside};

const PURE: Where = In(&["route", "domain"]);
const EXPOSE: Where = Outside(&[
    "credential",
    "reflection",
    "src/domain/secret.rs",
    "src/domain/auth.rs",
    "src/domain/auth/header.rs",
    "src/domain/auth/oauth.rs",
]);
const TOKEN_LIVES: &[&str] = &[
    "src/clock.rs",
    "src/credential/oauth/policy.rs",
    "src/credential/oauth/response.rs",
    "src/credential/oauth/token.rs",
];
/// Also the time until the token endpoint is contacted again.
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
const TOKEN_CLOCK_WHY: &str = "a token's life is counted on the boot-time clock (`crate::clock`): the system's time jumps, and `Instant` stands still during suspension";
const NO_IO: &str = "routes and definitions are values: no I/O, nothing async";
const EXPOSE_WHY: &str = "a secret is exposed in two rooms only (`credential`, `reflection`), and where the domain puts a fixed header together";
const DIAL_WHY: &str = "only `upstream` opens sockets outwards: the address guard stands there";
/// Opens sockets that the address guard does not check, to see whether they open.
const PROBE_CLIENT: &str = "src/probe_client.rs";
/// The commands that probe from outside. Neither may hold a credential.
const PROBING_COMMANDS: &[&str] = &["src/cli/doctor.rs", "src/cli/healthcheck.rs"];
const PROBE_WHY: &str = "the address guard does not check what `probe_client` dials: only `healthcheck` and the doctor use it, and they hold no credential";
const STDERR_WHY: &str =
    "only main.rs writes to stderr or exits, so that a command is a value with an exit code";

const STDOUT_WHY: &str =
    "a thread that is stuck in a write must not hold the lock of a standard stream";

#[rustfmt::skip] // one row a line
const BANNED: &[Banned] = &[
    banned(In(&["route"]), Path(&["http"]), "the matcher takes text, not server types"),
    banned(PURE, Path(&["hyper"]), NO_IO),
    banned(PURE, Path(&["hyper_util"]), NO_IO),
    banned(PURE, Path(&["tokio"]), NO_IO),
    banned(PURE, Path(&["std", "fs"]), NO_IO),
    banned(PURE, Path(&["std", "env"]), NO_IO),
    banned(PURE, Words(&["async"]), NO_IO),
    banned(PURE, Path(&["serde"]), "files are read by `config`; a domain value is made by its constructor alone"),
    banned(PURE, Path(&["serde_json"]), "files are read by `config`; a domain value is made by its constructor alone"),
    banned(EXPOSE, Words(&[".", "expose"]), EXPOSE_WHY),
    banned(EXPOSE, Within(&["Secret", "expose"]), EXPOSE_WHY),
    banned(Outside(&["upstream", PROBE_CLIENT]), Within(&["TcpStream", "connect"]), DIAL_WHY),
    // A listener asks a socket file whether somebody still answers there, before it is replaced.
    banned(Outside(&["upstream", "src/server/unix_socket.rs", PROBE_CLIENT]), Within(&["UnixStream", "connect"]), DIAL_WHY),
    banned(Outside(&["upstream", PROBE_CLIENT]), Within(&["UdpSocket"]), DIAL_WHY),
    banned(Outside(&["doctor", PROBE_CLIENT, "src/cli/doctor.rs", "src/cli/healthcheck.rs"]), Path(&["crate", "probe_client"]), PROBE_WHY),
    // Through a re-export another command could dial without a path that names `probe_client`.
    banned(In(&["doctor"]), Words(&["pub", "(", "crate", ")", "use", "crate"]), "the doctor hands out nothing of other modules, the probe client above all"),
    banned(In(PROBING_COMMANDS), Path(&["crate", "credential"]), PROBE_WHY),
    banned(In(PROBING_COMMANDS), Path(&["crate", "app"]), PROBE_WHY),
    banned(In(PROBING_COMMANDS), Path(&["crate", "config", "load"]), PROBE_WHY),
    banned(Outside(&["upstream"]), Within(&["TcpStream", "connect_timeout"]), DIAL_WHY),
    banned(Outside(&["upstream"]), Within(&["TcpSocket"]), DIAL_WHY),
    banned(Outside(&["upstream", "src/server/unix_socket.rs", PROBE_CLIENT]), Words(&[".", "connect", "("]), DIAL_WHY),
    banned(Outside(&["upstream"]), Path(&["hickory_resolver"]), "only `upstream` resolves names"),
    banned(Outside(&["upstream"]), Within(&["ToSocketAddrs"]), "only `upstream` resolves names"),
    banned(Outside(&[]), Words(&["#", "[", "path", "="]), "a module's file is where the compiler looks for it"),
    banned(Outside(&["config"]), Path(&["granit_parser"]), "files are read by `config`"),
    // F-153, F-253
    banned(In(TOKEN_LIVES), Words(&["SystemTime"]), TOKEN_CLOCK_WHY),
    banned(In(TOKEN_TIMES), Words(&["Instant"]), TOKEN_CLOCK_WHY),
    banned(Outside(&["main"]), Within(&["process", "exit"]), STDERR_WHY),
    banned(Outside(&["main"]), Words(&["eprintln", "!"]), STDERR_WHY),
    banned(Outside(&["main"]), Words(&["eprint", "!"]), STDERR_WHY),
    banned(Outside(&["main"]), Within(&["io", "stderr"]), STDERR_WHY),
    banned(Outside(&["main"]), Within(&["io", "stdout"]), STDOUT_WHY),
];

impl Where {
    fn holds(&self, source: &Source) -> bool {
        let (places, inside) = match self {
            In(places) => (places, true),
            Outside(places) => (places, false),
        };
        let named = places
            .iter()
            .any(|place| *place == source.room() || *place == source.file);
        named == inside
    }
}

impl Sight {
    /// Lines on which it is seen.
    fn lines(&self, source: &Source) -> Vec<usize> {
        let on_paths = |seen: &dyn Fn(&[String]) -> bool| {
            let paths = source.paths.iter().filter(|path| seen(&path.segments));
            paths.map(|path| path.line).collect()
        };
        match self {
            Path(start) => {
                on_paths(&|segments| segments.len() >= start.len() && same(segments, start))
            }
            Within(part) => on_paths(&|segments| {
                segments
                    .windows(part.len())
                    .any(|window| same(window, part))
            }),
            Words(words) => (0..source.tokens.len())
                .filter_map(|at| source.tokens.get(at..))
                .filter(|rest| starts_with(rest, words))
                .filter_map(|rest| rest.first().map(|token| token.line))
                .collect(),
        }
    }
}

fn same(segments: &[String], words: &[&str]) -> bool {
    segments
        .iter()
        .zip(words)
        .all(|(segment, word)| segment == word)
}

/// Every breach in one file that is not test code, as `file:line: what, because why`.
fn breaches(source: &Source) -> Vec<String> {
    let mut found = import_breaches(source);
    for row in BANNED.iter().filter(|row| row.place.holds(source)) {
        let what = match &row.sight {
            Path(words) | Within(words) => words.join("::"),
            Words(words) => words.join(" "),
        };
        let lines = row.sight.lines(source);
        found.extend(
            lines
                .iter()
                .map(|line| format!("{}:{line}: `{what}`: {}", source.file, row.why)),
        );
    }
    found.dedup();
    found
}

fn import_breaches(source: &Source) -> Vec<String> {
    let own = source.room();
    let file = &source.file;
    let Some(room) = ROOMS.iter().find(|room| room.name == own) else {
        return vec![format!(
            "{file}:1: `{own}` is no room of the house: give it a row in tests/architecture.rs"
        )];
    };
    let Some(may_use) = room.may_use else {
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
                path.line, room.why
            ));
        }
    }
    found
}

/// Breaches that test code can make as well.
fn file_breaches(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if source.lines > FILE_BUDGET {
        let lines = source.lines;
        found.push(format!(
            "{}:{lines}: {lines} lines: a file has at most {FILE_BUDGET}; draw a wall",
            source.file
        ));
    }
    if source.file.ends_with("/mod.rs") {
        found.push(format!(
            "{}:1: a module is `NAME.rs` with its children in `NAME/`",
            source.file
        ));
    }
    if !source.says_what_it_is {
        found.push(format!(
            "{}:1: begins without `//!`: say what lives here and what may not",
            source.file
        ));
    }
    found
}

/// All breaches of a set of files; modules declared under `#[cfg(test)]` are held to the file rules only.
fn all_breaches(sources: &[Source]) -> Vec<String> {
    let tests: Vec<&Vec<String>> = sources
        .iter()
        .flat_map(|source| &source.test_modules)
        .collect();
    let mut found = Vec::new();
    for source in sources {
        found.extend(file_breaches(source));
        if !tests.iter().any(|test| source.module().starts_with(test)) {
            found.extend(breaches(source));
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

/// Modules that still have an import cycle among their children. Delete the line once the cycle is opened.
const NOT_YET_OPENED: &[&str] = &["proxy"];

#[test]
fn no_module_imports_itself_through_others() {
    let mut found = cycles::import_cycles(&without_test_modules(crate_sources()));
    found.retain(|cycle| {
        let is_known = |parent: &&str| cycle.contains(&format!("in `{parent}`:"));
        !NOT_YET_OPENED.iter().any(is_known)
    });
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_house_rules_hold() {
    let sources = crate_sources();
    let found = all_breaches(&sources);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
