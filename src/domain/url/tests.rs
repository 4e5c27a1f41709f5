//! Valid URLs, and texts that other parsers repair and this one rejects.

use super::{BaseUrl, InvalidUrl, TokenUrl};

#[test]
fn a_parsed_url_prints_unchanged() {
    for (text, authority, path) in [
        ("https://api.example.com", "api.example.com", ""),
        (
            "https://api.example.com/base/v1",
            "api.example.com",
            "/base/v1",
        ),
        (
            "https://api.example.com:8443/a",
            "api.example.com:8443",
            "/a",
        ),
        ("https://127.0.0.1:1", "127.0.0.1:1", ""),
        (
            "https://[2606:4700::1111]:8443/x",
            "[2606:4700::1111]:8443",
            "/x",
        ),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example", ""),
        ("https://localhost/a%20b", "localhost", "/a%20b"),
    ] {
        let url = BaseUrl::parse(text).unwrap();
        assert_eq!((url.authority(), url.path()), (authority, path));
        assert_eq!(url.to_string(), text);
    }
    assert_eq!(BaseUrl::parse("https://h/").unwrap().path(), "");
    assert_eq!(BaseUrl::parse("https://h/a/").unwrap().path(), "/a");
    assert_eq!(BaseUrl::parse("https://h:443/a").unwrap().authority(), "h");
    assert_eq!(TokenUrl::parse("https://h").unwrap().path(), "/");
    assert_eq!(
        TokenUrl::parse("https://h/token/").unwrap().path(),
        "/token/"
    );
}

#[test]
fn texts_that_other_parsers_repair_are_rejected() {
    use InvalidUrl::{
        Fragment, Host, NoHost, NotHttps, NumericHost, Path, Port, UpperCase, Userinfo,
    };
    let long = format!("https://{}com", "abc.".repeat(63));
    for (text, why) in [
        // F-1
        ("http://h", NotHttps),
        ("ftp://h", NotHttps),
        ("api.example.com", NotHttps),
        ("HTTPS://h", NotHttps),
        (" https://h", NotHttps),
        // F-2
        ("https:/h", NotHttps),
        ("https:h", NotHttps),
        ("https:\\\\h", NotHttps),
        ("https:///h", NoHost),
        // F-3
        ("https://u:p@h/", Userinfo),
        ("https://h/a#f", Fragment),
        // F-4
        ("https://0x7f.1", NumericHost),
        ("https://1.2.3.0x4", NumericHost),
        ("https://2130706433", NumericHost),
        ("https://0177.0.0.1", NumericHost),
        ("https://127.1", NumericHost),
        ("https://①②⑦.0.0.1", NumericHost),
        ("https://127。0。0。1", Host),
        ("https://exa%6dple.com", Host),
        ("https://exa\u{ad}mple.com", Host),
        ("https://ｅxample.com", Host),
        ("https://xn--a-ecp.ru\u{80}", Host),
        ("https://xn--zzzzzzz99999.example", Host),
        ("https://a_b.example", Host),
        ("https://Example.com", UpperCase),
        ("https://[::1", Host),
        ("https://[0:0::1]", Host),
        ("https://[fe80::1%25eth0]", Host),
        // F-5
        ("https://h.example.", Host),
        ("https://a..b", Host),
        ("https://-a.b", Host),
        (long.as_str(), Host),
        ("https://h:0", Port),
        ("https://h:65536", Port),
        ("https://h:", Port),
        ("https://h:080", Port),
        ("https://h:+80", Port),
        ("https://h/a/../b", Path),
        ("https://h//a", Path),
        ("https://h/a%2Fb", Path),
        ("https://h/a\\b", Path),
    ] {
        assert_eq!(BaseUrl::parse(text), Err(why), "{text}");
        assert_eq!(TokenUrl::parse(text).map(drop), Err(why), "{text}");
    }
}

#[test]
fn only_a_token_url_may_have_a_query() {
    use InvalidUrl::{Fragment, NotHttps, Port, Query, QueryBytes, Userinfo};
    // F-3
    assert_eq!(BaseUrl::parse("https://h?q"), Err(Query));
    // F-249
    for (text, why) in [
        ("https://h?a b", QueryBytes),
        ("https://h?a=%", QueryBytes),
        ("https://h?a=%2", QueryBytes),
        ("https://h?a=%zz", QueryBytes),
        ("https://h?a=\"b\"", QueryBytes),
        ("https://h?ä", QueryBytes),
        ("https://h?a\r\nb", QueryBytes),
        ("https://h?a\\b", QueryBytes),
        ("https://h?a#b", Fragment),
        ("https://h#a?b", Fragment),
        ("https://u@h?a", Userinfo),
        ("https://h:0?a", Port),
        ("https?://h", NotHttps),
    ] {
        assert_eq!(TokenUrl::parse(text).map(drop), Err(why), "{text}");
    }
}

#[test]
fn a_token_url_keeps_its_query() {
    // F-249
    for (text, target, query) in [
        ("https://h", "/", None),
        ("https://h/t", "/t", None),
        ("https://h?", "/?", Some("")),
        ("https://h?p=a", "/?p=a", Some("p=a")),
        (
            "https://h/t?p=b2c_1_x&a=%2F?/:@",
            "/t?p=b2c_1_x&a=%2F?/:@",
            Some("p=b2c_1_x&a=%2F?/:@"),
        ),
    ] {
        let url = TokenUrl::parse(text).unwrap();
        assert_eq!((url.target(), url.query()), (target, query), "{text}");
        assert_eq!(url.authority(), "h");
        assert!(!url.to_string().contains('?'), "its values may be secret");
    }
}
