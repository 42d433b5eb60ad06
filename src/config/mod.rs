//! The brand files, `brands/NAME.toml`: read and checked as a whole, without connecting anywhere.
//!
//! Every setting is declared where it is read ([`toml_reader`]), so that reading, checking and the reference (`brands/README.md`, see
//! [`reference`]) agree. To add one: a field and its declaration in `sections`, `integrations` or `mail`, and `make reference`.

mod cross_brand;
mod document;
mod general;
mod integrations;
mod limits;
mod mail;
mod reference;
mod sections;
mod toml_reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use document::ConfigProblem;
use document::Document;
pub use integrations::{BankConfig, FiscalConfig, PaymentsConfig, Rounding, TelegramConfig};
pub use limits::Limits;
pub use mail::{MailConfig, MailLogin, MailTls};
pub use reference::reference;
pub use sections::{DatabaseConfig, ProxyProtocol, RateLimits, RedisConfig, SessionConfig, Timeouts, TlsConfig};

use crate::foundation::secret::Secret;

/// One brand, as `brands/NAME.toml` configures it.
#[derive(Debug, Clone)]
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
    /// Accent colour of the login pages, `#rrggbb`.
    pub accent: String,
    pub tls: TlsConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub limits: Limits,
    /// Size of the in-memory cache of catalogue responses; 0 disables it.
    pub cache_bytes: u64,
    pub timeouts: Timeouts,
    pub proxy_protocol: ProxyProtocol,
    pub session: SessionConfig,
    pub rates: RateLimits,
    /// `None`: logins are disabled.
    pub telegram: Option<TelegramConfig>,
    /// `None`: emails are queued and not sent.
    pub mail: Option<MailConfig>,
    pub payments: PaymentsConfig,
    /// `None`: payments are disabled.
    pub bank: Option<BankConfig>,
    /// `None`: no receipts are sent.
    pub fiscal: Option<FiscalConfig>,
}

impl BrandConfig {
    /// `Origin` as browsers send it from the API's own pages: the public URL without the default port of https.
    pub fn own_origin(&self) -> &str {
        self.public_url.strip_suffix(":443").unwrap_or(&self.public_url)
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

/// Reads every `*.toml` of a directory in the order of their names, except hidden files (an editor's).
///
/// `credentials` is the directory of secrets that are named without a slash (`$CREDENTIALS_DIRECTORY`).
///
/// Returns the brands whose files have no problem, and every problem of the others; a directory without a brand is a problem too.
pub fn load_each(directory: &Path, credentials: Option<&Path>) -> (Vec<BrandConfig>, Vec<ConfigProblem>) {
    let of_directory =
        |message: String| (Vec::new(), vec![ConfigProblem { file: directory.to_owned(), line: 0, message }]);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) => {
            return of_directory(format!("failed to read: {e}; set the directory of the brand files with --brands"));
        }
    };
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !is_hidden(path))
        .collect();
    files.sort();
    if files.is_empty() {
        return of_directory("contains no brand file; expected one NAME.toml per brand".to_owned());
    }
    let mut brands = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        match load_file(&file, credentials) {
            Ok(brand) => brands.push(brand),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(cross_brand::conflicts(&brands));
    (brands, problems)
}

/// Reads one brand file.
///
/// # Errors
/// Every problem of the file.
pub fn load_file(file: &Path, credentials: Option<&Path>) -> Result<BrandConfig, Vec<ConfigProblem>> {
    let unreadable = |message: String| vec![ConfigProblem { file: file.to_owned(), line: 0, message }];
    // Reading a pipe would block.
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(unreadable("is not a regular file".to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|e| unreadable(format!("failed to read: {e}")))?;
    let document = Document::new(file, text);
    let (table, syntax_errors) = DeTable::parse_recoverable(document.text());
    for error in &syntax_errors {
        document.problem(error.span().map(|span| span.start), error.message());
    }
    let brand = general::read_brand(file, &document, table.get_ref(), credentials);
    let problems = document.into_problems();
    if problems.is_empty() { Ok(brand) } else { Err(problems) }
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
