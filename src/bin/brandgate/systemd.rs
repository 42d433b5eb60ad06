//! What the process and systemd say to each other: inherited sockets (sd_listen_fds(3)), readiness, reloads, the status line and
//! the watchdog (sd_notify(3)).
//!
//! Called by `bin/brandgate serve` and `work`. Without systemd nothing is inherited and nothing is said. What must never happen: a
//! process that stands still goes on telling the watchdog that it is well.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};

use sd_notify::NotifyState;

/// The listening sockets that systemd opened for this process, by `FileDescriptorName=`.
#[derive(Default)]
pub struct Inherited(HashMap<String, Vec<TcpListener>>);

impl Inherited {
    /// Takes them over; to be called once. Without socket activation there are none.
    ///
    /// # Errors
    /// A sentence: what was handed over is no listening TCP socket.
    pub fn take() -> Result<Inherited, String> {
        let mut sockets: HashMap<String, Vec<TcpListener>> = HashMap::new();
        let handed = sd_notify::listen_fds_with_names().map_err(|e| format!("systemd's sockets: {e}"))?;
        for (descriptor, name) in handed {
            // SAFETY: LISTEN_PID named this process, so systemd opened it for us, and nobody else here takes it.
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            let listener = TcpListener::from(owned);
            let fit = listener.local_addr().and_then(|_| listener.set_nonblocking(true));
            fit.map_err(|e| {
                format!("systemd's socket {name}: {e}; expected ListenStream= with an address and a port")
            })?;
            sockets.entry(name).or_default().push(listener);
        }
        Ok(Inherited(sockets))
    }

    /// Whether nothing is left, or nothing was there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All sockets of one name.
    pub fn named(&mut self, name: &str) -> Vec<TcpListener> {
        self.0.remove(name).unwrap_or_default()
    }

    /// The names that nobody asked for.
    pub fn names_left(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// Startup or a reload is over; `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it, however it went.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(_) => say(&[NotifyState::Reloading]),
    }
}

/// The process ends by itself from here on.
pub fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping: running requests end")]);
}

/// Tells the watchdog for ever that the runtime still gets round to its tasks; returns at once where there is no watchdog.
pub async fn tell_watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval(within / 3);
    loop {
        tick.tick().await;
        // Systemd may be busy; nobody's request waits for it.
        let told = tokio::task::spawn_blocking(|| say(&[NotifyState::Watchdog])).await;
        if told.is_err() {
            return;
        }
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
