//! Every row of the decision: the start link, the checks of a callback in their order, and what is
//! answered later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Method;

use super::{BrowserRequest, COOKIE, Decision, Gate};
use crate::login::callback::Callback;
use crate::login::secrets::LoginSecrets;

const HOST: &str = "127.0.0.1:8765";

/// A login with the values that a browser would know.
struct Login {
    gate: Gate,
    start: String,
    cookie: String,
    query: String,
}

impl Login {
    fn with_issuer(issuer: Option<&str>) -> Self {
        let secrets = LoginSecrets::generate().unwrap();
        let start = format!("/start/{}", secrets.start.as_str());
        let cookie = format!("{COOKIE}={}", secrets.cookie.as_str());
        let query = format!("code=the-code&state={}", secrets.state.as_str());
        let issuer = issuer.map(str::to_owned);
        Self {
            gate: Gate::new(secrets, HOST.to_owned(), "/callback".into(), issuer),
            start,
            cookie,
            query,
        }
    }

    /// A login whose start link the browser of the person has opened.
    fn opened() -> Self {
        let mut login = Self::with_issuer(None);
        assert_eq!(login.open(None), "start");
        login
    }

    fn open(&mut self, cookie: Option<&str>) -> &'static str {
        let start = self.start.clone();
        let mut request = navigation(&start, "");
        request.cookies.extend(cookie.map(str::as_bytes));
        name(&self.gate.answer(&request))
    }

    fn call_back(&mut self, query: &str) -> Decision {
        let cookie = self.cookie.clone();
        let mut request = navigation("/callback", query);
        request.cookies.push(cookie.as_bytes());
        self.gate.answer(&request)
    }
}

fn navigation<'r>(path: &'r str, query: &'r str) -> BrowserRequest<'r> {
    BrowserRequest {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: &Method::GET,
        host: Some(HOST.as_bytes()),
        has_origin: false,
        fetch_mode: Some(b"navigate"),
        path,
        query,
        cookies: Vec::new(),
    }
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Start => "start",
        Decision::Taken => "taken",
        Decision::Accept(Callback::Code(_)) => "code",
        Decision::Accept(Callback::Error(_)) => "error",
        Decision::Gone => "gone",
        Decision::Done => "done",
        Decision::NotFound => "not found",
        Decision::Wrong => "wrong",
        Decision::WrongIssuer(_) => "wrong issuer",
    }
}

#[test]
fn the_start_link_works_again_for_the_same_browser_only() {
    let mut login = Login::opened();
    let cookie = login.cookie.clone();
    assert_eq!(login.open(Some(&format!("a=b; {cookie}; c=d"))), "start");
    // F-336
    assert_eq!(login.open(None), "taken");
    assert_eq!(login.open(Some(&cookie)), "taken");
    let query = login.query.clone();
    assert_eq!(name(&login.call_back(&query)), "gone");
    assert!(!login.gate.begin_storing());
}

#[test]
fn a_second_client_ends_the_login_until_the_grant_is_stored() {
    // F-336: another process opens the link after the callback.
    let mut login = Login::opened();
    let query = login.query.clone();
    assert_eq!(name(&login.call_back(&query)), "code");
    assert_eq!(login.open(Some("egressd-login=guessed")), "taken");
    assert!(!login.gate.begin_storing());

    let mut login = Login::opened();
    let query = login.query.clone();
    assert_eq!(name(&login.call_back(&query)), "code");
    assert!(login.gate.begin_storing());
    assert_eq!(login.open(None), "gone");
}

#[test]
fn the_callback_is_accepted_once() {
    let mut login = Login::opened();
    let done = navigation("/done", "");
    assert_eq!(name(&login.gate.answer(&done)), "not found");
    let query = login.query.clone();
    let accepted = login.call_back(&query);
    assert!(matches!(&accepted, Decision::Accept(Callback::Code(code))
        if code.as_str() == "the-code"));
    // F-335: repeated with the cookie, and after the browser has dropped it.
    assert_eq!(name(&login.call_back(&query)), "gone");
    let request = navigation("/callback", &query);
    assert_eq!(name(&login.gate.answer(&request)), "gone");
    assert_eq!(name(&login.gate.answer(&done)), "done");
    assert_eq!(login.gate.wrong_requests(), 1);
}

#[test]
fn the_error_of_the_provider_is_returned() {
    // F-333
    let mut login = Login::opened();
    let query = login.query.replace("code=the-code", "error=access_denied");
    let accepted = login.call_back(&query);
    assert!(matches!(&accepted, Decision::Accept(Callback::Error(code))
        if code.as_str() == "access_denied"));
}

