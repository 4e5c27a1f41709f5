//! Checks of the agent's environment. Invariant of this module: values are examined and never
//! reported; only names are.

use std::ffi::{OsStr, OsString};

use super::finding::{Finding, SandboxCheck};
use crate::probe_client::{ProbeTarget, printable};

/// Words that mark a variable as a credential. The words of a name are separated by underscores.
const CREDENTIAL_WORDS: &str = "\
    ACCESSKEY APIKEY CREDENTIAL CREDENTIALS JWT KEY KUBECONFIG PASS PASSPHRASE PASSWD \
    PASSWORD PAT PRIVATEKEY SECRET SECRETKEY SECRETS TOKEN TOKENS";
/// Suffixes of a word that mark a credential, as in `PGPASSWORD` and `GHTOKEN`.
const CREDENTIAL_SUFFIXES: &str = "APIKEY PASSPHRASE PASSWD PASSWORD SECRET TOKEN";
/// Names of credentials without such a word.
const CREDENTIAL_NAMES: &str = "\
    MYSQL_PWD NETRC PGPASSFILE REDISCLI_AUTH SSHPASS SSH_AUTH_SOCK";
/// Variables that start with `AWS_` and are not credentials. All others with that prefix are
/// reported.
const HARMLESS: &str = "\
    AWS_CA_BUNDLE AWS_DEFAULT_OUTPUT AWS_DEFAULT_REGION AWS_EC2_METADATA_DISABLED \
    AWS_EXECUTION_ENV AWS_MAX_ATTEMPTS AWS_PAGER AWS_REGION AWS_RETRY_MODE \
    AWS_SDK_LOAD_CONFIG AWS_STS_REGIONAL_ENDPOINTS";
const PROXY_VARIABLES: &str = "\
    HTTP_PROXY HTTPS_PROXY ALL_PROXY FTP_PROXY WS_PROXY WSS_PROXY";
/// The most variables that are listed. Further ones are counted.
const MAX_LISTED: usize = 50;

/// The name and the value of an environment variable.
pub(crate) type Variable = (OsString, OsString);

/// Returns one finding for each variable that looks like a credential, by its name or its value.
pub(super) fn credential_findings(variables: &[Variable]) -> Vec<Finding> {
    let check = SandboxCheck::Environment;
    let named = variables.iter().filter(|(_, value)| !value.is_empty());
    let mut found: Vec<Finding> = named
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy();
            let why = credential_hint(&name, value)?;
            Some(check.open(printable(&name), why))
        })
        .collect();
    if found.is_empty() {
        found.push(check.closed("variables", "no name or value looks like a credential"));
    }
    let more = found.len().saturating_sub(MAX_LISTED);
    found.truncate(MAX_LISTED);
    if more > 0 {
        found.push(check.open("variables", format!("and {more} more")));
    }
    found
}

fn credential_hint(name: &str, value: &OsStr) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let mut words = name.split('_');
    if contains_word(HARMLESS, &name) || is_service_link(&name) {
        return None;
    }
    // The agent's container should not have the environment of egressd.
    if name.starts_with("EGRESSD_") {
        return Some("a setting of egressd");
    }
    // Besides keys, AWS_ variables name roles and credential endpoints.
    let cloud = name.starts_with("AWS_");
    // A public key is not a credential.
    let public = name.contains("PUBLIC");
    if cloud || contains_word(CREDENTIAL_NAMES, &name) || (!public && words.any(is_credential_word))
    {
        return Some("the name of a credential");
    }
    // Many programs take a database URL with a password from a variable of any name.
    let login = value.to_string_lossy();
    let login = login.split_once("://").and_then(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit_once('@')?.0.split_once(':')
    });
    login
        .filter(|(_, password)| !password.is_empty())
        .map(|_| "a URL with a password")
}

fn contains_word(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

fn is_credential_word(word: &str) -> bool {
    let ends = CREDENTIAL_SUFFIXES
        .split(' ')
        .any(|end| word.ends_with(end));
    ends || contains_word(CREDENTIAL_WORDS, word)
}

/// Returns `true` for the variables that Kubernetes sets for each Service (`NAME_SERVICE_HOST`,
/// `NAME_PORT_80_TCP_ADDR`). The name of the Service may contain any word.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
}

/// Checks if the proxy variables of HTTP clients contain the address of egressd.
pub(super) fn proxy_findings(variables: &[Variable], proxies: &[ProbeTarget]) -> Vec<Finding> {
    let check = SandboxCheck::ProxyVariables;
    let set = variables.iter().filter(|(_, value)| !value.is_empty());
    let mut found: Vec<Finding> = set
        .filter(|(name, _)| {
            let name = name.to_string_lossy().to_ascii_uppercase();
            contains_word(PROXY_VARIABLES, &name)
        })
        .map(|(name, value)| {
            let name = printable(&name.to_string_lossy());
            let value = value.to_string_lossy();
            if proxies.iter().any(|proxy| is_proxy_url(&value, proxy)) {
                check.closed(name, "names egressd")
            } else {
                check.open(name, "does not name egressd")
            }
        })
        .collect();
    if found.is_empty() {
        found.push(check.closed("variables", "none is set"));
    }
    found
}

