//! Where a run keeps its files: a directory under cargo's `target/tmp`, named by the process, and one in it for each test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    remove_those_of_dead_runs(all);
    let own = all.join(format!("it-{}", std::process::id()));
    std::fs::create_dir_all(&own).expect("cargo's own directory is writable");
    own
});

pub fn run_directory() -> &'static Path {
    &RUN
}

/// A run cannot clear up behind itself when it is killed, so the next one does.
fn remove_those_of_dead_runs(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("it-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Two runs may clear up at once; whoever comes second finds nothing.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory that goes with the test.
pub struct TestDirectory(PathBuf);

impl TestDirectory {
    pub fn new(name: &str) -> TestDirectory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = run_directory().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&path).expect("the run's directory is writable");
        TestDirectory(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path; credentials are private.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("writable");
        std::fs::write(&path, content).expect("writable");
        if name.starts_with("credentials/") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
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
