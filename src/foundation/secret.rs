//! Secrets read from systemd credentials or private files, in a type that cannot be printed.
//!
//! # Invariants
//!
//! A secret never appears in a log line, an error, a response or a brand's file: [`Secret`] has no `Display` and no
//! `Serialize`, and its `Debug` prints the name.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where systemd puts the credentials of a service (`LoadCredential=`) when it starts.
const CREDENTIALS_ROOT: &str = "/run/credentials";

/// The prefix of the names when a unit loads a whole directory of credentials: `LoadCredential=brandgate:`.
const DIRECTORY_PREFIX: &str = "brandgate_";

/// A value that only [`Secret::reveal`] returns.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    name: String,
    value: String,
    /// Where the value was read from.
    file: Option<PathBuf>,
}

impl Secret {
    /// A secret that was not read from a file. The name may be printed.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Secret {
        Secret { name: name.into(), value: value.into(), file: None }
    }

    /// The file that the value was read from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Reads a secret by the name that a brand's file gives it.
    ///
    /// A name without a slash is a credential: the file `NAME` or `brandgate_NAME` in `credentials`, which is systemd's
    /// `$CREDENTIALS_DIRECTORY`. A path is a file that only its owner may read (mode 0600 or 0400). The value is one line; a
    /// newline at its end is dropped.
    ///
    /// # Errors
    /// A message that names the secret and says what to do; it never contains the value.
    pub fn read(name: &str, credentials: Option<&Path>) -> Result<Secret, String> {
        let path = if name.contains('/') {
            PathBuf::from(name)
        } else {
            let directory = credentials.ok_or_else(|| {
                format!("there is no directory for the credential {name}: set --credentials or $CREDENTIALS_DIRECTORY")
            })?;
            let prefixed = directory.join(format!("{DIRECTORY_PREFIX}{name}"));
            if prefixed.exists() { prefixed } else { directory.join(name) }
        };
        let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound if path.starts_with(CREDENTIALS_ROOT) => format!(
                "{name} was not passed to the service: write the secret to /etc/brandgate/credentials/{name}, mode 600, and restart"
            ),
            ErrorKind::NotFound => {
                format!("there is no file {}: write the secret to it, with mode 600", path.display())
            }
            _ => format!("the secret {}: {error}", path.display()),
        })?;
        // Reading a named pipe would block.
        if !metadata.is_file() {
            return Err(format!("the secret {} is not a file", path.display()));
        }
        // systemd protects the directory of the credentials, whose files have mode 0440.
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
    fn debug_prints_only_the_name() {
        let secret = Secret::new("dexar.database-password", "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(dexar.database-password)");
    }

    #[test]
    fn credential_is_found_with_and_without_the_directory_prefix() {
        let directory = std::env::temp_dir().join(format!("brandgate-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        std::fs::write(directory.join("dexar.bank-key"), "single\n").expect("just created");
        std::fs::write(directory.join("brandgate_novo.bank-key"), "from a directory\n").expect("just created");
        let read = |name| Secret::read(name, Some(&directory)).map(|secret| secret.reveal().to_owned());
        assert_eq!(read("dexar.bank-key").as_deref(), Ok("single"));
        assert_eq!(read("novo.bank-key").as_deref(), Ok("from a directory"));
        let missing = read("third.bank-key").expect_err("no such file");
        assert!(missing.contains("/third.bank-key"), "{missing}");
        std::fs::remove_dir_all(&directory).expect("own file");
    }

    #[test]
    fn file_that_others_can_read_is_refused() {
        let directory = std::env::temp_dir().join(format!("brandgate-secret-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let path = directory.join("password");
        std::fs::write(&path, "s3cret\n").expect("just created");
        let read = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("own file");
            Secret::read(path.to_str().expect("ASCII"), None)
        };
        assert!(read(0o644).expect_err("readable by others").contains("chmod 600"));
        assert_eq!(read(0o600).expect("private").reveal(), "s3cret");
        assert_eq!(Secret::read("password", Some(&directory)).expect("a credential").reveal(), "s3cret");
        assert!(Secret::read("password", None).expect_err("no directory").contains("--credentials"));
        std::fs::remove_dir_all(&directory).expect("own file");
    }
}
