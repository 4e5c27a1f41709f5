//! A provider and an API whose answers contain the secrets, and the places that are searched.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use serde_json::{Value, json};

use crate::canary::encodings::{Canary, shapes};
use crate::login::process::{Process, run};
use crate::login::world::LoginWorld;
use crate::support::message::{find_bytes, text};
use crate::support::token_endpoint::TokenCall;
use crate::support::{PATIENCE, TokenAnswer};

pub(super) const CLIENT_SECRET: &str = "canary-client-secret+/\"\\=aaaa1111";
pub(super) const CODE: &str = "canary-code+/=bbbb2222";
pub(super) const ACCESS: [&str; 2] = [
    "canary-access+/cccc3333==",
    "canary-newer-access+/dddd4444==",
];
pub(super) const REFRESH: [&str; 2] = [
    "canary-refresh+/\"\\=eeee5555",
    "canary-newer-refresh+/\"\\=ffff6666",
];
pub(super) const ID_TOKEN: &str = "canary-id-token+/\"\\=gggg7777";
pub(super) const DEVICE_CODE: &str = "canary-device-code+/\"\\=hhhh8888";
pub(super) const USER_CODE: &str = "CANARY-IIII-9999";
pub(super) const ACCOUNT: &str = "canary-account-jjjj0000@example.test";

/// The text of a place, and the names of the secrets that are expected there.
struct Gathered {
    place: String,
    bytes: Vec<u8>,
    expected: Vec<&'static str>,
}

pub(super) struct PlantedWorld {
    pub(super) inner: LoginWorld,
    canaries: RefCell<Vec<Canary>>,
    gathered: RefCell<Vec<Gathered>>,
}

/// Returns the token answer of the first or of the second access token.
pub(super) fn answer(number: usize) -> Value {
    json!({
        "access_token": ACCESS[number], "token_type": "bearer", "expires_in": 3600,
        "refresh_token": REFRESH[number], "scope": "read:user", "id_token": ID_TOKEN,
        "account": ACCOUNT,
    })
}

impl PlantedWorld {
    pub(super) fn new() -> Self {
        let was_expired = AtomicBool::new(false);
        let fields = json!({
            "client_secret": {"file": "../secret"}, "client_auth": "basic",
            "device_authorization_url": "/device", "revocation_url": "/revoke",
        });
        let inner = LoginWorld::with_provider(&fields, move |call| respond(call, &was_expired));
        fs::write(inner.program.path("secret"), CLIENT_SECRET).unwrap();
        set_mode(&inner.program.path("secret"), 0o600);
        let file = inner.program.path("connections/api.json");
        let mut definition: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let http = &mut definition["connection_details"]["http"];
        http["base_url"] = json!(format!("https://{}", inner.provider.address()));
        http["allowed_routes"] = json!(["GET /user", "GET /reflect", "GET /expire"]);
        fs::write(&file, definition.to_string()).unwrap();
        let file = inner.program.path("egressd.yaml");
        let mut settings: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        settings["proxy"]["listeners"] = json!([{"listen": ["127.0.0.1:0"], "connection": "api"}]);
        fs::write(&file, settings.to_string()).unwrap();
        // `login` would create it, but the hardened process expects it at its start.
        fs::create_dir_all(inner.program.path("store/tokens")).unwrap();
        set_mode(&inner.program.path("store/tokens"), 0o700);
        fs::create_dir(inner.program.path("temporary")).unwrap();
        let named = [
            ("client secret", CLIENT_SECRET),
            ("code", CODE),
            ("access token", ACCESS[0]),
            ("newer access token", ACCESS[1]),
            ("refresh token", REFRESH[0]),
            ("newer refresh token", REFRESH[1]),
            ("ID token", ID_TOKEN),
            ("device code", DEVICE_CODE),
            ("user code", USER_CODE),
            ("account", ACCOUNT),
        ];
        let canaries = named.map(|(name, secret)| Canary { name, secret });
        Self {
            inner,
            canaries: RefCell::new(canaries.into()),
            gathered: RefCell::default(),
        }
    }

    /// Adds a secret that `login` has chosen.
    pub(super) fn plant(&self, name: &'static str, secret: &str) {
        assert!(secret.len() >= 32, "{name}: {secret}");
        let secret: &'static str = secret.to_owned().leak();
        self.canaries.borrow_mut().push(Canary { name, secret });
    }

    /// Adds the PKCE verifier of the last exchange of a code.
    pub(super) fn plant_verifier(&self, name: &'static str) {
        let calls = (0..self.inner.provider.calls()).rev();
        let calls = calls.map(|number| self.inner.provider.call(number));
        let verifier = calls.into_iter().find_map(|call| {
            let verifier = call.single_param("code_verifier")?;
            assert_eq!(call.single_param("code"), Some(CODE));
            Some(verifier.to_owned())
        });
        self.plant(name, &verifier.unwrap());
    }

    /// Keeps the text of a place for the search at the end, when all secrets are known.
    pub(super) fn gather(&self, place: &str, bytes: impl AsRef<[u8]>, expected: &[&'static str]) {
        self.gathered.borrow_mut().push(Gathered {
            place: place.to_owned(),
            bytes: bytes.as_ref().to_vec(),
            expected: expected.to_vec(),
        });
    }

    /// Gathers the command lines and environments of all processes, with those of `pids`.
    pub(super) fn gather_processes(&self, what: &str, pids: &[u32], expected: &[&'static str]) {
        let mut all = Vec::new();
        let mut seen = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let Some(pid) = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok())
            else {
                continue;
            };
            // A process may end meanwhile, and the environment of one that is not dumpable is
            // readable for root only.
            for name in ["cmdline", "environ"] {
                if let Ok(bytes) = fs::read(path.join(name)) {
                    seen.push((pid, name));
                    all.extend(bytes);
                    all.push(0);
                }
            }
        }
        for pid in pids {
            assert!(seen.contains(&(*pid, "cmdline")), "{what}: {pid}");
        }
        self.gather(&format!("the processes during {what}"), all, expected);
    }

