//! Settings and readers of the sections that every brand has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::toml_reader::{SecretSource, Section};
use crate::foundation::secret::Secret;

/// A shorter secret would make the ticket keys guessable.
const MIN_TICKET_SECRET_BYTES: usize = 32;

#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// PEM: the leaf first, then its chain.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// The keys of session tickets are derived from it; `None`: each process generates its own.
    pub ticket_secret: Option<Secret>,
}

pub(super) fn read_tls(root: &Section<'_, '_>, source: SecretSource<'_>) -> TlsConfig {
    let section = root.section("tls", "The certificate. A replaced file is loaded within 5 s, without a reload.");
    let help = "Secret of at least 32 characters that the keys of TLS session tickets are derived from, so that sessions are resumed after \
                a restart and on every machine with the same secret (`openssl rand -hex 32`). Without it each process generates its own.";
    let tls = TlsConfig {
        certificate: section
            .key("certificate", "PEM file: the certificate for the host of `public_url`, then its chain.")
            .path("\"/etc/brandgate/certs/dexar/fullchain.pem\""),
        key: section
            .key("key", "PEM file with the private key. P-256 is faster than RSA.")
            .path("\"/etc/brandgate/certs/dexar/privkey.pem\""),
        ticket_secret: section.key("ticket_secret", help).needs_restart().secret(source),
    };
    if tls.ticket_secret.as_ref().is_some_and(|secret| secret.reveal().len() < MIN_TICKET_SECRET_BYTES) {
        section.problem("ticket_secret", "is shorter than 32 characters; generate one with openssl rand -hex 32");
    }
    section.finish();
    tls
}

/// The cache size in bytes.
pub(super) fn read_cache(root: &Section<'_, '_>) -> u64 {
    let section = root.section("cache", "The in-memory cache of encoded catalogue responses.");
    let mebibytes = section.key("mebibytes", "Approximate size in MiB; 0 disables the cache.").number(0..=65_536, 64);
    section.finish();
    u64::from(mebibytes) << 20
}

/// How catalogue imports write.
#[derive(Debug, Clone, Copy)]
pub struct ImportConfig {
    /// How many items' stock one transaction changes.
    pub stock_batch: u32,
    /// How often an import is attempted while it conflicts with other transactions.
    pub attempts: u32,
    /// The share of a source's items that a complete import may hide.
    pub max_removed_percent: u32,
    /// How much a compressed file may unpack to.
    pub max_unpacked_bytes: u64,
}

pub(super) fn read_import(root: &Section<'_, '_>) -> ImportConfig {
    let section = root.section("import", "Catalogue imports.");
    let import = ImportConfig {
        stock_batch: section
            .key(
                "stock_batch",
                "Items whose stock an import changes in one transaction; payments of these items wait for it. An import that changes the \
                 stock of more items changes it after the texts and prices, batch by batch.",
            )
            .number(10..=100_000, 1_000),
        attempts: section
            .key("attempts", "How often an import is attempted while it conflicts with other transactions.")
            .number(1..=100, 10),
        max_removed_percent: section
            .key(
                "max_removed_percent",
                "The largest share of a source's items, in percent, that an import with --replace may hide or take out of a region; a \
                 larger one changes nothing. --max-removed overrides it.",
            )
            .number(0..=100, 30),
        max_unpacked_bytes: u64::from(
            section
                .key("max_unpacked_mebibytes", "How much a gzip or zip file may unpack to, in MiB; a larger one is refused.")
                .number(1..=1_048_576, 4_096),
        ) << 20,
    };
    section.finish();
    import
}

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers; also from the handshake to the first request.
    pub head: Duration,
    /// Idle timeout of a connection.
    pub idle: Duration,
    /// From the headers of a request to its response, the arrival of its body included.
    pub request: Duration,
    /// Over how long [`Limits::min_send_bytes_per_s`](super::Limits::min_send_bytes_per_s) is averaged.
    pub slow_read: Duration,
    /// How long a graceful shutdown waits for requests in progress.
    pub drain: Duration,
}

