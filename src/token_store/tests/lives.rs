//! The time for which an access token may be used, for each clock and each form of a document.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CLIENT, at, github, text_with};
use crate::token_store::RemainingLife::{self, Endless, Expired, For};
use crate::token_store::StoredGrant;

const DAY: i64 = 24 * 60 * 60;

fn life(members: &Value, now: Timestamp) -> Option<RemainingLife> {
    let document = StoredGrant::parse(text_with(members).as_bytes(), &github());
    document.ok().unwrap().remaining_life(now)
}

/// Adds a refresh token.
fn refreshable(mut members: Value) -> Value {
    members["client"] = json!(CLIENT);
    members["refresh_token"] = json!("r");
    members
}

fn seconds(count: i64) -> Option<RemainingLife> {
    Some(For(Duration::from_secs(count.try_into().unwrap())))
}

fn text(time: Timestamp) -> String {
    time.to_string()
}

#[test]
fn a_token_is_used_to_its_stated_end_and_never_longer_than_granted() {
    // F-308: the clock moves by a day, either way.
    let hour = json!({"refreshed_at": text(at(0)), "expires_at": text(at(3600))});
    for members in [hour.clone(), refreshable(hour)] {
        assert_eq!(life(&members, at(0)), seconds(3600));
        assert_eq!(life(&members, at(3599)), seconds(1));
        assert_eq!(life(&members, at(3600)), Some(Expired));
        assert_eq!(life(&members, at(DAY)), Some(Expired));
        assert_eq!(life(&members, at(-DAY)), seconds(3600));
    }
}

#[test]
fn a_time_in_the_past_or_far_future_is_limited() {
    // F-308
    for past in ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"] {
        let members = json!({"expires_at": past});
        assert_eq!(life(&members, at(0)), Some(Expired));
        assert_eq!(life(&refreshable(members), at(0)), Some(Expired));
    }
    let far = json!({"refreshed_at": text(at(0)), "expires_at": "9999-12-31T23:59:59Z"});
    let refreshable = refreshable(far.clone());
    assert_eq!(life(&refreshable, at(0)), seconds(DAY));
    assert_eq!(life(&refreshable, at(DAY - 1)), seconds(1));
    assert_eq!(life(&refreshable, at(DAY)), Some(Expired));
    assert_eq!(life(&refreshable, at(-DAY)), seconds(DAY));
    // Without a refresh token, the statement of the platform holds.
    assert!(matches!(life(&far, at(0)), Some(For(life)) if life.as_secs() > 200_000_000_000));
}

#[test]
fn an_absent_end_is_a_day_with_a_refresh_token_and_none_without_one() {
    // F-325
    assert_eq!(life(&json!({}), at(0)), Some(Endless));
    let connected = json!({"connected_at": text(at(0))});
    assert_eq!(life(&connected, at(1000 * DAY)), Some(Endless));
    let connected = refreshable(connected);
    assert_eq!(life(&connected, at(0)), seconds(DAY));
    assert_eq!(life(&connected, at(DAY)), Some(Expired));
    let mut refreshed = connected;
    refreshed["refreshed_at"] = json!(text(at(100)));
    assert_eq!(life(&refreshed, at(DAY)), seconds(100));
    // A document without any time counts from now.
    assert_eq!(life(&refreshable(json!({})), at(0)), seconds(DAY));
}

#[test]
fn an_end_before_the_start_is_expired() {
    let members = json!({"refreshed_at": text(at(0)), "expires_at": text(at(-1))});
    assert_eq!(life(&members, at(-10)), Some(Expired));
}

#[test]
fn a_document_without_an_access_token_has_no_life() {
    let revoked = StoredGrant::revoked(None, CLIENT.to_owned(), None, at(0));
    assert_eq!(revoked.remaining_life(at(0)), None);
    assert!(!revoked.is_access_token_usable(at(0)));
}

#[test]
fn the_stated_end_of_a_refresh_token_is_compared_with_the_wall_clock() {
    let members = refreshable(json!({"refresh_token_expires_at": text(at(60))}));
    let document = StoredGrant::parse(text_with(&members).as_bytes(), &github());
    let document = document.ok().unwrap();
    assert!(!document.is_refresh_token_expired(at(59)));
    assert!(document.is_refresh_token_expired(at(60)));
}
