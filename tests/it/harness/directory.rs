//! The directories of a run and its tests, under cargo's `target/tmp`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    remove_stale_runs(parent);
    let own = parent.join(format!("it-{}", std::process::id()));
    std::fs::create_dir_all(&own).expect("cargo's directory is writable");
    own
});

pub(super) fn run_directory() -> &'static Path {
    &RUN
}

/// Removes the directories of killed runs.
fn remove_stale_runs(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("it-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may have removed it.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory that is removed after a successful test.
pub(crate) struct TestDirectory(PathBuf);

impl TestDirectory {
    pub(crate) fn new(name: &str) -> TestDirectory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = run_directory().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&path).expect("the run's directory is writable");
        TestDirectory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path; credentials get mode 0600.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        let (parent, file_name) = (path.parent().expect("a parent directory"), path.file_name().expect("a name"));
        std::fs::create_dir_all(parent).expect("writable");
        // A running program may read the file at any moment, and finds the old or the new one.
        let new = parent.join(format!(".{}.new", file_name.to_string_lossy()));
        std::fs::write(&new, content).expect("writable");
        if name.starts_with("credentials/") {
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("the test owns the file");
        }
        std::fs::rename(&new, &path).expect("the same directory");
        path
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
