//! Passwords, tokens and keys: read from credential files, never printed.
//!
//! # Invariants
//!
//! No secret appears in a log line, an error message, a response or a brand's file. [`Secret`] has no `Display` and no
//! `Serialize`; its `Debug` prints the name.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where systemd puts the files of `LoadCredential=`.
const SYSTEMD_CREDENTIALS: &str = "/run/credentials";

/// The prefix that systemd gives the files of a credentials directory: the units load it as `brandgate`.
const SYSTEMD_PREFIX: &str = "brandgate_";

/// A value that only [`Secret::reveal`] returns.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    name: String,
    value: String,
    file: Option<PathBuf>,
}

impl Secret {
    /// `name` may be printed, `value` may not.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Secret {
        Secret { name: name.into(), value: value.into(), file: None }
    }

    /// The file that [`Secret::read`] read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Reads the secret that a brand's file names: one line, with or without a newline.
    ///
    /// A name without a slash is a file in `credentials` (systemd's `$CREDENTIALS_DIRECTORY`), also with the prefix
    /// `brandgate_` that `LoadCredential=brandgate:DIRECTORY` adds. A path is a file of mode 0600 or 0400.
    ///
    /// # Errors
    /// A message that names the secret and the fix, never the content.
    pub fn read(name: &str, credentials: Option<&Path>) -> Result<Secret, String> {
        let path = find(name, credentials)?;
        check_file(name, &path)?;
        let value = std::fs::read_to_string(&path)
            .map_err(|error| format!("failed to read the secret {}: {error}", path.display()))?;
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

fn find(name: &str, credentials: Option<&Path>) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let directory = credentials.ok_or_else(|| {
        format!("no credentials directory to read {name} from: set --credentials or $CREDENTIALS_DIRECTORY")
    })?;
    let prefixed = directory.join(format!("{SYSTEMD_PREFIX}{name}"));
    Ok(if prefixed.exists() { prefixed } else { directory.join(name) })
}

fn check_file(name: &str, path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if path.starts_with(SYSTEMD_CREDENTIALS) => format!(
            "systemd loaded no credential {name}: write the secret to /etc/brandgate/credentials/{name}, mode 600, and restart"
        ),
        ErrorKind::NotFound => format!("{} does not exist: write the secret to it, mode 600", path.display()),
        _ => format!("failed to read the secret {}: {error}", path.display()),
    })?;
    // Reading a pipe would block.
    if !metadata.is_file() {
        return Err(format!("the secret {} is not a regular file", path.display()));
    }
    // systemd's credentials are 0440 and protected by their directory.
    if name.contains('/') && metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!("the secret {} can be read by others: run chmod 600 on it", path.display()));
    }
    Ok(())
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
    fn a_credential_is_found_with_and_without_systemds_prefix() {
        let directory = std::env::temp_dir().join(format!("brandgate-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        std::fs::write(directory.join("dexar.bank-key"), "loaded alone\n").expect("just created");
        std::fs::write(directory.join("brandgate_novo.bank-key"), "loaded as a directory\n").expect("just created");
        let read = |name| Secret::read(name, Some(&directory)).map(|secret| secret.reveal().to_owned());
        assert_eq!(read("dexar.bank-key").as_deref(), Ok("loaded alone"));
        assert_eq!(read("novo.bank-key").as_deref(), Ok("loaded as a directory"));
        let missing = read("third.bank-key").expect_err("it does not exist");
        assert!(missing.contains("/third.bank-key"), "{missing}");
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn a_file_readable_by_others_is_refused() {
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
