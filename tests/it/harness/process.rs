//! Child processes that cannot outlive the tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};

use super::services::eventually;

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts processes on a thread that lives as long as this process: `--pdeathsig` fires when the parent thread exits, and the
/// thread of a test exits with the test.
static STARTER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
    let (jobs, queue) = mpsc::channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, reply) in queue {
            // Without a receiver the test has failed; the child dies with this process.
            let _ = reply.send(command.spawn());
        }
    });
    jobs
});

pub(crate) struct Process {
    name: &'static str,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `program arguments`; both outputs go to a file in `directory`.
    pub(crate) fn start(
        name: &'static str,
        program: &str,
        directory: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Process {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        command.stdin(Stdio::null());
        configure(&mut command);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let log = directory.join(format!("{name}-{}.log", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).expect("the test's directory is writable");
        let stdout = file.try_clone().expect("a duplicate descriptor");
        command.stdout(stdout).stderr(file);
        let (reply, replies) = mpsc::channel();
        STARTER.send((command, reply)).expect("the starter thread is running");
        let child = replies.recv().expect("the starter thread replies").expect("setpriv is installed");
        Process { name, child: Mutex::new(child), log }
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a log line that contains these words.
    pub(crate) fn await_log(&self, words: &str) -> String {
        let find = || self.log().lines().find(|line| line.contains(words)).map(str::to_owned);
        eventually(&format!("a log line with {words:?}"), 10, find)
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("no panic while locked").id().to_string();
        // The shell builtin: kill is not installed everywhere.
        let sent = Command::new("sh").args(["-c", "kill \"$1\" \"$2\"", "sh", name, &pid]).status().expect("sh runs");
        assert!(sent.success(), "{} has exited already:\n{}", self.name, self.log());
    }

    /// Sets the soft limit of open files (`RLIMIT_NOFILE`) of the running process.
    pub(crate) fn limit_open_files(&self, limit: &str) {
        let pid = self.child.lock().expect("no panic while locked").id().to_string();
        let limit = format!("--nofile={limit}:");
        let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit is installed");
        assert!(set.success(), "{limit}");
    }

    /// Its resident memory (RSS).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let pid = self.child.lock().expect("no panic while locked").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        1_024 * line.expect("the kernel tells it").trim().parse::<u64>().expect("a number")
    }

    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().expect("no panic while locked").try_wait().expect("a child of this process")
    }

    pub(crate) fn await_exit(&self) -> ExitStatus {
        eventually(&format!("the exit of {}", self.name), 20, || self.exit_status())
    }

    /// Sends SIGKILL and waits for the exit.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().expect("no panic while locked");
        // Fails only if it has exited.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("last log lines of {}, newest first:\n{}", self.name, tail.join("\n"));
        }
        self.kill();
    }
}
