//! Valid filters, each with the records that match.

use super::examples::matching;

const ALL: &str = "abcdefgh";

#[track_caller]
fn table(rows: &[(&str, &str)]) {
    for (filter, expected) in rows {
        assert_eq!(matching(filter), *expected, "{filter}");
    }
}

#[test]
fn an_empty_filter() {
    table(&[("", ALL), (" \t\r\n", ALL)]);
}

#[test]
fn text_is_compared_letter_by_letter() {
    table(&[
        (r#"name="crm""#, "a"),
        (r"name='crm'", "a"),
        ("name=crm", "a"),
        (" name \t= \n crm ", "a"),
        // No-break spaces, as a word processor inserts them.
        ("name\u{a0}=\u{a0}crm\u{a0}", "a"),
        ("name = 'CRM'", ""),
        ("name != crm", "bcdefgh"),
        ("name=über", "g"),
        ("name=ÜBER", ""),
        ("name=z:y", "h"),
        // A dot belongs to a bare word.
        ("name=search.2", "f"),
        ("description=42", "h"),
        ("description=''", ""),
        ("display_name=true", "h"),
        (r#"display_name="CRM Europe""#, "b"),
        (r#"displayName="CRM Europe""#, "b"),
        ("name < crm", "c"),
        ("name <= crm", "ac"),
        ("name > search", "fgh"),
        ("name >= search", "efgh"),
        ("name > z", "gh"),
    ]);
}

#[test]
fn quotes_and_escapes() {
    table(&[
        (r#"display_name="Bill \"the\" Payer""#, "c"),
        (r#"display_name='Bill "the" Payer'"#, "c"),
        (r#"display_name="it's notes""#, "d"),
        (r"display_name='it\'s notes'", "d"),
        (r#"description="a\\b (draft)""#, "d"),
        (r"description:a\\b", "d"),
        (r#"description="invoices \* 100%""#, "c"),
        (r"description:\*", "c"),
        (r#"description:" \* ""#, "c"),
        (r#""name"=crm"#, "a"),
        ("name='AND'", ""),
    ]);
}

#[test]
fn stars_at_the_ends() {
    table(&[
        ("name=crm*", "ab"),
        (r#"name="crm*""#, "ab"),
        ("name='*2'", "f"),
        ("name=*r*", "abefg"),
        ("name=*", ALL),
        ("name='**'", ALL),
        ("name=CRM*", ""),
        ("name!=crm*", "cdefgh"),
        ("description=*", "acdegh"),
        ("description!=*", "bf"),
        ("name:crm*", "ab"),
        ("name:*CH", "e"),
        ("name:*R*", "abefg"),
        ("crm*", "ab"),
    ]);
}

#[test]
fn contains_ignores_case() {
    table(&[
        ("name:CRM", "ab"),
        ("display_name:crm", "ab"),
        ("display_name:'crm of'", "a"),
        ("display_name:über", "g"),
        // Case is ignored beyond ASCII too.
        ("description:ÄRZ", "g"),
        ("description:''", "acdegh"),
        ("name:nothing", ""),
    ]);
}

#[test]
fn presence() {
    table(&[
        ("description:*", "acdegh"),
        ("description:'*'", "acdegh"),
        ("-description:*", "bf"),
        ("lastUsedTime:*", "bce"),
        ("NOT last_used_time:*", "adfgh"),
        ("connection_type:*", "abcdefg"),
        ("connection_status.code:*", "abcdegh"),
        ("read_only:*", ALL),
    ]);
}

#[test]
fn absent_values() {
    // Every comparison is false, and `!=` is NOT `=`.
    table(&[
        ("last_used_time<2030-01-01T00:00:00Z", "bce"),
        ("last_used_time>=2000-01-01T00:00:00Z", "bce"),
        ("last_used_time!=2026-06-01T00:00:00Z", "abcdfgh"),
        ("connection_status.code=0", "ab"),
        ("connection_status.code!=0", "cdefgh"),
        ("connection_status.code>=0", "abcdgh"),
        ("connection_type!=http", "fgh"),
    ]);
}

#[test]
fn enums() {
    table(&[
        (r#"connection_type="http""#, "abcde"),
        ("connectionType=HTTP", "abcde"),
        ("connection_type=CONNECTION_TYPE_HTTP", "abcde"),
        ("connection_type=Connection_Type_Http", "abcde"),
        ("connection_type=tcp", "fg"),
        ("connection_type=ht", ""),
        ("connection_type=ht*", "abcde"),
        ("connection_type=*cp", "fg"),
        ("connection_type=CONNECTION_TYPE_*", "abcdefg"),
        ("connection_type:tt", "abcde"),
        ("connection_type:type", ""),
        // An unknown name of an enum matches nothing, and is not an error.
        ("connection_type=smtp", ""),
    ]);
}

#[test]
fn times() {
    table(&[
        ("create_time>=2026-06-01T00:00:00Z", "fgh"),
        ("create_time > '2026-06-01T00:00:00Z'", "gh"),
        ("create_time=2026-06-01T02:00:00+02:00", "f"),
        ("create_time='2026-05-31T19:00:00-05:00'", "f"),
        ("create_time:2026-06-01T00:00:00Z", "f"),
        ("last_used_time=2026-03-01T12:00:00.500Z", "c"),
        ("last_used_time>2026-03-01T12:00:00Z", "ce"),
        (
            "create_time>2026-02-01T00:00:00Z create_time<2026-04-01T00:00:00Z",
            "c",
        ),
    ]);
}

#[test]
fn numbers_and_booleans() {
    table(&[
        ("connection_status.code=16", "c"),
        ("connectionStatus.code = '16'", "c"),
        ("connection_status.code:16", "c"),
        ("connection_status.code=-3", "e"),
        ("connection_status.code>7.5", "cdh"),
        ("connection_status.code=1.6e1", "c"),
        ("connection_status.code<1e300", "abcdegh"),
        ("connection_status.code>-99999999999999999999", "abcdegh"),
        ("read_only=true", "abcefgh"),
        ("readOnly=false", "d"),
        ("read_only!=true", "d"),
        ("read_only:'false'", "d"),
    ]);
}

#[test]
fn or_binds_tighter_than_and() {
    table(&[
        ("name=crm AND name=crm-eu OR name=crm", "a"),
        ("(name=crm AND name=crm-eu) OR name=crm", "a"),
        ("name=notes AND name=crm OR name=crm-eu", ""),
        ("(name=notes AND name=crm) OR name=crm-eu", "b"),
        ("name=crm OR name=crm-eu AND display_name:europe", "b"),
        ("name=crm OR (name=crm-eu AND display_name:europe)", "ab"),
        ("name=crm OR name=crm-eu display_name:europe", "b"),
        ("display_name:crm name=crm OR name=notes", "a"),
        ("name=crm OR name=notes OR name=search", "ade"),
        ("name:crm AND name:eu AND display_name:e", "b"),
        ("name:crm name:eu", "b"),
        ("NOT name=crm OR name=crm", ALL),
        ("NOT (name=crm OR name=notes)", "bcefgh"),
        ("-name=crm -name=notes", "bcefgh"),
        ("-(name:crm read_only=true)", "cdefgh"),
        ("NOT(name:crm)", "cdefgh"),
        ("NOT -name=crm", "a"),
        ("NOT NOT name=crm", "a"),
        ("--name=crm", "a"),
        ("((((name=crm))))", "a"),
        ("( name=crm ) AND( name:c )", "a"),
    ]);
}

#[test]
fn words_without_a_field_are_searched_for() {
    table(&[
        ("crm", "ab"),
        ("Europe", "b"),
        ("europe crm", "b"),
        ("invoices OR europe", "bc"),
        (r#""of sales""#, "a"),
        ("-crm", "cdefgh"),
        ("42", "h"),
        ("true", "h"),
        (r#""and""#, "e"),
        ("AND1", ""),
        ("http", ""),
        ("*", ALL),
        ("*2", "fh"),
        ("Crm AND name=crm", "a"),
    ]);
}

/// F-190: the maximum depth, and the maximum number of restrictions.
#[test]
fn at_the_limits() {
    let deep = |depth: usize| format!("{}crm{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(matching(&deep(32)), "ab");
    // Adjacent parentheses are not nested.
    assert_eq!(matching(&"(crm) ".repeat(128)), "ab");
    let negated = format!("{}crm", "-".repeat(2_045));
    assert_eq!(matching(&negated), "cdefgh");
    let long = format!("name={}", "x".repeat(2_043));
    assert_eq!(matching(&long), "");
}
