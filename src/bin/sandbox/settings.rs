//! The sandbox's settings file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The addresses of pages and APIs, in plain HTTP: `["127.0.0.1:4210", "[::1]:4210"]`.
    pub listen: Vec<SocketAddr>,
    /// The base URL of links to the sandbox: `http://localhost:4210`.
    pub url: String,
    /// The SMTP address: `127.0.0.1:4225`.
    pub smtp: SocketAddr,
    /// The certificate chain of the mail server in PEM, the leaf first. With it and its key, STARTTLS is available.
    pub smtp_certificate: Option<PathBuf>,
    pub smtp_key: Option<PathBuf>,
    /// The address of SMTP over implicit TLS: `127.0.0.1:4465`.
    pub smtps: Option<SocketAddr>,
    /// `user:password`: the required login. Without it any login succeeds and none is required.
    pub smtp_auth: Option<String>,
    #[serde(default)]
    pub bots: Vec<BotSettings>,
    #[serde(default)]
    pub merchants: Vec<MerchantSettings>,
    #[serde(default)]
    pub shops: Vec<ShopSettings>,
}

/// A Telegram bot.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BotSettings {
    /// Without the @: `dexarmarket_bot`.
    pub username: String,
    /// The displayed name: `Dexar`.
    pub title: String,
    pub token: String,
}

/// A merchant of the bank.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MerchantSettings {
    /// `MA0000000552`.
    pub id: String,
    /// The displayed name: `Dexar`.
    pub title: String,
    /// The secret key that authenticates requests and signs notifications.
    pub key: String,
    /// The notification URL: `https://localhost:445/payments/raiffeisen/notify`. Without it no notifications are sent.
    pub callback_url: Option<String>,
    /// The certificate authority of the notification URL, in PEM.
    pub callback_ca: Option<std::path::PathBuf>,
}

/// A demonstration storefront of a brand.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopSettings {
    /// The name of the brand, and of the skin of the pages: `dexar`.
    pub brand: String,
    /// The displayed name: `Dexar`.
    pub title: String,
    /// The addresses, over TLS: `["127.0.0.1:4200", "[::1]:4200"]`.
    pub listen: Vec<SocketAddr>,
    /// The certificate and its key, in PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The URL of the brand's API for browsers: `https://localhost:445`.
    pub api: String,
    /// The colour of buttons and links: `#1f5fbf`.
    pub accent: String,
    /// The URL of the chat with the brand's bot: `http://localhost:4210/telegram/dexarmarket_bot`.
    pub bot: String,
    /// How often the pages poll a login or a payment, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u32,
}

fn default_poll_ms() -> u32 {
    3_000
}

impl Settings {
    /// Reads and validates a settings file.
    ///
    /// # Errors
    /// A message that names the file or the address.
    pub fn read(path: &Path) -> Result<Settings, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let settings: Settings = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let shops = settings.shops.iter().flat_map(|shop| &shop.listen);
        let mail = [&settings.smtp].into_iter().chain(&settings.smtps);
        let addresses: Vec<_> = settings.listen.iter().chain(mail).chain(shops).collect();
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(address) => Err(format!("{address} is not a loopback address")),
            None => Ok(settings),
        }
    }
}
