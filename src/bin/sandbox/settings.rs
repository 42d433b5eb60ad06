//! The sandbox's settings file, written by `tests/env/run.sh` and by the tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where pages and APIs are answered, in plain HTTP: `["127.0.0.1:4210", "[::1]:4210"]`.
    pub listen: Vec<SocketAddr>,
    /// What links to the sandbox begin with: `http://localhost:4210`.
    pub url: String,
    /// Where mail is taken in: `127.0.0.1:4225`.
    pub smtp: SocketAddr,
    /// PEM of the mail server, the leaf first: with it and its key STARTTLS is offered.
    pub smtp_certificate: Option<PathBuf>,
    pub smtp_key: Option<PathBuf>,
    /// Where mail is taken in over TLS from the first byte: `127.0.0.1:4465`.
    pub smtps: Option<SocketAddr>,
    /// `user:password`: who does not log in like this sends nothing. Without it every login is right and none is needed.
    pub smtp_auth: Option<String>,
    #[serde(default)]
    pub bots: Vec<Bot>,
    #[serde(default)]
    pub merchants: Vec<Merchant>,
    #[serde(default)]
    pub shops: Vec<Shop>,
}

/// A bot as its owner made it at BotFather.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bot {
    /// Without the @: `dexarmarket_bot`.
    pub username: String,
    /// What people see: `Dexar`.
    pub title: String,
    pub token: String,
}

/// A shop as the bank knows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// `MA0000000552`.
    pub id: String,
    /// What people see: `Dexar`.
    pub title: String,
    /// The secret key that its requests carry and that signs notifications.
    pub key: String,
    /// Where notifications go: `https://localhost:445/payments/raiffeisen/notify`; none are sent without it.
    pub callback_url: Option<String>,
    /// PEM of the authority that the callback's certificate is checked against.
    pub callback_ca: Option<std::path::PathBuf>,
}

/// A demonstration storefront: the pages that people see, of one brand.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shop {
    /// As the gateway names it, and the skin that the pages wear: `dexar`.
    pub brand: String,
    /// What people see: `Dexar`.
    pub title: String,
    /// Where it is served, over TLS: `["127.0.0.1:4200", "[::1]:4200"]`.
    pub listen: Vec<SocketAddr>,
    /// PEM of its certificate and of the key of that.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The brand's API as a browser reaches it: `https://localhost:445`.
    pub api: String,
    /// The colour of buttons and links: `#1f5fbf`.
    pub accent: String,
    /// The chat with the brand's bot, which a button opens: `http://localhost:4210/telegram/dexarmarket_bot`.
    pub bot: String,
    /// How often its pages ask how a login or a payment stands; 3000 unless told otherwise.
    #[serde(default = "three_seconds")]
    pub poll_ms: u32,
}

fn three_seconds() -> u32 {
    3_000
}

impl Settings {
    /// # Errors
    /// A sentence that names the file.
    pub fn read(path: &Path) -> Result<Settings, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let settings: Settings = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let shops = settings.shops.iter().flat_map(|shop| &shop.listen);
        let mail = [&settings.smtp].into_iter().chain(&settings.smtps);
        let addresses: Vec<_> = settings.listen.iter().chain(mail).chain(shops).collect();
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(address) => Err(format!("{address} is no loopback address: the sandbox is for one machine")),
            None => Ok(settings),
        }
    }
}
