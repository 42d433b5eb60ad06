//! An installation: a database, brand files, credentials, and the `brandgate` program that runs on them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::brand_file::{BrandFile, free_port, password_of};
use super::directory::TestDirectory;
use super::gateway::Gateway;
use super::process::Process;
use super::services::Services;

pub(crate) struct Site {
    pub services: Arc<Services>,
    pub directory: TestDirectory,
    pub database: String,
    pub brands: Vec<BrandFile>,
    /// The number of the Redis database of this site.
    redis_number: u32,
    /// `RUST_LOG` of its programs.
    pub log_filter: Option<&'static str>,
    /// More environment variables of its programs.
    pub environment: Vec<(&'static str, String)>,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    /// The standard output of a command that must succeed.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.status, Some(0), "{self:#?}");
        self.stdout
    }

    /// Both outputs of a command that must exit with this status.
    #[track_caller]
    pub(crate) fn failure(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self.stdout + &self.stderr
    }
}

impl Site {
    /// A new database with migrated schemas of these brands, on the shared servers.
    pub(crate) fn new(brands: &[&str]) -> Site {
        Site::copied(Services::shared(), brands, &brands.join(" "), |site| {
            site.migrate().success();
        })
    }

    /// A new, empty database and the files.
    pub(crate) fn unmigrated(brands: &[&str]) -> Site {
        Site::on(Services::shared(), brands)
    }

    /// Like [`Site::unmigrated`], on other servers.
    pub(crate) fn on(services: Arc<Services>, brands: &[&str]) -> Site {
        let site = Site::without_database(services, brands);
        site.services.create_database(&site.database, "C.UTF-8");
        site
    }

    /// A copy of a database with this content, which `fill` makes of an empty one, once.
    pub(super) fn copied(services: Arc<Services>, brands: &[&str], content: &str, fill: impl FnOnce(&Site)) -> Site {
        let template = services.templates.get(content, || {
            let site = Site::on(services.clone(), brands);
            fill(&site);
            site.database.clone()
        });
        let site = Site::without_database(services, brands);
        site.services.copy_database(&site.database, &template);
        site
    }

    /// The files for a database that does not exist yet.
    fn without_database(services: Arc<Services>, brands: &[&str]) -> Site {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = format!("shop_{number}");
        let mut site = Site {
            directory: TestDirectory::new(&database),
            brands: Vec::new(),
            database,
            services,
            redis_number: number,
            log_filter: None,
            environment: Vec::new(),
        };
        for name in brands {
            site.add_brand(name);
        }
        site
    }

    /// Adds a brand: its file and its credential.
    pub(crate) fn add_brand(&mut self, name: &str) {
        self.directory.write(&format!("credentials/{name}.database-password"), password_of(name) + "\n");
        let redis_url = format!("{}?db={}", self.services.redis_url(), self.redis_number);
        self.brands.push(BrandFile { redis_url, ..BrandFile::new(name, &self.services, &self.database) });
        self.write_brands();
    }

    pub(crate) fn brand(&self, name: &str) -> &BrandFile {
        self.brands.iter().find(|brand| brand.name == name).expect("a brand of the site")
    }

    /// Changes the file of a brand.
    pub(crate) fn change_brand(&mut self, name: &str, change: impl FnOnce(&mut BrandFile)) {
        change(self.brands.iter_mut().find(|brand| brand.name == name).expect("a brand of the site"));
        self.write_brands();
    }

    fn write_brands(&self) {
        for brand in &self.brands {
            self.directory.write(&format!("brands/{}.toml", brand.name), brand.toml());
        }
    }

