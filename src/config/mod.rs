//! The brand files, `brands/NAME.toml`: read and checked as a whole, without connecting anywhere.
//!
//! Every setting is declared where it is read ([`toml_reader`]), so that reading, checking and the reference (`brands/README.md`, see
//! [`reference`]) agree. To add one: a field and its declaration in `sections`, `integrations`, `payments` or `mail`, and `make reference`.

mod cross_brand;
mod database;
mod database_url;
mod document;
mod general;
mod integrations;
mod limits;
mod mail;
mod payments;
mod redis_url;
mod reference;
mod retention;
mod search;
mod sections;
mod toml_reader;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use toml::de::DeTable;

pub use database::{DatabaseConfig, Keepalive, RedisConfig};
pub use database_url::{DatabaseTls, DatabaseTlsMode, DatabaseUrl, DatabaseUrlError};
pub use document::ConfigProblem;
use document::Document;
pub use integrations::{BankConfig, FiscalConfig, TelegramConfig};
pub use limits::Limits;
pub use mail::{MailConfig, MailLogin, MailTls};
pub use payments::{OrderLimits, PaymentsConfig, Rounding, UnitLimit};
pub use redis_url::{RedisForm, RedisUrl};
pub use reference::reference;
pub use retention::{BooksConfig, RetentionConfig};
pub use search::SearchConfig;
pub use sections::{
    ExchangeRate, ImportConfig, ProxyProtocol, RateLimits, Reviewers, SessionConfig, Timeouts, TlsConfig,
};

use crate::foundation::secret::Secret;

/// One brand, as `brands/NAME.toml` configures it.
#[derive(Debug, Clone, PartialEq)]
pub struct BrandConfig {
    pub file: PathBuf,
    /// The file's stem: names the database role and schema, the Redis key prefix and the cookies.
    pub name: String,
    /// The name that visitors read: "Dexar".
    pub title: String,
    pub listen: Vec<SocketAddr>,
    /// Base URL of links and callbacks: `https://api.dexarmarket.ru:445`.
    pub public_url: String,
    pub storefront_url: String,
    /// Exact origins whose scripts may call the API.
    pub origins: Vec<String>,
    /// The zone of times that people read.
    pub timezone: TimeZone,
    /// Accent colour of the login pages, `#rrggbb`.
    pub accent: String,
    pub tls: TlsConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub limits: Limits,
    /// Size of the in-memory cache of catalogue responses; 0 disables it.
    pub cache_bytes: u64,
    pub search: SearchConfig,
    pub import: ImportConfig,
    pub timeouts: Timeouts,
    pub proxy_protocol: ProxyProtocol,
    pub session: SessionConfig,
    pub rates: RateLimits,
    pub reviewers: Reviewers,
    /// `None`: logins are disabled.
    pub telegram: Option<TelegramConfig>,
    /// `None`: emails are queued and not sent.
    pub mail: Option<MailConfig>,
    pub payments: PaymentsConfig,
    /// `None`: payments are disabled.
    pub bank: Option<BankConfig>,
    /// `None`: no receipts are sent.
    pub fiscal: Option<FiscalConfig>,
    pub retention: RetentionConfig,
    pub books: BooksConfig,
}

impl BrandConfig {
    /// `Origin` as browsers send it from the API's own pages: the public URL without the default port of https.
    pub fn own_origin(&self) -> &str {
        self.public_url.strip_suffix(":443").unwrap_or(&self.public_url)
    }

    /// Whether this is one of the brand's origins, or the storefront.
    pub fn is_origin(&self, origin: &str) -> bool {
        self.storefront_url == origin || self.origins.iter().any(|known| known == origin)
    }

    /// Whether the public URL is local to this machine, as in development.
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

    /// The host that clients connect to, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        url_host(&self.public_url).unwrap_or_default().trim_matches(['[', ']'])
    }
}

/// How the clients of a brand that cannot be served are answered.
#[derive(Debug, Clone)]
pub struct UnavailableConfig {
    pub tls: TlsConfig,
    pub proxy_protocol: ProxyProtocol,
}

/// A brand whose file has problems.
#[derive(Debug, Clone)]
pub struct InvalidBrand {
    /// The file's stem.
    pub name: String,
    /// At least one.
    pub problems: Vec<ConfigProblem>,
    /// `None` if the file names no certificate.
    pub unavailable: Option<UnavailableConfig>,
}

/// All brands of a directory, each in the order of the files' names.
#[derive(Debug, Default)]
pub struct LoadedBrands {
    pub valid: Vec<BrandConfig>,
    pub invalid: Vec<InvalidBrand>,
}

impl From<&BrandConfig> for UnavailableConfig {
    fn from(brand: &BrandConfig) -> UnavailableConfig {
        UnavailableConfig { tls: brand.tls.clone(), proxy_protocol: brand.proxy_protocol.clone() }
    }
}

