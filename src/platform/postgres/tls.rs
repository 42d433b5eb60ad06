//! TLS to PostgreSQL, as libpq's `sslmode` means it.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{DatabaseTls, DatabaseTlsMode};
use crate::platform::authorities;

/// What servers with direct TLS expect.
const ALPN: &[u8] = b"postgresql";

const NO_CERTIFICATE: &str = "no certificate in this file";

/// Opens TLS connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct EncryptedConnector {
    /// `None` where connections are not encrypted.
    config: Option<Arc<ClientConfig>>,
}

impl EncryptedConnector {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A message that names the file that cannot be used.
    pub(super) fn new(tls: &DatabaseTls) -> Result<EncryptedConnector, String> {
        if tls.mode == DatabaseTlsMode::Disable {
            return Ok(EncryptedConnector { config: None });
        }
        let provider = Arc::new(provider::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match tls.mode {
            DatabaseTlsMode::VerifyFull => builder.with_root_certificates(roots(tls.root_file.as_deref())?),
            mode => {
                let verifies = mode == DatabaseTlsMode::VerifyCa || tls.root_file.is_some();
                let roots = verifies.then(|| roots(tls.root_file.as_deref())).transpose()?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyHost { roots, algorithms }))
            }
        };
        let mut config = match &tls.client_files {
            None => builder.with_no_client_auth(),
            Some((certificate_file, key_file)) => {
                let chain = client_chain(certificate_file)?;
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| format!("sslkey {}: {error}", key_file.display()))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    format!("sslcert {} and its sslkey cannot be used: {error}", certificate_file.display())
                })?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(EncryptedConnector { config: Some(Arc::new(config)) })
    }
}

/// The authorities of a PEM file, else those of the system.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(path) = file else { return Ok(authorities::of_system()) };
    let mut roots = RootCertStore::empty();
    authorities::add_file(&mut roots, path).map_err(|error| format!("sslrootcert {error}"))?;
    if roots.is_empty() { Err(format!("sslrootcert {}: {NO_CERTIFICATE}", path.display())) } else { Ok(roots) }
}

/// The certificate chain of a PEM file.
fn client_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let message = |error: &dyn fmt::Display| format!("sslcert {}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| message(&error))?;
    if chain.is_empty() { Err(message(&NO_CERTIFICATE)) } else { Ok(chain) }
}

/// Accepts the certificate of any host: of an authority in `roots`, or without them any certificate.
#[derive(Debug)]
struct AnyHost {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for EncryptedConnector {
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    /// `host` is empty for a unix socket, on which no handshake follows.
    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        Ok(Handshake { config: self.config.clone(), host: host.to_owned() })
    }
}

/// A handshake with a host that has not begun.
pub(super) struct Handshake {
    config: Option<Arc<ClientConfig>>,
    host: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let config = self.config.ok_or_else(|| io::Error::other("TLS is disabled"))?;
            let host = ServerName::try_from(self.host).map_err(io::Error::other)?;
            Ok(Encrypted(TlsConnector::from(config).connect(host, stream).await?))
        })
    }
}

/// A TLS connection to PostgreSQL.
pub(super) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificate = self.0.get_ref().1.peer_certificates().and_then(<[_]>::first);
        match certificate.and_then(|certificate| end_point(certificate)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

/// `tls-server-end-point` (RFC 5929): the certificate's hash, by the hash function of its signature. With it, a login by password
/// fails where a machine in between has another certificate.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What is wrong with TLS, in words that follow "PostgreSQL at ADDRESS"; `None` for an error of another kind.
pub(super) fn problem(tls: &DatabaseTls, error: &tokio_postgres::Error) -> Option<String> {
    if let Some(server) = error.as_db_error() {
        return server
            .message()
            .contains("client certificate")
            .then(|| format!("demands a client certificate ({}): name one with sslcert and sslkey", server.message()));
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.to_string() == "server does not support TLS" {
            let mode = tls.mode.name();
            return Some(format!("does not offer TLS, which sslmode={mode} demands: set ssl = on in postgresql.conf"));
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(cause) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(describe(cause));
        }
        source = cause.source();
    }
    None
}

fn describe(error: &rustls::Error) -> String {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(cause) => match cause {
            CertificateError::UnknownIssuer => {
                "has a certificate of an unknown authority: name the file of that authority with sslrootcert".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "has a certificate for another host ({cause}): use a host that the certificate names, or sslmode=verify-ca"
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("has an expired certificate ({cause}): renew it")
            }
            _ => format!("has a certificate that cannot be used ({cause}): replace it"),
        },
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            "demands a client certificate: name one with sslcert and sslkey".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError),
        ) => format!(
            "refuses the client certificate of sslcert ({alert:?}): it must be of an authority in the server's ssl_ca_file"
        ),
        other => format!("failed the TLS handshake ({other})"),
    }
}
