//! The demo's connections, written as an operator would write them. They are loaded by the same
//! code as files, and their secrets come from environment variables.

use std::net::SocketAddr;

use crate::config::Text;

/// The addresses in the definitions.
#[derive(Clone, Copy)]
pub(crate) struct DemoAddresses {
    pub(crate) api: SocketAddr,
    pub(crate) authorization_server: SocketAddr,
}

/// Returns the file name and the text of a definition, with `{api}` and `{tokens}` as placeholders
/// for the addresses.
macro_rules! definition {
    ($name:literal) => {
        ($name, include_str!(concat!("connections/", $name)))
    };
}

/// The connection that a person has to consent to.
const CALENDAR: (&str, &str) = definition!("calendar.yaml");

const DEFINITIONS: [(&str, &str); 10] = [
    definition!("notes.yaml"),
    definition!("billing.yaml"),
    definition!("search.yaml"),
    definition!("crm.yaml"),
    CALENDAR,
    definition!("hooks.yaml"),
    definition!("public.yaml"),
    definition!("reports.yaml"),
    definition!("stale.yaml"),
    definition!("archive.yaml"),
];

/// Returns the definitions of connections to these addresses.
pub(crate) fn connection_definitions(addresses: DemoAddresses) -> Vec<Text> {
    DEFINITIONS
        .iter()
        .map(|(name, text)| Text {
            name: (*name).to_owned(),
            text: with_addresses(text, addresses),
        })
        .collect()
}

/// Returns the file name and the text of the definition of the connection that a person has to
/// consent to. It has no secret.
pub(super) fn consent_definition(addresses: DemoAddresses) -> (&'static str, String) {
    let (name, text) = CALENDAR;
    (name, with_addresses(text, addresses))
}

fn with_addresses(text: &str, addresses: DemoAddresses) -> String {
    let (api, server) = (addresses.api, addresses.authorization_server);
    text.replace("{api}", &api.to_string())
        .replace("{tokens}", &server.to_string())
}

#[cfg(test)]
mod tests {
    use super::{DEFINITIONS, DemoAddresses, connection_definitions};
    use crate::config::{Environment, SettingsOverrides, load_texts};
    use crate::demo::DemoSecrets;

    #[test]
    fn the_definitions_load() {
        let secrets = DemoSecrets::generate().unwrap();
        let addresses = DemoAddresses {
            api: ([127, 0, 0, 1], 4443).into(),
            authorization_server: ([127, 0, 0, 1], 4444).into(),
        };
        let environment = Environment::new(secrets.environment_variables());
        let loaded = load_texts(
            connection_definitions(addresses),
            &SettingsOverrides::default(),
            &environment,
        )
        .unwrap_or_else(|problems| panic!("{problems:#?}"));
        // The consent is missing until `egressd login` stores one. The id of the public client is
        // in the definition, because other commands do not have the demo's environment variables.
        let codes: Vec<_> = loaded.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes, ["consent_missing", "secret_inline"]);
        assert_eq!(loaded.connections.len(), DEFINITIONS.len());
    }
}
