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

const DEFINITIONS: [(&str, &str); 9] = [
    definition!("notes.yaml"),
    definition!("billing.yaml"),
    definition!("search.yaml"),
    definition!("crm.yaml"),
    definition!("hooks.yaml"),
    definition!("public.yaml"),
    definition!("reports.yaml"),
    definition!("stale.yaml"),
    definition!("archive.yaml"),
];

/// Returns the definitions of connections to these addresses.
pub(crate) fn connection_definitions(addresses: DemoAddresses) -> Vec<Text> {
    let (api, tokens) = (
        addresses.api.to_string(),
        addresses.authorization_server.to_string(),
    );
    DEFINITIONS
        .iter()
        .map(|(name, text)| Text {
            name: (*name).to_owned(),
            text: text.replace("{api}", &api).replace("{tokens}", &tokens),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DEFINITIONS, DemoAddresses, connection_definitions};
    use crate::config::{Environment, SettingsOverrides, load_texts};
    use crate::demo::DemoSecrets;

    #[test]
    fn the_definitions_load_without_warnings() {
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
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.connections.len(), DEFINITIONS.len());
    }
}
