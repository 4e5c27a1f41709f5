//! `egress.ca_files` → certificates in memory, each of them fit to be a trust anchor.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::field::Field;
use crate::config::file_reading::Unread;
use crate::config::redaction::quoted_path;
use crate::config::secret_ref::ResolveContext;
use crate::config::sources::Files;

/// The largest bundle, in bytes. Mozilla's is a quarter of a megabyte.
const MAX_BUNDLE: u64 = 4 << 20;

/// Reads every file of the list; a file without a usable certificate is a problem, so that trust is never less or more than meant.
pub(super) fn roots(
    field: &Field<'_>,
    context: &ResolveContext<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let items = field.list()?;
    let mut whole = true;
    let mut roots = Vec::new();
    for item in &items {
        let Some(text) = item.text() else {
            whole = false;
            continue;
        };
        let path = context.directory.join(text);
        match bundle(&path, context.files) {
            Ok(found) => roots.extend(found),
            Err(why) => {
                let message = format!("the CA file {} {why}", quoted_path(&path));
                item.report(
                    "invalid_ca_file",
                    message,
                    "name a PEM file with at least one CA certificate",
                );
                whole = false;
            }
        }
    }
    whole.then_some(roots)
}

fn bundle(path: &Path, files: &Files) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files.authority(path, MAX_BUNDLE).map_err(|why| match why {
        Unread::NoFile => "is not a regular file".to_owned(),
        Unread::Io(error) => format!("cannot be read: {}", error.kind()),
    })?;
    if bytes.len() as u64 > MAX_BUNDLE {
        return Err("is larger than 4 MiB".to_owned());
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| "holds broken PEM".to_owned())?;
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    let mut store = RootCertStore::empty();
    for (at, certificate) in certificates.iter().enumerate() {
        let added = store.add(certificate.clone());
        added.map_err(|_| format!("holds a certificate (number {}) that is no X.509", at + 1))?;
    }
    Ok(certificates)
}
