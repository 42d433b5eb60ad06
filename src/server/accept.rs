//! Listening sockets: bind, accept, stop.
//!
//! Called by `door`, one [`run`] an address. A permit comes before the accept, so that what is over the limit waits in the
//! kernel's queue instead of in our memory. What must never happen: an error of one socket ends the loop, or a handshake
//! holds it up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::server::connection::{self, ConnectionHandler, Settings};
use crate::server::shutdown::Shutdown;

/// Connections that the kernel may queue while none is accepted.
const BACKLOG: i32 = 4096;

/// How long the loop rests after a failed accept (no descriptor left, for example).
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// How often it is told that accepting fails.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Binds an address. `[::]:445` takes IPv6 alone, so that `0.0.0.0:445` can stand beside it.
///
/// # Errors
/// A sentence with the address.
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

/// Accepts until the process is `ending` so far that nobody new is let in. Connections run in `connections`, which outlives the loop. `enter` says for each
/// connection how it is served, because a reload may have changed that.
pub async fn run<S: ConnectionHandler>(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    ending: Shutdown,
    enter: impl Fn() -> (Settings, S),
) {
    let accept = async || {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        (permit, listener.accept().await)
    };
    let mut told_at: Option<Instant> = None;
    loop {
        let (permit, accepted) = tokio::select! {
            accepted = accept() => accepted,
            () = ending.refusing_new() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY) {
                    tracing::warn!(%error, "a connection could not be accepted; it is tried again");
                    told_at = Some(Instant::now());
                }
                tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a socket went away before it was served");
        }
        let (settings, service) = enter();
        connections.spawn(async move {
            connection::serve(stream, peer, settings, service).await;
            drop(permit);
        });
    }
}
