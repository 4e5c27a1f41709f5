//! Tests of the checker: small wrong inputs with the violation that each must have, and correct
//! inputs that have none.

use super::source::{Source, blank};
use super::{all_violations, violations};

/// File, text, and a part of the violation that it must give.
#[rustfmt::skip] // one row a line
const WRONG: &[(&str, &str, &str)] = &[
    ("src/route/a.rs", "use crate::config::Settings;", "src/route/a.rs:1: route may not use config"),
    ("src/route/a.rs", "\n\nfn f() { crate::domain::new() }", "src/route/a.rs:3: route may not use domain"),
    ("src/domain/a.rs", "use crate::{route, config::{self, b}};", "domain may not use config"),
    ("src/proxy/a.rs", "use super::super::config::Raw;", "proxy may not use config"),
    ("src/proxy.rs", "use super::app::App;", "proxy may not use app"),
    ("src/proxy.rs", "mod inner { use super::super::management::V; }", "proxy may not use management"),
    ("src/proxy/a.rs", "fn f(x: crate::config::Settings) {}", "proxy may not use config"),
    ("src/proxy/a.rs", "use crate::*;", "proxy may not use *"),
    ("src/proxy/a.rs", "use crate as root;", "proxy may not use the whole crate"),
    ("src/server.rs", "use crate::proxy;", "server may not use proxy"),
    ("src/app.rs", "use crate::cli;", "app may not use cli"),
    ("src/cupboard.rs", "", "`cupboard` has no row"),
    ("src/route/a.rs", "use http::Method;", "`http`"),
    ("src/route/a.rs", "fn f(m: ::http::Method) {}", "`http`"),
    ("src/domain/a.rs", "use {std::fmt, tokio::net};", "`tokio`"),
    ("src/domain/a.rs", "use std::{fmt, fs};", "`std::fs`"),
    ("src/domain/a.rs", "#[derive(serde::Deserialize)] struct A;", "`serde`"),
    ("src/domain/a.rs", "pub async fn f() {}", "`async`"),
    ("src/config/a.rs", "fn f(s: &Secret) { s.expose() }", "a secret is exposed in two modules only"),
    ("src/config/a.rs", "fn f(s: &[Secret]) { s.iter().map(Secret::expose) }", "a secret is exposed in two modules only"),
    ("src/domain/caps.rs", "fn f(s: &Secret) { s\n.expose() }", "src/domain/caps.rs:2: `. expose`"),
    ("src/proxy/a.rs", "async fn f() { TcpStream::connect(a).await; }", "only `upstream` opens sockets"),
    ("src/cli/a.rs", "fn f() { tokio::net::TcpSocket::new_v4(); }", "only `upstream` opens sockets"),
    ("src/cli/a.rs", "fn f(s: Socket) { s.connect(a); }", "only `upstream` opens sockets"),
    ("src/doctor/network.rs", "async fn f() { TcpStream::connect(a).await; }", "only `upstream` opens sockets"),
    ("src/probe_client.rs", "use std::net::ToSocketAddrs;", "only `upstream` resolves names"),
    ("src/cli/a.rs", "fn f() { std::net::UdpSocket::bind(a); }", "only `upstream` opens sockets"),
    ("src/cli/serve.rs", "use crate::probe_client::ProbeTarget;", "only `healthcheck` and the doctor use it"),
    ("src/cli/probe/token.rs", "use crate::{probe_client::connect, domain};", "only `healthcheck` and the doctor use it"),
    ("src/doctor/network.rs", "use crate::credential::Credentials;", "doctor may not use credential"),
    ("src/doctor.rs", "use crate::config::Environment;", "doctor may not use config"),
    ("src/doctor.rs", "fn f() { crate::app::App::start() }", "doctor may not use app"),
    ("src/doctor.rs", "pub(crate) use crate::probe_client::ProbeTarget;", "the doctor re-exports nothing"),
    ("src/cli/doctor.rs", "use crate::credential::Credentials;", "they hold no credential"),
    ("src/probe_client.rs", "use crate::upstream::ResolverSettings;", "probe_client may not use upstream"),
    ("src/cli/healthcheck.rs", "fn f() { crate::config::load(o) }", "they hold no credential"),
    ("src/cli/a.rs", "use std::net::ToSocketAddrs;", "only `upstream` resolves names"),
    ("src/credential/oauth/token.rs", "use std::time::SystemTime;", "the boot-time clock"),
    ("src/credential/oauth/grant.rs", "use tokio::time::Instant;", "stops during suspension"),
    ("src/cli/a.rs", "fn f() { std::process::exit(1) }", "only main.rs"),
    ("src/cli/a.rs", "use std::process::{self, exit};", "only main.rs"),
    ("src/lib.rs", "fn f() { eprintln!(\"{}\", 1) }", "only main.rs"),
    ("src/cli/a.rs", "fn f() { std::io::stderr().lock(); }", "only main.rs"),
    ("src/cli/a.rs", "fn f() { let a = '\\''; std::process::exit(1) }", "only main.rs"),
    ("src/cli/a.rs", "fn f() { let a = r#\"\"\"#; std::process::exit(1) }", "only main.rs"),
    ("src/route/a.rs", "#[path = \"b.rs\"] mod b;", "where the compiler looks"),
    ("src/cli/a.rs", "/* /* */ */ fn f<'a>() { std::process::exit(1) }", "only main.rs"),
];

