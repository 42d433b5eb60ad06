//! The sections of a brand's file, one function each: which keys it has, what they may be, what they are when absent.
//!
//! Used by `config` alone. Every default of a number stands here and nowhere else.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{
    BankConfig, DatabaseConfig, FiscalConfig, Limits, PaymentsConfig, ProxyProtocol, RateLimits, RedisConfig, Rounding,
    SessionConfig, TelegramConfig, Timeouts, TlsConfig, is_origin,
};
use crate::config::toml_reader::Section;
use crate::foundation::secret::Secret;

pub(super) fn read_https_url(root: &Section<'_, '_>, key: &'static str, example: &str) -> String {
    let url = root.string(key, example);
    if !url.is_empty() && (!url.starts_with("https://") || !is_origin(&url)) {
        root.fault(key, format!("expected https://, a host and perhaps a port, for example {example}"));
    }
    url
}

/// Shorter, and a ticket's key could be guessed.
const SHORTEST_TICKET_SECRET_BYTES: usize = 32;

pub(super) fn read_tls(section: Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> TlsConfig {
    let ticket_secret = read_secret(&section, "ticket_secret", brand, credentials);
    if ticket_secret.as_ref().is_some_and(|secret| secret.reveal().len() < SHORTEST_TICKET_SECRET_BYTES) {
        section.fault("ticket_secret", "it is shorter than 32 characters: openssl rand -hex 32 makes a good one");
    }
    let tls = TlsConfig {
        certificate: section.string("certificate", "\"/etc/brandgate/certs/dexar/fullchain.pem\"").into(),
        key: section.string("key", "\"/etc/brandgate/certs/dexar/privkey.pem\"").into(),
        ticket_secret,
    };
    section.finish();
    tls
}

pub(super) fn read_secret(
    section: &Section<'_, '_>,
    key: &'static str,
    brand: &str,
    credentials: Option<&Path>,
) -> Option<Secret> {
    let name = section.optional_string(key)?;
    named_secret(section, key, &name, brand, credentials)
}

fn named_secret(
    section: &Section<'_, '_>,
    key: &'static str,
    name: &str,
    brand: &str,
    credentials: Option<&Path>,
) -> Option<Secret> {
    // What stands there by mistake may be the secret itself, so it is not repeated.
    if !name.starts_with('/') && (name.contains('/') || !name.starts_with(&format!("{brand}."))) {
        section.fault(
            key,
            format!(
                "expected the name of the secret's file in the credentials' directory, which begins with {brand}., or its whole path"
            ),
        );
        return None;
    }
    match Secret::read(name, credentials) {
        Ok(secret) => Some(secret),
        Err(sentence) => {
            section.fault(key, sentence);
            None
        }
    }
}

/// Where Debian's own PostgreSQL listens.
const DATABASE_BY_SOCKET: &str = "postgresql://%2Frun%2Fpostgresql/brandgate";

/// Where Debian's own Redis listens.
const REDIS_BY_SOCKET: &str = "unix:///run/redis/redis-server.sock";

pub(super) fn read_database(section: Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> DatabaseConfig {
    let url = section.string("url", &format!("\"{DATABASE_BY_SOCKET}\""));
    let parsed = tokio_postgres::Config::from_str(&url);
    if !url.is_empty() && parsed.is_err() {
        section.fault("url", format!("expected postgresql://host:port/database, or {DATABASE_BY_SOCKET}"));
    }
    let names_database = parsed.as_ref().map_or(true, |postgres| postgres.get_dbname().is_some());
    let mut postgres = parsed.unwrap_or_default();
    if postgres.get_password().is_some() {
        section.fault("url", "a password does not belong in this file: name a credential with password = \"…\"");
    }
    if postgres.get_user().is_some_and(|user| user != brand) {
        section.fault("url", format!("the user is always the brand's own role: leave it out, or write {brand}"));
    }
    if !url.is_empty() && !names_database {
        section.fault("url", format!("names no database, as in {DATABASE_BY_SOCKET}"));
    }
    postgres.user(brand).application_name("brandgate");
    let database = DatabaseConfig {
        password: read_secret(&section, "password", brand, credentials),
        pool_size: section.number("pool_size", 1..=1_000, 24) as usize,
        worker_pool_size: section.number("worker_pool_size", 1..=1_000, 8) as usize,
        shared_connections: section.number("shared_connections", 1..=100, 2) as usize,
        pool_wait: milliseconds(section.number("pool_wait_ms", 10..=60_000, 2_000)),
        connect_timeout: milliseconds(section.number("connect_timeout_ms", 10..=60_000, 2_000)),
        statement_timeout: milliseconds(section.number("statement_timeout_ms", 10..=600_000, 5_000)),
        lock_timeout: milliseconds(section.number("lock_timeout_ms", 10..=600_000, 800)),
        postgres,
    };
    section.finish();
    database
}

pub(super) fn read_redis(section: Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> RedisConfig {
    let url = section.string("url", &format!("\"{REDIS_BY_SOCKET}\""));
    if url.starts_with("rediss:") {
        section.fault(
            "url",
            format!("Redis is not spoken to over TLS: {REDIS_BY_SOCKET}, or redis:// in a network of your own"),
        );
    } else if !url.is_empty() && redis::Client::open(url.as_str()).is_err() {
        section.fault("url", format!("expected redis://host:port, or {REDIS_BY_SOCKET}"));
    }
    let redis = RedisConfig {
        url,
        password: read_secret(&section, "password", brand, credentials),
        connect_timeout: milliseconds(section.number("connect_timeout_ms", 10..=60_000, 1_000)),
        response_timeout: milliseconds(section.number("response_timeout_ms", 10..=60_000, 500)),
    };
    section.finish();
    redis
}

pub(super) fn read_limits(section: Section<'_, '_>) -> Limits {
    let limits = Limits {
        connections: section.number("connections", 1..=1_000_000, 10_000) as usize,
        requests: section.number("requests", 1..=1_000_000, 2_000) as usize,
        head_bytes: section.number("head_bytes", 8_192..=1_048_576, 65_536),
        body_bytes: section.number("body_bytes", 1_024..=16_777_216, 262_144) as usize,
        h2_streams: section.number("h2_streams", 1..=1_000, 100),
    };
    section.finish();
    limits
}

/// In the file it is a number of mebibytes.
pub(super) fn read_cache(section: Section<'_, '_>) -> u64 {
    let mebibytes: u32 = section.number("mebibytes", 0..=65_536, 64);
    section.finish();
    u64::from(mebibytes) << 20
}

pub(super) fn read_timeouts(section: Section<'_, '_>) -> Timeouts {
    let timeouts = Timeouts {
        handshake: milliseconds(section.number("handshake_ms", 100..=600_000, 10_000)),
        head: milliseconds(section.number("head_ms", 100..=600_000, 10_000)),
        idle: milliseconds(section.number("idle_ms", 100..=3_600_000, 60_000)),
        request: milliseconds(section.number("request_ms", 100..=600_000, 15_000)),
        drain: milliseconds(section.number("drain_ms", 0..=600_000, 30_000)),
    };
    section.finish();
    timeouts
}

pub(super) fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(number.into())
}

pub(super) fn read_accent(root: &Section<'_, '_>) -> String {
    let accent = root.optional_string("accent").unwrap_or_else(|| "#1f5fbf".to_owned());
    let digits = accent.strip_prefix('#').unwrap_or_default();
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        root.fault("accent", "expected a colour as #rrggbb");
    }
    accent
}

pub(super) fn read_addresses(section: &Section<'_, '_>, texts: Vec<String>) -> Vec<SocketAddr> {
    let addresses = texts.iter().filter_map(|text| {
        let address = text.parse();
        if address.is_err() {
            section.fault("listen", format!("{text} is no address with a port, such as 0.0.0.0:445 or [::]:445"));
        }
        address.ok()
    });
    addresses.collect()
}

/// `listen` are the brand's own addresses.
pub(super) fn read_proxy_protocol(section: Section<'_, '_>, listen: &[SocketAddr]) -> ProxyProtocol {
    let trusted = section.optional_strings("trusted", "[\"10.0.0.5\", \"fd00::/8\"]");
    let trusted = trusted.iter().filter_map(|text| {
        let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
        if network.is_err() {
            section.fault("trusted", format!("{text} is no address or network, such as 10.0.0.5 or fd00::/8"));
        }
        network.ok()
    });
    let trusted = trusted.collect();
    let spoken_on = read_addresses(&section, section.optional_strings("listen", "[\"10.0.0.1:445\"]"));
    for address in spoken_on.iter().filter(|address| !listen.contains(address)) {
        section.fault("listen", format!("{address} is none of the brand's own addresses of listen"));
    }
    section.finish();
    ProxyProtocol { trusted, listen: spoken_on }
}

pub(super) fn read_session(section: Section<'_, '_>) -> SessionConfig {
    let session = SessionConfig {
        idle: seconds(&section, "idle_s", 1..=2_592_000, 72_000),
        lifetime: seconds(&section, "lifetime_s", 1..=31_536_000, 2_592_000),
        told: seconds(&section, "told_s", 0..=2_592_000, 14_400),
        attempt: seconds(&section, "attempt_s", 1..=3_600, 300),
        login_age: seconds(&section, "login_age_s", 1..=86_400, 300),
    };
    section.finish();
    session
}

pub(super) fn read_rates(section: Section<'_, '_>) -> RateLimits {
    let rate = |key, default| section.number(key, 1..=1_000_000_000, default);
    let rates = RateLimits {
        logins_per_address: rate("logins_per_address", 60),
        cart_writes_per_address: rate("cart_writes_per_address", 1_200),
        cart_writes_per_visitor: rate("cart_writes_per_visitor", 120),
        payments_per_address: rate("payments_per_address", 60),
        reviews_per_address: rate("reviews_per_address", 30),
    };
    section.finish();
    rates
}

pub(super) fn read_telegram(section: Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> TelegramConfig {
    let bot = section.string("bot", "\"dexarmarket_bot\"");
    if !bot.is_empty() && !bot.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        section.fault("bot", "expected the bot's username without @");
    }
    let token = read_secret(&section, "token", brand, credentials);
    if token.is_none() {
        section.string("token", &format!("\"{brand}.telegram-bot-token\""));
    }
    let proxy = section.optional_string("proxy");
    if let Some(proxy) = &proxy
        && !(["http://", "socks5://"].iter().any(|scheme| proxy.starts_with(scheme))
            && proxy.parse().is_ok_and(|uri: hyper::Uri| uri.host().is_some()))
    {
        section.fault("proxy", "expected http://host:port or socks5://host:port");
    }
    let telegram = TelegramConfig {
        bot,
        token: token.unwrap_or_else(|| Secret::new("token", "")),
        api_url: read_outside_url(&section, "api_url", "https://api.telegram.org"),
        link_url: read_outside_url(&section, "link_url", "https://t.me"),
        proxy,
        poll: seconds(&section, "poll_s", 1..=50, 50),
        timeout: milliseconds(section.number("timeout_ms", 100..=120_000, 10_000)),
        lease: milliseconds(section.number("lease_ms", 500..=600_000, 15_000)),
    };
    section.finish();
    telegram
}

pub(super) fn read_payments(section: Section<'_, '_>) -> PaymentsConfig {
    let rounding = match section.optional_string("rounding").as_deref() {
        None | Some("kopeck") => Rounding::Kopeck,
        Some("rouble") => Rounding::Rouble,
        Some(_) => {
            section.fault("rounding", "expected \"kopeck\" or \"rouble\"");
            Rounding::Kopeck
        }
    };
    let payments = PaymentsConfig {
        rounding,
        qr_lifetime: seconds(&section, "qr_lifetime_s", 1..=259_200, 900),
        open_per_owner: section.number("open_per_owner", 1..=1_000_000, 3),
        open_per_address: section.number("open_per_address", 1..=1_000_000, 10),
        look_every: milliseconds(section.number("look_every_ms", 100..=60_000, 2_000)),
        answer_within: milliseconds(section.number("answer_within_ms", 10..=10_000, 1_000)),
        follow: seconds(&section, "follow_s", 60..=2_592_000, 86_400),
        longest_pause: seconds(&section, "longest_pause_s", 1..=86_400, 1_800),
    };
    section.finish();
    payments
}

pub(super) fn read_bank(section: Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> BankConfig {
    let merchant_id = section.string("merchant_id", "\"MA0000000552\"");
    if merchant_id.len() > 12 || !merchant_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        section.fault("merchant_id", "expected at most 12 letters and digits");
    }
    let names = section.strings("keys", &format!("[\"{brand}.bank-key\"]"));
    let keys: Vec<Secret> =
        names.iter().filter_map(|name| named_secret(&section, "keys", name, brand, credentials)).collect();
    for key in &keys {
        if let Some(other) = merchant_of(key).filter(|merchant| *merchant != merchant_id) {
            section.fault("keys", format!("this key belongs to the merchant {other}, not to {merchant_id}"));
        }
    }
    let bank = BankConfig {
        api_url: read_outside_url(&section, "api_url", "https://pay.raif.ru"),
        merchant_id,
        // A file with a fault is never used, so nobody presents this one.
        keys: if keys.is_empty() { vec![Secret::new("bank-key", "")] } else { keys },
        authority: section.optional_string("authority").map(Into::into),
        timeout: milliseconds(section.number("timeout_ms", 100..=60_000, 5_000)),
        connect_timeout: milliseconds(section.number("connect_timeout_ms", 100..=60_000, 2_000)),
    };
    section.finish();
    bank
}

/// The merchant whose key it is: the bank's keys are JSON Web Tokens, and `sub` names it. `None` for any other key.
fn merchant_of(key: &Secret) -> Option<String> {
    let claims = key.reveal().split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

pub(super) fn read_fiscal(section: Section<'_, '_>) -> FiscalConfig {
    let fallback_email = section.string("fallback_email", "\"receipts@dexarmarket.ru\"");
    if !fallback_email.is_empty() && fallback_email.parse::<lettre::Address>().is_err() {
        section.fault("fallback_email", "expected an e-mail address");
    }
    let vat = section.optional_string("vat").unwrap_or_else(|| "none".to_owned());
    let kinds =
        ["none", "vat0", "vat5", "vat7", "vat10", "vat20", "vat22", "vat105", "vat107", "vat110", "vat120", "vat122"];
    if !kinds.contains(&vat.to_ascii_lowercase().as_str()) {
        section.fault("vat", format!("expected one of {}", kinds.join(", ")));
    }
    let fiscal = FiscalConfig {
        fallback_email,
        vat,
        wait: seconds(&section, "wait_s", 0..=86_400, 60),
        first_retry: milliseconds(section.number("first_retry_ms", 100..=3_600_000, 5_000)),
        longest_retry: milliseconds(section.number("longest_retry_ms", 100..=86_400_000, 1_800_000)),
        most_tries: section.number("most_tries", 1..=10_000, 60),
    };
    section.finish();
    fiscal
}

/// A URL that a path is appended to: no slash at its end, no query.
pub(super) fn read_outside_url(section: &Section<'_, '_>, key: &'static str, default: &str) -> String {
    let url = section.optional_string(key).unwrap_or_else(|| default.to_owned());
    let has_host = url.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme, "http" | "https")
            && !rest.is_empty()
            && !rest.ends_with('/')
            && !rest.contains(['?', '#', '@'])
    });
    if !has_host {
        section.fault(key, format!("expected http(s)://host without a slash at the end, for example {default}"));
    }
    url
}

pub(super) fn seconds(
    section: &Section<'_, '_>,
    key: &'static str,
    limits: RangeInclusive<u32>,
    default: u32,
) -> Duration {
    Duration::from_secs(section.number(key, limits, default).into())
}
