//! systemd: inherited sockets, notifications, watchdog and journal priorities. `make systemd-test` tests the shipped units.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::harness::{Client, Process, Site, eventually, free_port};

/// A process that is started as systemd starts a unit.
pub(crate) struct Unit {
    pub process: Process,
    notifications: UnixDatagram,
}

impl Unit {
    /// `brandgate ARGUMENTS` with a notification socket. With `sockets`, it is started by the first connection to one of them.
    pub(crate) fn start(site: &Site, arguments: &[&str], sockets: &[(&str, u16)]) -> Unit {
        let path = site.directory.path().join("notify");
        let notifications = UnixDatagram::bind(&path).expect("a new path");
        notifications.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid timeout");
        let path = path.to_str().expect("UTF-8").to_owned();
        let configure = |command: &mut std::process::Command| {
            site.set_environment(command);
            command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
        };
        if sockets.is_empty() {
            let program = env!("CARGO_BIN_EXE_brandgate");
            let process = Process::start("unit", program, site.directory.path(), |command| {
                command.args(arguments);
                configure(command);
            });
            return Unit { process, notifications };
        }
        let process = Process::start("unit", "systemd-socket-activate", site.directory.path(), |command| {
            for name in
                ["CREDENTIALS_DIRECTORY", "BRANDGATE_BRANDS", "BRANDGATE_RETRY_MS", "NOTIFY_SOCKET", "WATCHDOG_USEC"]
            {
                command.args(["-E", name]);
            }
            for (_, port) in sockets {
                command.args(["-l", &format!("127.0.0.1:{port}")]);
            }
            let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
            command.arg(format!("--fdname={}", names.join(":"))).arg(env!("CARGO_BIN_EXE_brandgate")).args(arguments);
            configure(command);
        });
        Unit { process, notifications }
    }

    /// Receives and drops notifications from now on: a full socket would block the process.
    pub(crate) fn discard_notifications(&self) {
        let notifications = self.notifications.try_clone().expect("a socket");
        notifications.set_read_timeout(None).expect("a valid timeout");
        std::thread::spawn(move || while notifications.recv(&mut [0; 4_096]).is_ok() {});
    }

    /// The next notification that contains this text.
    pub(crate) fn await_notification(&self, words: &str) -> String {
        let mut buffer = [0; 4_096];
        loop {
            let read =
                self.notifications.recv(&mut buffer).unwrap_or_else(|e| panic!("{words}: {e}\n{}", self.process.log()));
            let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if message.contains(words) {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn inherited_sockets_are_served_and_every_state_is_notified() {
    let mut site = Site::new(&["dexar", "novo"]);
    let (public, admin) = (free_port(), free_port());
    let unit = Unit::start(&site, &["serve"], &[("dexar", public), ("admin", admin), ("stranger", free_port())]);
    unit.process.await_log("Listening on");
    // This connection starts the process, waits, and is served.
    assert_eq!(Client::new(([127, 0, 0, 1], public).into()).get("/category").await.status, 200);
    let ready = unit.await_notification("READY=1");
    assert!(ready.contains("STATUS=serving dexar, novo"), "{ready}");
    let ignored = unit.process.await_log("ignoring a socket of systemd");
    assert!(ignored.contains("brand=\"stranger\""), "{ignored}");
    let own = site.brand("dexar").port;
    assert!(std::net::TcpStream::connect(("127.0.0.1", own)).is_err(), "the address of the file is not bound");
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", site.brand("novo").port)).is_ok(),
        "novo has no inherited socket and binds its own"
    );
    assert!(std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok());
    unit.await_notification("WATCHDOG=1");

    unit.process.signal("-HUP");
    assert!(unit.await_notification("RELOADING=1").contains("MONOTONIC_USEC="));
    unit.await_notification("READY=1");
    site.change_brand("novo", |brand| brand.limits = "connections = 0".to_owned());
    unit.process.signal("-HUP");
    let refused = unit.await_notification("STATUS=reload refused for novo: ");
    assert!(refused.contains("READY=1") && refused.contains("novo.toml:"), "{refused}");
    assert!(refused.contains("applied to dexar; serving dexar, novo"), "{refused}");
    unit.process.terminate();
    unit.await_notification("STOPPING=1");
    assert!(unit.process.await_exit().success());
}

#[test]
fn workers_notify_systemd() {
    let site = Site::new(&["dexar"]);
    let unit = Unit::start(&site, &["work"], &[]);
    assert!(unit.await_notification("READY=1").contains("STATUS=working for dexar"));
    unit.await_notification("WATCHDOG=1");
    unit.process.terminate();
    unit.await_notification("STOPPING=1");
    assert!(unit.process.await_exit().success());
}

#[test]
fn a_stopped_process_does_not_notify_the_watchdog() {
    let site = Site::new(&["dexar"]);
    let unit = Unit::start(&site, &["work"], &[]);
    unit.await_notification("WATCHDOG=1");
    unit.process.signal("-STOP");
    unit.notifications.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 64];
    // After the notifications of before the stop, none follows for longer than the watchdog's timeout.
    eventually("no more notifications", 20, || unit.notifications.recv(&mut buffer).is_err().then_some(()));
    unit.notifications.set_nonblocking(false).expect("a socket");
    unit.notifications.set_read_timeout(Some(Duration::from_millis(1_000))).expect("a valid timeout");
    assert!(unit.notifications.recv(&mut buffer).is_err(), "a stopped process notified the watchdog");
    unit.process.signal("-CONT");
    unit.notifications.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid timeout");
    unit.await_notification("WATCHDOG=1");
}

#[tokio::test]
async fn silent_clients_do_not_delay_a_restart() {
    use tokio::io::AsyncWriteExt;
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    let address = gateway.address("dexar");
    let connect = async |alpn| {
        crate::harness::connect_tls(address, &[alpn], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
    };
    // No bytes; half a handshake; no request after one; half a request head. Each has a timeout of ten seconds while serving.
    let _tcp = tokio::net::TcpStream::connect(address).await.expect("the gateway listens");
    let mut hello = tokio::net::TcpStream::connect(address).await.expect("the gateway listens");
    hello.write_all(&[0x16, 0x03, 0x01, 0x02]).await.expect("an open connection");
    let _h1 = connect("http/1.1").await;
    let _h2 = connect("h2").await;
    let mut half = connect("http/1.1").await;
    half.write_all(b"GET /ping HTTP/1.1\r\nHost: l").await.expect("an open connection");
    gateway.terminate();
    eventually("the gateway exits before the timeout of any client", 8, || gateway.exit_status());
}

#[test]
fn journal_lines_have_priorities_and_no_timestamp() {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    let site = Site::new(&["dexar"]);
    let lines = |format: &str, is_journal: bool| {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let metadata = std::fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd())).expect("an open connection");
        let inode = metadata.ino() + u64::from(!is_journal);
        let mut command = site.command(&["migrate", "--log", format]);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev())).env("RUST_LOG", "debug");
        assert!(command.stderr(writer).stdout(std::process::Stdio::null()).status().expect("it runs").success());
        drop(command);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for format in ["text", "json"] {
        let found = lines(format, true);
        assert!(!found.is_empty());
        for line in &found {
            assert!(["<3>", "<4>", "<6>", "<7>"].contains(&&line[..3]), "{line}");
            assert!(!line.contains("timestamp") && !line[3..].starts_with("20"), "{line}");
            assert!(format == "text" || line[3..].starts_with('{'), "{line}");
        }
        let found = lines(format, false);
        assert!(found.iter().all(|line| !line.starts_with('<')), "{found:#?}");
    }
}
