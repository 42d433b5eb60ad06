//! The mail server's doors: SMTP that may be upgraded to TLS, and SMTP over TLS from the first byte (RFC 8314).
//!
//! Called by `mail` at the start; gives every connection a session. What must never happen: a failed handshake that ends more
//! than its connection.

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

use super::mailbox::{How, Mailbox};
use super::session;
use super::wire::Wire;
use crate::settings::Settings;

/// What the sessions share.
pub struct Server {
    pub mailbox: Arc<Mailbox>,
    pub tls: Option<TlsAcceptor>,
    /// The user and the password that are right; `None`: all are, and nobody needs any.
    pub login: Option<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    InTheClear,
    WithTls,
}

/// Listens where the settings say.
///
/// # Errors
/// A sentence: an address that is taken, a certificate that cannot be used.
pub async fn start(settings: &Settings, mailbox: &Arc<Mailbox>) -> Result<(), String> {
    let tls = match (&settings.smtp_certificate, &settings.smtp_key) {
        (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
        (None, None) => None,
        _ => return Err("smtp_certificate and smtp_key: both or none".to_owned()),
    };
    if settings.smtps.is_some() && tls.is_none() {
        return Err("smtps: needs smtp_certificate and smtp_key".to_owned());
    }
    let login = match settings.smtp_auth.as_ref().map(|login| login.split_once(':')) {
        None => None,
        Some(Some((user, password))) => Some((user.to_owned(), password.to_owned())),
        Some(None) => return Err("smtp_auth: expected user:password".to_owned()),
    };
    let server = Arc::new(Server { mailbox: mailbox.clone(), tls, login });
    let doors = [(Some(settings.smtp), Begins::InTheClear), (settings.smtps, Begins::WithTls)];
    for (address, begins) in doors {
        if let Some(address) = address {
            tokio::spawn(accept(bind(address).await?, begins, server.clone()));
        }
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let of = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| of(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| of(certificate, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, begins: Begins, server: Arc<Server>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets: some close in a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let server = server.clone();
        tokio::spawn(async move {
            // A client that goes away is no event here.
            drop(serve(stream, begins, &server).await);
        });
    }
}

async fn serve(stream: TcpStream, begins: Begins, server: &Server) -> std::io::Result<()> {
    if server.mailbox.strike(&[How::Down]).is_some() {
        return Ok(());
    }
    let wire = Wire::new(stream);
    match (begins, &server.tls) {
        (Begins::WithTls, Some(tls)) => session::serve(wire.encrypt(tls).await?, true, server).await,
        _ => session::serve(wire, false, server).await,
    }
}