#[rustfmt::skip] // one row a line
const RIGHT: &[(&str, &str)] = &[
    ("src/proxy/a.rs", "use crate::{domain::Connection, route::{Path, Table}, proxy::Call};"),
    ("src/proxy/a.rs", "use super::call::Call; pub(crate) struct A; pub(in crate::proxy) struct B;"),
    ("src/route/a.rs", "// use crate::config;\n/* crate::config */ const A: &str = \"crate::config\";"),
    ("src/route/a.rs", "#[cfg(test)] mod tests { use crate::config; use serde_json::Value; }"),
    ("src/route/a.rs", "#[cfg(test)] use crate::config;\nfn f() {}"),
    ("src/route/a.rs", "fn f() -> impl Iterator + use<'_> {}"),
    ("src/route.rs", "mod http; use self::http::X; use super::route::Y;"),
    ("src/domain/secret.rs", "impl Secret { pub fn expose(&self) -> &str { &self.0 } fn g(&self) { self.expose() } }"),
    ("src/credential.rs", "fn f(s: &Secret) { s.expose() }"),
    ("src/credential/signing.rs", "fn f(s: &crate::domain::Secret) { s.expose() }"),
    ("src/upstream/dial.rs", "async fn f() { TcpStream::connect(a).await; connector.connect(b); }"),
    ("src/probe_client.rs", "async fn f() { TcpStream::connect(a).await; UnixStream::connect(b).await; }"),
    ("src/doctor/network.rs", "use crate::probe_client::connect; use crate::upstream::ResolverSettings;"),
    ("src/server.rs", "async fn f(l: TcpListener) { let (s, _): (TcpStream, _) = l.accept().await; }"),
    ("src/main.rs", "fn main() { eprintln!(\"no\"); std::process::exit(64) }"),
    ("src/cli/a.rs", "const A: &str = \"std::process::exit\"; const B: &[u8] = br##\"eprintln!(\"# )\"##;"),
];

fn found(file: &str, text: &str) -> Vec<String> {
    violations(&Source::parse(file, text))
}

#[test]
fn a_wrong_file_is_reported_with_its_place_and_reason() {
    for (file, text, expected) in WRONG {
        let found = found(file, text);
        let is_reported = found
            .iter()
            .any(|violation| violation.contains(expected) && violation.starts_with(file));
        assert!(
            is_reported,
            "{file}: {text}\nmust give {expected:?}, gave {found:?}"
        );
    }
}

#[test]
fn a_right_file_is_not_reported() {
    for (file, text) in RIGHT {
        let found = found(file, text);
        assert!(found.is_empty(), "{file}: {text}\ngave {found:?}");
    }
}

#[test]
fn a_file_has_a_line_budget_and_module_docs() {
    let long = format!("//! A.\n{}", "fn a() {}\n".repeat(400));
    let found = all_violations(&[Source::parse("src/route/a.rs", &long)]);
    assert_eq!(
        found,
        ["src/route/a.rs:401: 401 lines: a file has at most 400; split it by topic"]
    );
    let found = all_violations(&[Source::parse("src/route/a.rs", "// A.\n")]);
    assert!(found.concat().contains("has no `//!` comment"), "{found:?}");
    let found = all_violations(&[Source::parse("src/route/mod.rs", "//! A.\n")]);
    assert!(
        found.concat().contains("a module is `NAME.rs`"),
        "{found:?}"
    );
    let full = format!("//! A.\n{}", "fn a() {}\n".repeat(399));
    assert_eq!(
        all_violations(&[Source::parse("src/route/a.rs", &full)]),
        [""; 0]
    );
}

#[test]
fn only_modules_declared_for_tests_are_exempt() {
    let violation = "//! A.\nuse crate::config;";
    let declared = Source::parse(
        "src/route.rs",
        "//! A.\n#[cfg(test)]\nmod tests;\nmod table;\n",
    );
    let files = [
        declared,
        Source::parse("src/route/tests.rs", violation),
        Source::parse("src/route/tests/more.rs", violation),
        Source::parse("src/route/table.rs", violation),
    ];
    let found = all_violations(&files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found.concat().starts_with("src/route/table.rs:2:"),
        "{found:?}"
    );
}

#[test]
fn blanking_keeps_lines_and_lifetimes() {
    assert_eq!(
        blank("a \"x\ny\" 'b' &'c d // e\nf"),
        "a   \n       &'c d     \nf"
    );
}
