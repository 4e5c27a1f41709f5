//! The time that a person has. The sockets are real, and the clock of the runtime is moved.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use zeroize::Zeroizing;

use super::BrowserLogin;
use crate::domain::auth::{LoopbackHost, LoopbackUri};
use crate::login::callback::Callback;
use crate::login::gate::{Gate, START_PATH};
use crate::login::listener::{BoundLoopback, CallbackListener};
use crate::login::secrets::LoginSecrets;

const TIMEOUT: Duration = Duration::from_secs(600);

/// The requests of a browser, with the values that it has received.
struct Browser {
    port: u16,
    start: String,
    callback: String,
    cookie: String,
}

fn login() -> (BrowserLogin, Browser) {
    let uri = LoopbackUri {
        host: LoopbackHost::Ipv4,
        port: None,
        path: "/callback".into(),
    };
    let bound = BoundLoopback::bind(&uri, None).unwrap();
    let port = bound.port();
    let secrets = LoginSecrets::generate().unwrap();
    let browser = Browser {
        port,
        start: format!("{START_PATH}{}", secrets.start.as_str()),
        callback: format!("/callback?code=c&state={}", secrets.state.as_str()),
        cookie: format!("egressd-login={}", secrets.cookie.as_str()),
    };
    let gate = Gate::new(secrets, format!("127.0.0.1:{port}"), uri.path, None);
    let url = Zeroizing::new("https://as.test/authorize".to_owned());
    let login = BrowserLogin {
        listener: CallbackListener::start(bound, gate, url, TIMEOUT).unwrap(),
        redirect_uri: String::new(),
        start_link: Zeroizing::default(),
        verifier: None,
        received_at: None,
    };
    (login, browser)
}

impl Browser {
    /// Navigates to a path, and returns the status. The clock stands still meanwhile, because the
    /// runtime does not move it while a blocking task runs.
    async fn navigate(&self, path: &str) -> String {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {}\r\n\r\n",
            self.port, self.cookie
        );
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let exchange = tokio::task::spawn_blocking(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = exchange.await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_may_take_nine_minutes() {
    // F-339 (a)
    let (mut login, browser) = login();
    let person = async {
        assert_eq!(browser.navigate(&browser.start).await, "302");
        tokio::time::advance(Duration::from_secs(9 * 60)).await;
        assert_eq!(browser.navigate(&browser.callback).await, "303");
    };
    let waiting = login.wait_for_callback(TIMEOUT, |warning| panic!("{warning}"));
    let (received, ()) = tokio::join!(waiting, person);
    assert!(matches!(received, Ok(Callback::Code(code)) if code.as_str() == "c"));
}

#[tokio::test(start_paused = true)]
async fn a_person_who_does_not_come_back_is_not_waited_for() {
    // F-339 (b)
    let (mut login, browser) = login();
    let person = async {
        assert_eq!(browser.navigate(&browser.start).await, "302");
        tokio::time::advance(Duration::from_secs(601)).await;
    };
    let waiting = login.wait_for_callback(TIMEOUT, |warning| panic!("{warning}"));
    let (received, ()) = tokio::join!(waiting, person);
    let failure = received.err().unwrap();
    assert!(failure.message.contains("timed out"), "{failure:?}");
}
