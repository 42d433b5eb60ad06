//! `brandgate reload`: both sides of it, over a socket in the directory that systemd makes for the process (`RuntimeDirectory=`).
//!
//! The units' `ExecReload=` runs it, because a signal alone returns before anything was read: systemd 252 has no
//! `Type=notify-reload`. What must never happen: it ends well although the files were refused, or before what a
//! running process can take of them counts.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use crate::output::say;

/// What an answer begins with when the files' content counts.
const DONE: &str = "reloaded: ";

/// Reading files, certificates among them; nobody is asked over the network.
const LONGEST_RELOAD: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Arguments {
    /// The running process's directory: /run/brandgate-work is that of `work`
    #[arg(long, env = "RUNTIME_DIRECTORY", default_value = "/run/brandgate")]
    at: OsString,
}

/// `directories` is as in `$RUNTIME_DIRECTORY`: where a unit names several, the first is ours (systemd.exec(5)).
fn socket_in(directories: &OsStr) -> PathBuf {
    let first = directories.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    Path::new(OsStr::from_bytes(first)).join("reload.socket")
}

/// Asks the process to reload and waits until it has. Errors are a sentence: why it was refused, or that nobody answers.
pub async fn run(arguments: &Arguments) -> Result<(), String> {
    let path = socket_in(&arguments.at);
    let nobody = |error: std::io::Error| {
        format!("nobody can be asked at {}: {error}; does it run? then try kill -HUP", path.display())
    };
    let mut stream = UnixStream::connect(&path).await.map_err(nobody)?;
    let mut answer = String::new();
    let read = tokio::time::timeout(LONGEST_RELOAD, stream.read_to_string(&mut answer)).await.map_err(|_| {
        format!(
            "no answer within {} s: it stands still or has much to do, and may still reload; its log will tell",
            LONGEST_RELOAD.as_secs()
        )
    })?;
    read.map_err(|error| format!("it does not say how the reload went: {error}"))?;
    match answer.as_str() {
        "" => Err("it ended before it said how the reload went".to_owned()),
        done if done.starts_with(DONE) => {
            say!("{done}");
            Ok(())
        }
        refused => Err(refused.to_owned()),
    }
}

/// Where the long-running process is asked. Without systemd's directory nobody asks; SIGHUP is always there.
#[derive(Default)]
pub struct Listener(Option<UnixListener>);

impl Listener {
    /// Takes the place of whoever listened there before, so it is for a process that has its ports already.
    pub fn from_environment() -> Listener {
        let directories = std::env::var_os("RUNTIME_DIRECTORY").filter(|directories| !directories.is_empty());
        let Some(directories) = directories else { return Listener(None) };
        let path = socket_in(&directories);
        // One that was killed has left its own.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path);
        if let Err(error) = &listener {
            tracing::warn!("{}: {error}; systemctl reload will not work, kill -HUP does", path.display());
        }
        Listener(listener.ok())
    }

    pub async fn next(&self) -> Asker {
        let Some(listener) = &self.0 else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Asker(Some(stream)),
                // Out of descriptors: whoever asks waits.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Who waits for how a reload goes; nobody after SIGHUP.
#[derive(Default)]
pub struct Asker(Option<UnixStream>);

impl Asker {
    /// `status` is what `systemctl status` shows from now on.
    pub fn tell(self, is_done: bool, status: &str) {
        // Tokio would first have to hear that it may write; a line is far smaller than what the kernel keeps for a socket.
        let Some(Ok(mut stream)) = self.0.map(UnixStream::into_std) else { return };
        // Whoever asked may be gone.
        let _ = stream.write_all(format!("{}{status}", if is_done { DONE } else { "" }).as_bytes());
    }
}
