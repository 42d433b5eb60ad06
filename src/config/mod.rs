//! The brands' files: what a sysadmin writes, checked whole, as values.
//!
//! Read at start by `bin/brandgate` (every subcommand), turned into living things by `brand`. Nothing here connects
//! anywhere. What must never happen: a file with a fault is used, or only its first fault is told.

mod cross_brand;
mod integrations;
mod mail;
mod sections;
mod toml_reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;

pub use integrations::{BankConfig, FiscalConfig, PaymentsConfig, Rounding, TelegramConfig};
pub use mail::{MailConfig, MailLogin, MailTls};
use sections::*;
pub use toml_reader::ConfigProblem;
use toml_reader::{Examination, Section};

use crate::foundation::secret::Secret;

/// One brand, as `brands/NAME.toml` describes it.
#[derive(Debug, Clone)]
pub struct BrandConfig {
    pub file: PathBuf,
    /// The file's stem: names the database role and schema, the prefix in Redis, the cookies.
    pub name: String,
    /// What people read: "Dexar".
    pub title: String,
    pub listen: Vec<SocketAddr>,
    /// What links and callbacks use: `https://api.dexarmarket.ru:445`.
    pub public_url: String,
    pub storefront_url: String,
    /// Exact origins whose scripts may use the API.
    pub origins: Vec<String>,
    /// The colour of our own few pages, `#rrggbb`.
    pub accent: String,
    pub tls: TlsConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub limits: Limits,
    /// How much the catalogue's answers may take that are kept in memory; 0 keeps none.
    pub cache_bytes: u64,
    pub timeouts: Timeouts,
    /// What PROXY protocol may tell, and who may tell it.
    pub proxy_protocol: ProxyProtocol,
    pub session: SessionConfig,
    pub rates: RateLimits,
    /// `None`: nobody can log in.
    pub telegram: Option<TelegramConfig>,
    /// `None`: mails are queued, and nobody sends them.
    pub mail: Option<MailConfig>,
    pub payments: PaymentsConfig,
    /// `None`: nobody can pay.
    pub bank: Option<BankConfig>,
    /// `None`: no receipts are sent.
    pub fiscal: Option<FiscalConfig>,
}

#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// PEM: the leaf first, then its chain.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// What the keys of session tickets are made of; `None`: each process has its own, and forgets them at its end.
    pub ticket_secret: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseConfig {
    /// Without a password; its user is the brand.
    pub postgres: tokio_postgres::Config,
    pub password: Option<Secret>,
    /// Connections of the gateway that requests take in turn.
    pub pool_size: usize,
    /// The same of the workers and of commands, which do less at once.
    pub worker_pool_size: usize,
    /// Connections that short reads share, beside the pool.
    pub shared_connections: usize,
    /// How long a request waits for a free connection.
    pub pool_wait: Duration,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    /// How long a request's statement waits for a row that somebody else is writing.
    pub lock_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RedisConfig {
    pub url: String,
    pub password: Option<Secret>,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at the same time, over all addresses of the brand.
    pub connections: usize,
    /// Requests whose handlers run at the same time; more are refused with 503.
    pub requests: usize,
    /// Request line and headers.
    pub head_bytes: u32,
    pub body_bytes: usize,
    /// Requests in progress at the same time on one HTTP/2 connection.
    pub h2_streams: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers; also from the handshake to the first request.
    pub head: Duration,
    /// A connection on which nothing is asked.
    pub idle: Duration,
    /// From the headers of a request to its answer, the body's arrival included.
    pub request: Duration,
    /// How long running requests may take when the process ends.
    pub drain: Duration,
}

/// Balancers in front of the listener. A connection from one of them begins with a PROXY protocol header that names the
/// client; from anybody else such a header is no TLS and ends the connection.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    pub trusted: Vec<IpNet>,
    /// The addresses of `listen` that balancers connect to; empty: all of them.
    pub listen: Vec<SocketAddr>,
}

