//! Tests of the sources that a definition may name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{DenialReason, PolicyInputs, SecretPolicy, SecretSettings};
use crate::config::environment::Environment;
use crate::domain::SecretSource;

/// Creates settings in `conf`, definitions in `defs`, and a directory `other` outside both.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let world = tempfile::tempdir().unwrap();
        for name in [
            "conf/egressd.yaml",
            "conf/password",
            "conf/sub/token",
            "defs/a.yaml",
            "other/token",
        ] {
            let file = world.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        Self(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn policy(&self, secrets: &SecretSettings, used: &[SecretSource]) -> SecretPolicy {
        SecretPolicy::new(&PolicyInputs {
            secrets,
            environment: &Environment::new([("CREDENTIALS_DIRECTORY", self.path("cred"))]),
            settings: Some(&self.path("conf/egressd.yaml")),
            listed: &[self.path("defs")],
            definitions: &[self.path("defs/a.yaml")],
            used,
            token_store: Some(&self.path("conf/tokens")),
        })
    }

    fn check_source(&self, policy: &SecretPolicy, name: &str) -> Result<(), DenialReason> {
        policy.admit_file(&self.path(name)).map(drop)
    }
}

#[test]
fn files_below_the_directories_of_settings_and_definitions_are_allowed() {
    // F-256
    let world = World::new();
    let policy = world.policy(&SecretSettings::default(), &[]);
    for name in [
        "conf/sub/token",
        "conf/not-there",
        "defs/x",
        "cred/a",
        "defs/../conf/x",
        "defs/../secrets/x",
        "secrets/sub/x",
    ] {
        assert_eq!(world.check_source(&policy, name), Ok(()), "{name}");
    }
    for path in ["/run/secrets/a/b", "/var/run/secrets/a", "/etc/egressd/a"] {
        assert!(policy.admit_file(Path::new(path)).is_ok(), "{path}");
    }
    for name in [
        "other/token",
        "defs/../other/token",
        "other/not-there",
        "confx",
        "secretsx",
    ] {
        assert_eq!(
            world.check_source(&policy, name),
            Err(DenialReason::NotListed),
            "{name}"
        );
    }
    assert_eq!(
        policy.admit_file(Path::new("/etc/hostname")),
        Err(DenialReason::NotListed)
    );
}

#[test]
fn a_link_is_checked_by_its_target() {
    // F-256
    let world = World::new();
    symlink(world.path("other/token"), world.path("defs/out")).unwrap();
    symlink(world.path("other"), world.path("defs/dir")).unwrap();
    symlink("..data/t", world.path("conf/t")).unwrap();
    symlink("..2026", world.path("conf/..data")).unwrap();
    fs::create_dir(world.path("conf/..2026")).unwrap();
    fs::write(world.path("conf/..2026/t"), "x").unwrap();
    let policy = world.policy(&SecretSettings::default(), &[]);
    assert_eq!(world.check_source(&policy, "conf/t"), Ok(()));
    for name in ["defs/out", "defs/dir/token", "defs/dir/not-there"] {
        assert_eq!(
            world.check_source(&policy, name),
            Err(DenialReason::NotListed),
            "{name}"
        );
    }
}

#[test]
fn files_of_the_settings_and_definitions_are_never_allowed() {
    // F-256
    let world = World::new();
    let used = [
        SecretSource::File(world.path("conf/password")),
        SecretSource::Env("OPS_PASSWORD".to_owned()),
    ];
    let everything = SecretSettings {
        allow: Some(vec![PathBuf::from("/")]),
        allow_env: Some(vec!["*".to_owned()]),
    };
    fs::hard_link(world.path("conf/password"), world.path("other/hard")).unwrap();
    symlink(world.path("conf/password"), world.path("other/soft")).unwrap();
    for secrets in [&SecretSettings::default(), &everything] {
        let policy = world.policy(secrets, &used);
        for name in [
            "conf/password",
            "conf/egressd.yaml",
            "defs/a.yaml",
            "other/hard",
            "other/soft",
        ] {
            assert_eq!(
                world.check_source(&policy, name),
                Err(DenialReason::Own),
                "{name}"
            );
        }
        assert_eq!(
            policy.admit_variable("OPS_PASSWORD"),
            Err(DenialReason::Own)
        );
        let setting = "EGRESSD_MANAGEMENT_BASIC_AUTH_PASSWORD";
        assert_eq!(policy.admit_variable(setting), Err(DenialReason::Own));
        assert_eq!(
            policy.admit_variable("EGRESSD_OTHER"),
            Err(DenialReason::NotListed)
        );
        assert_eq!(policy.admit_variable("TOKEN"), Ok(()));
    }
    assert_eq!(
        world.check_source(&world.policy(&everything, &used), "other/token"),
        Ok(())
    );
}

#[test]
fn files_of_the_token_store_are_never_allowed() {
    // F-256: no definition may send a refresh token to its upstream.
    let world = World::new();
    let everything = SecretSettings {
        allow: Some(vec![PathBuf::from("/"), world.path("conf/tokens")]),
        allow_env: None,
    };
    symlink(world.path("conf/tokens"), world.path("other/tokens")).unwrap();
    for has_store in [false, true] {
        if has_store {
            fs::create_dir_all(world.path("conf/tokens/sub")).unwrap();
            fs::write(world.path("conf/tokens/c.json"), "{}").unwrap();
            symlink(world.path("conf/tokens/c.json"), world.path("other/c")).unwrap();
        }
        for secrets in [&SecretSettings::default(), &everything] {
            let policy = world.policy(secrets, &[]);
            for name in [
                "conf/tokens/c.json",
                "conf/tokens/not-there",
                "conf/tokens/sub/c.json",
                "defs/../conf/tokens/c.json",
            ] {
                let found = world.check_source(&policy, name);
                assert_eq!(found, Err(DenialReason::Own), "{name}");
            }
            if has_store {
                for name in ["other/tokens/c.json", "other/c"] {
                    let found = world.check_source(&policy, name);
                    assert_eq!(found, Err(DenialReason::Own), "{name}");
                }
            }
            assert_eq!(world.check_source(&policy, "conf/tokens-x"), Ok(()));
        }
    }
}

#[test]
fn a_list_replaces_the_default() {
    // F-256
    let world = World::new();
    let secrets = SecretSettings {
        allow: Some(vec![world.path("other")]),
        allow_env: Some(["CRM_*", "ONE", "EGRESSD_X_*"].map(str::to_owned).to_vec()),
    };
    let policy = world.policy(&secrets, &[]);
    assert_eq!(world.check_source(&policy, "other/token"), Ok(()));
    assert_eq!(
        world.check_source(&policy, "conf/sub/token"),
        Err(DenialReason::NotListed)
    );
    for name in ["CRM_", "CRM_TOKEN", "ONE", "EGRESSD_X_TOKEN"] {
        assert_eq!(policy.admit_variable(name), Ok(()), "{name}");
    }
    for name in ["CRM", "ONE_MORE", "TOKEN", "EGRESSD_Y"] {
        assert_eq!(
            policy.admit_variable(name),
            Err(DenialReason::NotListed),
            "{name}"
        );
    }
}

#[test]
fn files_of_the_working_directory_are_beside_it() {
    // F-256
    let policy = SecretPolicy::new(&PolicyInputs {
        secrets: &SecretSettings::default(),
        environment: &Environment::default(),
        settings: Some(Path::new("egressd.yaml")),
        listed: &[],
        definitions: &[],
        used: &[],
        token_store: None,
    });
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    let found = policy.admit_file(Path::new("secrets/token"));
    assert_eq!(found, Ok(here.join("secrets/token")));
}

#[test]
fn settings_in_the_root_directory_do_not_allow_every_file() {
    // F-256
    let policy = SecretPolicy::new(&PolicyInputs {
        secrets: &SecretSettings::default(),
        environment: &Environment::default(),
        settings: Some(Path::new("/egressd.yaml")),
        listed: &[],
        definitions: &[],
        used: &[],
        token_store: None,
    });
    assert_eq!(
        policy.admit_file(Path::new("/etc/hostname")),
        Err(DenialReason::NotListed)
    );
}
