//! Listening sockets: binding, and the accept loop.
//!
//! # Invariants
//!
//! - The accept loop ends with shutdown alone: no socket error ends it, and no handshake holds it up.
//! - At most one accepted connection of each socket waits until the brand may serve it; more wait in the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::server::connection::{self, ConnectionHandler, ConnectionSettings};
use crate::server::proxy_protocol;
use crate::server::shutdown::Shutdown;
use crate::tenant::account::Resource;

/// Connections that the kernel queues before they are accepted.
const BACKLOG: i32 = 4096;

/// What the kernel buffers of a response besides what is on its way to the client. How much a slow client takes is
/// measured by what leaves this process, so that it must not lie in the kernel. The kernel asks for more below half of it, which a
/// client at the default minimum rate must reach within `slow_read_ms`.
const MAX_UNSENT_BYTES: u32 = 32_768;

/// The pause after a failed accept, such as `EMFILE`.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Failed accepts have ended when none was seen for this time.
const RECOVERY_TIME: Duration = Duration::from_secs(1);

/// Binds an address. `[::]:445` accepts IPv6 alone, so that `0.0.0.0:445` can be bound too.
///
/// # Errors
/// A message with the address and, where there is one, the remedy.
pub fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bound().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another program (ss -ltnp 'sport = :{}' names it)", address.port())
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address}: ports below 1024 need CAP_NET_BIND_SERVICE or root to be bound")
        }
        _ => format!("{address}: {error}"),
    })
}

/// Accepts connections until the shutdown refuses new ones. They run in `connections`, which outlives the loop.
/// `serve_with` returns how the next connection is served, because a reload may have changed it.
pub async fn run<S: ConnectionHandler>(
    listener: TcpListener,
    connections: TaskTracker,
    shutdown: Shutdown,
    serve_with: impl Fn() -> (ConnectionSettings, S),
) {
    // Accepted sockets inherit it.
    if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(MAX_UNSENT_BYTES) {
        tracing::debug!(%error, "failed to set TCP_NOTSENT_LOWAT: the kernel buffers more of what slow clients read");
    }
    let mut failed_at: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.refusing_new() => return,
            // A failed accept is retried while connections wait, so without another failure there are none left.
            () = recovery(failed_at), if failed_at.is_some() => {
                tracing::info!(brand = serve_with().1.brand_name(), "accepting connections again");
                failed_at = None;
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if failed_at.replace(Instant::now()).is_none() {
                    tracing::warn!(
                        brand = serve_with().1.brand_name(), %error,
                        "failed to accept a connection; open connections are served, and it is retried"
                    );
                }
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY: the client disconnected");
        }
        let (settings, service) = serve_with();
        let is_direct = !proxy_protocol::is_trusted(peer, &settings.trusted_proxies);
        let admitted = tokio::select! {
            // A connection that was accepted when the shutdown began is served.
            biased;
            admitted = settings.clients.admit_when_possible(is_direct.then(|| peer.ip())) => admitted,
            () = shutdown.refusing_new() => return,
        };
        match admitted {
            Ok(slot) => {
                connections.spawn(connection::serve(stream, peer, slot, settings, service));
            }
            Err(level) => {
                settings.clients.refusals().record(Resource::Connections, level);
            }
        }
    }
}

/// Waits until no accept has failed for `RECOVERY_TIME`.
async fn recovery(failed_at: Option<Instant>) {
    let elapsed = failed_at.map(|at| at.elapsed()).unwrap_or_default();
    tokio::time::sleep(RECOVERY_TIME.saturating_sub(elapsed)).await;
}
