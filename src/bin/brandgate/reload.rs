//! `brandgate reload`: client and server side of a reload over a socket in the unit's `RuntimeDirectory=`.
//!
//! The units' `ExecReload=` runs it, because a signal returns before the files were read (systemd 252 has no `Type=notify-reload`).
//! It succeeds only when the process has applied the files.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use crate::output::say;

/// A response begins with this when the configuration was applied.
const APPLIED: &str = "reloaded: ";

/// A reload reads files, certificates among them, and connects nowhere.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct ReloadArguments {
    /// Use this runtime directory of the process to reload; that of `work` is /run/brandgate-work
    #[arg(long, env = "RUNTIME_DIRECTORY", default_value = "/run/brandgate")]
    at: OsString,
}

/// `directories` is as in `$RUNTIME_DIRECTORY`: where a unit names several, the first is ours (systemd.exec(5)).
fn socket_in(directories: &OsStr) -> PathBuf {
    let first = directories.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    Path::new(OsStr::from_bytes(first)).join("reload.socket")
}

/// Requests a reload and waits for its outcome.
///
/// # Errors
/// Why the reload was refused, or why the process did not respond.
pub(crate) async fn run(arguments: &ReloadArguments) -> Result<(), String> {
    let path = socket_in(&arguments.at);
    let unreachable = |error: std::io::Error| {
        format!("failed to connect to {}: {error}; check that the process is running, or use kill -HUP", path.display())
    };
    let mut stream = UnixStream::connect(&path).await.map_err(unreachable)?;
    let mut response = String::new();
    let read = tokio::time::timeout(RELOAD_TIMEOUT, stream.read_to_string(&mut response)).await.map_err(|_| {
        let timeout_s = RELOAD_TIMEOUT.as_secs();
        format!("no response within {timeout_s} s: the process hangs or is busy and may still reload; see its log")
    })?;
    read.map_err(|error| format!("failed to read the outcome of the reload: {error}"))?;
    match response.as_str() {
        "" => Err("the process ended during the reload; see its log".to_owned()),
        applied if applied.starts_with(APPLIED) => {
            say!("{applied}");
            Ok(())
        }
        refused => Err(refused.to_owned()),
    }
}

/// Accepts reload requests. Without a runtime directory there are none; SIGHUP always works.
pub(crate) struct ReloadSocket(Option<UnixListener>);

impl ReloadSocket {
    /// Replaces the socket of an earlier process, so this is for a process that has bound its ports.
    pub(crate) fn from_environment() -> ReloadSocket {
        let directories = std::env::var_os("RUNTIME_DIRECTORY").filter(|directories| !directories.is_empty());
        let Some(directories) = directories else { return ReloadSocket(None) };
        let path = socket_in(&directories);
        // A killed process leaves its socket behind.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path);
        if let Err(error) = &listener {
            let path = path.display();
            tracing::warn!("failed to bind {path}: {error}; systemctl reload will fail, use kill -HUP instead");
        }
        ReloadSocket(listener.ok())
    }

    pub(crate) async fn next(&self) -> ReloadRequest {
        let Some(listener) = &self.0 else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return ReloadRequest(Some(stream)),
                // Out of file descriptors; the client keeps waiting.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// A reload request; one by SIGHUP has no connection to respond on.
#[derive(Default)]
pub(crate) struct ReloadRequest(Option<UnixStream>);

impl ReloadRequest {
    /// `status` is the new status line of the process.
    pub(crate) fn respond(self, is_applied: bool, status: &str) {
        // Written synchronously: Tokio would first wait for writability, and a line always fits the socket's buffer.
        let Some(Ok(mut stream)) = self.0.map(UnixStream::into_std) else { return };
        // The client may be gone.
        let _ = stream.write_all(format!("{}{status}", if is_applied { APPLIED } else { "" }).as_bytes());
    }
}
