//! A login beside a `serve` that uses the same store.

use serde_json::json;

use super::world::{LoginWorld, answer};
use crate::support::{Agent, Gate, Upstream};

/// Answers 200, except to the access token of the first consent.
fn upstream() -> Upstream {
    Upstream::answer(|request| {
        let refused = Some("Bearer access-of-first");
        match request.fields.single_value("authorization").as_deref() == refused {
            true => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            false => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        }
    })
}

#[test]
fn a_new_consent_wins_over_a_refresh_that_began_before() {
    // F-346
    let gate = Gate::new();
    let _opened = gate.open_on_drop();
    let held = gate.clone();
    let world = LoginWorld::with_provider(&json!({}), move |call| {
        let kind = call.single_param("code").unwrap_or("refresh").to_owned();
        let tokens = json!({
            "access_token": format!("access-of-{kind}"), "refresh_token": format!("of-{kind}"),
        });
        match kind.as_str() {
            "refresh" => answer(&tokens).once_open(&held),
            _ => answer(&tokens),
        }
    });
    let upstream = upstream();
    world.redefine(|api| api.upstream(&upstream));
    let mut first = world.login(&[]);
    assert_eq!(first.open().call_back("code=first"), 303);
    first.reply("Store this grant?", "y");
    assert_eq!(first.end().exit, Some(0));
    let mut serve = world.program.start(&[]);
    let (agents, _) = serve.addresses();

    // A person consents again, and the refresh begins before the person has answered.
    let mut second = world.login(&["--replace"]);
    assert_eq!(second.open().call_back("code=second"), 303);
    second.wait_for_line("account:");
    let request = std::thread::spawn(move || Agent::connect_to(agents).get("/api/user").status);
    world.provider.wait_for_calls(3);
    second.reply("Store this grant?", "y");
    gate.open();
    assert_eq!(request.join().unwrap(), 200);
    let ended = second.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");

    let stored = world.stored();
    assert_eq!(stored["access_token"], "access-of-second");
    assert_eq!(stored["refresh_token"], "of-second");
    serve.wait_for_line("consent_given");
    assert_eq!(Agent::connect_to(agents).get("/api/user").status, 200);
    let requests = upstream.requests();
    let sent = requests
        .last()
        .unwrap()
        .fields
        .single_value("authorization");
    assert_eq!(sent.as_deref(), Some("Bearer access-of-second"));
    assert_eq!(world.stored(), stored);
    assert_eq!(serve.stop_and_collect().0, Some(0));
}
