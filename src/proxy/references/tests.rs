//! What becomes of single values, in the response to one request.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{REFERENCE_FIELDS, ReferenceContext, Syntax, rewrite};
use crate::domain::BaseUrl;

/// Returns the values of a field, and the number of references that were dropped, in the response
/// to a request for `/a/b?q` below `prefix`.
fn rewrite_below(prefix: &str, name: &str, values: &[&[u8]]) -> (Vec<String>, u64) {
    let (parts, ()) = Request::get(format!("{prefix}/a/b?q"))
        .header("host", "127.0.0.1:8080")
        .body(())
        .unwrap()
        .into_parts();
    let context = ReferenceContext {
        base_url: &BaseUrl::parse("https://api.test:8443/v1").unwrap(),
        allow_encoded_slash: false,
        prefix,
        path: b"/a/b",
        parts: &parts,
        is_own_port: &|port| port == 8080,
        allowed_hosts: &[],
    };
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(&name, HeaderValue::from_bytes(value).unwrap());
    }
    let dropped = rewrite(&context, &mut headers);
    let values = headers.get_all(&name).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    (values.collect(), dropped)
}

/// Checks one value below `/crm` and at the root of a host, where `expected` has no prefix.
fn check(name: &str, value: &str, expected: Option<&str>) {
    for prefix in ["/crm", ""] {
        let (values, dropped) = rewrite_below(prefix, name, &[value.as_bytes()]);
        let expected = expected.map(|expected| expected.replace("/crm/", &format!("{prefix}/")));
        assert_eq!(dropped, u64::from(expected.is_none()), "{name}: {value}");
        assert_eq!(values, Vec::from_iter(expected), "{name}: {value}");
    }
}

