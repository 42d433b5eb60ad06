//! Certificate authorities that connections to other servers trust.

use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Those of the system. Unusable ones are skipped.
pub(super) fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Adds those of a PEM file.
///
/// # Errors
/// A message that names the file.
pub(super) fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let message = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| message(&e))? {
        roots.add(certificate.map_err(|e| message(&e))?).map_err(|e| message(&e))?;
    }
    Ok(())
}
