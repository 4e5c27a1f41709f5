//! The list of connections in Markdown, for a prompt. No text of an operator can change the
//! structure of the document.
//!
//! A name is one line with its markup escaped. A description is Markdown itself, and becomes a
//! block quote that no heading, fence or HTML block in it can end. A pattern becomes a code span
//! whose fence is longer than any run of backticks in it. The description of a route or of a
//! parameter is Markdown too, and becomes the rest of a line, where it can begin no block.

use super::Listed;
use super::route::{ListedRoute, RouteObject};
use super::template::Template;
use crate::credential::oauth::StatusName;

/// The instructions that follow the base URL.
const HOW: &str = "Credentials are added to your requests: send none. Only the routes below are allowed. Any other request is refused with an `application/problem+json` document that gives the reason.\n\n\
A route is `[METHOD ]/path`. `{name}` matches one path segment, `{name...}` or a `/` at the end matches the rest of the path, and `{$}` matches only the end. GET includes HEAD, and a route without a method allows every method. \
The query is not restricted. Send paths in plain form: no `.` or `..` segments, no `//`, no `%2F`. Nothing is redirected or rewritten.\n";

/// Renders the list, with gaps for the host that the agent uses.
pub(super) fn render<'a>(connections: impl Iterator<Item = Listed<'a>>) -> Template {
    let mut template = Template::new(status_paragraph);
    let text = &mut template.text;
    text.push_str("# HTTP connections\n\nThe base URL of a connection is `http://");
    template.push_host();
    let text = &mut template.text;
    text.push_str("/<id>`: to call `GET /path` of it, send `GET http://");
    template.push_host();
    template.text.push_str("/<id>/path`. ");
    template.text.push_str(HOW);
    let mut count = 0;
    for connection in connections {
        render_one(&mut template, &connection, count);
        count += 1;
    }
    if count == 0 {
        template.text.push_str("\nThere are no connections.\n");
    }
    template
}

/// Returns the paragraph that states a status other than the usual one.
fn status_paragraph(status: StatusName) -> &'static str {
    match status {
        // Disabled connections are not listed.
        StatusName::Connected | StatusName::Disabled => "",
        StatusName::Unavailable => "Status: `unavailable`. Its requests are refused for now.\n\n",
        StatusName::NeedsConsent => {
            "Status: `needs_consent`. Its requests are refused until a person logs in. Do not retry.\n\n"
        }
        StatusName::Revoked => {
            "Status: `revoked`. Its requests are refused until a person logs in. Do not retry.\n\n"
        }
    }
}

/// Renders the connection with this index in the list.
fn render_one(template: &mut Template, connection: &Listed<'_>, index: usize) {
    let text = &mut template.text;
    text.push_str("\n## ");
    text.push_str(connection.id);
    let name = one_line(connection.display_name);
    if !name.is_empty() && name != connection.id {
        text.push_str(": ");
        push_escaped(text, &name);
    }
    text.push_str("\n\nBase URL: `http://");
    template.push_host();
    let text = &mut template.text;
    text.extend(["/", connection.id, "`\n\n"]);
    template.push_status(index);
    let text = &mut template.text;
    push_quoted(text, connection.description);
    text.push_str(if connection.allow_encoded_slash {
        "Routes (`%2F` is allowed inside a segment here):\n\n"
    } else {
        "Routes:\n\n"
    });
    for route in &connection.allowed_routes {
        match route {
            ListedRoute::Plain(pattern) => push_route(text, pattern, None),
            ListedRoute::Described(described) => push_described(text, described),
        }
    }
}

/// Appends a route with its description, and one item for each documented query parameter.
fn push_described(text: &mut String, described: &RouteObject<'_>) {
    push_route(text, described.route, described.description);
    for parameter in described.query {
        text.push_str("  - query ");
        push_code(text, &one_line(parameter.name.as_str()));
        text.extend([" (", parameter.kind.as_str(), ")"]);
        let description = parameter.description.as_ref();
        push_rest_of_line(text, description.map(|description| description.as_str()));
    }
}

fn push_route(text: &mut String, pattern: &str, description: Option<&str>) {
    text.push_str("- ");
    push_code(text, &one_line(pattern));
    push_rest_of_line(text, description);
}

/// Appends a description, if there is one, and ends the line.
fn push_rest_of_line(text: &mut String, description: Option<&str>) {
    if let Some(description) = description {
        text.push_str(": ");
        text.push_str(&one_line(description));
    }
    text.push('\n');
}

/// Returns the words of a text with single spaces between them. Control characters and all kinds of
/// line ends count as spaces.
fn one_line(text: &str) -> String {
    let is_end = |c: char| c.is_control() || c.is_whitespace();
    let words: Vec<&str> = text.split(is_end).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Appends a line of text with its markup escaped (CommonMark §2.4).
fn push_escaped(text: &mut String, line: &str) {
    for c in line.chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '!'
        ) {
            text.push('\\');
        }
        text.push(c);
    }
}