fn is_proxy_url(value: &str, proxy: &ProbeTarget) -> bool {
    let Ok(named) = ProbeTarget::parse(value) else {
        return false;
    };
    // `localhost` and all loopback addresses lead to the same machine.
    let local = |target: &ProbeTarget| match target {
        ProbeTarget::Tcp(address) if address.ip().is_loopback() => Some(address.port()),
        ProbeTarget::Name(name, port) if name == "localhost" => Some(*port),
        ProbeTarget::Tcp(_) | ProbeTarget::Name(..) | ProbeTarget::Unix(_) => None,
    };
    named == *proxy || (local(&named).is_some() && local(&named) == local(proxy))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::finding::FindingState;
    use super::{ProbeTarget, Variable, credential_findings, proxy_findings};

    fn variables<N: Into<OsString>>(
        pairs: impl IntoIterator<Item = (N, &'static str)>,
    ) -> Vec<Variable> {
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn named(pairs: &[(&'static str, &'static str)]) -> Vec<String> {
        let environment = variables(pairs.iter().copied());
        let found = credential_findings(&environment);
        let open = found.iter().filter(|f| f.state == FindingState::Open);
        open.map(|f| f.target.clone()).collect()
    }

    #[test]
    fn variables_with_credentials_are_named_without_their_values() {
        for name in [
            "GITHUB_TOKEN",
            "OPENAI_API_KEY",
            "STRIPE_SECRET",
            "DB_PASSWORD",
            "PGPASSWORD_PASSWORD",
            "AWS_ACCESS_KEY_ID",
            "AWS_ROLE_ARN",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SSH_AUTH_SOCK",
            "SSHPASS",
            "PGPASSWORD",
            "MYSQL_PWD",
            "GHTOKEN",
            "KUBECONFIG",
            "EGRESSD_MANAGEMENT_LISTEN",
            "github_token",
        ] {
            let environment = variables([(name, "planted-canary")]);
            let found = credential_findings(&environment);
            assert!(
                found
                    .iter()
                    .any(|f| f.target == name && f.state == FindingState::Open),
                "{name}"
            );
            let all = serde_json::to_string(&found).unwrap();
            assert!(!all.contains("canary"), "{all}");
        }
        assert_eq!(
            named(&[("DATABASE_URL", "postgres://u:canary@db/x")]),
            ["DATABASE_URL"]
        );
    }

    #[test]
    fn other_variables_are_not_reported() {
        assert_eq!(
            named(&[
                ("PATH", "/bin"),
                ("KEYBOARD", "de"),
                ("TOKENIZERS_PARALLELISM", "false"),
                ("PWD", "/"),
                ("AWS_REGION", "eu-central-1"),
                ("EMPTY_TOKEN", ""),
                ("SIGSTORE_PUBLIC_KEY", "x"),
                ("EGRESSD_SERVICE_HOST", "10.0.0.1"),
                ("EGRESSD_PORT", "tcp://10.0.0.1:80"),
                ("EGRESSD_PORT_80_TCP_ADDR", "10.0.0.1"),
                ("URL", "https://example.com/a:b@c"),
                ("USER_URL", "https://user@example.com/"),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn many_are_counted() {
        let pairs: Vec<_> = (0..60).map(|n| (format!("T{n}_TOKEN"), "x")).collect();
        let found = credential_findings(&variables(pairs));
        assert_eq!(found.len(), 51);
        assert_eq!(found.last().unwrap().seen, "and 10 more");
    }

    #[test]
    fn a_proxy_variable_must_name_egressd() {
        let proxy = ProbeTarget::parse("127.0.0.1:8080").unwrap();
        let state = |value| {
            let environment = variables([("https_proxy", value)]);
            let found = proxy_findings(&environment, std::slice::from_ref(&proxy));
            assert!(!serde_json::to_string(&found).unwrap().contains("corp"));
            found[0].state
        };
        assert_eq!(state("http://127.0.0.1:8080"), FindingState::Closed);
        assert_eq!(state("http://localhost:8080/"), FindingState::Closed);
        assert_eq!(state("http://127.0.0.1:3128"), FindingState::Open);
        assert_eq!(
            state("http://user:canary@proxy.corp:3128"),
            FindingState::Open
        );
        assert_eq!(state("socks5://corp"), FindingState::Open);
        assert_eq!(
            proxy_findings(&[], std::slice::from_ref(&proxy))[0].state,
            FindingState::Closed
        );
    }
}
