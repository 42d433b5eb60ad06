//! The SMTP listeners: STARTTLS, and implicit TLS (RFC 8314).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::connection::SmtpConnection;
use super::mailbox::{MailFaultKind, Mailbox};
use super::session;
use super::state::ServerState;
use crate::settings::Settings;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    StartTls,
    Implicit,
}

/// Starts the listeners of the settings.
///
/// # Errors
/// An address that is in use, or an invalid certificate.
pub async fn start(settings: &Settings, mailbox: &Arc<Mailbox>) -> Result<(), String> {
    let tls = match (&settings.smtp_certificate, &settings.smtp_key) {
        (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
        (None, None) => None,
        _ => return Err("smtp_certificate and smtp_key must be set together".to_owned()),
    };
    if settings.smtps.is_some() && tls.is_none() {
        return Err("smtps requires smtp_certificate and smtp_key".to_owned());
    }
    let login = match settings.smtp_auth.as_ref().map(|login| login.split_once(':')) {
        None => None,
        Some(Some((user, password))) => Some((user.to_owned(), password.to_owned())),
        Some(None) => return Err("smtp_auth: expected user:password".to_owned()),
    };
    let state = Arc::new(ServerState { mailbox: mailbox.clone(), tls, login });
    let listeners = [(Some(settings.smtp), Encryption::StartTls), (settings.smtps, Encryption::Implicit)];
    for (address, encryption) in listeners {
        if let Some(address) = address {
            tokio::spawn(accept(bind(address).await?, encryption, state.clone()));
        }
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let with_path = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| with_path(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| with_path(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| with_path(certificate, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, encryption: Encryption, state: Arc<ServerState>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let state = state.clone();
        tokio::spawn(async move {
            // A broken connection needs no action.
            drop(serve(stream, encryption, &state).await);
        });
    }
}

async fn serve(stream: TcpStream, encryption: Encryption, state: &ServerState) -> std::io::Result<()> {
    if state.mailbox.take_fault(&[MailFaultKind::Down]).is_some() {
        return Ok(());
    }
    let connection = SmtpConnection::new(stream);
    match (encryption, &state.tls) {
        (Encryption::Implicit, Some(tls)) => session::serve(connection.encrypt(tls).await?, true, state).await,
        _ => session::serve(connection, false, state).await,
    }
}