/// Appends a block quote (CommonMark §5.1). Every line is marked, so that the quote does not
/// continue into the text after it.
fn push_quoted(text: &mut String, markdown: &str) {
    let markdown = markdown.replace("\r\n", "\n");
    let is_end = |c: char| c != '\t' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    let markdown = markdown.trim_matches(|c: char| c.is_control() || c.is_whitespace());
    if markdown.is_empty() {
        return;
    }
    for line in markdown.split(is_end) {
        text.push_str("> ");
        text.push_str(line.trim_end());
        // An empty line of the quote has only its mark.
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text.push('\n');
}

/// Appends a code span (CommonMark §6.1).
fn push_code(text: &mut String, code: &str) {
    let (mut run, mut longest) = (0_usize, 0_usize);
    for c in code.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    // A backtick at the edge needs a space between itself and the fence. Renderers remove the
    // space.
    let pad = if longest > 0 { " " } else { "" };
    for piece in [&fence, pad, code, pad, &fence] {
        text.push_str(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::{Listed, ListedRoute, RouteObject, Template};
    use crate::domain::route_description::{
        DescriptionText, ParameterName, ParameterType, QueryParameter,
    };
    use std::sync::Arc;

    fn render<'a>(host: &str, connections: impl Iterator<Item = Listed<'a>>) -> String {
        let template: Arc<Template> = Arc::new(super::render(connections));
        let mut filled = template.fill(host, Box::default());
        let pieces = std::iter::from_fn(|| filled.next());
        String::from_utf8(pieces.flatten().collect()).unwrap()
    }

    fn listing(name: &str, description: &str, routes: &[&str]) -> String {
        let listed = Listed {
            id: "crm",
            display_name: name,
            description,
            allowed_routes: routes
                .iter()
                .map(|route| ListedRoute::Plain(route))
                .collect(),
            allow_encoded_slash: name == "GitLab",
        };
        let text = render("127.0.0.1:8080", std::iter::once(listed));
        let start = text.find("\n## crm").unwrap();
        text.split_at(start).1.to_owned()
    }

    #[test]
    fn a_connection_is_described_in_few_words() {
        assert_eq!(
            listing(
                "The CRM",
                "Users and *teams*.\n\n100 requests a minute.\n",
                &["GET /users/{id}", "/teams/"]
            ),
            "\n## crm: The CRM\n\nBase URL: `http://127.0.0.1:8080/crm`\n\n> Users and *teams*.\n>\n> 100 requests a minute.\n\n\
             Routes:\n\n- `GET /users/{id}`\n- `/teams/`\n"
        );
        assert_eq!(
            listing("crm", " \n", &["/"]),
            "\n## crm\n\nBase URL: `http://127.0.0.1:8080/crm`\n\nRoutes:\n\n- `/`\n"
        );
        let slashes = listing("GitLab", "", &["/"]);
        let end = "\nRoutes (`%2F` is allowed inside a segment here):\n\n- `/`\n";
        assert!(slashes.ends_with(end), "{slashes}");
        let none = render("localhost", std::iter::empty());
        assert!(none.ends_with("\nThere are no connections.\n"), "{none}");
    }

    #[test]
    fn a_name_is_one_line_of_text() {
        let text = listing("a\n# b\r\n`c` *d*\u{2028}<e>\t\u{1b}[0m &amp;", "", &["/"]);
        let heading = "\n## crm: a \\# b \\`c\\` \\*d\\* \\<e\\> \\[0m \\&amp;\n\n";
        assert!(text.starts_with(heading), "{text}");
    }

    #[test]
    fn a_description_stays_in_its_quote() {
        let text = listing(
            "crm",
            "# Top\r## Other\r\n```\nopen fence\u{2028}- `GET /all`\u{85}<!-- open\n\n\tcode",
            &["/"],
        );
        let quote = "> # Top\n> ## Other\n> ```\n> open fence\n> - `GET /all`\n> <!-- open\n>\n> \tcode\n\nRoutes:\n";
        assert!(text.contains(quote), "{text}");
        let outside: Vec<&str> = text.lines().filter(|line| !line.starts_with('>')).collect();
        let expected = [
            "",
            "## crm",
            "",
            "Base URL: `http://127.0.0.1:8080/crm`",
            "",
            "",
            "Routes:",
            "",
            "- `/`",
        ];
        assert_eq!(outside, expected);
    }

    #[test]
    fn a_pattern_stays_in_its_code_span() {
        let text = listing("crm", "", &["/a`b", "/``", "/a\n# b", "/*_<b>"]);
        let list = "- `` /a`b ``\n- ``` /`` ```\n- `/a # b`\n- `/*_<b>`\n";
        assert!(text.ends_with(list), "{text}");
    }

    #[test]
    fn a_described_route_stays_in_its_item() {
        // F-280
        let parameter = |name, kind, text| QueryParameter {
            name: ParameterName::parse(name).unwrap(),
            kind,
            description: DescriptionText::parse(text).ok(),
        };
        let query = [
            parameter("page", ParameterType::Integer, ""),
            parameter("a`b", ParameterType::Array, "# Sort\n- keys"),
        ];
        let described = RouteObject {
            route: "GET /repos/{owner}",
            name: Some("list_repos"),
            description: Some("Lists `all`\r\n\n# Repos\u{2028}- of <!-- one\n```\nowner"),
            query: &query,
        };
        let mut text = String::new();
        super::push_described(&mut text, &described);
        assert_eq!(
            text,
            "- `GET /repos/{owner}`: Lists `all` # Repos - of <!-- one ``` owner\n  \
             - query `page` (integer)\n  - query `` a`b `` (array): # Sort - keys\n"
        );
    }
}