#[test]
fn the_documentation_lists_exactly_the_fields() {
    let page = include_str!("../../../docs/agents.md");
    let (_, table) = page.split_once("| header | what is rewritten |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let documented: BTreeSet<_> = names.map(str::to_ascii_lowercase).collect();
    let fields = REFERENCE_FIELDS
        .iter()
        .map(|(name, _)| name.as_str().to_owned());
    assert_eq!(documented, fields.collect());
}

#[test]
fn references_become_what_the_agent_can_follow() {
    // F-128
    for (value, expected) in [
        ("https://api.test:8443/v1/c?d#e", "/crm/c?d#e"),
        ("HTTPS://API.TEST:8443/v1/c", "/crm/c"),
        ("/v1/c", "/crm/c"),
        ("c", "/crm/a/c"),
        ("?r", "/crm/a/b?r"),
        ("#f", "/crm/a/b?q#f"),
        ("", "/crm/a/b?q"),
        ("/v1/", "/crm/"),
        // Plain HTTP on the base URL's host, as servers behind a TLS proxy write it.
        ("http://api.test/v1/c?d", "/crm/c?d"),
        ("http://api.test:80/v1/c", "/crm/c"),
        ("http://API.test:8443/v1/./c", "/crm/c"),
        ("http://api.test:/v1/c", "/crm/c"),
        ("http://api.test:8444/v1/c", "http://api.test:8444/v1/c"),
        ("http://user@api.test/v1/c", "http://user@api.test/v1/c"),
        ("http://api.test/v2/c", "http://api.test/v2/c"),
        ("http://api.test/v1/../c", "http://api.test/v1/../c"),
        (
            "http://api.test.example/v1/c",
            "http://api.test.example/v1/c",
        ),
        ("https://api.test/v1/c", "https://api.test/v1/c"),
        // Outside the base URL, or not the same for all clients.
        ("/v1", "https://api.test:8443/v1"),
        ("/v10/c", "https://api.test:8443/v10/c"),
        ("/erp/c", "https://api.test:8443/erp/c"),
        ("/v1/%2e%2e/c", "https://api.test:8443/v1/%2e%2e/c"),
        ("/v1//c", "https://api.test:8443/v1//c"),
        ("/v1/.//c", "https://api.test:8443/v1//c"),
        ("/v1/c%2fd", "https://api.test:8443/v1/c%2fd"),
        ("/v1/é", "https://api.test:8443/v1/é"),
        ("//example.com/v1/c", "https://example.com/v1/c"),
        ("data:text/plain,c", "data:text/plain,c"),
        ("urn:ietf:rfc:8288", "urn:ietf:rfc:8288"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("ftp://example.com/c", "ftp://example.com/c"),
        ("feed:http://example.com/c", "feed:http://example.com/c"),
    ] {
        check_in_all_fields(value, Some(expected));
    }
}

#[test]
fn references_that_are_unclear_or_name_egressd_are_dropped() {
    // F-237, F-275
    for value in [
        "http://127.0.0.1:8080/erp/x",
        "https://u@127.0.0.1:8080/erp/x",
        "//127.0.0.1:8080/erp/x",
        "https://u@127.0.0.1:8080/erp/x",
        "//127.1:8080/erp/x",
        "ws://127.0.0.1:8080/erp/x",
        "gopher://localhost:8080/1",
        "feed:http://localhost:8080/erp/x",
        "http+unix://%2Frun%2Fegressd.sock/erp/x",
        "unix:/run/egressd.sock",
        "\\\\example.com\\c",
        "https:/example.com",
        "http:c.localhost",
        "ws:c.localhost",
        "wss:/c.localhost",
        "ftp:\\\\c.localhost",
        "ws:///c.localhost",
        "http://a@b@example.com/",
        "/v1/\tc",
    ] {
        check_in_all_fields(value, None);
    }
}

/// Checks one value in each field that holds one reference.
fn check_in_all_fields(value: &str, expected: Option<&str>) {
    for (name, syntax) in &REFERENCE_FIELDS {
        if matches!(syntax, Syntax::Reference) {
            check(name.as_str(), value, expected);
        }
    }
}

#[test]
fn each_target_of_a_link_is_mapped_and_parameters_are_kept() {
    for (value, expected) in [
        ("</v1/c>; rel=\"next\"", "</crm/c>; rel=\"next\""),
        (
            "</v1/c?page=2>; rel=\"next\", <https://api.test:8443/v1/c?page=9>;rel=last",
            "</crm/c?page=2>; rel=\"next\", </crm/c?page=9>;rel=last",
        ),
        (
            "<c>,,</erp/x> ;rel=prev,",
            "</crm/a/c>, <https://api.test:8443/erp/x>;rel=prev",
        ),
        ("<>", "</crm/a/b?q>"),
        ("<urn:a>; rel=about", "<urn:a>; rel=about"),
        (
            "</v1/c>;  REL = next ; Title=\"a, \\\"b\\\" <c>; d\" ;x;; title*=UTF-8''%c3%a9",
            "</crm/c>;  REL = next ; Title=\"a, \\\"b\\\" <c>; d\" ;x;; title*=UTF-8''%c3%a9",
        ),
        (
            "</v1/c>; type=text/html; hreflang=\"de\"",
            "</crm/c>; type=text/html; hreflang=\"de\"",
        ),
        ("</v1/c>; title=\"é\"", "</crm/c>; title=\"é\""),
        // Commas in targets are legal, but many clients split at them.
        ("</v1/c?d=1,2>; rel=next", "</crm/c?d=1,2>; rel=next"),
        (
            "</v1/c?d=1,/erp/x>; rel=next",
            "</crm/c?d=1%2C/erp/x>; rel=next",
        ),
        // The context of the link is a reference, too.
        (
            "</v1/c>; anchor=\"#f\"; rel=next",
            "</crm/c>; anchor=\"/crm/a/b?q#f\"; rel=next",
        ),
        (
            "</v1/c>; ANCHOR = \"\\/v1\\/d\"",
            "</crm/c>; anchor=\"/crm/d\"",
        ),
        (
            "</v1/c>; anchor=/erp/x",
            "</crm/c>; anchor=\"https://api.test:8443/erp/x\"",
        ),
    ] {
        check("link", value, Some(expected));
    }
    for empty in ["", ",", " , "] {
        assert_eq!(
            rewrite_below("/crm", "link", &[empty.as_bytes()]),
            (vec![], 0)
        );
    }
}

#[test]
fn only_links_that_cannot_be_parsed_are_dropped() {
    // F-276
    let kept = "</crm/d>; rel=next";
    for (bad, dropped) in [
        ("no link", 1),
        ("no link, nor this", 2),
        ("</v1/c> rel=prev", 1),
        ("</v1/c>; rel=a b", 1),
        ("</v1/c>; =x", 1),
        ("</v1/c>; a/b=x", 1),
        ("</v1/c>=\"x\"", 1),
        ("</v1/c d>; rel=prev", 1),
        ("</v1/c\\d>; rel=prev", 1),
        ("<http://127.0.0.1:8080/erp/x>; rel=prev", 1),
        ("<https://example.com/a/../b>; rel=prev", 1),
        ("</v1/c>; anchor=\"http://127.0.0.1:8080/erp/x\"", 1),
        ("</v1/c>; anchor=\"a b\"", 1),
    ] {
        for value in [
            format!("{bad}, </v1/d>; rel=next"),
            format!("</v1/d>; rel=next, {bad}"),
        ] {
            let rewritten = rewrite_below("/crm", "link", &[value.as_bytes()]);
            assert_eq!(rewritten, (vec![kept.to_owned()], dropped), "{value}");
        }
    }
}

#[test]
fn a_value_whose_links_have_no_certain_end_is_dropped() {
    // F-276
    for value in [
        "</v1/c>; title=\"d, </v1/e>; rel=next",
        "</v1/c>; title=\"d\\\", </v1/e>",
        "</v1/c>; title=\"d\"e\", </v1/e>",
        "</v1/c>; title=\"</erp/x>; rel=\"next\"\"",
        "</v1/c>; title=d\"e\"",
        "</v1/c, </v1/e>",
        "</v1/c",
        "</v1/c>> , </v1/e>",
        "</v1/<c>>",
        "</v1/c\">, </v1/e>; title=\"x",
        "</v1/c> </v1/e>",
        "x=</v1/c>, </v1/e>",
        "\"</v1/c>\"",
        "</v1/c>; title=\\\"</v1/e>",
    ] {
        check("link", value, None);
        // Other fields of the same name are separate values.
        let values = [value.as_bytes(), b"</v1/d>"];
        let rewritten = rewrite_below("/crm", "link", &values);
        assert_eq!(rewritten, (vec!["</crm/d>".to_owned()], 1), "{value}");
    }
}

#[test]
fn a_parameter_that_a_client_could_follow_is_dropped() {
    // F-279
    for parameter in [
        "title=\"a, </erp/x>; rel=next\"",
        "title=\"a,/erp/x\"",
        "title=\"<http://127.0.0.1:8080/erp/x>\"",
        "title=\"a, \\\\erp\\\\x\"",
        "title=\"/../../erp/x\"",
        "title=\"/%2E./erp/x\"",
        "title=\"a\tb\"",
        "x=/../../erp/x",
    ] {
        let value = format!("</v1/c>; {parameter}; rel=next");
        let rewritten = rewrite_below("/crm", "link", &[value.as_bytes()]);
        assert_eq!(
            rewritten,
            (vec!["</crm/c>; rel=next".to_owned()], 1),
            "{value}"
        );
    }
}

#[test]
fn a_refresh_keeps_its_time() {
    for (value, expected) in [
        ("5", Some("5")),
        (" 5.5 ; ", Some("5.5")),
        ("5; url=/v1/c", Some("5; url=/crm/c")),
        ("0;URL = '/v1/c?d=1;2'", Some("0; url=/crm/c?d=1;2")),
        (
            "0,url=\"https://api.test:8443/v1/c\"",
            Some("0; url=/crm/c"),
        ),
        ("5 /v1/c", Some("5; url=/crm/c")),
        ("5; c", Some("5; url=/crm/a/c")),
        ("5; url=", Some("5; url=/crm/a/b?q")),
        ("5; url=''", Some("5; url=/crm/a/b?q")),
        ("5; url=/erp/x", Some("5; url=https://api.test:8443/erp/x")),
        (
            "5; url=//example.com/c",
            Some("5; url=https://example.com/c"),
        ),
        // F-277
        ("", None),
        ("now", None),
        ("-1; url=/v1/c", None),
        ("5url=/v1/c", None),
        ("5; url='/v1/c", None),
        ("5; url=\"/v1/c'", None),
        ("5; url='/v1/c'; url=/erp/x", None),
        ("5; url=/v1/c; url=/erp/x", None),
        ("5; url=/v1/c?url=/erp/x", None),
        ("5; url=/v1/c d", None),
        ("5; url=/v1/c, 6; url=/v1/d", None),
        ("5; url=http://127.0.0.1:8080/erp/x", None),
        ("5; url=\\erp", None),
        ("5,URL:x/../../../erp/x", None),
        ("5; url=https://example.com/../../../erp/x", None),
    ] {
        check("refresh", value, expected);
    }
}

#[test]
fn references_are_bounded_for_one_response() {
    // F-278
    let prefix = format!("/{}", "c".repeat(1_000));
    let list = b"<>,".repeat(21_845);
    let (values, dropped) = rewrite_below(&prefix, "link", &[&list]);
    let kept = values.concat().matches("/a/b?q>").count();
    assert_eq!(kept as u64 + dropped, 21_845);
    assert!(
        dropped > 0 && values.concat().len() <= 1024 * 1024,
        "{kept}"
    );

    let long = [b"</v1/".to_vec(), b"c".repeat(65_000), b">".to_vec()].concat();
    let (values, dropped) = rewrite_below("/crm", "link", &[&long]);
    assert_eq!((values.concat().len(), dropped), (long.len() + 1, 0));
    let text = [b"</v1/c>; title=\"".to_vec(), b"\\\"".repeat(32_000)].concat();
    assert_eq!(rewrite_below("/crm", "link", &[&text]), (vec![], 1));
}
