//! Reads settings that are lists: hosts, certificate authorities, paths and variables; and the
//! ceilings.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::field::Field;
use crate::config::object::Object;
use crate::config::redaction::{quoted, quoted_path};
use crate::config::secret_policy::{SecretSettings, SecretValues};
use crate::config::secret_ref::ResolveContext;
use crate::config::sources::Files;
use crate::domain::{Ceilings, ResponseCap, Timeout};

/// The largest bundle of certificates, in bytes. Mozilla's is about 250 KB.
const MAX_BUNDLE_BYTES: u64 = 4 << 20;
/// The longest accepted name of a variable that holds a secret, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Reads a host name in the form that a `Host` field has.
pub(super) fn read_host(field: &Field<'_>) -> Option<String> {
    let text = field.read_text()?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let address = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    if text.parse::<Ipv6Addr>().is_ok() {
        // A `Host` field has an IPv6 address in brackets (RFC 3986 §3.2.2).
        return Some(format!("[{}]", text.to_ascii_lowercase()));
    }
    if address || (!text.is_empty() && text.len() <= 253 && text.bytes().all(legal)) {
        // Host names are compared without regard to case (RFC 9110 §4.2.3).
        return Some(text.to_ascii_lowercase());
    }
    let message = format!("{} is not a valid host name", quoted(text));
    field.report(
        "invalid_host",
        message,
        "write a name of at most 253 bytes or an address, without scheme, port or wildcard",
    );
    None
}

/// Reads every file of the list. A file without a usable certificate is an error, so that exactly
/// the intended authorities are trusted.
pub(super) fn read_ca_roots(
    field: &Field<'_>,
    context: &ResolveContext<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let bundles = field.read_items(|item| {
        let path = context.directory.join(item.read_text()?);
        let why = match read_bundle(&path, context.files) {
            Ok(found) => return Some(found),
            Err(why) => why,
        };
        let message = format!("the CA file {} {why}", quoted_path(&path));
        let remedy = "name a PEM file with at least one CA certificate";
        item.report("invalid_ca_file", message, remedy);
        None
    });
    bundles.map(|bundles| bundles.concat())
}

fn read_bundle(path: &Path, files: &Files) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files
        .read_authority(path, MAX_BUNDLE_BYTES)
        .map_err(|why| why.describe())?;
    if bytes.len() as u64 > MAX_BUNDLE_BYTES {
        return Err("is larger than 4 MiB".to_owned());
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| "contains invalid PEM".to_owned())?;
    if certificates.is_empty() {
        return Err("contains no certificate".to_owned());
    }
    let mut store = RootCertStore::empty();
    for (at, certificate) in certificates.iter().enumerate() {
        // rustls parses a trust anchor only here; the store itself is discarded.
        let added = store.add(certificate.clone());
        added.map_err(|_| {
            format!(
                "contains a certificate (number {}) that is not valid X.509",
                at + 1
            )
        })?;
    }
    Ok(certificates)
}

/// Reads the paths of definitions.
pub(super) fn read_connection_paths(
    top: &Object<'_>,
    directory: &Path,
    default: PathBuf,
) -> Option<Vec<PathBuf>> {
    top.read_optional("connections", vec![default], |field| {
        field.read_items(|item| item.read_text().map(|text| directory.join(text)))
    })
}

/// Reads a list of directories, which is empty by default.
pub(super) fn read_directories(
    top: &Object<'_>,
    directory: &Path,
    name: &'static str,
) -> Option<Vec<PathBuf>> {
    top.read_optional(name, Vec::new(), |field| {
        field.read_items(|item| read_directory(item, directory))
    })
}

/// Reads the path of a directory.
pub(super) fn read_directory(field: &Field<'_>, directory: &Path) -> Option<PathBuf> {
    let text = field.read_text()?;
    if text.is_empty() {
        return field.reject("empty", "is empty", "write the path of a directory");
    }
    Some(directory.join(text))
}

/// Reads the sources that definitions may take secrets from.
pub(in crate::config) fn read_secrets(
    section: &Object<'_>,
    context: &ResolveContext<'_>,
) -> Option<SecretSettings> {
    let allow = section.read_optional("allow", None, |field| {
        field
            .read_items(|item| read_secret_directory(item, context))
            .map(Some)
    });
    let allow_env = section.read_optional("allow_env", None, |field| {
        field.read_items(read_variable).map(Some)
    });
    Some(SecretSettings {
        allow: allow?,
        allow_env: allow_env?,
    })
}

/// Reads the largest limits that definitions may set. Warns about each that is raised.
pub(super) fn read_ceilings(section: &Object<'_>) -> Option<Ceilings> {
    let response = read_ceiling(section, "max_response_size_bytes", "bytes");
    let timeout = read_ceiling(section, "max_timeout_seconds", "seconds");
    Some(Ceilings {
        response: ResponseCap::new(response?).ok()?,
        timeout: Timeout::from_seconds(timeout?).ok()?,
    })
}

fn read_ceiling(section: &Object<'_>, name: &'static str, unit: &str) -> Option<u64> {
    let (min, max, default) = section.integer_bounds(name)?;
    section.read_optional(name, default, |field| {
        let value = field.read_integer(min, max, "")?;
        if value > default {
            let message =
                format!("raises the ceiling for definitions from {default} to {value} {unit}");
            let remedy = "remove the setting unless a definition needs the higher limit";
            field.warn("raised_ceiling", message, remedy);
        }
        Some(value)
    })
}

fn read_secret_directory(item: &Field<'_>, context: &ResolveContext<'_>) -> Option<PathBuf> {
    let path = context.directory.join(item.read_text()?);
    warn_of_directory(item, &path, context.values());
    Some(path)
}

/// Warns about a directory that allows every file, or none.
fn warn_of_directory(item: &Field<'_>, path: &Path, values: SecretValues) {
    let found = fs::canonicalize(path);
    let is_root = |found: &PathBuf| found.parent().is_none();
    let (code, message, remedy) = match found {
        Ok(found) if is_root(&found) => (
            "allows_every_file",
            "allows definitions to read every file that egressd can read".to_owned(),
            "list the directories that hold secrets of connections, and no others",
        ),
        Err(error) if error.kind() == ErrorKind::NotFound && values == SecretValues::Read => (
            "missing_directory",
            format!("the directory {} does not exist", quoted_path(path)),
            "create it, or correct or remove the entry",
        ),
        Ok(_) | Err(_) => return,
    };
    item.warn(code, message, remedy);
}

/// Parses the name of a variable, or a prefix that ends in `*`.
fn read_variable(field: &Field<'_>) -> Option<String> {
    let text = field.read_text()?;
    let name = text.strip_suffix('*').unwrap_or(text);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !text.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(legal) {
        return Some(text.to_owned());
    }
    field.report(
        "invalid_variable",
        "is neither the name of an environment variable nor a prefix followed by `*`",
        "write `NAME` or `PREFIX_*`, of at most 128 letters, digits and `_`",
    );
    None
}
