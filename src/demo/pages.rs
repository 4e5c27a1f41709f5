//! The pages of the authorization server: plain HTML without a script.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use maud::{DOCTYPE, Markup, html};

use super::clients::PUBLIC_CLIENT_ID;
use super::consents::ACCOUNTS;
use super::responses::{Body, with_header};

/// No page loads or embeds anything, and none can be embedded. `form-action` is absent, because
/// browsers apply it also to the redirect that follows the form, to the address of the client.
const POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Returns the page on which a person decides about the authorization request with this id.
pub(super) fn consent_page(id: &str, scope: &str) -> Response<Body> {
    let form = html! {
        p { "The client " code { (PUBLIC_CLIENT_ID) } " asks for this access to your account:" }
        ul { li { code { (scope) } } }
        form method="post" action="/authorize" {
            input type="hidden" name="request" value=(id);
            (account_choice())
            (decision_buttons())
        }
    };
    page(StatusCode::OK, "Allow access?", &form)
}

/// Returns the page on which a person enters the code of a device.
pub(super) fn device_page(user_code: &str, scope: &str) -> Response<Body> {
    let form = html! {
        p { "Continue only if you started a login yourself, and if it shows this code." }
        form method="post" action="/device" {
            p { label { "Code: " input name="user_code" value=(user_code) required; } }
            p { "The device gets this access to your account: " code { (scope) } }
            (account_choice())
            (decision_buttons())
        }
    };
    page(StatusCode::OK, "Allow a device?", &form)
}

/// Returns a page with one sentence.
pub(super) fn message_page(status: StatusCode, title: &str, sentence: &str) -> Response<Body> {
    page(status, title, &html! { p { (sentence) } })
}

fn account_choice() -> Markup {
    html! {
        fieldset {
            legend { "Account" }
            @for (index, account) in ACCOUNTS.iter().enumerate() {
                p { label {
                    input type="radio" name="account" value=(account) checked[index == 0];
                    " " (account)
                } }
            }
        }
    }
}

fn decision_buttons() -> Markup {
    html! {
        p {
            button name="decision" value="approve" { "Allow" }
            " "
            button name="decision" value="deny" { "Deny" }
        }
    }
}

fn page(status: StatusCode, title: &str, content: &Markup) -> Response<Body> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) " - egressd demo" }
            }
            body {
                h1 { (title) }
                (content)
            }
        }
    };
    // A line feed at the end, since people also read the pages in a terminal.
    let text = page.into_string() + "\n";
    let mut response = Response::new(Full::from(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    let response = with_header(response, CONTENT_TYPE, "text/html; charset=utf-8");
    let response = with_header(response, CONTENT_SECURITY_POLICY, POLICY);
    with_header(response, REFERRER_POLICY, "no-referrer")
}
