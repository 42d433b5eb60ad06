//! State that all SMTP sessions share.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::mailbox::Mailbox;

pub struct ServerState {
    pub mailbox: Arc<Mailbox>,
    pub tls: Option<TlsAcceptor>,
    /// User and password; `None`: any login succeeds and none is required.
    pub login: Option<(String, String)>,
}
