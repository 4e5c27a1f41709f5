//! The pages of the loopback listener: fixed text without scripts, external assets or text of the
//! provider.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY,
    SET_COOKIE,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use maud::{DOCTYPE, html};

use super::gate::{COOKIE, DONE_PATH};

/// A response of the listener.
pub(super) type Page = Response<Full<Bytes>>;

/// The fields of every response. The address of the page has secrets, so it is neither stored nor
/// sent to another site.
const COMMON_FIELDS: [(HeaderName, &str); 3] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'"),
];

/// The answer to a request that is not part of the login.
pub(super) fn wrong_page() -> Page {
    page(
        StatusCode::BAD_REQUEST,
        "This request does not belong to the login. The login still waits: return to the page of the provider, or open the link of the terminal again, in the browser in which you opened it first.",
    )
}

/// The answer to a callback with another issuer.
pub(super) fn wrong_issuer_page() -> Page {
    page(
        StatusCode::BAD_REQUEST,
        "The answer names another issuer than the definition of the connection. Return to the terminal, which shows both.",
    )
}

/// The answer to a request for another path.
pub(super) fn not_found_page() -> Page {
    page(StatusCode::NOT_FOUND, "There is no such page.")
}

/// The answer to a second client that opens the start link.
pub(super) fn taken_page() -> Page {
    page(
        StatusCode::CONFLICT,
        "This link was already opened in another browser. The login has ended, and nothing was stored. Run egressd login again.",
    )
}

/// The answer to a repeated callback.
pub(super) fn gone_page() -> Page {
    page(
        StatusCode::GONE,
        "This login has already received its answer. Return to the terminal.",
    )
}

/// The page after the callback. Removes the cookie.
pub(super) fn done_page() -> Page {
    let mut page = page(
        StatusCode::OK,
        "The consent is not complete yet: return to the terminal, and answer the question there. You can close this page.",
    );
    let cleared = format!("{COOKIE}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    insert(&mut page, SET_COOKIE, &cleared);
    page
}

/// The redirect of the start link.
pub(super) fn start_redirect(authorization_url: &str, cookie: &str, max_age: u64) -> Page {
    let mut page = redirect(StatusCode::FOUND, authorization_url);
    let cookie = format!("{COOKIE}={cookie}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age}");
    insert(&mut page, SET_COOKIE, &cookie);
    page
}

/// The redirect of the callback, which removes the code from the address bar and the history.
pub(super) fn done_redirect() -> Page {
    redirect(StatusCode::SEE_OTHER, DONE_PATH)
}

fn redirect(status: StatusCode, location: &str) -> Page {
    let mut page = page(status, "The login continues.");
    insert(&mut page, LOCATION, location);
    page
}

fn page(status: StatusCode, text: &str) -> Page {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "egressd login" }
            }
            body {
                h1 { "egressd login" }
                p { (text) }
            }
        }
    };
    let mut page = Response::new(Full::new(Bytes::from(markup.into_string())));
    *page.status_mut() = status;
    insert(&mut page, CONTENT_TYPE, "text/html; charset=utf-8");
    for (name, value) in COMMON_FIELDS {
        insert(&mut page, name, value);
    }
    page
}

/// Sets a field. All values consist of visible ASCII characters and spaces.
fn insert(page: &mut Page, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        page.headers_mut().insert(name, value);
    }
}
