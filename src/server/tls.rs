//! Certificates and the TLS configuration of a listener: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
//!
//! A listener has one certificate, whatever name the client sends in SNI.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsConfig;
use crate::foundation::clock::Clock;
use crate::server::tls_tickets::TicketKeys;

/// A certificate chain with its private key.
pub(crate) struct TlsIdentity {
    pub config: Arc<ServerConfig>,
    pub certificate: CertificateInfo,
}

/// The fields of a leaf certificate that browsers check.
#[derive(Debug, Clone)]
pub(crate) struct CertificateInfo {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// The DNS names and IP addresses of its subjectAltName.
    pub names: Vec<String>,
}

impl CertificateInfo {
    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.names.iter().any(|name| matches_host(name, host))
    }

    /// Why browsers reject it for a host at that time: a phrase to follow the file's name.
    pub(crate) fn problem(&self, host: &str, now: Timestamp) -> Option<String> {
        if self.not_after < now {
            return Some(format!("expired on {}", self.not_after));
        }
        if self.not_before > now {
            return Some(format!("is not valid before {}", self.not_before));
        }
        (!self.is_for(host)).then(|| format!("is for {}, but public_url says {host}", self.names_text()))
    }

    /// The names, for messages.
    pub(crate) fn names_text(&self) -> String {
        if self.names.is_empty() { "no host (it has no subjectAltName)".to_owned() } else { self.names.join(", ") }
    }
}

/// Whether a name of a certificate covers a host: a wildcard stands for one label (RFC 6125, 6.4.3).
fn matches_host(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Loads a brand's certificate and key.
///
/// # Errors
/// A message with the file and what is wrong with it. An expired certificate is not an error, so that a renewal that
/// one brand missed does not keep the others from starting; see [`CertificateInfo::problem`].
pub(crate) fn load(config: &TlsConfig, brand: &str, clock: &Clock) -> Result<TlsIdentity, String> {
    let with_path = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for path in [&config.certificate, &config.key] {
        // Opening a named pipe would block.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(with_path(path, &"is not a regular file"));
        }
    }
    let chain = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(&config.certificate, "certificate", &e))?;
    let leaf = chain.first().ok_or_else(|| with_path(&config.certificate, &"holds no certificate"))?.clone();
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|e| unreadable(&config.key, "private key", &e))?;
    let mut tls_config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| {
            let (key, certificate) = (config.key.display(), config.certificate.display());
            match e {
                rustls::Error::InconsistentKeys(_) => {
                    format!("{key} does not fit {certificate}: it is the key of another certificate")
                }
                _ => format!("{key} and {certificate} cannot be used: {e}"),
            }
        })?;
    tls_config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls_config.ticketer = match &config.ticket_secret {
        Some(secret) => Arc::new(TicketKeys::new(brand, secret, clock.clone())),
        None => aws_lc_rs::Ticketer::new().map_err(|e| e.to_string())?,
    };
    tls_config.send_tls13_tickets = 1;
    let certificate = certificate_info(&leaf).map_err(|e| with_path(&config.certificate, &e))?;
    Ok(TlsIdentity { config: Arc::new(tls_config), certificate })
}

/// The message for a PEM file that cannot be loaded; `what` is "certificate" or "private key".
fn unreadable(path: &Path, what: &str, error: &pem::Error) -> String {
    let file = path.display();
    match error {
        pem::Error::Io(error) if error.kind() == ErrorKind::NotFound => {
            format!("there is no {what} {file}: certbot's deploy hook installs it (in development: make run)")
        }
        pem::Error::Io(error) => format!("the {what} {file} cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("{file} holds no {what}"),
        _ => format!("{file} holds no {what} in PEM: {error}"),
    }
}

impl TlsIdentity {
    /// Takes over the ticket keys of the former configuration, so that sessions are resumed across a renewal.
    pub(crate) fn resuming(self, former: &ServerConfig) -> TlsIdentity {
        let mut config = ServerConfig::clone(&self.config);
        config.ticketer = former.ticketer.clone();
        config.session_storage = former.session_storage.clone();
        TlsIdentity { config: Arc::new(config), ..self }
    }
}

fn certificate_info(leaf: &CertificateDer<'_>) -> Result<CertificateInfo, String> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|e| e.to_string())?;
    let validity = certificate.validity();
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).map_err(|e| e.to_string());
    let (not_before, not_after) = (at(validity.not_before)?, at(validity.not_after)?);
    let alternatives = certificate.subject_alternative_name().map_err(|e| e.to_string())?;
    let names =
        alternatives.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| std::net::Ipv4Addr::from(b).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
            },
            _ => None,
        });
    Ok(CertificateInfo { not_before, not_after, names: names.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_covers_exactly_one_label() {
        assert!(matches_host("api.dexarmarket.ru", "API.dexarmarket.ru"));
        assert!(matches_host("*.dexarmarket.ru", "api.dexarmarket.ru"));
        assert!(!matches_host("*.dexarmarket.ru", "a.b.dexarmarket.ru"));
        assert!(!matches_host("*.dexarmarket.ru", "dexarmarket.ru"));
    }
}