    /// Gathers the files of the world: the configuration, the store, and temporary files.
    pub(super) fn gather_files(&self) {
        let mut folders = vec![self.inner.program.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let expected: &[&str] = if path == self.inner.file() {
                    &[
                        "access token",
                        "newer access token",
                        "refresh token",
                        "newer refresh token",
                        "account",
                    ]
                } else if path == self.inner.program.path("secret") {
                    &["client secret"]
                } else {
                    &[]
                };
                let name = path.display().to_string();
                self.gather(&name, name.as_bytes(), &[]);
                self.gather(&name, fs::read(&path).unwrap(), expected);
            }
        }
    }

    /// Searches all that was gathered. `present` names secrets that must be where they are
    /// expected: without them, the search would prove nothing.
    pub(super) fn search(&self, present: &[&str]) {
        let gathered = self.gathered.borrow();
        for one in gathered.iter() {
            let found = self.unexpected(&one.bytes, &one.expected);
            let shown = text(&one.bytes);
            assert!(found.is_empty(), "{} has {found:?}: {shown}", one.place);
        }
        for name in present {
            let mut places = gathered.iter().filter(|one| one.expected.contains(name));
            let is_found = places.any(|one| {
                let found = self.unexpected(&one.bytes, &[]);
                found.iter().any(|(of, _)| of == name)
            });
            assert!(is_found, "the {name} is nowhere");
        }
    }

    /// Returns the unexpected secrets in a text, with their encoding.
    pub(super) fn unexpected(
        &self,
        bytes: impl AsRef<[u8]>,
        expected: &[&str],
    ) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        for canary in self.canaries.borrow().iter() {
            let shapes = shapes(canary.secret);
            let mut shapes = shapes.iter();
            let shape = shapes.find(|(_, shape)| find_bytes(bytes.as_ref(), shape).is_some());
            if let Some((encoding, _)) = shape
                && !expected.contains(&canary.name)
            {
                found.push((canary.name, *encoding));
            }
        }
        found
    }

    /// Starts a login on a terminal. Its opener keeps running until [`Self::end_opener`].
    pub(super) fn login(&self, arguments: &[&str]) -> Process {
        let opener = self.inner.program.path("opener");
        let script = "#!/bin/sh\ncd \"${0%/*}\"\nprintf %s \"$1\" >part && mv part link\n\
             for _ in $(seq 1200); do [ -e ended ] && break; sleep 0.05; done\nrm -f link ended\n";
        fs::write(&opener, script).unwrap();
        set_mode(&opener, 0o755);
        let mut command = self.inner.command("login", arguments);
        command
            .env("BROWSER", &opener)
            .env("TMPDIR", self.inner.program.path("temporary"));
        Process::on_terminal(&command)
    }

    /// Starts a login whose core file may be as large as the system allows, in a directory that is
    /// searched.
    pub(super) fn login_with_core(&self, arguments: &[&str]) -> Process {
        let login = self.inner.command("login", arguments);
        // The hard limit, because a test of the hardening may have lowered that of this process.
        let script = r#"ulimit -c "$(ulimit -H -c)"; exec "$0" "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(login.get_program());
        command.args(login.get_args());
        command.current_dir(self.inner.program.path(""));
        Process::on_terminal(&command)
    }

    /// Waits for the link that the opener was started with.
    pub(super) fn opened_link(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(link) = fs::read_to_string(self.inner.program.path("link")) {
                return link;
            }
            assert!(Instant::now() < end, "the opener was not started");
            std::thread::yield_now();
        }
    }

    /// Ends the opener, and waits until its files are removed.
    pub(super) fn end_opener(&self) {
        fs::write(self.inner.program.path("ended"), "").unwrap();
        let end = Instant::now() + PATIENCE;
        while self.inner.program.path("ended").exists() {
            assert!(Instant::now() < end, "the opener does not end");
            std::thread::yield_now();
        }
    }

    /// Returns the output of the doctor, which looks for nothing on the network.
    pub(super) fn doctor(&self) -> String {
        let closed = "127.0.0.1:1";
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command.args(["doctor", "--name", "nothing.invalid"]);
        for flag in [
            "--proxy",
            "--management",
            "--target",
            "--metadata-target",
            "--resolver",
        ] {
            command.args([flag, closed]);
        }
        let ended = run(command.current_dir(self.inner.program.path("")));
        format!("{}{}", ended.out, ended.err)
    }
}

/// Answers as the provider and as the API.
fn respond(call: &TokenCall, was_expired: &AtomicBool) -> TokenAnswer {
    let authorization = call.fields.single_value("authorization");
    match (call.target.as_str(), call.single_param("grant_type")) {
        ("/token", Some("refresh_token")) => TokenAnswer::json(&answer(1)),
        ("/token", _) => TokenAnswer::json(&answer(0)),
        ("/device", _) => TokenAnswer::json(&json!({
            "device_code": DEVICE_CODE, "user_code": USER_CODE, "interval": 0,
            "verification_uri": "https://device.test/activate", "expires_in": 900,
        })),
        ("/reflect", _) => TokenAnswer::body(format!("you sent {authorization:?}")),
        ("/expire", _) if !was_expired.swap(true, Relaxed) => {
            TokenAnswer::status("401 Unauthorized", "", "expired")
        }
        _ => TokenAnswer::body("{}"),
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