/// How long visitors stay known (contract section 7).
#[derive(Debug, Clone, Copy)]
pub struct SessionConfig {
    /// From the last use of a session to its end.
    pub idle: Duration,
    /// From login to the end, however much it is used.
    pub lifetime: Duration,
    /// How long an ended session is still told to be `active: false`.
    pub told: Duration,
    /// From the start of a login attempt to its end.
    pub attempt: Duration,
    /// How old signed login data may be.
    pub login_age: Duration,
}

/// Requests a minute (contract section 8).
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    pub logins_per_address: u32,
    pub cart_writes_per_address: u32,
    pub cart_writes_per_visitor: u32,
    pub payments_per_address: u32,
    pub reviews_per_address: u32,
}

impl BrandConfig {
    /// `Origin` as browsers send it from our own pages: the public URL without a port that is https's own.
    pub fn own_origin(&self) -> &str {
        self.public_url.strip_suffix(":443").unwrap_or(&self.public_url)
    }

    /// Whether people reach this brand on their own machine only, as in development.
    pub fn is_local(&self) -> bool {
        is_local_url(&self.public_url)
    }

    /// Every secret that the brand's file names.
    pub fn secrets(&self) -> Vec<&Secret> {
        let mut secrets: Vec<&Secret> = self.database.password.iter().chain(&self.redis.password).collect();
        secrets.extend(&self.tls.ticket_secret);
        secrets.extend(self.telegram.iter().map(|telegram| &telegram.token));
        secrets.extend(self.bank.iter().flat_map(|bank| &bank.keys));
        secrets.extend(self.mail.iter().filter_map(|mail| mail.login.as_ref()).map(|login| &login.password));
        secrets
    }

    /// The host that visitors' browsers connect to, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        url_host(&self.public_url).unwrap_or_default().trim_matches(['[', ']'])
    }
}

/// Reads every `*.toml` of a directory, in the order of their names. What begins with a dot is an editor's, and left alone.
///
/// `credentials` is where secrets without a slash in their name are (`$CREDENTIALS_DIRECTORY`).
///
/// The brands whose files have no fault are there beside every fault of the others; a directory without a brand is a fault too.
pub fn load_each(directory: &Path, credentials: Option<&Path>) -> (Vec<BrandConfig>, Vec<ConfigProblem>) {
    let of_directory =
        |message: String| (Vec::new(), vec![ConfigProblem { file: directory.to_owned(), line: 0, message }]);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) => {
            return of_directory(format!("cannot be read: {e} (--brands names the directory of the brands' files)"));
        }
    };
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !is_hidden(path))
        .collect();
    files.sort();
    if files.is_empty() {
        return of_directory("holds no brand: one NAME.toml a brand is expected".to_owned());
    }
    let mut brands = Vec::new();
    let mut faults = Vec::new();
    for file in files {
        match load_file(&file, credentials) {
            Ok(brand) => brands.push(brand),
            Err(found) => faults.extend(found),
        }
    }
    faults.extend(cross_brand::conflicts(&brands));
    (brands, faults)
}

