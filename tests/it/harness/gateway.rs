//! The running gateway: the real program as a process that cannot outlive the tests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;

use super::brand_file::free_port;
use super::client::Client;
use super::services::eventually;
use super::site::Site;

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

pub struct Gateway {
    child: Mutex<Child>,
    ports: HashMap<String, u16>,
    admin_port: u16,
    log: PathBuf,
}

impl Gateway {
    pub fn start(site: &Site) -> Gateway {
        let admin_port = free_port();
        let log = site.directory.path().join(format!("gateway-{admin_port}.log"));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_brandgate"), "serve"]);
        site.furnish(&mut command);
        command.env("BRANDGATE_ADMIN", format!("127.0.0.1:{admin_port}"));
        let stderr = File::create(&log).expect("the test's directory is writable");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let (answer, answered) = mpsc::channel();
        STARTER.send((command, answer)).expect("the starter lives for ever");
        let child = answered.recv().expect("the starter answers").expect("setpriv is on the machine");
        let ports = site.brands.iter().map(|brand| (brand.name.clone(), brand.port)).collect();
        Gateway { child: Mutex::new(child), ports, admin_port, log }
    }

    pub fn address(&self, brand: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[brand]))
    }

    /// An HTTP/2 client of one brand.
    pub fn client(&self, brand: &str) -> Client {
        Client::new(self.address(brand))
    }

    /// Status and JSON of a path on the admin listener.
    pub fn admin(&self, path: &str) -> std::io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    pub fn await_ready(&self) {
        eventually("the gateway is ready", 20, || {
            assert!(self.exit_status().is_none(), "the gateway ended by itself:\n{}", self.log());
            self.admin("/readyz").ok().filter(|(status, _)| *status == 200)
        });
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a line of the log with this in it.
    pub fn await_log(&self, words: &str) -> String {
        let find = || self.log().lines().find(|line| line.contains(words)).map(str::to_owned);
        eventually(&format!("a log line with {words:?}"), 10, find)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("no test panics in here").id().to_string();
        // The shell's own: not every machine has kill as a program.
        let sent = Command::new("sh").args(["-c", "kill \"$1\" \"$2\"", "sh", name, &pid]).status().expect("sh runs");
        assert!(sent.success(), "the gateway is gone already:\n{}", self.log());
    }

    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().expect("no test panics in here").try_wait().expect("it is our child")
    }

    pub fn await_exit(&self) -> ExitStatus {
        eventually("the gateway ends", 20, || self.exit_status())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("the end of the gateway's log, newest first:\n{}", tail.join("\n"));
        }
        let child = self.child.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Both fail only when it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}
