//! URLs of PostgreSQL, with libpq's parameters of TLS.

use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

use super::is_loopback;

/// A parsed URL of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatabaseUrl {
    /// Whether TLS is attempted or required is in its `ssl_mode`; what is verified, in `tls`.
    pub postgres: tokio_postgres::Config,
    pub tls: DatabaseTls,
}

/// What TLS to PostgreSQL verifies, and as whom it identifies this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseTls {
    pub mode: DatabaseTlsMode,
    /// PEM file of the authorities to trust instead of the system's (`sslrootcert`).
    pub root_file: Option<PathBuf>,
    /// PEM files of a client certificate and its key (`sslcert` and `sslkey`).
    pub client_files: Option<(PathBuf, PathBuf)>,
}

/// libpq's `sslmode`, except for `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DatabaseTlsMode {
    #[default]
    Disable,
    /// TLS where the server offers it, else plaintext; nothing is verified.
    Prefer,
    /// TLS; the authority of the certificate is verified only with `sslrootcert`.
    Require,
    /// TLS with a certificate of a trusted authority, for any host.
    VerifyCa,
    /// TLS with a certificate of a trusted authority for the URL's host.
    VerifyFull,
}

/// The modes by their names in a URL.
const MODES: [(&str, DatabaseTlsMode); 5] = [
    ("disable", DatabaseTlsMode::Disable),
    ("prefer", DatabaseTlsMode::Prefer),
    ("require", DatabaseTlsMode::Require),
    ("verify-ca", DatabaseTlsMode::VerifyCa),
    ("verify-full", DatabaseTlsMode::VerifyFull),
];

impl DatabaseTlsMode {
    /// The name in a URL.
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).expect("every mode has a name").0
    }
}

/// Why a URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrlError {
    /// It is no URL of PostgreSQL.
    Form,
    /// What is wrong with its parameters of TLS.
    Tls(String),
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    /// Parses `postgresql://host:port/database?sslmode=…&sslrootcert=…&sslcert=…&sslkey=…`.
    ///
    /// Without `sslmode`, it is `disable` within this machine, else `prefer`. Unix sockets have no TLS.
    fn from_str(url: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        let (url, parameters) = split_tls_parameters(url);
        let mut postgres = tokio_postgres::Config::from_str(&url).map_err(|_| DatabaseUrlError::Form)?;
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let mut mode = match value("sslmode") {
            None if is_local(&postgres) => DatabaseTlsMode::Disable,
            None => DatabaseTlsMode::Prefer,
            Some(word) => mode_named(word)?,
        };
        if has_only_sockets(&postgres) {
            mode = DatabaseTlsMode::Disable;
        }
        let client_files = match (value("sslcert"), value("sslkey")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => return Err(DatabaseUrlError::Tls("sslcert and sslkey belong together; name both or none".to_owned())),
        };
        postgres.ssl_mode(match mode {
            DatabaseTlsMode::Disable => SslMode::Disable,
            DatabaseTlsMode::Prefer => SslMode::Prefer,
            DatabaseTlsMode::Require | DatabaseTlsMode::VerifyCa | DatabaseTlsMode::VerifyFull => SslMode::Require,
        });
        let root_file = value("sslrootcert").map(PathBuf::from);
        Ok(DatabaseUrl { postgres, tls: DatabaseTls { mode, root_file, client_files } })
    }
}

fn mode_named(word: &str) -> Result<DatabaseTlsMode, DatabaseUrlError> {
    let found = MODES.iter().find(|(name, _)| *name == word).map(|(_, mode)| *mode);
    found.ok_or_else(|| {
        let (last, others) = MODES.split_last().expect("there are modes");
        let others: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
        DatabaseUrlError::Tls(format!("sslmode: expected {} or {}", others.join(", "), last.0))
    })
}

/// The URL without its parameters of TLS, which the client library does not know, and these.
fn split_tls_parameters(url: &str) -> (String, Vec<(String, String)>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), Vec::new()) };
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((key @ ("sslmode" | "sslrootcert" | "sslcert" | "sslkey"), value)) => {
                taken.push((key.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()));
            }
            _ => kept.push(pair),
        }
    }
    let url = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    (url, taken)
}

/// Whether connections stay within this machine: over unix sockets or loopback addresses.
pub(super) fn is_local(postgres: &tokio_postgres::Config) -> bool {
    let hosts_are_local = postgres.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => is_loopback(name),
        Host::Unix(_) => true,
    });
    let addresses = postgres.get_hostaddrs();
    if addresses.is_empty() { hosts_are_local } else { addresses.iter().all(std::net::IpAddr::is_loopback) }
}

fn has_only_sockets(postgres: &tokio_postgres::Config) -> bool {
    let hosts = postgres.get_hosts();
    postgres.get_hostaddrs().is_empty() && !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> DatabaseUrl {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    #[test]
    fn sslmode_decides_whether_tls_is_attempted_and_what_is_verified() {
        for (url, mode, ssl_mode) in [
            ("postgresql://db.example/shop", DatabaseTlsMode::Prefer, SslMode::Prefer),
            ("postgresql://127.0.0.1/shop", DatabaseTlsMode::Disable, SslMode::Disable),
            ("postgresql://%2Frun%2Fpostgresql/shop", DatabaseTlsMode::Disable, SslMode::Disable),
            ("postgresql://%2Frun%2Fpostgresql/shop?sslmode=require", DatabaseTlsMode::Disable, SslMode::Disable),
            ("postgresql://127.0.0.1/shop?sslmode=prefer", DatabaseTlsMode::Prefer, SslMode::Prefer),
            ("postgresql://db.example/shop?sslmode=disable", DatabaseTlsMode::Disable, SslMode::Disable),
            ("postgresql://db.example/shop?sslmode=require", DatabaseTlsMode::Require, SslMode::Require),
            ("postgresql://a.example,b.example/shop?sslmode=verify-ca", DatabaseTlsMode::VerifyCa, SslMode::Require),
            ("postgresql://db.example/shop?sslmode=verify-full", DatabaseTlsMode::VerifyFull, SslMode::Require),
        ] {
            let url = parsed(url);
            assert_eq!((url.tls.mode, url.postgres.get_ssl_mode()), (mode, ssl_mode), "{url:?}");
        }
    }

    #[test]
    fn files_are_named_by_the_url_and_other_parameters_are_kept() {
        let url = "postgresql://db/shop?sslrootcert=%2Fetc%2Fca.pem&target_session_attrs=read-write&sslcert=/c.pem&sslkey=/k.pem";
        let url = parsed(url);
        assert_eq!(url.tls.root_file, Some("/etc/ca.pem".into()));
        assert_eq!(url.tls.client_files, Some(("/c.pem".into(), "/k.pem".into())));
        let attributes = url.postgres.get_target_session_attrs();
        assert_eq!(attributes, tokio_postgres::config::TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn wrong_parameters_are_named() {
        let error = |url: &str| DatabaseUrl::from_str(url).expect_err(url);
        let expected = "sslmode: expected disable, prefer, require, verify-ca or verify-full";
        assert_eq!(error("postgresql://db/shop?sslmode=allow"), DatabaseUrlError::Tls(expected.to_owned()));
        let expected = "sslcert and sslkey belong together; name both or none";
        assert_eq!(error("postgresql://db/shop?sslcert=/c.pem"), DatabaseUrlError::Tls(expected.to_owned()));
        assert_eq!(error("postgresql://db/shop?sslcrl=/c.pem"), DatabaseUrlError::Form);
        assert_eq!(error("mysql://db/shop"), DatabaseUrlError::Form);
    }
}
