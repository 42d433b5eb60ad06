//! What systemd is told, and the sockets that it hands over; the shipped units are tried by `make systemd-test`.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::harness::{Client, Process, Site, eventually, free_port};

/// A program that was started the way systemd starts it.
pub struct Unit {
    pub process: Process,
    told: UnixDatagram,
}

impl Unit {
    /// `brandgate ARGUMENTS` with a socket to notify; `sockets` are opened for it, and its start is the first connection.
    pub fn start(site: &Site, arguments: &[&str], sockets: &[(&str, u16)]) -> Unit {
        let path = site.directory.path().join("notify");
        let told = UnixDatagram::bind(&path).expect("a new path");
        told.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
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
            return Unit { process, told };
        }
        let process = Process::start("unit", "systemd-socket-activate", site.directory.path(), |command| {
            for name in ["CREDENTIALS_DIRECTORY", "BRANDGATE_BRANDS", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
                command.args(["-E", name]);
            }
            for (_, port) in sockets {
                command.args(["-l", &format!("127.0.0.1:{port}")]);
            }
            let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
            command.arg(format!("--fdname={}", names.join(":"))).arg(env!("CARGO_BIN_EXE_brandgate")).args(arguments);
            configure(command);
        });
        Unit { process, told }
    }

    /// Takes what is told from now on, as systemd does, for a test that does not ask: the program waits for who does not.
    pub fn take_what_is_told(&self) {
        let told = self.told.try_clone().expect("a socket");
        told.set_read_timeout(None).expect("it may wait");
        std::thread::spawn(move || while told.recv(&mut [0; 4_096]).is_ok() {});
    }

    /// The next message with this in it.
    pub fn await_told(&self, words: &str) -> String {
        let mut buffer = [0; 4_096];
        loop {
            let read = self.told.recv(&mut buffer).unwrap_or_else(|e| panic!("{words}: {e}\n{}", self.process.log()));
            let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if message.contains(words) {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn a_socket_of_systemd_is_served_and_every_step_is_told() {
    let mut site = Site::new(&["dexar", "novo"]);
    let (public, admin) = (free_port(), free_port());
    let unit = Unit::start(&site, &["serve"], &[("dexar", public), ("admin", admin), ("stranger", free_port())]);
    unit.process.await_log("Listening on");
    // The program does not run yet: this connection starts it, waits, and is served.
    assert_eq!(Client::new(([127, 0, 0, 1], public).into()).get("/category").await.status, 200);
    let ready = unit.await_told("READY=1");
    assert!(ready.contains("STATUS=serving dexar, novo"), "{ready}");
    unit.process.await_log("hands over a socket stranger");
    let own = site.brand("dexar").port;
    assert!(std::net::TcpStream::connect(("127.0.0.1", own)).is_err(), "the file's own address is not bound");
    assert!(std::net::TcpStream::connect(("127.0.0.1", site.brand("novo").port)).is_ok(), "novo binds by itself");
    assert!(std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok());
    unit.await_told("WATCHDOG=1");

    unit.process.signal("-HUP");
    assert!(unit.await_told("RELOADING=1").contains("MONOTONIC_USEC="));
    unit.await_told("READY=1");
    site.change_brand("novo", |brand| brand.limits = "connections = 0".to_owned());
    unit.process.signal("-HUP");
    let refused = unit.await_told("STATUS=reload refused");
    assert!(refused.contains("READY=1") && refused.contains("novo.toml:"), "{refused}");
    assert!(refused.contains("serving dexar, novo as before"), "{refused}");
    unit.process.terminate();
    unit.await_told("STOPPING=1");
    assert!(unit.process.await_exit().success());
}

#[test]
fn the_workers_tell_too() {
    let site = Site::new(&["dexar"]);
    let unit = Unit::start(&site, &["work"], &[]);
    assert!(unit.await_told("READY=1").contains("STATUS=working for dexar"));
    unit.await_told("WATCHDOG=1");
    unit.process.terminate();
    unit.await_told("STOPPING=1");
    assert!(unit.process.await_exit().success());
}

#[test]
fn a_process_that_stands_still_tells_the_watchdog_nothing() {
    let site = Site::new(&["dexar"]);
    let unit = Unit::start(&site, &["work"], &[]);
    unit.await_told("WATCHDOG=1");
    unit.process.signal("-STOP");
    unit.told.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 64];
    // What had been said before it stopped is read away; then nothing comes for longer than systemd would wait.
    eventually("silence", 20, || unit.told.recv(&mut buffer).is_err().then_some(()));
    unit.told.set_nonblocking(false).expect("a socket");
    unit.told.set_read_timeout(Some(Duration::from_millis(1_000))).expect("not zero");
    assert!(unit.told.recv(&mut buffer).is_err(), "it stands still, and says that it is well");
    unit.process.signal("-CONT");
    unit.told.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    unit.await_told("WATCHDOG=1");
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_hold_up_a_restart() {
    use tokio::io::AsyncWriteExt;
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    let address = gateway.address("dexar");
    let connect = async |alpn| {
        crate::harness::connect_tls(address, &[alpn], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
    };
    // Nothing at all; half a handshake; silence after one; half a head. Each would be waited for ten seconds while serving.
    let _tcp = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let mut hello = tokio::net::TcpStream::connect(address).await.expect("it listens");
    hello.write_all(&[0x16, 0x03, 0x01, 0x02]).await.expect("it is open");
    let _h1 = connect("http/1.1").await;
    let _h2 = connect("h2").await;
    let mut half = connect("http/1.1").await;
    half.write_all(b"GET /ping HTTP/1.1\r\nHost: l").await.expect("it is open");
    gateway.terminate();
    eventually("the end of the gateway, before any deadline of a client", 8, || gateway.exit_status());
}

#[test]
fn lines_for_the_journal_have_priorities_and_no_time() {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    let site = Site::new(&["dexar"]);
    let lines = |format: &str, is_journal: bool| {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let there = std::fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd())).expect("it is open");
        let inode = there.ino() + u64::from(!is_journal);
        let mut command = site.command(&["migrate", "--log", format]);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", there.dev())).env("RUST_LOG", "debug");
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
