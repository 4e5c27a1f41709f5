//! A reference that the upstream sends never leads an agent to another connection, however the
//! agent reads the field.
//!
//! Input: a byte for the field and the connection, and the value.
#![no_main]

#[path = "../../src/proxy/references/laws/readers.rs"]
mod readers;

use egressd::domain::BaseUrl;
use egressd::proxy::references::{ReferenceContext, rewrite};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use readers::{leads_elsewhere, refresh_targets, targets};
use url::Url;

/// The ports that egressd listens on. At 8080 the connection is below `/crm` and at the root of
/// `crm.localhost`, at 9001 it is at the root.
const PORTS: [u16; 3] = [80, 8080, 9001];

fuzz_target!(|input: &[u8]| {
    let [kind, value @ ..] = input else {
        return;
    };
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return;
    };
    let (host, prefix) = match kind & 3 {
        0 => ("127.0.0.1:8080", "/crm"),
        1 => ("127.0.0.1:9001", ""),
        _ => ("crm.localhost:8080", ""),
    };
    let base_url = if kind & 4 == 0 {
        "https://api.test/base"
    } else {
        "https://127.0.0.1:8443"
    };
    let name = HeaderName::from_static(match kind >> 3 & 3 {
        0 => "location",
        1 => "refresh",
        _ => "link",
    });
    let target = format!("{prefix}/a/b?q=1");
    let request = Request::get(&target).header("host", host).body(());
    let (parts, ()) = request.expect("the request is valid").into_parts();
    let context = ReferenceContext {
        base_url: &BaseUrl::parse(base_url).expect("the URL is valid"),
        allow_encoded_slash: true,
        prefix,
        path: b"/a/b",
        parts: &parts,
        is_own_port: &|port| PORTS.contains(&port),
        allowed_hosts: &["box.internal".to_owned()],
    };
    let mut headers = HeaderMap::new();
    headers.insert(name.clone(), value);
    rewrite(&context, &mut headers);

    let page = Url::parse(&format!("http://{host}{target}")).expect("the URL is valid");
    for rewritten in headers.get_all(&name) {
        let text = String::from_utf8_lossy(rewritten.as_bytes());
        let followed = match name.as_str() {
            "location" => vec![text.trim().to_owned()],
            "refresh" => refresh_targets(&text),
            _ => targets(&text),
        };
        for reference in followed {
            assert!(
                !leads_elsewhere(&page, &reference, prefix, &PORTS),
                "{text:?} leads to {reference:?}"
            );
        }
    }
});
