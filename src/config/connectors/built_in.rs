//! The text of the built-in connectors.

/// Each slug, with the content of its file.
#[rustfmt::skip] // one row a line
pub(super) const FILES: [(&str, &str); 19] = [
    ("anthropic", include_str!("../../../connectors/anthropic.yaml")),
    ("atlassian", include_str!("../../../connectors/atlassian.yaml")),
    ("databricks", include_str!("../../../connectors/databricks.yaml")),
    ("datadog", include_str!("../../../connectors/datadog.yaml")),
    ("dropbox", include_str!("../../../connectors/dropbox.yaml")),
    ("github", include_str!("../../../connectors/github.yaml")),
    ("gitlab", include_str!("../../../connectors/gitlab.yaml")),
    ("google", include_str!("../../../connectors/google.yaml")),
    ("hubspot", include_str!("../../../connectors/hubspot.yaml")),
    ("linear", include_str!("../../../connectors/linear.yaml")),
    ("microsoft", include_str!("../../../connectors/microsoft.yaml")),
    ("notion", include_str!("../../../connectors/notion.yaml")),
    ("openai", include_str!("../../../connectors/openai.yaml")),
    ("pagerduty", include_str!("../../../connectors/pagerduty.yaml")),
    ("salesforce", include_str!("../../../connectors/salesforce.yaml")),
    ("sentry", include_str!("../../../connectors/sentry.yaml")),
    ("slack", include_str!("../../../connectors/slack.yaml")),
    ("stripe", include_str!("../../../connectors/stripe.yaml")),
    ("zoom", include_str!("../../../connectors/zoom.yaml")),
];
