//! Certificates and the TLS side of a listener.
//!
//! Called by `door` at start and by `check`. rustls with aws-lc-rs, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN. What the
//! client names in SNI changes nothing: a listener has one certificate.

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
use crate::server::tls_tickets::Tickets;

/// A certificate with its key, loaded and found to belong together.
pub struct Identity {
    pub server: Arc<ServerConfig>,
    pub leaf: Leaf,
}

/// What the certificate itself says.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it stops.
    pub not_after: Timestamp,
    /// The DNS names and addresses that it is made out to.
    pub names: Vec<String>,
}

impl Leaf {
    /// Whether it is made out to a host.
    pub fn is_for(&self, host: &str) -> bool {
        self.names.iter().any(|name| covers(name, host))
    }

    /// Why browsers refuse it for a host at a moment, in words that go on after the file's name.
    pub fn refusal(&self, host: &str, now: Timestamp) -> Option<String> {
        if self.not_after < now {
            return Some(format!("expired on {}", self.not_after));
        }
        if self.not_before > now {
            return Some(format!("is not valid before {}", self.not_before));
        }
        (!self.is_for(host)).then(|| format!("is for {}, but public_url says {host}", self.made_out_to()))
    }

    pub fn made_out_to(&self) -> String {
        if self.names.is_empty() { "no host (it has no subjectAltName)".to_owned() } else { self.names.join(", ") }
    }
}

/// Whether a name of a certificate covers a host (RFC 6125: a star stands for one label).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Loads a brand's certificate and key.
///
/// # Errors
/// A sentence that names the file and what is wrong with it. An expired certificate is no error here: it is told by
/// whoever looks at `not_after`, because one brand's forgotten renewal must not keep the other brand from starting.
pub fn load(config: &TlsConfig, brand: &str, clock: &Clock) -> Result<Identity, String> {
    let of = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for path in [&config.certificate, &config.key] {
        // A pipe would be waited for.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(of(path, &"is no file"));
        }
    }
    let chain = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(&config.certificate, "certificate", &e))?;
    let leaf = chain.first().ok_or_else(|| of(&config.certificate, &"holds no certificate"))?.clone();
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|e| unreadable(&config.key, "private key", &e))?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| {
            let (key, certificate) = (config.key.display(), config.certificate.display());
            match e {
                rustls::Error::InconsistentKeys(_) => {
                    format!("{key} does not fit {certificate}: it is another certificate's")
                }
                _ => format!("{key} and {certificate} cannot be used: {e}"),
            }
        })?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server.ticketer = match &config.ticket_secret {
        Some(secret) => Arc::new(Tickets::new(brand, secret, clock.clone())),
        None => aws_lc_rs::Ticketer::new().map_err(|e| e.to_string())?,
    };
    server.send_tls13_tickets = 1;
    let leaf = describe(&leaf).map_err(|e| of(&config.certificate, &e))?;
    Ok(Identity { server: Arc::new(server), leaf })
}

/// `what`: "certificate", "private key".
fn unreadable(path: &Path, what: &str, error: &pem::Error) -> String {
    let file = path.display();
    match error {
        pem::Error::Io(error) if error.kind() == ErrorKind::NotFound => {
            format!("there is no {what} {file}: certbot's deploy hook puts it there (in development: make run)")
        }
        pem::Error::Io(error) => format!("the {what} {file} cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("{file} holds no {what}"),
        _ => format!("{file} holds no {what} in PEM: {error}"),
    }
}

impl Identity {
    /// Goes on with the ticket keys of the certificate before it, so that whoever was here resumes after a renewal too.
    pub fn resuming(self, former: &ServerConfig) -> Identity {
        let mut server = ServerConfig::clone(&self.server);
        server.ticketer = former.ticketer.clone();
        server.session_storage = former.session_storage.clone();
        Identity { server: Arc::new(server), ..self }
    }
}

fn describe(leaf: &CertificateDer<'_>) -> Result<Leaf, String> {
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
    Ok(Leaf { not_before, not_after, names: names.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_covers_its_names_and_one_label_under_a_star() {
        assert!(covers("api.dexarmarket.ru", "API.dexarmarket.ru"));
        assert!(covers("*.dexarmarket.ru", "api.dexarmarket.ru"));
        assert!(!covers("*.dexarmarket.ru", "a.b.dexarmarket.ru"));
        assert!(!covers("*.dexarmarket.ru", "dexarmarket.ru"));
    }
}
