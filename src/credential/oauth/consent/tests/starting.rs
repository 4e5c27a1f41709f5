//! The status that commands show for a file, and the one of a process that starts with it.

use serde_json::json;

use super::harness::{World, look};
use crate::credential::oauth::ConnectionStatus;
use crate::credential::oauth::StatusName::{self, Connected, NeedsConsent, Revoked};

/// A change of the file of a consent, and the status.
type Row = (
    fn(&mut serde_json::Value),
    (StatusName, Option<&'static str>),
);

const ROWS: &[Row] = &[
    (|_| {}, (Connected, None)),
    (
        |file| file["scopes"] = json!("read:user"),
        (Connected, Some("scope_reduced")),
    ),
    (
        |file| file["expires_at"] = json!("2020-01-01T00:00:00Z"),
        (Connected, None),
    ),
    (
        |file| {
            file["expires_at"] = json!("2020-01-01T00:00:00Z");
            file.as_object_mut().unwrap().remove("refresh_token");
        },
        (NeedsConsent, Some("access_token_expired")),
    ),
    (
        |file| {
            file["refused"] = json!({"at": "2026-11-28T10:00:00Z", "reason": "rotation_lost"});
        },
        (Connected, Some("rotation_lost")),
    ),
    (
        |file| {
            file["refused"] = json!({"at": "2026-11-28T10:00:00Z", "reason": "rotation_lost"});
            file["expires_at"] = json!("2020-01-01T00:00:00Z");
        },
        (NeedsConsent, Some("rotation_lost")),
    ),
    (logged_out, (Revoked, Some("logged_out"))),
    (
        |file| file["client"] = json!("sha256:0"),
        (NeedsConsent, Some("client_changed")),
    ),
    // The logout of another client does not apply to this one.
    (
        |file| {
            logged_out(file);
            file["client"] = json!("sha256:0");
        },
        (NeedsConsent, Some("client_changed")),
    ),
    (
        |file| file["format"] = json!("egressd-token/2"),
        (NeedsConsent, Some("token_file_unusable")),
    ),
];

fn logged_out(file: &mut serde_json::Value) {
    let members = file.as_object_mut().unwrap();
    members.retain(|name, _| !name.ends_with("_token") && name != "expires_at");
    file["revoked_at"] = json!("2026-11-28T10:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn commands_show_the_status_of_a_process_that_starts() {
    for (at, (change, expected)) in ROWS.iter().enumerate() {
        let world = World::with(|consent| consent.scopes = Some("read:user repo".into()));
        world.log_in("access", Some(3600), Some("refresh"));
        let mut file = world.file();
        change(&mut file);
        std::fs::write(world.path("github.json"), file.to_string()).unwrap();
        let grant = world.grant();
        look(&grant).await;
        let served = grant.connection_status();
        let file = world.store.read(&super::harness::github());
        let shown = ConnectionStatus::from_file(world.consent.parameters(), file, world.now());
        assert_eq!((served.name, served.reason), *expected, "row {at}");
        assert_eq!(shown, served, "row {at}");
    }
}
