//! Settings and readers of the external systems: Telegram, the bank and its fiscal API.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::is_loopback;
use super::toml_reader::{SecretSource, Section};
use crate::foundation::secret::Secret;
use crate::foundation::vat::VAT_RATES;

#[derive(Debug, Clone, PartialEq)]
pub struct TelegramConfig {
    /// The bot's username without @.
    pub bot: String,
    pub token: Secret,
    /// Base URL of the Bot API.
    pub api_url: String,
    /// Base URL of links to the bot.
    pub link_url: String,
    /// `http://…` or `socks5://…`, used to reach `api_url`.
    pub proxy: Option<String>,
    /// Timeout of a long poll for updates (`getUpdates`).
    pub poll_timeout: Duration,
    /// Timeout of any other call.
    pub timeout: Duration,
    /// How long an instance owns the bot without renewing its lease.
    pub lease: Duration,
    /// Messages and pressed buttons of a user within a minute; further ones are ignored.
    pub updates_per_user: u32,
    /// Updates that wait for their chat; further ones are ignored.
    pub queue_per_chat: u32,
    /// Concurrent calls of the Bot API.
    pub concurrent_calls: u32,
}

/// The brand's account at the bank (Raiffeisenbank's SBP API).
#[derive(Debug, Clone, PartialEq)]
pub struct BankConfig {
    pub api_url: String,
    pub merchant_id: String,
    /// The first authenticates requests; each verifies notifications, so that keys can be rotated.
    pub keys: Vec<Secret>,
    /// PEM file of a certificate authority that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
    pub connect_timeout: Duration,
}

/// Receipts (54-FZ) through the bank's fiscal API.
#[derive(Debug, Clone, PartialEq)]
pub struct FiscalConfig {
    /// Receives the receipt when the buyer's email address is not known in time.
    pub fallback_email: String,
    /// The VAT rate of items that have none: one of [`VAT_RATES`].
    pub vat: String,
    /// How long a receipt waits for the buyer's email address.
    pub email_wait: Duration,
    pub first_retry_delay: Duration,
    pub max_retry_delay: Duration,
    /// A receipt that failed so often needs manual action.
    pub max_attempts: u32,
}

pub(super) fn read_telegram(root: &Section<'_, '_>, source: SecretSource<'_>) -> Option<TelegramConfig> {
    let section = root.optional_section("telegram", "The bot. Without this section logins are disabled.")?;
    let bot = section.key("bot", "Username of the bot, without @.").string("\"dexarmarket_bot\"");
    if !bot.is_empty() && !bot.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        section.problem("bot", "expected the bot's username without @");
    }
    let example = format!("\"{}.telegram-bot-token\"", source.brand);
    let token = section.key("token", "Token from BotFather.").required_secret(source, &example);
    let proxy = section
        .key("proxy", "Proxy for connections to `api_url`.")
        .values("`https://host:port`; on this machine `http://localhost:port` or `socks5://localhost:port`")
        .optional_string();
    if proxy.as_deref().is_some_and(|proxy| !is_proxy_url(proxy)) {
        section.problem(
            "proxy",
            "expected https://host:port, or http:// or socks5:// with localhost or a loopback address",
        );
    }
    let telegram = TelegramConfig {
        bot,
        // Without a token the file has a problem, and this value is never used.
        token: token.unwrap_or_else(|| Secret::new("token", "")),
        api_url: read_base_url(&section, "api_url", "Base URL of the Bot API.", "https://api.telegram.org"),
        link_url: read_base_url(&section, "link_url", "Base URL of links to the bot.", "https://t.me"),
        proxy,
        poll_timeout: section
            .key("poll_s", "Timeout of a long poll for updates; Telegram limits it to 50 s.")
            .seconds(1..=50, 50),
        timeout: section.key("timeout_ms", "Timeout of any other call.").milliseconds(100..=120_000, 10_000),
        lease: section
            .key("lease_ms", "One instance owns the bot; another takes over this long after it died.")
            .milliseconds(500..=600_000, 3_500),
        updates_per_user: section
            .key(
                "updates_per_user",
                "Messages and pressed buttons of a Telegram user that are answered within a minute.",
            )
            .number(1..=10_000, 20),
        queue_per_chat: section
            .key(
                "queue_per_chat",
                "Updates that wait while an earlier one of the same chat is answered; more are ignored.",
            )
            .number(1..=10_000, 20),
        concurrent_calls: section
            .key("concurrent_calls", "Replies to different chats that are sent at the same time.")
            .number(1..=1_000, 64),
    };
    section.finish();
    Some(telegram)
}

/// What is sent to a proxy unencrypted stays on this machine.
fn is_proxy_url(text: &str) -> bool {
    let Ok(url) = text.parse::<hyper::Uri>() else { return false };
    match url.scheme_str() {
        Some("https") => url.host().is_some(),
        Some("http" | "socks5") => is_within_machine(&url),
        _ => false,
    }
}