pub(super) fn read_timeouts(root: &Section<'_, '_>) -> Timeouts {
    let section = root.section("timeouts", "Timeouts of connections and requests.");
    let timeouts = Timeouts {
        handshake: section
            .key("handshake_ms", "From accepting a connection to the end of the TLS handshake.")
            .milliseconds(100..=600_000, 10_000),
        head: section
            .key(
                "head_ms",
                "From the handshake to the first request, and over HTTP/1.1 from the first byte of a request to the end of its headers.",
            )
            .milliseconds(100..=600_000, 10_000),
        idle: section
            .key("idle_ms", "Idle timeout of a connection, also of one whose client does not read a response.")
            .milliseconds(100..=3_600_000, 60_000),
        request: section
            .key("request_ms", "From the headers of a request to its response; then it is answered with 504.")
            .milliseconds(100..=600_000, 15_000),
        slow_read: section
            .key(
                "slow_read_ms",
                "Over how long `limits.min_send_bytes_per_s` is averaged. Clients that take less are disconnected, however often they take a byte.",
            )
            .milliseconds(100..=600_000, 30_000),
        drain: section
            .key("drain_ms", "How long a graceful shutdown waits for requests in progress.")
            .milliseconds(0..=600_000, 30_000),
    };
    section.finish();
    timeouts
}

/// Lifetimes of sessions and login attempts.
#[derive(Debug, Clone, Copy)]
pub struct SessionConfig {
    /// From the last use of a session to its expiry.
    pub idle_timeout: Duration,
    /// From login to expiry, however much the session is used.
    pub lifetime: Duration,
    /// How long an expired session is reported as `active: false`.
    pub expired_retention: Duration,
    /// From the start of a login attempt to its expiry.
    pub attempt_lifetime: Duration,
    /// Maximum age of signed login data.
    pub max_login_age: Duration,
    /// The sessions that a user may have; another one ends the oldest.
    pub max_per_user: u32,
}

pub(super) fn read_session(root: &Section<'_, '_>) -> SessionConfig {
    let section = root.section("session", "Lifetimes of sessions and login attempts.");
    let session = SessionConfig {
        idle_timeout: section
            .key("idle_s", "A session expires this long after its last use.")
            .seconds(1..=2_592_000, 72_000),
        lifetime: section
            .key("lifetime_s", "A session expires this long after login, however much it is used.")
            .seconds(1..=31_536_000, 2_592_000),
        expired_retention: section
            .key(
                "told_s",
                "How long an expired session is reported as `active: false`; after that it is unknown (401).",
            )
            .seconds(0..=2_592_000, 14_400),
        attempt_lifetime: section
            .key("attempt_s", "A login attempt expires this long after its start.")
            .seconds(1..=3_600, 300),
        max_login_age: section
            .key("login_age_s", "Maximum age of login data that the bot signed.")
            .seconds(1..=86_400, 300),
        max_per_user: section
            .key("most_per_user", "Sessions that a user may have at the same time; another login ends the oldest.")
            .number(1..=10_000, 100),
    };
    section.finish();
    session
}

/// Rate limits in requests per minute, or per hour where the name says so.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    pub logins_per_address: u32,
    pub logouts_per_address: u32,
    pub cart_writes_per_address: u32,
    pub cart_writes_per_visitor: u32,
    pub payments_per_address: u32,
    /// Reviews, questions and votes.
    pub reviews_per_address: u32,
    /// Of an address, without a session.
    pub anonymous_reviews_per_hour: u32,
    /// Of an address, without a session.
    pub anonymous_questions_per_hour: u32,
}

