//! What the brands' files show only together, or hardly mean: brands that share what is one's own, doors that are open to everybody.
//!
//! Used by `config` (what keeps the brands from being served) and `check` (what somebody should know). What must never happen: one
//! brand's visitors, money or messages reach another because of a copied line, and nobody is told.

use std::net::SocketAddr;

use crate::config::toml_reader::ConfigProblem;
use crate::config::{BrandConfig, is_local_url};

impl BrandConfig {
    /// What is allowed but hardly meant, a sentence each; `all` are all brands, this one among them.
    pub fn warnings(&self, all: &[BrandConfig]) -> Vec<String> {
        let mut doubts = Vec::new();
        let local = self.origins.iter().filter(|origin| !self.is_local() && is_local_url(origin));
        doubts.extend(local.map(|origin| {
            format!("origins: {origin} lets a page on a developer's machine act for a logged-in visitor")
        }));
        for other in all.iter().filter(|other| other.name != self.name) {
            let name = &other.name;
            for origin in self.origins.iter().filter(|origin| other.origins.contains(origin)) {
                doubts
                    .push(format!("origins: {origin} is {name}'s too: a page of it may act for the visitors of both"));
            }
            if self.public_url == other.public_url {
                doubts.push(format!("public_url is {name}'s too: links and the bank's news of one reach the other"));
            }
            if self.storefront_url == other.storefront_url {
                doubts.push(format!("storefront_url is {name}'s too: mails and redirects lead into its shop"));
            }
            let bot = |brand: &BrandConfig| brand.telegram.as_ref().map(|telegram| telegram.bot.to_ascii_lowercase());
            if bot(self).is_some() && bot(self) == bot(other) {
                doubts.push(format!("[telegram] bot is {name}'s too: each takes away half of the other's messages"));
            }
            let merchant = |brand: &BrandConfig| brand.bank.as_ref().map(|bank| bank.merchant_id.clone());
            if merchant(self).is_some() && merchant(self) == merchant(other) {
                doubts.push(format!("[bank] merchant_id is {name}'s too: the money of both goes to one account"));
            }
        }
        if self.proxy_protocol.trusted.iter().any(|network| network.prefix_len() == 0) {
            doubts.push("[proxy_protocol] trusted names everybody: anybody may say to be anybody".to_owned());
        }
        if self.proxy_protocol.trusted.is_empty() && !self.proxy_protocol.listen.is_empty() {
            doubts.push("[proxy_protocol] listen has no effect while trusted is empty".to_owned());
        }
        if self.redis.url.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
            doubts.push("[redis] url has a password: better name a credential with password = \"…\"".to_owned());
        }
        doubts
    }
}

/// What no single file can show: two brands with one address. `[::]:445` and `0.0.0.0:445` are different sockets here.
pub(super) fn conflicts(brands: &[BrandConfig]) -> Vec<ConfigProblem> {
    let addresses: Vec<(&BrandConfig, &SocketAddr)> =
        brands.iter().flat_map(|brand| brand.listen.iter().map(move |address| (brand, address))).collect();
    let mut faults = Vec::new();
    for (at, (brand, address)) in addresses.iter().enumerate() {
        if let Some((other, taken)) = addresses[..at].iter().find(|(_, taken)| is_taken(address, taken)) {
            let message = match address == taken {
                true => format!("listen: {address} belongs to {} already", other.name),
                false => format!("listen: {address} overlaps {taken}, which belongs to {}", other.name),
            };
            faults.push(ConfigProblem { file: brand.file.clone(), line: 0, message });
        }
    }
    faults
}

/// Whether two addresses cannot both be listened at.
fn is_taken(address: &SocketAddr, by: &SocketAddr) -> bool {
    let is_whole = address.ip().is_unspecified() || by.ip().is_unspecified();
    let is_same = address.ip() == by.ip() || (is_whole && address.is_ipv4() == by.is_ipv4());
    address.port() != 0 && address.port() == by.port() && is_same
}