/// Reads every `*.toml` of a directory in the order of their names, except hidden files (an editor's).
///
/// `credentials` is the directory of secrets that are named without a slash (`$CREDENTIALS_DIRECTORY`).
///
/// Returns the brands whose files have no problem, and every problem of the others; a directory without a brand is a problem too.
pub fn load_each(directory: &Path, credentials: Option<&Path>) -> (Vec<BrandConfig>, Vec<ConfigProblem>) {
    let LoadedBrands { valid, invalid } = match read_directory(directory, credentials) {
        Ok(loaded) => loaded,
        Err(problem) => return (Vec::new(), vec![problem]),
    };
    let mut problems: Vec<_> = invalid.into_iter().flat_map(|brand| brand.problems).collect();
    problems.extend(cross_brand::conflicts(&valid));
    (valid, problems)
}

/// Reads the same files as [`load_each`]; a brand that claims the address of an earlier one is invalid.
///
/// # Errors
/// The directory cannot be read, or contains no brand file.
pub fn load_brands(directory: &Path, credentials: Option<&Path>) -> Result<LoadedBrands, ConfigProblem> {
    let mut loaded = read_directory(directory, credentials)?;
    for problem in cross_brand::conflicts(&loaded.valid) {
        let index = loaded.valid.iter().position(|brand| brand.file == problem.file);
        if let Some(brand) = index.map(|index| loaded.valid.remove(index)) {
            let unavailable = Some(UnavailableConfig::from(&brand));
            loaded.invalid.push(InvalidBrand { name: brand.name, problems: vec![problem], unavailable });
        }
    }
    Ok(loaded)
}

fn read_directory(directory: &Path, credentials: Option<&Path>) -> Result<LoadedBrands, ConfigProblem> {
    let of_directory = |message: String| ConfigProblem { file: directory.to_owned(), line: 0, message };
    let entries = std::fs::read_dir(directory).map_err(|e| {
        of_directory(format!("failed to read: {e}; set the directory of the brand files with --brands"))
    })?;
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !is_hidden(path))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(of_directory("contains no brand file; expected one NAME.toml per brand".to_owned()));
    }
    let mut loaded = LoadedBrands::default();
    for file in files {
        let (brand, problems) = read_file(&file, credentials);
        match brand {
            Some(brand) if problems.is_empty() => loaded.valid.push(brand),
            brand => {
                let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let names_certificate = |brand: &BrandConfig| {
                    !brand.tls.certificate.as_os_str().is_empty() && !brand.tls.key.as_os_str().is_empty()
                };
                let unavailable = brand.filter(names_certificate).as_ref().map(UnavailableConfig::from);
                loaded.invalid.push(InvalidBrand { name, problems, unavailable });
            }
        }
    }
    Ok(loaded)
}

/// Reads one brand file.
///
/// # Errors
/// Every problem of the file.
pub fn load_file(file: &Path, credentials: Option<&Path>) -> Result<BrandConfig, Vec<ConfigProblem>> {
    match read_file(file, credentials) {
        (Some(brand), problems) if problems.is_empty() => Ok(brand),
        (_, problems) => Err(problems),
    }
}

/// With a problem, the settings without a valid value are empty or defaults.
fn read_file(file: &Path, credentials: Option<&Path>) -> (Option<BrandConfig>, Vec<ConfigProblem>) {
    let unreadable = |message: String| (None, vec![ConfigProblem { file: file.to_owned(), line: 0, message }]);
    // Reading a pipe would block.
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return unreadable("is not a regular file".to_owned());
    }
    match std::fs::read_to_string(file) {
        Ok(text) => parse(file, text, credentials),
        Err(e) => unreadable(format!("failed to read: {e}")),
    }
}

/// Reads the text of a brand file, and the secrets that it names.
fn parse(file: &Path, text: String, credentials: Option<&Path>) -> (Option<BrandConfig>, Vec<ConfigProblem>) {
    let document = Document::new(file, text);
    let (table, syntax_errors) = DeTable::parse_recoverable(document.text());
    for error in &syntax_errors {
        document.problem(error.span().map(|span| span.start), error.message());
    }
    let brand = general::read_brand(file, &document, table.get_ref(), credentials);
    (Some(brand), document.into_problems())
}

/// Whether a text is `scheme://host` or `scheme://host:port`, as in an `Origin` header.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = url_host(text).unwrap_or_default();
    let port = rest.strip_prefix(host).unwrap_or(":");
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-[]:".contains(&b))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok()))
}

/// Whether a host is this machine by its name alone: `localhost`, `127.0.0.1`, `::1`.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the host of a URL is this machine.
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
