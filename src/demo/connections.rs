//! The demo's connections, written as an operator would write them. They go through the same loader; their secrets come from variables.

use std::net::SocketAddr;

use crate::config::Text;

/// The addresses that the definitions lead to.
#[derive(Clone, Copy)]
pub(crate) struct DemoAddresses {
    pub(crate) api: SocketAddr,
    pub(crate) token_endpoint: SocketAddr,
}

/// File name and text, with `{api}` and `{tokens}` where the addresses go.
const FILES: &[(&str, &str)] = &[
    (
        "notes.yaml",
        r"
display_name: Notes
description: |
  Short notes, kept while the demo runs. `POST /items` takes `{text: ...}` as JSON.
  `/echo` tells what arrived at the API. `/reflect` would tell the key, so its answers never arrive.
connection_details:
  http:
    base_url: https://{api}/bearer
    allowed_routes:
      - GET /items
      - POST /items
      - GET /items/{id}
      - DELETE /items/{id}
      - GET /echo
      - POST /echo
      - GET /status/{code}
      - GET /reflect
      - GET /reflect/header
    bearer_token: {token: {env: NOTES_TOKEN}}
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "billing.yaml",
        r"
display_name: Billing
description: Behind a user name and a password.
connection_details:
  http:
    base_url: https://{api}/basic
    allowed_routes: [GET /echo]
    basic_auth: {username: {env: BILLING_USER}, password: {env: BILLING_PASSWORD}}
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "search.yaml",
        r"
display_name: Search
description: Behind a key in a header of its own. Every request names the tenant.
connection_details:
  http:
    base_url: https://{api}/api-key
    allowed_routes: [GET /echo]
    headers: {X-Tenant-ID: acme}
    static_headers: {headers: {X-API-Key: {env: SEARCH_KEY}}}
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "crm.yaml",
        r"
display_name: Contacts
description: Behind OAuth 2.0 client credentials. The token is asked for at an address of its own.
connection_details:
  http:
    base_url: https://{api}/oauth
    allowed_routes:
      - GET /echo
      - POST /echo
      - DELETE /token
    oauth_client_credentials:
      token_url: https://{tokens}/token
      client_id: {env: CRM_CLIENT_ID}
      client_secret: {env: CRM_CLIENT_SECRET}
      scopes: contacts.read
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "hooks.yaml",
        r"
display_name: Webhooks
description: Takes events whose body is signed, and asks for no other proof.
connection_details:
  http:
    base_url: https://{api}/signed
    allowed_routes: [POST /echo]
    no_auth: {}
    webhook_signing_secret: {env: HOOKS_SIGNING_KEY}
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "public.yaml",
        r"
display_name: Public data
description: Asks for no key. Slow answers, long ones, and a feed of events.
connection_details:
  http:
    base_url: https://{api}/open
    allowed_routes:
      - GET /echo
      - GET /slow/{seconds}
      - GET /big/{mebibytes}
      - GET /events
    no_auth: {}
    timeout_seconds: 60
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "reports.yaml",
        r"
display_name: Reports
description: Has to answer within two seconds.
connection_details:
  http:
    base_url: https://{api}/open
    allowed_routes:
      - GET /slow/{seconds}
    no_auth: {}
    timeout_seconds: 2
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "stale.yaml",
        r"
display_name: Notes, with a token that has run out
description: The API no longer takes the token of this connection.
connection_details:
  http:
    base_url: https://{api}/bearer
    allowed_routes: [GET /echo]
    bearer_token: {token: {env: STALE_TOKEN}}
    allowed_private_cidrs: [127.0.0.0/8]
",
    ),
    (
        "archive.yaml",
        r"
display_name: Archive
description: Switched off by the operator.
connection_details:
  http:
    base_url: https://{api}/open
    allowed_routes: [GET /echo]
    no_auth: {}
    allowed_private_cidrs: [127.0.0.0/8]
tool_configurations: [{tool: TOOL_HTTP_REQUEST, enabled: false}]
",
    ),
];

/// Returns the definitions of connections to these addresses.
pub(crate) fn connection_definitions(addresses: DemoAddresses) -> Vec<Text> {
    let (api, tokens) = (
        addresses.api.to_string(),
        addresses.token_endpoint.to_string(),
    );
    FILES
        .iter()
        .map(|(name, text)| Text {
            name: (*name).to_owned(),
            text: text
                .trim_start()
                .replace("{api}", &api)
                .replace("{tokens}", &tokens),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DemoAddresses, FILES, connection_definitions};
    use crate::config::{Environment, SettingsOverrides, load_texts};
    use crate::demo::DemoSecrets;

    #[test]
    fn the_loader_finds_nothing_to_say() {
        let secrets = DemoSecrets::generate().unwrap();
        let addresses = DemoAddresses {
            api: ([127, 0, 0, 1], 4443).into(),
            token_endpoint: ([127, 0, 0, 1], 4444).into(),
        };
        let environment = Environment::new(secrets.environment_variables());
        let loaded = load_texts(
            connection_definitions(addresses),
            &SettingsOverrides::default(),
            &environment,
        )
        .unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.connections.len(), FILES.len());
    }
}
