//! A brand's configuration file, valid by default.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use super::services::{Services, certificates};

/// Timeouts for a slow build on a busy machine.
const LONG_TIMEOUTS: &str = "pool_wait_ms = 20000\nconnect_timeout_ms = 10000\nstatement_timeout_ms = 14000\nlock_timeout_ms = 10000\n\
     response_timeout_ms = 20000\n";

/// The index answers what the database could answer with other words and another order.
const SEARCH_BY_INDEX: &str = "[search]\nfirst_build_ms = 12000\ncatch_up_ms = 2000\n";

/// The password of a brand's role, the same for all databases of a run: roles belong to the server.
pub(crate) fn password_of(brand: &str) -> String {
    format!("{brand}-s3cret'\"")
}

#[derive(Clone)]
pub(crate) struct BrandFile {
    pub name: String,
    pub port: u16,
    pub public_url: String,
    pub origins: Vec<String>,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub database_url: String,
    pub redis_url: String,
    /// Additional lines of `[tls]`.
    pub tls: String,
    /// Additional lines of `[database]`.
    pub pool: String,
    /// Additional lines of `[limits]` and `[timeouts]`.
    pub limits: String,
    pub timeouts: String,
    /// The section `[telegram]`.
    pub telegram: String,
    /// The section `[mail]`.
    pub mail: String,
    /// The section `[bank]`.
    pub bank: String,
    /// Additional sections; `[search]` replaces the default one.
    pub more: String,
}

impl BrandFile {
    pub(crate) fn new(name: &str, services: &Services, database: &str) -> BrandFile {
        let port = free_port();
        let (storefront, development) = match name {
            "dexar" => ("https://dexarmarket.ru", "http://localhost:4200"),
            "novo" => ("https://novo.market", "http://localhost:4201"),
            _ => ("https://third.example", "http://localhost:4202"),
        };
        let leaf = if matches!(name, "dexar" | "novo") { name } else { "third" };
        BrandFile {
            name: name.to_owned(),
            port,
            public_url: format!("https://localhost:{port}"),
            origins: vec![storefront.to_owned(), development.to_owned()],
            certificate: certificates().join(format!("{leaf}.pem")),
            key: certificates().join(format!("{leaf}.key")),
            database_url: services.brand_url(database),
            redis_url: services.redis_url().to_owned(),
            tls: String::new(),
            pool: String::new(),
            limits: String::new(),
            timeouts: String::new(),
            telegram: String::new(),
            mail: String::new(),
            bank: String::new(),
            more: String::new(),
        }
    }

    pub(crate) fn toml(&self) -> String {
        let BrandFile {
            name,
            port,
            public_url,
            origins,
            database_url,
            redis_url,
            tls,
            pool,
            limits,
            timeouts,
            telegram,
            mail,
            bank,
            more,
            ..
        } = self;
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let storefront = &origins[0];
        let search = if more.contains("[search]") { "" } else { SEARCH_BY_INDEX };
        format!(
            "name = \"{name}\"\ntitle = \"Shop {name}\"\nlisten = [\"127.0.0.1:{port}\"]\n\
             public_url = \"{public_url}\"\nstorefront_url = \"{storefront}\"\norigins = {origins:?}\n\n\
             [tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n{tls}\n\
             [database]\nurl = \"{database_url}\"\npassword = \"{name}.database-password\"\n{LONG_TIMEOUTS}{pool}\n\
             [redis]\nurl = \"{redis_url}\"\n\n[limits]\n{limits}\n\n[timeouts]\n{timeouts}\n\n{search}\n{telegram}\n{bank}\n{mail}\n{more}\n"
        )
    }
}

/// A free port of 127.0.0.1 that no other test of this run uses, below the range of ephemeral ports.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
