//! A configuration with a secret in every place that takes one, an API that gives them all back,
//! and the program over both.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::encodings::{Canary, shapes};
use crate::support::limited::{self, LimitedChild};
use crate::support::message::text;
use crate::support::wire::ReceivedRequest;
use crate::support::{Upstream, certs};

const BEARER: &str = "canary-bearer+/\"\\=aaaa1111";
const PASSWORD: &str = "canary-password+/\"\\=bbbb2222";
const API_KEY: &str = "canary-api-key+/\"\\=cccc3333";
const CLIENT_SECRET: &str = "canary-client-secret+/\"\\=dddd4444";
const CLIENT_ID: &str = "canary-client-id+/\"\\=eeee5555";
const SIGNING: &str = "canary-signing+/\"\\=ffff6666";
const OPERATOR: &str = "operator";
const MANAGEMENT: &str = "canary-management+/\"\\=gggg7777";
const PARAMETER: &str = "canary-parameter+/\"\\=hhhh8888";
/// Legal as a token (RFC 6750 §2.1).
const TOKEN: &str = "canary-token+/iiii9999jjjj0000==";

/// All that was planted.
pub(super) const CANARIES: &[Canary] = &[
    Canary {
        name: "bearer token",
        secret: BEARER,
    },
    Canary {
        name: "password",
        secret: PASSWORD,
    },
    Canary {
        name: "static header",
        secret: API_KEY,
    },
    Canary {
        name: "client secret",
        secret: CLIENT_SECRET,
    },
    Canary {
        name: "client id",
        secret: CLIENT_ID,
    },
    Canary {
        name: "signing secret",
        secret: SIGNING,
    },
    Canary {
        name: "management password",
        secret: MANAGEMENT,
    },
    Canary {
        name: "extra parameter",
        secret: PARAMETER,
    },
    Canary {
        name: "access token",
        secret: TOKEN,
    },
];

/// The files, the API and token endpoint.
pub(super) struct World {
    files: TempDir,
    pub(super) upstream: Upstream,
}

/// A thread that reads a stream to its end.
type Reading = JoinHandle<Vec<u8>>;

/// `egressd serve`, and what it says. It is killed where a test fails before its end.
pub(super) struct Serving {
    pub(super) proxy: SocketAddr,
    pub(super) management: SocketAddr,
    child: LimitedChild,
    said: Option<(Reading, Reading)>,
}

impl World {
    pub(super) fn new() -> Self {
        let upstream = tell_tale();
        let world = Self {
            files: tempfile::tempdir().unwrap(),
            upstream,
        };
        fs::create_dir(world.path("connections")).unwrap();
        world.write("ca.pem", certs::ca_pem());
        world.write("password", &format!("{PASSWORD}\n"));
        let settings = json!({
            "proxy": {"listen": ["127.0.0.1:0"]},
            "management": {
                "listen": ["127.0.0.1:0"],
                "basic_auth": {"username": OPERATOR, "password": MANAGEMENT},
            },
            "egress": {"ca_files": ["ca.pem"]},
            "connections": ["connections"],
            "log": {"access": "all"},
        });
        world.write("settings.json", &settings.to_string());
        let token_url = format!("https://{}/token", world.upstream.address());
        for (id, kind, auth) in [
            (
                "bearer",
                "bearer_token",
                json!({"token": {"env": "BEARER"}}),
            ),
            (
                "basic",
                "basic_auth",
                json!({"username": "user", "password": {"file": "../password"}}),
            ),
            (
                "static",
                "static_headers",
                json!({"headers": {"X-API-Key": API_KEY}}),
            ),
            ("oauth", "oauth_client_credentials", oauth(&token_url)),
            // The token endpoint refuses this client, and says its secret while it does.
            (
                "broken",
                "oauth_client_credentials",
                oauth(&format!("{token_url}/refused")),
            ),
        ] {
            world.connect(id, kind, &auth);
        }
        world
    }

    fn connect(&self, id: &str, kind: &str, auth: &Value) {
        let http = json!({
            "base_url": format!("https://{}/{id}", self.upstream.address()),
            "allowed_routes": ["GET /{shape}/{place}", "POST /echo"],
            kind: auth,
            "webhook_signing_secret": {"env": "SIGNING"},
            "allowed_private_cidrs": ["127.0.0.0/8"],
        });
        let definition = json!({"connection_details": {"http": http}});
        self.write(&format!("connections/{id}.json"), &definition.to_string());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(super) fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command
            .current_dir(self.files.path())
            .args(arguments)
            .env("BEARER", BEARER)
            .env("SIGNING", SIGNING)
            .env("CLIENT_SECRET", CLIENT_SECRET)
            .env("RUST_BACKTRACE", "1");
        command
    }

