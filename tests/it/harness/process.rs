//! A program under test as a process that cannot outlive the tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};

use super::services::eventually;

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts processes on a thread that lives as long as this process: a child gets its SIGKILL when the thread that started
/// it ends, and a test's own thread ends with the test.
static STARTER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
    let (jobs, queue) = mpsc::channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, answer) in queue {
            // Whoever asked and went away does not want the child; the end of this process ends it.
            let _ = answer.send(command.spawn());
        }
    });
    jobs
});

pub struct Process {
    name: &'static str,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `program arguments`; both outputs go to a file in `directory`.
    pub fn start(name: &'static str, program: &str, directory: &Path, configure: impl FnOnce(&mut Command)) -> Process {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        configure(&mut command);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let log = directory.join(format!("{name}-{}.log", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).expect("the test's directory is writable");
        let again = file.try_clone().expect("one more descriptor");
        command.stdin(Stdio::null()).stdout(again).stderr(file);
        let (answer, answered) = mpsc::channel();
        STARTER.send((command, answer)).expect("the starter lives for ever");
        let child = answered.recv().expect("the starter answers").expect("setpriv is on the machine");
        Process { name, child: Mutex::new(child), log }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a line of the log with this in it.
    pub fn await_log(&self, words: &str) -> String {
        let find = || self.log().lines().find(|line| line.contains(words)).map(str::to_owned);
        eventually(&format!("a log line with {words:?}"), 10, find)
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("no test panics in here").id().to_string();
        // The shell's own: not every machine has kill as a program.
        let sent = Command::new("sh").args(["-c", "kill \"$1\" \"$2\"", "sh", name, &pid]).status().expect("sh runs");
        assert!(sent.success(), "{} is gone already:\n{}", self.name, self.log());
    }

    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().expect("no test panics in here").try_wait().expect("it is our child")
    }

    pub fn await_exit(&self) -> ExitStatus {
        eventually(&format!("the end of {}", self.name), 20, || self.exit_status())
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no test panics in here");
        // Fails only when it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("the end of the log of {}, newest first:\n{}", self.name, tail.join("\n"));
        }
        self.kill();
    }
}