pub(super) fn read_rates(root: &Section<'_, '_>) -> RateLimits {
    let help = "Rate limits in requests per minute where the key does not say hour, counted in Redis over all instances; more are answered with 429. Nothing is limited \
                while Redis is unavailable. An IPv6 address is counted with its /64 network.";
    let section = root.section("rates", help);
    let rate = |key, default, help| section.key(key, help).number(1..=1_000_000_000, default);
    let rates = RateLimits {
        logins_per_address: rate("logins_per_address", 60, "Login attempts and callbacks of an address."),
        logouts_per_address: rate("logouts_per_address", 600, "Logouts of an address."),
        cart_writes_per_address: rate("cart_writes_per_address", 1_200, "Cart writes of an address."),
        cart_writes_per_visitor: rate("cart_writes_per_visitor", 120, "Cart writes of a session or visitor."),
        payments_per_address: rate("payments_per_address", 60, "New payments and purchase emails of an address."),
        reviews_per_address: rate("reviews_per_address", 30, "Reviews, questions and votes of an address."),
        anonymous_reviews_per_hour: rate(
            "anonymous_reviews_per_hour",
            5,
            "Reviews in an hour that an address writes without a session.",
        ),
        anonymous_questions_per_hour: rate(
            "anonymous_questions_per_hour",
            10,
            "Questions in an hour that an address asks without a session.",
        ),
    };
    section.finish();
    rates
}

/// Who may review items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reviewers {
    Anyone,
    /// Visitors with a session.
    Session,
    /// Visitors and users who have paid for the item.
    Buyers,
}

pub(super) fn read_reviews(root: &Section<'_, '_>) -> Reviewers {
    let section = root.section("reviews", "Reviews of items.");
    let help = "Who may review: `anyone`, visitors with a `session`, or visitors and users who have paid for the item.";
    let reviewers = section.key("who", help).choice(&[
        ("anyone", Reviewers::Anyone),
        ("session", Reviewers::Session),
        ("buyers", Reviewers::Buyers),
    ]);
    section.finish();
    reviewers
}

/// Load balancers in front of the listeners. A connection from one of them begins with a PROXY protocol header that names the
/// client; from any other peer such a header fails the TLS handshake.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    pub trusted: Vec<IpNet>,
    /// The addresses of `listen` that balancers connect to; empty: all of them.
    pub listen: Vec<SocketAddr>,
}

/// `listen` are the brand's own addresses.
pub(super) fn read_proxy_protocol(root: &Section<'_, '_>, listen: &[SocketAddr]) -> ProxyProtocol {
    let help = "Load balancers in front of the listeners. Their connections must begin with a PROXY protocol header (v1 or v2), which names \
                the client; a header from any other peer closes the connection.";
    let section = root.section("proxy_protocol", help);
    let trusted = section
        .key("trusted", "Addresses or networks of the balancers.")
        .values("such as `10.0.0.5`, `fd00::/8`")
        .optional_strings("[\"10.0.0.5\", \"fd00::/8\"]");
    let trusted = trusted.iter().filter_map(|text| {
        let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        if network.is_err() {
            let message = format!("{text} is not an address or network; expected for example 10.0.0.5 or fd00::/8");
            section.problem("trusted", message);
        }
        network.ok()
    });
    let trusted = trusted.collect();
    let help =
        "The addresses of `listen` that balancers connect to; the header is not read on the others. Empty means all.";
    let addresses = section.key("listen", help).values("address and port").optional_strings("[\"10.0.0.1:445\"]");
    let proxied = read_addresses(&section, addresses);
    for address in proxied.iter().filter(|address| !listen.contains(address)) {
        section.problem("listen", format!("{address} is not one of the brand's own addresses of listen"));
    }
    section.finish();
    ProxyProtocol { trusted, listen: proxied }
}

/// Parses the value of a section's key `listen`.
pub(super) fn read_addresses(section: &Section<'_, '_>, texts: Vec<String>) -> Vec<SocketAddr> {
    let addresses = texts.iter().filter_map(|text| {
        let address = text.parse();
        if address.is_err() {
            let example = "expected for example 0.0.0.0:445 or [::]:445";
            section.problem("listen", format!("{text} is not an address with a port; {example}"));
        }
        address.ok()
    });
    addresses.collect()
}
