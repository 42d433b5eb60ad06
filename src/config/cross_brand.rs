//! Checks across brands: addresses that conflict, shared settings, and settings that are valid but probably a mistake.

use std::net::SocketAddr;

use super::database_url::{DatabaseTlsMode, is_local};
use super::redis_url::RedisUrl;
use super::{BrandConfig, ConfigProblem, is_local_url};

impl BrandConfig {
    /// Warnings about connections to another machine that may not be encrypted.
    fn plaintext_warnings(&self) -> impl Iterator<Item = String> {
        let database = &self.database;
        let is_plaintext = matches!(database.tls.mode, DatabaseTlsMode::Disable | DatabaseTlsMode::Prefer);
        let to_database = (is_plaintext && !is_local(&database.postgres)).then(|| {
            format!(
                "[database] url: sslmode={} allows plaintext to another machine; write ?sslmode=verify-full",
                database.tls.mode.name()
            )
        });
        let redis = RedisUrl::parse(&self.redis.url).filter(RedisUrl::is_plaintext_to_another_machine);
        let to_redis = redis.map(|url| {
            format!("[redis] url: plaintext to another machine ({}); write rediss instead of redis", url.address())
        });
        to_database.into_iter().chain(to_redis)
    }

    /// Warnings about valid settings that are probably a mistake; `all` are all brands, this one included.
    pub fn warnings(&self, all: &[BrandConfig]) -> Vec<String> {
        let mut warnings = Vec::new();
        let local = self.origins.iter().filter(|origin| !self.is_local() && is_local_url(origin));
        warnings.extend(local.map(|origin| {
            format!("origins: {origin} lets any page on a visitor's own machine act for the logged-in visitor")
        }));
        for other in all.iter().filter(|other| other.name != self.name) {
            let name = &other.name;
            for origin in self.origins.iter().filter(|origin| other.origins.contains(origin)) {
                warnings.push(format!(
                    "origins: {origin} is shared with {name}; its pages can act for the visitors of both brands"
                ));
            }
            if self.public_url == other.public_url {
                warnings.push(format!(
                    "public_url is shared with {name}; links and bank notifications of one brand reach the other"
                ));
            }
            if self.storefront_url == other.storefront_url {
                warnings.push(format!("storefront_url is shared with {name}; emails and redirects lead to its shop"));
            }
            let bot = |brand: &BrandConfig| brand.telegram.as_ref().map(|telegram| telegram.bot.to_ascii_lowercase());
            if bot(self).is_some() && bot(self) == bot(other) {
                warnings.push(format!(
                    "[telegram] bot is shared with {name}; each brand receives only some of its messages"
                ));
            }
            let merchant = |brand: &BrandConfig| brand.bank.as_ref().map(|bank| bank.merchant_id.clone());
            if merchant(self).is_some() && merchant(self) == merchant(other) {
                warnings.push(format!(
                    "[bank] merchant_id is shared with {name}; payments of both brands go to one account"
                ));
            }
        }
        warnings.extend(self.plaintext_warnings());
        if self.proxy_protocol.trusted.iter().any(|network| network.prefix_len() == 0) {
            warnings
                .push("[proxy_protocol] trusted contains every address; any client can forge its address".to_owned());
        }
        if self.proxy_protocol.trusted.is_empty() && !self.proxy_protocol.listen.is_empty() {
            warnings.push("[proxy_protocol] listen has no effect while trusted is empty".to_owned());
        }
        if self.redis.url.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
            warnings.push(
                "[redis] url contains a password; move it to a credential and name that with password = \"…\""
                    .to_owned(),
            );
        }
        warnings
    }
}

/// Addresses that two brands claim. `[::]:445` and `0.0.0.0:445` do not conflict: IPv6 sockets accept no IPv4.
pub(super) fn conflicts(brands: &[BrandConfig]) -> Vec<ConfigProblem> {
    let addresses: Vec<(&BrandConfig, &SocketAddr)> =
        brands.iter().flat_map(|brand| brand.listen.iter().map(move |address| (brand, address))).collect();
    let mut problems = Vec::new();
    for (at, (brand, address)) in addresses.iter().enumerate() {
        if let Some((other, taken)) = addresses[..at].iter().find(|(_, taken)| conflict(address, taken)) {
            let message = match address == taken {
                true => format!("listen: {address} is already used by {}", other.name),
                false => format!("listen: {address} overlaps {taken}, which is used by {}", other.name),
            };
            problems.push(ConfigProblem { file: brand.file.clone(), line: 0, message });
        }
    }
    problems
}

/// Whether two addresses cannot both be bound.
fn conflict(address: &SocketAddr, other: &SocketAddr) -> bool {
    let is_wildcard = address.ip().is_unspecified() || other.ip().is_unspecified();
    let overlaps = address.ip() == other.ip() || (is_wildcard && address.is_ipv4() == other.is_ipv4());
    address.port() != 0 && address.port() == other.port() && overlaps
}
