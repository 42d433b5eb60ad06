//! A private PostgreSQL and Redis, started by `tests/env/services.sh`, and certificates of the test CA.
//!
//! The tests share one set of servers; a test that stops a server uses a dedicated set. All stop with this process.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use super::brand_file::password_of;
use super::database::{self, Templates};
use super::directory::run_directory;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The shared servers.
static SHARED: LazyLock<Arc<Services>> = LazyLock::new(|| {
    let services = Services::start("services", &["--fast"]);
    // Autovacuum visits every database once per interval: hundreds of them keep it busy.
    services.admin_sql("postgres", "alter system set autovacuum_naptime = '10min'");
    services.admin_sql("postgres", "select pg_reload_conf()");
    services
});

/// The CA and the default certificates of the brands.
static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = run_directory().join("certs");
    let leaves = ["dexar=api.dexarmarket.ru", "novo=api.novo.market", "third=api.third.example"];
    script("certs.sh", &[&[directory.to_str().expect("UTF-8")], &leaves[..]].concat());
    directory
});

pub(crate) fn certificates() -> &'static Path {
    &CERTIFICATES
}

/// A PostgreSQL server and a Redis server.
pub(crate) struct Services {
    directory: PathBuf,
    settings: HashMap<String, String>,
    /// Serialises changes of roles, which belong to the whole server.
    pub roles: Mutex<()>,
    pub(super) templates: Templates,
    dedicated: bool,
    /// Of `services.sh`.
    options: &'static [&'static str],
    postgres_paused: AtomicBool,
}

impl Services {
    pub(crate) fn shared() -> Arc<Services> {
        SHARED.clone()
    }

    /// A set of servers for one test, which may stop them.
    pub(crate) fn dedicated(name: &str) -> Arc<Services> {
        Services::start(name, &["--fast"])
    }

    /// A set of servers for one test, which may crash them: what they have acknowledged is on disk.
    pub(crate) fn durable(name: &str) -> Arc<Services> {
        Services::start(name, &[])
    }

    /// A set of servers for one test, whose PostgreSQL also listens on a port of 127.0.0.1 and rejects connections to it.
    pub(crate) fn with_tcp(name: &str) -> Arc<Services> {
        let port: &'static str = super::brand_file::free_port().to_string().leak();
        Services::start(name, vec!["--fast", "--tcp", port].leak())
    }

    /// Where PostgreSQL keeps its data and configuration.
    pub(crate) fn postgres_data(&self) -> &Path {
        Path::new(self.setting("PG_DATA"))
    }

    /// Makes the user of PostgreSQL the owner of a file or directory.
    pub(crate) fn give_to_postgres(&self, path: &Path) {
        let data = std::fs::metadata(self.postgres_data()).expect("it exists");
        std::os::unix::fs::chown(path, Some(data.uid()), Some(data.gid())).expect("the test may change the owner");
    }

    pub(crate) fn postgres_port(&self) -> &str {
        self.setting("PG_PORT")
    }

