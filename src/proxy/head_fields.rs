//! The checks of header fields that do not depend on the connection.
//!
//! One pass over the fields collects everything that the checks need. A header map hashes the name
//! for each lookup, and these checks run for every request.

use http::header::{
    ACCEPT, HOST, ORIGIN, REFERER, TRANSFER_ENCODING, UPGRADE, UPGRADE_INSECURE_REQUESTS,
};
use http::{HeaderMap, HeaderValue};

use super::code::RefusalCode;
use super::list_syntax::members;
use super::refusal::Refusal;
use crate::domain::caller::{self, InvalidHost, ServedHost};

/// The most bytes that all fields may have together, with `: ` and the line end of each.
pub(super) const MAX_FIELD_BYTES: usize = 64 * 1024;

/// The fields about a request's framing, its destination and its sender.
#[derive(Default)]
pub(super) struct HeadFields<'r> {
    bytes: usize,
    codings: SingleField<'r>,
    host: SingleField<'r>,
    offers_websocket: bool,
    /// The sign that the request comes from a web page, if there is one.
    page_sign: Option<&'static str>,
}

/// A field that a request may have once.
#[derive(Default)]
enum SingleField<'r> {
    #[default]
    Absent,
    Present(&'r HeaderValue),
    Repeated,
}

impl<'r> SingleField<'r> {
    fn insert(&mut self, value: &'r HeaderValue) {
        *self = match self {
            Self::Absent => Self::Present(value),
            Self::Present(_) | Self::Repeated => Self::Repeated,
        };
    }
}

impl<'r> HeadFields<'r> {
    pub(super) fn read(headers: &'r HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            fields.bytes += name.as_str().len() + value.len() + ": \r\n".len();
            if *name == HOST {
                fields.host.insert(value);
            } else if *name == TRANSFER_ENCODING {
                fields.codings.insert(value);
            } else if *name == UPGRADE {
                fields.offers_websocket |= names_websocket(value);
            } else if *name == ORIGIN {
                fields.page_sign = Some("an `Origin`");
            } else if name.as_str() == "sec-fetch-site" {
                if !caller::is_same_site(value.as_bytes()) {
                    fields.page_sign = Some("a `Sec-Fetch-Site` of another site");
                }
            } else if name.as_str() == "service-worker" {
                // A service worker would see the requests of every connection (Service Workers
                // §6.2).
                if value.as_bytes().eq_ignore_ascii_case(b"script") {
                    fields.page_sign = Some("`Service-Worker: script`");
                }
            }
        }
        fields
    }

    /// Refuses every `Transfer-Encoding` but `chunked`. hyper accepts any list that ends in
    /// `chunked`, and the same coding twice (F-31), which upstreams may parse differently.
    pub(super) fn refuse_unclear_framing(&self) -> Result<(), Refusal> {
        let clear = match self.codings {
            SingleField::Absent => true,
            SingleField::Present(coding) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
            SingleField::Repeated => false,
        };
        if clear {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::MalformedRequest,
            "The only valid `Transfer-Encoding` is `chunked`, sent once.",
        ))
    }

    pub(super) fn refuse_websocket(&self) -> Result<(), Refusal> {
        if !self.offers_websocket {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::UpgradeRefused,
            "egressd does not support WebSockets (`Upgrade: websocket`). Use the API's plain HTTP routes.",
        ))
    }

    /// Refuses a head with too many bytes. hyper checks its own limit only between two reads, so it
    /// accepts up to twice as much (F-43).
    pub(super) fn refuse_large_head(&self) -> Result<(), Refusal> {
        if self.bytes <= MAX_FIELD_BYTES {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::HeadersTooLarge,
            format!(
                "The header fields have {} bytes together; at most {MAX_FIELD_BYTES} are allowed.",
                self.bytes
            ),
        )
        .exceeding(MAX_FIELD_BYTES, self.bytes))
    }

    /// Refuses a `Host` that an attacker could control. A web page can make its browser send
    /// requests to any name that resolves to a loopback address (DNS rebinding).
    pub(super) fn refuse_foreign_host(
        &self,
        allowed_hosts: &[String],
    ) -> Result<ServedHost<'r>, Refusal> {
        let host = match self.host {
            SingleField::Present(host) => host,
            SingleField::Absent => return Err(unclear_host("The request has no `Host` header.")),
            SingleField::Repeated => {
                return Err(unclear_host(
                    "The request has several `Host` headers; send exactly one.",
                ));
            }
        };
        match caller::check_host(host.as_bytes(), allowed_hosts) {
            Ok(served) => Ok(served),
            Err(InvalidHost::Unclear) => Err(unclear_host(
                "The `Host` header is not one host with an optional port.",
            )),
            Err(InvalidHost::Foreign) => Err(Refusal::new(
                RefusalCode::HostNotAllowed,
                "The `Host` header must be `localhost`, a name under `.localhost` or a loopback address. The operator can allow other names in `allowed_hosts` of this listener.",
            )),
        }
    }

    /// Refuses requests of web pages. `headers` are searched for other signs of a browser under a
    /// name of `allowed_hosts`. Browsers send Fetch Metadata only to potentially trustworthy URLs,
    /// which over plain HTTP are those of loopback (W3C Secure Contexts §3.1).
    pub(super) fn refuse_browsers(
        &self,
        served: ServedHost<'_>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if let Some(sign) = self.page_sign {
            return Err(Refusal::new(
                RefusalCode::BrowserRequestRefused,
                format!(
                    "The request has {sign}, so it comes from a web page. Web pages may not use the agent's connections."
                ),
            ));
        }
        if served == ServedHost::Allowed
            && let Some(sign) = self.browser_sign(headers)
        {
            return Err(Refusal::new(
                RefusalCode::BrowserRequestRefused,
                format!(
                    "The request has {sign}, so it may come from a browser. Such requests are refused under a name of `allowed_hosts`. Leave that header out, or use a loopback address."
                ),
            ));
        }
        Ok(())
    }

    /// Returns a sign of a browser other than Fetch Metadata, if there is one.
    #[cold]
    fn browser_sign(&self, headers: &HeaderMap) -> Option<&'static str> {
        let host: &[u8] = match self.host {
            SingleField::Present(host) => host.as_bytes(),
            SingleField::Absent | SingleField::Repeated => b"",
        };
        let foreign = |referer: &HeaderValue| caller::is_foreign_referer(referer.as_bytes(), host);
        let wants_a_page = |accept: &HeaderValue| {
            let start = accept.as_bytes().trim_ascii_start().get(..9);
            start.is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
        };
        if headers.contains_key(UPGRADE_INSECURE_REQUESTS) {
            Some("`Upgrade-Insecure-Requests`")
        } else if headers.get_all(REFERER).iter().any(foreign) {
            Some("a `Referer` of another host")
        // Several lines are one list (RFC 9110 §5.3), which a proxy on the way may have split.
        } else if headers.get_all(ACCEPT).iter().any(wants_a_page) {
            Some("an `Accept` that begins with `text/html`")
        } else {
            None
        }
    }
}

fn unclear_host(detail: &'static str) -> Refusal {
    Refusal::new(RefusalCode::MalformedRequest, detail)
}

fn names_websocket(offer: &HeaderValue) -> bool {
    members(offer.as_bytes()).any(|name| name.eq_ignore_ascii_case(b"websocket"))
}