#[test]
fn a_request_that_no_browser_sends_changes_nothing() {
    // F-334, F-341
    let mut login = Login::opened();
    let (start, query, cookie) = (
        login.start.clone(),
        login.query.clone(),
        login.cookie.clone(),
    );
    for path in ["/callback", &start, "/done", "/"] {
        let mut right = navigation(path, &query);
        right.cookies.push(cookie.as_bytes());
        let mut bad = vec![right; 10];
        bad[0].peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        bad[1].method = &Method::HEAD;
        bad[2].method = &Method::POST;
        bad[3].host = None;
        bad[4].host = Some(b"rebound.test:8765");
        bad[5].host = Some(b"127.0.0.1");
        bad[6].has_origin = true;
        bad[7].fetch_mode = Some(b"cors");
        bad[8].fetch_mode = Some(b"no-cors");
        bad[9].fetch_mode = Some(b"");
        for (at, request) in bad.iter().enumerate() {
            assert_eq!(name(&login.gate.answer(request)), "wrong", "{path} {at}");
        }
    }
    assert_eq!(login.gate.wrong_requests(), 40);
    for path in ["/", "/start/", "/start/x", "/callback/", "/favicon.ico"] {
        let request = navigation(path, &query);
        assert_eq!(name(&login.gate.answer(&request)), "not found", "{path}");
    }
    assert_eq!(name(&login.call_back(&query)), "code");
}

#[test]
fn a_callback_needs_the_cookie_and_the_state() {
    // F-334
    let mut login = Login::opened();
    let query = login.query.clone();
    let cookie = login.cookie.clone();
    for cookies in [
        "",
        "egressd-login=",
        "egressd-login=x",
        &format!("x{cookie}"),
    ] {
        let mut request = navigation("/callback", &query);
        request.cookies.push(cookies.as_bytes());
        assert_eq!(name(&login.gate.answer(&request)), "wrong", "{cookies}");
    }
    let state = query.split("state=").last().unwrap().to_owned();
    for bad in [
        String::new(),
        "code=c".to_owned(),
        "code=c&state=".to_owned(),
        format!("code=c&state={state}x"),
        format!("code=c&state={state}&state={state}"),
        format!("code=c&code=d&state={state}"),
        format!("state={state}"),
        format!("code=&state={state}"),
        format!("code=c&error=e&state={state}"),
        format!("code={}&state={state}", "c".repeat(4097)),
        format!("code=%FF&state={state}"),
    ] {
        assert_eq!(name(&login.call_back(&bad)), "wrong", "{bad}");
    }
    assert_eq!(name(&login.call_back(&query)), "code");
}

#[test]
fn a_callback_before_the_start_link_is_opened_is_wrong() {
    let mut login = Login::with_issuer(None);
    let query = login.query.clone();
    assert_eq!(name(&login.call_back(&query)), "wrong");
}

#[test]
fn the_issuer_is_compared_byte_for_byte() {
    // F-338
    let mut login = Login::with_issuer(Some("https://as.test"));
    login.open(None);
    let query = login.query.clone();
    for bad in ["", "&iss=https://as.test/", "&iss=https://AS.test", "&iss="] {
        assert_eq!(
            name(&login.call_back(&format!("{query}{bad}"))),
            "wrong issuer",
            "{bad}"
        );
    }
    let error = query.replace("code=", "error=");
    assert_eq!(name(&login.call_back(&error)), "wrong issuer");
    // Only the answer to this login is compared.
    let request = navigation("/callback", &query);
    assert_eq!(name(&login.gate.answer(&request)), "wrong");
    assert_eq!(name(&login.call_back("code=c&state=other")), "wrong");
    let planted = format!("{query}&iss=%1B[31m{}", "x".repeat(1000));
    let Decision::WrongIssuer(wrong) = login.call_back(&planted) else {
        panic!("the issuer was not compared");
    };
    let text = wrong.describe();
    assert!(text.contains("`issuer` in the definition is `https://as.test`"));
    assert!(!text.contains('\x1b') && text.len() < 400, "{text}");
    let right = format!("{query}&iss=https%3A%2F%2Fas.test");
    assert_eq!(name(&login.call_back(&right)), "code");
}

#[test]
fn loopback_peers_have_any_of_its_addresses() {
    let login = Login::with_issuer(None);
    let peers: [IpAddr; 3] = [
        Ipv4Addr::new(127, 1, 2, 3).into(),
        Ipv6Addr::LOCALHOST.into(),
        Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
    ];
    for peer in peers {
        let mut request = navigation(&login.start, "");
        request.peer = peer;
        assert_eq!(name(&login.gate.decide(&request)), "start");
    }
}