/// Whether the host of a URL is this machine.
fn is_within_machine(url: &hyper::Uri) -> bool {
    url.host().is_some_and(|host| is_loopback(host.trim_matches(['[', ']'])))
}

pub(super) fn read_bank(root: &Section<'_, '_>, source: SecretSource<'_>) -> Option<BankConfig> {
    let help = "Raiffeisenbank's SBP API. Without this section payments are disabled.";
    let section = root.optional_section("bank", help)?;
    let merchant_id = section
        .key("merchant_id", "The merchant's id at the bank.")
        .values("at most 12 letters and digits")
        .string("\"MA0000000552\"");
    if merchant_id.len() > 12 || !merchant_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        section.problem("merchant_id", "expected at most 12 letters and digits");
    }
    let help = "The merchant's secret keys. The first authenticates requests, each verifies notifications: to rotate, add the new key in \
                front and remove the old one later.";
    let keys = section.key("keys", help).secrets(source, &format!("[\"{}.bank-key\"]", source.brand));
    for key in &keys {
        if let Some(other) = merchant_of(key).filter(|merchant| *merchant != merchant_id) {
            section.problem("keys", format!("this key belongs to the merchant {other}, not to {merchant_id}"));
        }
    }
    let bank = BankConfig {
        api_url: read_base_url(&section, "api_url", "Base URL of the API.", "https://pay.raif.ru"),
        merchant_id,
        // Without a key the file has a problem, and this value is never used.
        keys: if keys.is_empty() { vec![Secret::new("bank-key", "")] } else { keys },
        ca_file: section
            .key("authority", "PEM file of a certificate authority that is trusted in addition to the system's.")
            .optional_path(),
        timeout: section.key("timeout_ms", "Timeout of a request.").milliseconds(100..=60_000, 5_000),
        connect_timeout: section
            .key("connect_timeout_ms", "Timeout of opening a connection.")
            .milliseconds(100..=60_000, 2_000),
    };
    section.finish();
    Some(bank)
}

/// The merchant that a key belongs to: the bank's keys are JSON Web Tokens whose `sub` names it. `None` for any other key.
fn merchant_of(key: &Secret) -> Option<String> {
    let claims = key.reveal().split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

pub(super) fn read_fiscal(root: &Section<'_, '_>) -> Option<FiscalConfig> {
    let help = "Receipts (54-FZ) through the bank's fiscal API. Without this section no receipts are sent.";
    let section = root.optional_section("fiscal", help)?;
    let fallback_email = section
        .key("fallback_email", "Receives the receipt when the buyer's email address is not known within `wait_s`.")
        .values("email address")
        .string("\"receipts@dexarmarket.ru\"");
    if !fallback_email.is_empty() && fallback_email.parse::<lettre::Address>().is_err() {
        section.problem("fallback_email", "expected an email address");
    }
    let vat = section
        .key("vat", "VAT rate of the items that have none of their own, as in the bank's fiscal API.")
        .values("`none`, `vat0`, `vat5`, `vat7`, `vat10`, `vat20`, `vat22`, `vat105`, `vat107`, `vat110`, `vat120`, `vat122`")
        .string_or("none")
        .to_ascii_lowercase();
    if !VAT_RATES.contains(&vat.as_str()) {
        section.problem("vat", format!("expected one of {}", VAT_RATES.join(", ")));
    }
    let fiscal = FiscalConfig {
        fallback_email,
        vat,
        email_wait: section
            .key("wait_s", "How long a receipt waits for the buyer's email address.")
            .seconds(0..=86_400, 60),
        first_retry_delay: section
            .key("first_retry_ms", "Delay before the first retry; it doubles with each further one.")
            .milliseconds(100..=3_600_000, 5_000),
        max_retry_delay: section
            .key("longest_retry_ms", "Maximum delay between two attempts.")
            .milliseconds(100..=86_400_000, 1_800_000),
        max_attempts: section
            .key("most_tries", "A receipt that failed so often needs manual action (`brandgate outbox list --failed`).")
            .number(1..=10_000, 60),
    };
    section.finish();
    Some(fiscal)
}

/// A URL that a path is appended to: without a trailing slash or a query, and https unless it stays on this machine.
fn read_base_url(section: &Section<'_, '_>, name: &'static str, help: &'static str, default: &str) -> String {
    let url = section.key(name, help).string_or(default);
    let is_base_url = url.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme, "http" | "https")
            && !rest.is_empty()
            && !rest.ends_with('/')
            && !rest.contains(['?', '#', '@'])
    });
    if !is_base_url {
        section.problem(name, format!("expected https://host without a trailing slash, for example {default}"));
    } else if !url.starts_with("https://") && !url.parse().is_ok_and(|url: hyper::Uri| is_within_machine(&url)) {
        let message = format!("expected https; http only to localhost or a loopback address, for example {default}");
        section.problem(name, message);
    }
    url
}
