//! Secrets: where they come from, and a type that cannot be printed.
//!
//! Read once at start by `config`; handed to whoever must present or verify them. What must never happen: a secret in a
//! log line, an error, a JSON answer or a brand's file. `Secret` has no `Display` and no `Serialize`; `Debug` prints its name.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where systemd puts what `LoadCredential=` names, when the process starts.
const HANDED_OVER: &str = "/run/credentials";

/// What systemd puts before the names of a directory's credentials: the units load them as `brandgate`.
const LOADED_AS: &str = "brandgate_";

/// A value that is read on purpose ([`Secret::reveal`]) and never by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    name: String,
    value: String,
    /// Where it was read.
    file: Option<PathBuf>,
}

impl Secret {
    /// A secret from anywhere; `name` is what may be printed.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Secret {
        Secret { name: name.into(), value: value.into(), file: None }
    }

    /// The file that it was read from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Reads the secret that a brand's file names.
    ///
    /// A name without a slash is a credential: a file of that name in `credentials` (systemd's `$CREDENTIALS_DIRECTORY`), or of
    /// that name after `brandgate_`, which systemd calls it when `LoadCredential=brandgate:` names a whole directory.
    /// A path names a file that only its owner may read (mode 0600 or 0400). It is one line; a newline at its end is dropped.
    ///
    /// # Errors
    /// A sentence that names the secret and what to do, never its content.
    pub fn read(name: &str, credentials: Option<&Path>) -> Result<Secret, String> {
        let path = if name.contains('/') {
            PathBuf::from(name)
        } else {
            let directory = credentials
                .ok_or_else(|| format!("the credential {name} is in no directory: name the secrets' with --credentials or $CREDENTIALS_DIRECTORY"))?;
            let of_a_directory = directory.join(format!("{LOADED_AS}{name}"));
            if of_a_directory.exists() { of_a_directory } else { directory.join(name) }
        };
        let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound if path.starts_with(HANDED_OVER) => format!(
                "{name} was not handed over at the start: write the secret to /etc/brandgate/credentials/{name}, mode 600, and restart"
            ),
            ErrorKind::NotFound => {
                format!("there is no file {}: write the secret there, with mode 600", path.display())
            }
            _ => format!("the secret {}: {error}", path.display()),
        })?;
        // A pipe would be waited for.
        if !metadata.is_file() {
            return Err(format!("the secret {} is no file", path.display()));
        }
        // systemd's credentials are 0440 for root's services and protected by their directory; files of ours must be private.
        if name.contains('/') && metadata.permissions().mode() & 0o077 != 0 {
            return Err(format!("the secret {} can be read by others: chmod 600 it", path.display()));
        }
        let value = std::fs::read_to_string(&path).map_err(|e| format!("the secret {}: {e}", path.display()))?;
        let value = value.strip_suffix('\n').unwrap_or(&value);
        if value.is_empty() {
            return Err(format!("the secret {} is empty", path.display()));
        }
        if value.contains(['\n', '\r']) {
            return Err(format!("the secret {} has more than one line", path.display()));
        }
        Ok(Secret { name: name.to_owned(), value: value.to_owned(), file: Some(path) })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_name_only() {
        let secret = Secret::new("dexar.database-password", "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(dexar.database-password)");
    }

    #[test]
    fn a_credential_is_found_under_both_of_its_names() {
        let directory = std::env::temp_dir().join(format!("brandgate-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        std::fs::write(directory.join("dexar.bank-key"), "by itself\n").expect("just created");
        std::fs::write(directory.join("brandgate_novo.bank-key"), "with its directory\n").expect("just created");
        let read = |name| Secret::read(name, Some(&directory)).map(|secret| secret.reveal().to_owned());
        assert_eq!(read("dexar.bank-key").as_deref(), Ok("by itself"));
        assert_eq!(read("novo.bank-key").as_deref(), Ok("with its directory"));
        let missing = read("third.bank-key").expect_err("there is none");
        assert!(missing.contains("/third.bank-key"), "{missing}");
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = std::env::temp_dir().join(format!("brandgate-secret-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let path = directory.join("password");
        std::fs::write(&path, "s3cret\n").expect("just created");
        let read = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
            Secret::read(path.to_str().expect("ASCII"), None)
        };
        assert!(read(0o644).expect_err("readable by others").contains("chmod 600"));
        assert_eq!(read(0o600).expect("private").reveal(), "s3cret");
        assert_eq!(Secret::read("password", Some(&directory)).expect("a credential").reveal(), "s3cret");
        assert!(Secret::read("password", None).expect_err("no directory").contains("--credentials"));
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }
}
