//! What a handler is given beside the request: the brand of the listener, and what the visitor's headers ask for.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName};

use crate::brand::Brand;
use crate::error::{Error, Result};
use crate::language::Language;

const X_REGION: HeaderName = HeaderName::from_static("x-region");
const X_LANGUAGE: HeaderName = HeaderName::from_static("x-language");

/// The context of one request.
#[derive(Clone)]
pub struct Cx {
    /// The brand whose listener accepted the connection.
    pub brand: Arc<Brand>,
    /// `X-Region`; `None` is the whole catalogue. It need not exist.
    pub region: Option<String>,
    /// `X-Language`.
    pub language: Language,
}

impl Cx {
    /// The time, by the one clock.
    pub fn now(&self) -> jiff::Timestamp {
        self.brand.clock.now()
    }

    /// # Errors
    /// 400 for an `X-Region` that no region can have: what is not ASCII.
    pub fn new(brand: Arc<Brand>, headers: &HeaderMap) -> Result<Cx> {
        let language = headers.get(X_LANGUAGE).map_or(Language::Ru, |value| Language::from_header(value.as_bytes()));
        let region = headers.get(X_REGION).map(|value| match value.to_str() {
            Ok(region) => Ok(region.trim().to_owned()),
            Err(_) => {
                Err(Error::malformed("bad_region", "X-Region: expected the id of a region, as /regions lists them"))
            }
        });
        let region = region.transpose()?.filter(|region| !region.is_empty());
        Ok(Cx { brand, region, language })
    }
}
