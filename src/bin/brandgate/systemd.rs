//! The systemd protocols: inherited sockets (sd_listen_fds(3)), readiness, status line and watchdog (sd_notify(3)).
//!
//! Without systemd there are no sockets, and notifications are not sent.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};

use sd_notify::NotifyState;

/// The listening sockets that systemd opened for this process, by `FileDescriptorName=`.
#[derive(Default)]
pub(crate) struct InheritedSockets(HashMap<String, Vec<TcpListener>>);

impl InheritedSockets {
    /// Takes ownership of the sockets; call it once. Without socket activation there are none.
    ///
    /// # Errors
    /// A descriptor that is not a listening TCP socket.
    pub(crate) fn from_environment() -> Result<InheritedSockets, String> {
        let mut sockets: HashMap<String, Vec<TcpListener>> = HashMap::new();
        let descriptors =
            sd_notify::listen_fds_with_names().map_err(|e| format!("failed to take the sockets of systemd: {e}"))?;
        for (descriptor, name) in descriptors {
            // SAFETY: LISTEN_PID named this process, so systemd opened the descriptor for it, and nothing else here owns it.
            #[expect(
                unsafe_code,
                reason = "there is no safe way to take over a descriptor that another process opened"
            )]
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            let listener = TcpListener::from(owned);
            let checked = listener.local_addr().and_then(|_| listener.set_nonblocking(true));
            checked.map_err(|e| {
                format!("failed to use the socket {name} of systemd: {e}; expected ListenStream= with address and port")
            })?;
            sockets.entry(name).or_default().push(listener);
        }
        Ok(InheritedSockets(sockets))
    }

    /// Whether there were none, or all were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all sockets of a name.
    pub(crate) fn take(&mut self, name: &str) -> Vec<TcpListener> {
        self.0.remove(name).unwrap_or_default()
    }

    /// Takes all sockets of a name, for an accept loop.
    ///
    /// # Errors
    /// A socket that the runtime cannot use.
    pub(crate) fn take_listeners(&mut self, name: &str) -> Result<Vec<tokio::net::TcpListener>, String> {
        self.take(name)
            .into_iter()
            .map(|socket| tokio::net::TcpListener::from_std(socket).map_err(|e| e.to_string()))
            .collect()
    }

    /// The names of the sockets that were not taken, without these.
    pub(crate) fn names_except(&self, names: &[&str]) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|name| !names.contains(name)).collect()
    }
}

/// The start or a reload is complete; `status` is what `systemctl status` shows.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload starts; [`ready`] completes it, successful or not.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The graceful shutdown starts.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("shutting down: finishing what is in progress")]);
}

/// Notifies the watchdog as long as the runtime schedules tasks; returns at once without a watchdog.
pub(crate) async fn notify_watchdog() {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval(timeout / 3);
    loop {
        tick.tick().await;
        // A busy systemd may block the call; no request may wait for that.
        let notified = tokio::task::spawn_blocking(|| notify(&[NotifyState::Watchdog])).await;
        if notified.is_err() {
            return;
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "failed to notify systemd");
    }
}
