//! Listening sockets: binding, and the accept loop.
//!
//! # Invariants
//!
//! - The accept loop ends with shutdown alone: no socket error ends it, and no handshake holds it up.
//! - A permit is taken before a connection is accepted, so that connections over the limit wait in the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::server::connection::{self, ConnectionHandler, ConnectionSettings};
use crate::server::shutdown::Shutdown;

/// Connections that the kernel queues before they are accepted.
const BACKLOG: i32 = 4096;

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
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    shutdown: Shutdown,
    serve_with: impl Fn() -> (ConnectionSettings, S),
) {
    let accept = async || {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        (permit, listener.accept().await)
    };
    let mut failed_at: Option<Instant> = None;
    loop {
        let (permit, accepted) = tokio::select! {
            accepted = accept() => accepted,
            () = shutdown.refusing_new() => return,
            // A failed accept is retried while connections wait, so without another failure there are none left.
            () = recovery(failed_at), if failed_at.is_some() => {
                tracing::info!("accepting connections again");
                failed_at = None;
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if failed_at.replace(Instant::now()).is_none() {
                    tracing::warn!(%error, "failed to accept a connection; open connections are served, and it is retried");
                }
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY: the client disconnected");
        }
        let (settings, service) = serve_with();
        connections.spawn(async move {
            connection::serve(stream, peer, settings, service).await;
            drop(permit);
        });
    }
}

/// Waits until no accept has failed for `RECOVERY_TIME`.
async fn recovery(failed_at: Option<Instant>) {
    let elapsed = failed_at.map(|at| at.elapsed()).unwrap_or_default();
    tokio::time::sleep(RECOVERY_TIME.saturating_sub(elapsed)).await;
}
