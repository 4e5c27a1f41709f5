//! Property tests over generated values: no rewritten value leads to another connection.

mod readers;

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use url::Url;

use self::readers::{leads_elsewhere, refresh_targets, targets};
use super::{REFERENCE_FIELDS, ReferenceContext, Syntax, rewrite};
use crate::domain::BaseUrl;

const PORTS: [u16; 3] = [80, 8080, 9001];

/// The ways to address the connection `crm`, as host and prefix: below its prefix, on a listener of
/// its own, and under a name of its own.
const MOUNTS: [(&str, &str); 3] = [
    ("127.0.0.1:8080", "/crm"),
    ("127.0.0.1:9001", ""),
    ("crm.localhost:8080", ""),
];

/// Returns the values that an agent receives for a value of the upstream.
fn received(
    (host, prefix): (&str, &str),
    base_url: &str,
    name: &HeaderName,
    value: &[u8],
) -> Vec<Vec<u8>> {
    let request = Request::get(format!("{prefix}/a/b?q=1")).header("host", host);
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let context = ReferenceContext {
        base_url: &BaseUrl::parse(base_url).unwrap(),
        allow_encoded_slash: true,
        prefix,
        path: b"/a/b",
        parts: &parts,
        is_own_port: &|port| PORTS.contains(&port),
        allowed_hosts: &["box.internal".to_owned()],
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.append(name, value);
    }
    rewrite(&context, &mut headers);
    let values = headers.get_all(name).iter();
    values.map(|value| value.as_bytes().to_vec()).collect()
}

fn hostile_value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "<", ">", ">; ", ", <", ",", ";", "; ", "\"", "=\"", "\\", "\\\"", " ", "\t", "'", "5; ",
            "url=", "5; url=/base/c?", "rel=\"next\"", "rel=next", "title=", "anchor=", "x=", "type=text/html",
        ]),
        8 => prop::sample::select(vec![
            "/", "//", "..", ".", "/..", "/../", "%2e%2e", "/%2E.", "?", "#", "@", ":", "a", "é",
            "/erp/x", "/base/c", "/base/c,d", "erp", "c/d", "http:", "https:", "http://",
            "127.0.0.1:8080", "localhost", "[::1]:9001", "box.internal:8080", "127.1:8080",
            "http://127.0.0.1:8080/erp/x", "http://crm.localhost:8080/erp", "api.test", ":80",
            "https://api.test/base/c", "http://api.test/base/c", "https://example.com/c/../d",
            "//127.0.0.1:8080/erp", "ws://127.0.0.1:8080/erp", "http+unix://%2frun/erp", "%2f", "%5c",
        ]),
    ];
    let byte = any::<u8>().prop_map(|byte| vec![byte]);
    let piece = prop_oneof![9 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => byte];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Returns a list of links whose brackets and quotes are balanced.
fn well_formed_links() -> impl Strategy<Value = Vec<u8>> {
    let reference = prop::sample::select(vec![
        "",
        "/base/c",
        "/base/c,/erp/x",
        "/erp/x",
        "../../../erp/x",
        "https://example.com/../../../../../../erp/x",
        "https://example.com/a,http://127.0.0.1:8080/erp/x",
        "?q=1,/erp/x",
        "#f",
        "http://127.0.0.1:8080/erp/x",
    ]);
    let text = prop::collection::vec(
        prop::sample::select(vec![
            "a",
            " ",
            ", ",
            ",",
            "<",
            ">",
            "; ",
            "\\\"",
            "\\\\",
            "/",
            "/erp/x",
            "..",
            "/../../erp/x",
            "\t",
            "rel=next",
            "//127.0.0.1:8080/erp",
            "http:",
            "?",
            "'",
            "x",
        ]),
        0..6,
    );
    let parameter = (
        prop::sample::select(vec!["rel", "title", "anchor", "x"]),
        prop::sample::select(vec!["\"", ""]),
        text,
    );
    let link = (reference, prop::collection::vec(parameter, 0..4));
    prop::collection::vec(link, 0..4).prop_map(|links| {
        let mut value = String::new();
        for (reference, parameters) in links {
            write!(value, "<{reference}>").unwrap();
            for (name, quote, text) in parameters {
                write!(value, "; {name}={quote}{}{quote}", text.concat()).unwrap();
            }
            value += ", ";
        }
        value.into_bytes()
    })
}

fn check(value: &[u8]) -> Result<(), TestCaseError> {
    let base_urls = ["https://api.test/base", "https://127.0.0.1:8443"];
    for (mount, base_url) in MOUNTS
        .iter()
        .flat_map(|mount| base_urls.map(|base| (*mount, base)))
    {
        let (host, prefix) = mount;
        let page = Url::parse(&format!("http://{host}{prefix}/a/b?q=1")).unwrap();
        for (name, syntax) in &REFERENCE_FIELDS {
            for rewritten in received(mount, base_url, name, value) {
                let text = String::from_utf8_lossy(&rewritten);
                let mut followed = match syntax {
                    Syntax::Reference => vec![text.clone().into_owned()],
                    Syntax::Links => targets(&text),
                    Syntax::Refresh => refresh_targets(&text),
                };
                let stripped: Vec<_> = followed.iter().map(|text| text.trim().to_owned()).collect();
                followed.extend(stripped);
                for target in followed {
                    prop_assert!(
                        !leads_elsewhere(&page, &target, prefix, &PORTS),
                        "{name} at {page}: {:?} became {text:?}, which leads to {target:?}",
                        String::from_utf8_lossy(value)
                    );
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    // F-275
    #[test]
    fn no_value_leads_to_another_connection(value in hostile_value()) {
        check(&value)?;
    }

    // F-279
    #[test]
    fn no_list_of_links_leads_to_another_connection(value in well_formed_links()) {
        check(&value)?;
    }
}
