//! The origin that a login was begun from, to which the browser is sent back.
//!
//! It is kept in a cookie, and only where it is not the storefront of the configuration. A value that is not one of the brand's
//! origins has no effect.

use crate::config::BrandConfig;
use crate::http::cookie::{self, SetCookie};
use crate::http::fetch_metadata::referrer_origin;
use crate::http::request::ApiRequest;

/// Where the browser returns to after its login.
pub(super) fn return_origin<'c>(config: &'c BrandConfig, req: &ApiRequest) -> &'c str {
    stored(config, req).unwrap_or(&config.storefront_url)
}

/// The cookie to set when a request of a page of the brand begins a login, or asks for a session that is not there yet.
pub(super) fn store(config: &BrandConfig, req: &ApiRequest) -> Option<SetCookie> {
    let sent = req.header("origin").or_else(|| referrer_origin(req.headers()))?;
    let stored = stored(config, req);
    if sent == config.storefront_url {
        return stored.map(|_| cookie::remove(&name(config)));
    }
    let origin = config.origins.iter().find(|known| *known == sent)?;
    (stored != Some(origin)).then(|| cookie::set_origin(&name(config), origin))
}

fn stored<'c>(config: &'c BrandConfig, req: &ApiRequest) -> Option<&'c str> {
    cookie::read_origin(req.headers(), &name(config), &config.origins)
}

fn name(config: &BrandConfig) -> String {
    cookie::name(&config.name, cookie::ORIGIN)
}