/// Reads one brand's file. Errors are all faults of the file.
pub fn load_file(file: &Path, credentials: Option<&Path>) -> Result<BrandConfig, Vec<ConfigProblem>> {
    let cannot = |message: String| vec![ConfigProblem { file: file.to_owned(), line: 0, message }];
    // A pipe would be waited for.
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(cannot("is no file".to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|e| cannot(format!("cannot be read: {e}")))?;
    let examination = Examination::new(file, text);
    let (table, broken) = DeTable::parse_recoverable(examination.text());
    for error in &broken {
        examination.fault(error.span().map(|span| span.start), error.message());
    }
    let brand = read_brand(file, Section::root(&examination, table.get_ref()), credentials);
    let faults = examination.into_faults();
    if faults.is_empty() { Ok(brand) } else { Err(faults) }
}

fn read_brand(file: &Path, root: Section<'_, '_>, credentials: Option<&Path>) -> BrandConfig {
    let name = read_name(&root, file);
    let listen = read_addresses(&root, root.strings("listen", "[\"0.0.0.0:445\", \"[::]:445\"]"));
    let origins = root.strings("origins", "[\"https://dexarmarket.ru\"]");
    for origin in &origins {
        if !is_origin(origin) {
            root.fault(
                "origins",
                format!("{origin} is no origin: a scheme, a host in lower case and perhaps a port, nothing after"),
            );
        } else if let Some((plain, port)) = without_own_port(origin) {
            root.fault("origins", format!("browsers leave out {port}: {plain}"));
        }
    }
    let brand = BrandConfig {
        file: file.to_owned(),
        title: root.string("title", "\"Dexar\""),
        proxy_protocol: read_proxy_protocol(root.section("proxy_protocol"), &listen),
        listen,
        public_url: read_https_url(&root, "public_url", "\"https://api.dexarmarket.ru:445\""),
        storefront_url: read_https_url(&root, "storefront_url", "\"https://dexarmarket.ru\""),
        origins,
        tls: read_tls(root.section("tls"), &name, credentials),
        database: read_database(root.section("database"), &name, credentials),
        redis: read_redis(root.section("redis"), &name, credentials),
        accent: read_accent(&root),
        limits: read_limits(root.section("limits")),
        cache_bytes: read_cache(root.section("cache")),
        timeouts: read_timeouts(root.section("timeouts")),
        session: read_session(root.section("session")),
        rates: read_rates(root.section("rates")),
        telegram: root.optional_section("telegram").map(|section| read_telegram(section, &name, credentials)),
        mail: root.optional_section("mail").map(|section| mail::read_mail(section, &name, credentials)),
        payments: read_payments(root.section("payments")),
        bank: root.optional_section("bank").map(|section| read_bank(section, &name, credentials)),
        fiscal: root.optional_section("fiscal").map(read_fiscal),
        name,
    };
    if brand.limits.connections <= brand.listen.len() {
        // Every address holds one of them for its next visitor.
        root.fault("limits", format!("connections: expected more than the {} addresses of listen", brand.listen.len()));
    }
    root.finish();
    brand
}

/// The brand's name; where that cannot be used, the file's, so that no other key is blamed for it.
fn read_name(root: &Section<'_, '_>, file: &Path) -> String {
    let name = root.string("name", "\"dexar\"");
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain = name.len() <= 30
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if name.is_empty() {
        // That it is missing has been told.
        return stem.to_owned();
    }
    if !plain {
        root.fault("name", "expected a lower-case letter, then at most 29 letters, digits or _");
        return stem.to_owned();
    }
    if name.starts_with("pg_") || ["public", "extensions", "postgres", "information_schema"].contains(&&*name) {
        root.fault("name", format!("{name} is PostgreSQL's own"));
    } else if stem != name {
        root.fault("name", format!("is {name}, so the file must be called {name}.toml"));
    }
    name
}

/// An origin without the port that is its scheme's own, and that port.
fn without_own_port(origin: &str) -> Option<(&str, &'static str)> {
    [("https://", ":443"), ("http://", ":80")]
        .into_iter()
        .find_map(|(scheme, port)| Some((origin.strip_suffix(port).filter(|plain| plain.starts_with(scheme))?, port)))
}

/// Whether a text is `scheme://host` or `scheme://host:port`, as browsers write an `Origin`.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = url_host(text).unwrap_or_default();
    let port = rest.strip_prefix(host).unwrap_or(":");
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-[]:".contains(&b))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok()))
}

/// Whether a URL names the machine that it is used on.
fn is_local_url(url: &str) -> bool {
    matches!(url_host(url), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// The host of `scheme://host:port`, an IPv6 address with its brackets.
fn url_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let end = match rest.starts_with('[') {
        true => rest.find(']')? + 1,
        false => rest.find(':').unwrap_or(rest.len()),
    };
    Some(&rest[..end])
}

#[cfg(test)]
mod tests;