    fn start(name: &str, options: &'static [&'static str]) -> Arc<Services> {
        let directory = run_directory().join(name);
        let place = directory.to_str().expect("UTF-8").to_owned();
        let owner = std::process::id().to_string();
        script("services.sh", &[&["start", &place, "--owner", &owner, "--discard"], options].concat());
        let text = std::fs::read_to_string(directory.join("services.env")).expect("services.sh wrote it");
        let settings = text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
        Arc::new(Services {
            settings: settings.collect(),
            roles: Mutex::new(()),
            templates: Templates::default(),
            dedicated: name != "services",
            options,
            postgres_paused: AtomicBool::default(),
            directory,
        })
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).unwrap_or_else(|| panic!("services.env has no {name}"))
    }

    /// `what` is `pg`, `redis` or `all`.
    pub(crate) fn stop(&self, what: &str) {
        assert!(self.dedicated, "shared servers must not be stopped");
        script("services.sh", &["stop", self.directory.to_str().expect("UTF-8"), what]);
    }

    pub(crate) fn restart(&self, what: &str) {
        let place = self.directory.to_str().expect("UTF-8");
        script("services.sh", &[&["start", place, what], self.options].concat());
    }

    /// Stops PostgreSQL without a checkpoint, as after a crash, and waits until its processes have ended.
    pub(crate) fn crash_postgres(&self) {
        assert!(self.dedicated, "shared servers must not be stopped");
        self.end("-QUIT", &format!("{}/postmaster.pid", self.setting("PG_DATA")));
    }

    /// Kills Redis.
    pub(crate) fn crash_redis(&self) {
        assert!(self.dedicated, "shared servers must not be stopped");
        self.end("-KILL", &format!("{}/redis/redis.pid", self.directory.display()));
    }

    /// Sends a signal to the process of a PID file and waits until it has ended.
    fn end(&self, signal: &str, pid_file: &str) {
        let pid_file = std::fs::read_to_string(pid_file).expect("the server is running");
        let pid = pid_file.lines().next().expect("the PID").to_owned();
        let sent = Command::new("sh").args(["-c", "kill \"$1\" \"$2\"", "sh", signal, &pid]).status().expect("sh runs");
        assert!(sent.success(), "the server has exited");
        // A zombie has no command line.
        let command_line = format!("/proc/{pid}/cmdline");
        eventually("the end of the server", 30, || {
            std::fs::read(&command_line).map_or(true, |text| text.is_empty()).then_some(())
        });
    }

    /// Stops every PostgreSQL process with SIGSTOP, as on a machine whose disk hangs.
    pub(crate) fn pause_postgres(&self) {
        assert!(self.dedicated, "shared servers must not be paused");
        self.postgres_paused.store(true, Ordering::Relaxed);
        assert!(self.signal_postgres("-STOP"), "a PostgreSQL process has exited");
    }

    pub(crate) fn resume_postgres(&self) {
        self.postgres_paused.store(false, Ordering::Relaxed);
        // Processes that exited meanwhile need no signal.
        self.signal_postgres("-CONT");
    }

    /// Whether the postmaster and all its children received the signal.
    fn signal_postgres(&self, signal: &str) -> bool {
        let pid_file = format!("{}/postmaster.pid", self.setting("PG_DATA"));
        let pid_file = std::fs::read_to_string(pid_file).expect("PostgreSQL is running");
        let postmaster = pid_file.lines().next().expect("the PID").to_owned();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = std::fs::read_to_string(children).expect("PostgreSQL is running");
        let all = std::iter::once(postmaster.as_str()).chain(children.split_whitespace());
        Command::new("sh").args(["-c", "kill \"$@\"", "sh", signal]).args(all).status().expect("sh runs").success()
    }

    /// The administrator's URL of a database.
    pub(crate) fn admin_url(&self, database: &str) -> String {
        let url = self.setting("PG_ADMIN_URL");
        format!("{}/{database}", url.rsplit_once('/').expect("the URL has a database").0)
    }

    /// The URL of a database without a user, as in brand files.
    pub(crate) fn brand_url(&self, database: &str) -> String {
        let host = self.setting("PG_HOST").replace('/', "%2F");
        format!("postgresql://{host}:{}/{database}", self.setting("PG_PORT"))
    }

    pub(crate) fn postgres_socket(&self) -> PathBuf {
        Path::new(self.setting("PG_HOST")).join(format!(".s.PGSQL.{}", self.setting("PG_PORT")))
    }

    pub(crate) fn redis_socket(&self) -> PathBuf {
        self.redis_url().trim_start_matches("unix://").into()
    }

    pub(crate) fn redis_url(&self) -> &str {
        self.setting("REDIS_URL")
    }

    /// A client program of this PostgreSQL (psql, pg_dump), as the administrator or as a brand's role.
    pub(crate) fn program(&self, name: &str, user: &str, password: &str, database: &str) -> Command {
        let mut command = Command::new(format!("{}/{name}", self.setting("PG_BIN")));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C.UTF-8");
        command.env("PGPASSWORD", password).env("PGOPTIONS", "-c client_min_messages=warning");
        command.args(["-h", self.setting("PG_HOST"), "-p", self.setting("PG_PORT"), "-U", user, "-d", database]);
        command
    }

    /// A client program as the administrator.
    pub(crate) fn admin_program(&self, name: &str, database: &str) -> Command {
        let url = self.setting("PG_ADMIN_URL");
        let password = url.split([':', '@']).nth(2).expect("postgresql://postgres:PASSWORD@…");
        self.program(name, "postgres", password, database)
    }

    /// Runs SQL as the administrator and returns the rows as psql prints them unaligned.
    pub(crate) fn admin_sql(&self, database: &str, sql: &str) -> String {
        let config = self.admin_url(database).parse().expect("a valid URL");
        database::run(&config, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub(crate) fn create_database(&self, name: &str, locale: &str) {
        self.admin_sql(
            "postgres",
            &format!("create database {name} template template0 encoding 'UTF8' locale '{locale}'"),
        );
    }

    /// Copies a database that has no connections, with its privileges.
    pub(super) fn copy_database(&self, name: &str, template: &str) {
        self.admin_sql("postgres", &format!("create database {name} template {template}"));
        let privileges = format!("select datacl from pg_database where datname = '{template}'");
        self.admin_sql("postgres", &format!("update pg_database set datacl = ({privileges}) where datname = '{name}'"));
    }

    /// How the role of a brand connects to a database.
    pub(crate) fn config_of(&self, brand: &str, database: &str) -> tokio_postgres::Config {
        let mut config: tokio_postgres::Config = self.brand_url(database).parse().expect("a valid URL");
        config.user(brand).password(password_of(brand));
        config
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.postgres_paused.load(Ordering::Relaxed) {
            self.resume_postgres();
        }
        script("services.sh", &["discard", self.directory.to_str().expect("UTF-8")]);
    }
}

/// Runs SQL with a psql of [`Services::program`].
///
/// # Errors
/// The error output of psql.
pub(crate) fn psql(mut program: Command, sql: &str) -> Result<String, String> {
    let output = program.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().expect("psql runs");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn script(name: &str, arguments: &[&str]) {
    let output = Command::new(format!("{REPOSITORY}/tests/env/{name}")).args(arguments).output().expect("bash runs");
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Polls, without blocking the runtime, until there is a value; panics after the timeout.
pub(crate) async fn eventually_async<T>(what: &str, seconds: u64, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: timed out after {seconds} s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Polls until there is a value; panics after the timeout.
pub(crate) fn eventually<T>(what: &str, seconds: u64, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: timed out after {seconds} s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