    pub(crate) fn brand_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("brands/{name}.toml"))
    }

    /// The command `brandgate ARGUMENTS`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brandgate"));
        command.args(arguments);
        self.set_environment(&mut command);
        command
    }

    /// Replaces the environment of a command.
    pub(crate) fn set_environment(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("CREDENTIALS_DIRECTORY", self.directory.path().join("credentials"));
        command.env("BRANDGATE_BRANDS", self.directory.path().join("brands"));
        command.env("BRANDGATE_WORK_ADMIN", "127.0.0.1:0");
        command.env("BRANDGATE_RETRY_MS", "100");
        if let Some(filter) = self.log_filter {
            command.env("RUST_LOG", filter);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Runs `brandgate ARGUMENTS` until it exits.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("the program runs");
        CommandOutput {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Starts `brandgate ARGUMENTS` and discards its output.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let null = Stdio::null;
        self.command(arguments).stdin(null()).stdout(null()).stderr(null()).spawn().expect("the program runs")
    }

    /// `brandgate migrate` with an administrator's URL.
    pub(crate) fn migrate(&self) -> CommandOutput {
        // A panic of another test does not invalidate the roles.
        let _guard = self.services.roles.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.run(&["migrate", "--admin-url", &self.services.admin_url(&self.database)])
    }

    /// `brandgate catalog import --brand BRAND ARGUMENTS`.
    pub(crate) fn import(&self, brand: &str, arguments: &[&str]) -> CommandOutput {
        self.run(&[&["catalog", "import", "--brand", brand], arguments].concat())
    }

    /// Imports a text from a file of this name.
    pub(crate) fn import_text(
        &self,
        brand: &str,
        name: &str,
        text: impl AsRef<[u8]>,
        arguments: &[&str],
    ) -> CommandOutput {
        let path = self.directory.write(name, text);
        self.import(brand, &[&[path.to_str().expect("UTF-8")], arguments].concat())
    }

    /// Starts `brandgate catalog import` of a file.
    pub(crate) fn start_import(&self, brand: &str, path: &str) -> Process {
        Process::start("import", env!("CARGO_BIN_EXE_brandgate"), self.directory.path(), |command| {
            command.args(["catalog", "import", "--brand", brand, path]);
            self.set_environment(command);
        })
    }

    /// The output of `brandgate catalog export` without its time, so that exports of equal catalogues are equal.
    pub(crate) fn export(&self, brand: &str) -> String {
        without_time(&self.run(&["catalog", "export", "--brand", brand]).success())
    }

    /// Imports the demonstration catalogue as `make run` does.
    pub(crate) fn import_demo(&self, brand: &str) {
        let regions = demo("regions.jsonl");
        if brand == "dexar" {
            self.import(brand, &[&regions, &demo("dexar/catalog.jsonl")]).success();
            return;
        }
        let (moscow, spb) = (format!("moscow={}", demo("novo/moscow.xml")), format!("spb={}", demo("novo/spb.xml")));
        self.import(brand, &[&regions]).success();
        self.import(brand, &[&moscow, &spb]).success();
        self.import(brand, &[&demo("novo/delta.jsonl")]).success();
    }

    /// A second host with the same database and credentials, other ports and copies of the files, and the true time.
    pub(crate) fn replica(&self) -> Site {
        let directory = TestDirectory::new(&self.database);
        let copied =
            Command::new("cp").arg("-a").arg(self.directory.path().join("credentials")).arg(directory.path()).status();
        assert!(copied.expect("cp runs").success());
        let brands = self.brands.iter().map(|brand| BrandFile { port: free_port(), ..brand.clone() }).collect();
        let (services, database) = (self.services.clone(), self.database.clone());
        let (redis_number, log_filter, environment) = (self.redis_number, None, Vec::new());
        let site = Site { services, database, directory, brands, redis_number, log_filter, environment };
        site.write_brands();
        site
    }

    pub(crate) fn redis_number(&self) -> u32 {
        self.redis_number
    }

    /// The output of redis-cli.
    pub(crate) fn redis(&self, arguments: &[&str]) -> String {
        let socket = self.services.redis_url().trim_start_matches("unix://");
        let number = self.redis_number.to_string();
        let output = Command::new("redis-cli")
            .args(["-s", socket, "-n", &number])
            .args(arguments)
            .output()
            .expect("redis-cli runs");
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Runs SQL as the role of a brand and returns the rows as psql prints them unaligned.
    ///
    /// # Errors
    /// The server's error, as psql prints it.
    pub(crate) fn sql_as(&self, brand: &str, sql: &str) -> Result<String, String> {
        super::database::run(&self.services.config_of(brand, &self.database), sql)
    }

    /// A connection as the role of a brand.
    pub(crate) async fn connect_as(&self, brand: &str) -> tokio_postgres::Client {
        let config = self.services.config_of(brand, &self.database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    pub(crate) fn start(&self) -> Gateway {
        let gateway = self.start_without_waiting();
        gateway.await_ready();
        gateway
    }

    /// Starts the workers and waits until they are ready.
    pub(crate) fn start_workers(&self) -> Process {
        let process = Process::start("workers", env!("CARGO_BIN_EXE_brandgate"), self.directory.path(), |command| {
            command.arg("work");
            self.set_environment(command);
        });
        process.await_log("working for ");
        process
    }

    /// Starts the gateway without waiting.
    pub(crate) fn start_without_waiting(&self) -> Gateway {
        Gateway::start(self)
    }
}

/// A file of the demonstration data.
pub(crate) fn demo(name: &str) -> String {
    data(&format!("demo/{name}"))
}

/// A file of `tests/data`.
pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// An export without the line of its time.
pub(crate) fn without_time(export: &str) -> String {
    export.split_inclusive('\n').filter(|line| !line.starts_with("\"stockAsOf\"")).collect()
}
