//! The order of documents, and the documents that consents, refreshes and logouts make.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    CLIENT, at, consent, document, github, json_of, new_consent, text_with, token, tokens,
};
use crate::token_store::{FileVersion, RefusalReason, StoredGrant};

fn parse(members: &Value) -> StoredGrant {
    let document = StoredGrant::parse(text_with(members).as_bytes(), &github());
    document.ok().unwrap()
}

#[test]
fn the_later_consent_wins_and_then_the_higher_sequence() {
    // F-332
    let later = StoredGrant::from_consent(new_consent(), None, at(1));
    assert!(document(2).version() > consent().version());
    assert!(later.version() > document(9).version());
    assert_eq!(
        document(3).compare_with_memory(&document(3)),
        FileVersion::Same
    );
    assert_eq!(
        document(4).compare_with_memory(&document(3)),
        FileVersion::Newer
    );
    assert_eq!(
        document(2).compare_with_memory(&document(3)),
        FileVersion::Older
    );
    assert_eq!(later.compare_with_memory(&document(3)), FileVersion::Newer);
    assert_eq!(document(3).compare_with_memory(&later), FileVersion::Older);
}

#[test]
fn an_edited_file_of_the_same_version_is_adopted() {
    let edited = StoredGrant {
        account: Some("other".to_owned()),
        ..document(3)
    };
    assert_eq!(edited.compare_with_memory(&document(3)), FileVersion::Newer);
}

#[test]
fn each_new_content_without_a_refresh_token_is_adopted() {
    let platform = parse(&json!({"access_token": "new"}));
    assert_eq!(
        platform.compare_with_memory(&document(3)),
        FileVersion::Newer
    );
    assert_eq!(platform.compare_with_memory(&platform), FileVersion::Same);
    assert_eq!(
        document(1).compare_with_memory(&platform),
        FileVersion::Newer
    );
}

#[test]
fn a_backup_from_before_a_logout_does_not_undo_it() {
    // F-332
    let revoked = StoredGrant::revoked(Some(&document(3)), CLIENT.to_owned(), None, at(9));
    assert_eq!(
        document(3).compare_with_memory(&revoked),
        FileVersion::Older
    );
    let consent = StoredGrant::from_consent(new_consent(), Some(&revoked), at(10));
    assert_eq!(consent.compare_with_memory(&revoked), FileVersion::Newer);
}

#[test]
fn a_new_consent_is_newer_even_if_the_clock_was_set_back() {
    // F-346
    let first = document(7);
    for now in [at(0), at(-86_400), Timestamp::MIN] {
        let second = StoredGrant::from_consent(new_consent(), Some(&first), now);
        assert!(second.version() > first.version());
        assert_eq!(second.version().sequence, 1);
        let life = second.remaining_life(now);
        let hour = crate::token_store::RemainingLife::For(Duration::from_secs(3600));
        assert_eq!(life, Some(hour), "{now}");
    }
    // In the usual case, the time of the consent is stored alone.
    let second = StoredGrant::from_consent(new_consent(), Some(&first), at(60));
    assert_eq!(second.connected_at(), Some(at(60)));
    assert_eq!(second.refreshed_at(), None);
}

#[test]
fn a_consent_keeps_seeds_and_unknown_members_only() {
    let previous = parse(&json!({
        "client": "sha256:old", "refresh_token": "r", "scopes": "old", "account": "old",
        "seeds": ["sha256:1"], "note": "kept", "connected_at": at(-60).to_string(),
        "refused": {"at": at(-1).to_string(), "reason": "refresh_token_refused"},
    }));
    let mut consent = new_consent();
    consent.scopes = None;
    consent.account = None;
    consent.seed = Some("sha256:2".to_owned());
    let next = json_of(&StoredGrant::from_consent(consent, Some(&previous), at(0)));
    let expected = json!({
        "format": "egressd-token/1", "grant": "github", "client": CLIENT, "sequence": 1,
        "connected_at": at(0).to_string(), "access_token": "access-1",
        "expires_at": at(3600).to_string(), "refresh_token": "refresh-1",
        "seeds": ["sha256:1", "sha256:2"], "note": "kept",
    });
    assert_eq!(next, expected);
}

#[test]
fn a_refresh_keeps_what_the_answer_lacks() {
    // F-323
    let first = consent().refused(RefusalReason::RefreshTokenRefused, at(1));
    let mut answer = tokens(2);
    answer.refresh_token = None;
    answer.expires_in = None;
    answer.refresh_token_expires_in = Some(Duration::from_secs(60));
    let second = first.refreshed(answer, at(2));
    assert_eq!(second.refresh_token().unwrap().expose(), b"refresh-1");
    assert_eq!(second.access_token().unwrap().expose(), b"access-2");
    assert_eq!((second.expires_at(), second.refusal()), (None, None));
    assert_eq!(second.refreshed_at(), Some(at(2)));
    assert_eq!(second.refresh_token_expires_at(), Some(at(62)));
    assert_eq!(second.scopes(), Some("read:user"));
    assert_eq!(second.connected_at(), first.connected_at());
    assert_eq!(second.version().sequence, 3);
    // The stated end belongs to one refresh token.
    let same = second.refreshed(
        super::RefreshedTokens {
            refresh_token: Some(token("refresh-1")),
            ..tokens(3)
        },
        at(3),
    );
    assert_eq!(same.refresh_token_expires_at(), Some(at(62)));
    assert_eq!(
        second
            .refreshed(tokens(3), at(3))
            .refresh_token_expires_at(),
        None
    );
}

#[test]
fn a_configured_refresh_token_starts_a_grant() {
    // F-331
    let previous = document(5);
    let seeded = StoredGrant::from_seed(
        CLIENT.to_owned(),
        token("seed"),
        "sha256:1".to_owned(),
        Some(&previous),
        at(-60),
    );
    assert!(seeded.version() > previous.version());
    assert!(seeded.has_seed("sha256:1"));
    assert!(seeded.access_token().is_none());
    let first = seeded.refreshed(tokens(1), at(0));
    assert_eq!(first.version().sequence, 1);
    assert!(first.has_seed("sha256:1"));
}

#[test]
fn a_logout_without_a_file_records_the_seed() {
    let seed = Some("sha256:1".to_owned());
    let revoked = StoredGrant::revoked(None, CLIENT.to_owned(), seed, at(0));
    let expected = json!({
        "format": "egressd-token/1", "grant": "github", "client": CLIENT, "sequence": 1,
        "connected_at": at(0).to_string(), "seeds": ["sha256:1"],
        "revoked_at": at(0).to_string(),
    });
    assert_eq!(json_of(&revoked), expected);
}

#[test]
fn the_newest_seeds_are_kept() {
    let mut document = consent();
    for number in 0..40 {
        let mut consent = new_consent();
        consent.seed = Some(format!("sha256:{number}"));
        document = StoredGrant::from_consent(consent, Some(&document), at(number));
    }
    assert_eq!(
        json_of(&document)["seeds"].as_array().map(Vec::len),
        Some(32)
    );
    assert!(document.has_seed("sha256:39") && !document.has_seed("sha256:7"));
}