    /// Runs a command to its end: all that it wrote.
    pub(super) fn run(&self, arguments: &[&str]) -> (Option<i32>, Vec<u8>) {
        let Output {
            status,
            stdout,
            stderr,
        } = limited::output(&mut self.command(arguments));
        (status.code(), [stdout, stderr].concat())
    }

    pub(super) fn serve(&self, format: &str) -> Serving {
        let arguments = [
            "serve",
            "--config",
            "settings.json",
            "--log-level",
            "trace",
            "--log-format",
            format,
        ];
        let mut command = self.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = LimitedChild::spawn(&mut command);
        let mut out = child.stdout.take().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut said = Vec::new();
        let mut told = |words: &str| {
            loop {
                let mut line = Vec::new();
                assert!(
                    err.read_until(b'\n', &mut line).unwrap() > 0,
                    "{words:?}: {}",
                    text(&said)
                );
                said.extend(&line);
                if let Some((_, rest)) = text(&line).split_once(words) {
                    return rest.split('"').next().unwrap().trim().to_owned();
                }
            }
        };
        let proxy = told("agents connect to").parse().unwrap();
        let management = told("operators connect to").parse().unwrap();
        told("ready with");
        let thread = |name: &str| std::thread::Builder::new().name(format!("world {name}"));
        let out = thread("out").spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).unwrap();
            all
        });
        let err = thread("err").spawn(move || {
            err.read_to_end(&mut said).unwrap();
            said
        });
        Serving {
            proxy,
            management,
            child,
            said: Some((out.unwrap(), err.unwrap())),
        }
    }
}

impl Serving {
    /// Ends it as an operator would: what it wrote to stdout and to stderr.
    pub(super) fn end(mut self) -> (Vec<u8>, Vec<u8>) {
        let told = Command::new("sh")
            .args([
                "-c",
                "kill -TERM \"$1\"",
                "sh",
                &self.child.id().to_string(),
            ])
            .status()
            .unwrap();
        assert!(told.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let (out, err) = self.said.take().unwrap();
        (out.join().unwrap(), err.join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The header with which an operator proves itself.
pub(super) fn login() -> String {
    let pair = STANDARD.encode(format!("{OPERATOR}:{MANAGEMENT}"));
    format!("Authorization: Basic {pair}\r\n")
}

fn oauth(token_url: &str) -> Value {
    json!({
        "token_url": token_url,
        "client_id": CLIENT_ID,
        "client_secret": {"env": "CLIENT_SECRET"},
        "extra_params": {"assertion": PARAMETER},
    })
}

/// Serves tokens at `/token`; refuses at `/token/refused`, with every secret in what it says;
/// everywhere else it tells what it got, in the shape and the place that the path names.
fn tell_tale() -> Upstream {
    let calls = AtomicUsize::new(0);
    Upstream::answer(move |request| match request.target.as_str() {
        "/token" => {
            calls.fetch_add(1, Relaxed);
            reply(
                "200 OK",
                "",
                &json!({"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600})
                    .to_string(),
            )
        }
        "/token/refused" => {
            let all: Vec<&str> = CANARIES.iter().map(|canary| canary.secret).collect();
            let said = json!({"error": CLIENT_SECRET, "error_description": all.join(" ")});
            reply("400 Bad Request", "", &said.to_string())
        }
        _ => give_back(request),
    })
}

/// `/<connection>/<shape>/<place>`: the connection's secret in that shape, in a header or in the
/// body.
fn give_back(request: &ReceivedRequest) -> Vec<u8> {
    let mut segments = request.target.split('/').skip(1);
    let (connection, shape, place) = (segments.next(), segments.next(), segments.next());
    let secret = match connection {
        Some("bearer") => BEARER,
        Some("basic") => PASSWORD,
        Some("static") => API_KEY,
        _ => TOKEN,
    };
    let shape: Option<usize> = shape.and_then(|shape| shape.parse().ok());
    let given = shape.and_then(|at| shapes(secret).get(at).map(|(_, bytes)| text(bytes)));
    match (given, place) {
        (Some(given), Some("header")) => reply("200 OK", &format!("X-Debug: {given}\r\n"), "{}"),
        (Some(given), _) => reply("200 OK", "", &format!("you sent {given}, did you not")),
        (None, _) => reply("200 OK", "", "nothing to tell"),
    }
}

fn reply(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{fields}\r\n{body}").into_bytes()
}
