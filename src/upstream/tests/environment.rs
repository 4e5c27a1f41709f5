//! Environment variables change neither the trusted roots nor the dialled address.

use std::net::SocketAddr;
use std::process::Command;

use super::world::{Authority, Server, dialer, server_config, target};
use crate::domain::Http2Mode;
use crate::upstream::failure::TlsFault;
use crate::upstream::{Failure, Trust};

/// Set in the child process that the test starts from its own binary, because a test must not
/// change the environment of its process.
const CHILD: &str = "EGRESSD_TEST_DIAL";

/// The name by which the child finds the test.
const THIS: &str =
    "upstream::tests::environment::roots_keys_and_proxies_of_the_environment_are_ignored";

#[tokio::test]
async fn roots_keys_and_proxies_of_the_environment_are_ignored() {
    // F-87
    if let Ok(address) = std::env::var(CHILD) {
        let port = address.parse::<SocketAddr>().unwrap().port();
        let trust = Trust::from_platform(&[]).unwrap();
        let outcome = dialer(&["127.0.0.1"])
            .dial(&target(port, Http2Mode::Auto, &trust))
            .await;
        let refused = Failure::Tls(TlsFault::Certificate("unknown issuer"));
        assert_eq!(outcome.err(), Some(refused));
        return;
    }
    let authority = Authority::new();
    let upstream = Server::start_tls(server_config(authority.issue(|_| {}), &[])).await;
    let proxy = Server::start("127.0.0.1:0", |_| async {}).await;
    let directory = tempfile::tempdir().unwrap();
    let (roots, keys) = (
        directory.path().join("roots.pem"),
        directory.path().join("keys.log"),
    );
    std::fs::write(&roots, authority.pem()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", THIS])
        .env(CHILD, upstream.address.to_string())
        .env("SSL_CERT_FILE", &roots)
        .env("SSL_CERT_DIR", directory.path())
        .env("SSLKEYLOGFILE", &keys);
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "https_proxy",
        "all_proxy",
    ] {
        child.env(name, format!("http://{}", proxy.address));
    }
    let output = tokio::task::spawn_blocking(move || child.output()).await;
    let output = output.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("1 passed"), "{printed}");
    assert_eq!((upstream.accepted_count(), proxy.accepted_count()), (1, 0));
    assert!(!keys.exists());
}
