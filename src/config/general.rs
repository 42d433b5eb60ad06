//! Reads a whole brand file: the keys above all sections, then each section.

use std::net::SocketAddr;
use std::path::Path;

use jiff::tz::TimeZone;
use toml::de::DeTable;

use super::database::{read_database, read_redis};
use super::document::Document;
use super::integrations::{read_bank, read_fiscal, read_telegram};
use super::limits::read_limits;
use super::mail::read_mail;
use super::payments::read_payments;
use super::retention::{read_books, read_retention};
use super::search::read_search;
use super::sections::{
    read_addresses, read_cache, read_import, read_proxy_protocol, read_rates, read_reviews, read_session,
    read_timeouts, read_tls,
};
use super::toml_reader::{SecretSource, Section};
use super::{BrandConfig, is_origin};

/// Problems are added to `document`; with one, the returned value must not be used.
pub(super) fn read_brand(
    file: &Path,
    document: &Document,
    table: &DeTable<'_>,
    credentials: Option<&Path>,
) -> BrandConfig {
    let root = Section::root(document, table, "The brand's identity and addresses.");
    let name = read_name(&root, file);
    let source = SecretSource { brand: &name, credentials };
    let listen = read_listen(&root);
    let brand = BrandConfig {
        file: file.to_owned(),
        title: root.key("title", "Name that visitors read in pages, emails and bot messages.").string("\"Dexar\""),
        public_url: read_public_url(&root),
        storefront_url: read_storefront_url(&root),
        origins: read_origins(&root),
        timezone: read_timezone(&root),
        accent: read_accent(&root),
        tls: read_tls(&root, source),
        database: read_database(&root, source),
        redis: read_redis(&root, source),
        limits: read_limits(&root),
        cache_bytes: read_cache(&root),
        search: read_search(&root),
        import: read_import(&root),
        timeouts: read_timeouts(&root),
        session: read_session(&root),
        rates: read_rates(&root),
        reviewers: read_reviews(&root),
        proxy_protocol: read_proxy_protocol(&root, &listen),
        telegram: read_telegram(&root, source),
        payments: read_payments(&root),
        bank: read_bank(&root, source),
        fiscal: read_fiscal(&root),
        mail: read_mail(&root, source),
        retention: read_retention(&root),
        books: read_books(&root),
        listen,
        name: name.clone(),
    };
    if brand.limits.connections <= brand.listen.len() {
        // Each address reserves one connection for its next client.
        let addresses = brand.listen.len();
        root.problem("limits", format!("connections: expected more than the {addresses} addresses of listen"));
    }
    root.finish();
    brand
}

/// The brand's name. Where it is unusable, the file's stem, so that keys that must match the name are not reported too.
fn read_name(root: &Section<'_, '_>, file: &Path) -> String {
    let help = "Names the database role and schema, the Redis key prefix, the cookies and the credentials. The file is `NAME.toml`.";
    let key = root.key("name", help).needs_restart();
    let name = key.values("a lower-case letter, then at most 29 lower-case letters, digits or `_`").string("\"dexar\"");
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_plain = name.len() <= 30
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if name.is_empty() {
        return stem.to_owned();
    }
    if !is_plain {
        root.problem("name", "expected a lower-case letter, then at most 29 lower-case letters, digits or _");
        return stem.to_owned();
    }
    if name.starts_with("pg_") || ["public", "extensions", "postgres", "information_schema"].contains(&&*name) {
        root.problem("name", format!("{name} is reserved by PostgreSQL; choose another name"));
    } else if stem != name {
        root.problem("name", format!("is {name}, so the file must be named {name}.toml"));
    }
    name
}

fn read_listen(root: &Section<'_, '_>) -> Vec<SocketAddr> {
    let help = "Addresses of the API. IPv4 and IPv6 are separate sockets. The listener alone decides which brand a request belongs to. \
                Where systemd opens `brandgate@NAME.socket`, its addresses are used instead.";
    let key = root.key("listen", help).needs_restart().values("address and port");
    read_addresses(root, key.strings("[\"0.0.0.0:445\", \"[::]:445\"]"))
}

fn read_public_url(root: &Section<'_, '_>) -> String {
    let help = "Public URL of the API, used in links and callbacks. The certificate must be issued for its host.";
    read_https_url(root, "public_url", help, "\"https://api.dexarmarket.ru:445\"")
}

fn read_storefront_url(root: &Section<'_, '_>) -> String {
    let help = "Storefront that visitors return to after a login that was not started from another of `origins`.";
    read_https_url(root, "storefront_url", help, "\"https://dexarmarket.ru\"")
}

fn read_https_url(root: &Section<'_, '_>, name: &'static str, help: &'static str, example: &str) -> String {
    let url = root.key(name, help).values("`https://host` or `https://host:port`").string(example);
    if !url.is_empty() && (!url.starts_with("https://") || !is_origin(&url)) {
        root.problem(name, format!("expected https://host or https://host:port, for example {example}"));
    }
    url
}

fn read_origins(root: &Section<'_, '_>) -> Vec<String> {
    let help = "Exact origins whose scripts may call the API with a visitor's cookies.";
    let key = root.key("origins", help).values("`scheme://host` or `scheme://host:port`");
    let origins = key.strings("[\"https://dexarmarket.ru\"]");
    for origin in &origins {
        if !is_origin(origin) {
            let expected = "expected scheme://host or scheme://host:port in lower case, without a path";
            root.problem("origins", format!("{origin} is not an origin; {expected}"));
        } else if let Some((plain, port)) = without_default_port(origin) {
            root.problem("origins", format!("browsers omit the default port {port}; write {plain}"));
        }
    }
    origins
}

/// An origin without the default port of its scheme, and that port.
fn without_default_port(origin: &str) -> Option<(&str, &'static str)> {
    [("https://", ":443"), ("http://", ":80")]
        .into_iter()
        .find_map(|(scheme, port)| Some((origin.strip_suffix(port).filter(|plain| plain.starts_with(scheme))?, port)))
}

fn read_timezone(root: &Section<'_, '_>) -> TimeZone {
    let help = "Time zone of the times in emails, bot messages and login pages. The API's times are in UTC. A machine without tzdata uses the copy in the program.";
    let name = root.key("timezone", help).values("IANA time zone").string_or("Europe/Moscow");
    TimeZone::get(&name).unwrap_or_else(|_| {
        let expected = "expected a name of the IANA database, for example Europe/Moscow";
        root.problem("timezone", format!("there is no time zone {name}; {expected}"));
        TimeZone::UTC
    })
}

fn read_accent(root: &Section<'_, '_>) -> String {
    let key = root.key("accent", "Accent colour of the login pages.");
    let accent = key.values("`#rrggbb`").string_or("#1f5fbf");
    let digits = accent.strip_prefix('#').unwrap_or_default();
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        root.problem("accent", "expected a colour as #rrggbb");
    }
    accent
}
