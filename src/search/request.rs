//! Parameters of searches and lists: sort, filters and flags.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::index::snapshot::IndexSnapshot;
use super::listing::{Filters, Sort};
use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::foundation::money::decimal_from_json;
use crate::http::request::ApiRequest;

/// Larger price limits are refused.
const MAX_PRICE: Decimal = Decimal::from_parts(1_316_134_911, 2_328, 0, false, 0);

/// The sort and the filters of a request, validated but not looked up yet.
#[derive(Debug, Default, Clone)]
pub(crate) struct ListParameters {
    pub(crate) sort: Option<Sort>,
    category: Option<CatalogId>,
    has_impossible_category: bool,
    filters: Filters,
}

impl ListParameters {
    /// # Errors
    /// 400 for an invalid value.
    pub(crate) fn read(req: &ApiRequest, region: Option<&str>) -> Result<ListParameters> {
        let tags = req.query("tags")?.unwrap_or_default();
        Ok(ListParameters {
            sort: sort(req)?,
            category: None,
            has_impossible_category: false,
            filters: Filters {
                category: None,
                price_min: price(req, "priceMin")?.and_then(|price| price.ceil().to_i64()),
                price_max: price(req, "priceMax")?.and_then(|price| price.floor().to_i64()),
                in_stock: flag(req, "inStock")?,
                discounted: flag(req, "discounted")?,
                tags: tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
                region: region.map(str::to_owned),
            },
        })
    }

    /// Adds the filter by the parameter `category`, which only the search has.
    ///
    /// # Errors
    /// 400 when it is given more than once.
    pub(crate) fn with_category(mut self, req: &ApiRequest) -> Result<ListParameters> {
        let text = req.query("category")?.filter(|text| !text.is_empty());
        self.category = text.and_then(CatalogId::parse);
        self.has_impossible_category = text.is_some() && self.category.is_none();
        Ok(self)
    }

    /// Whether the list is the shop's, as it is without parameters.
    pub(crate) fn is_plain(&self) -> bool {
        let unfiltered = Filters { region: self.filters.region.clone(), ..Filters::default() };
        self.sort.is_none() && self.category.is_none() && !self.has_impossible_category && self.filters == unfiltered
    }

    /// The filters in terms of the index; `None` when no item can pass, because there is no such category.
    pub(crate) fn filters(&self, snapshot: &IndexSnapshot) -> Option<Filters> {
        if self.has_impossible_category {
            return None;
        }
        let category = match &self.category {
            None => None,
            Some(id) => Some(snapshot.categories.find(id)?),
        };
        Some(Filters { category, ..self.filters.clone() })
    }
}

fn sort(req: &ApiRequest) -> Result<Option<Sort>> {
    let Some(value) = req.query("sort")? else { return Ok(None) };
    let known = Sort::VALUES.iter().find(|(name, _)| *name == value);
    let (_, sort) =
        known.ok_or_else(|| Error::malformed("bad_sort", "sort: expected price, -price, rating, new or name"))?;
    Ok(Some(*sort))
}

/// A price limit in kopecks.
fn price(req: &ApiRequest, name: &'static str) -> Result<Option<Decimal>> {
    let Some(value) = req.query(name)? else { return Ok(None) };
    let is_plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let price = is_plain.then(|| decimal_from_json(value)).flatten().filter(|price| *price <= MAX_PRICE);
    let bad = || Error::malformed("bad_price_limit", format!("{name}: expected an amount in roubles, 0 or more"));
    Ok(Some(price.ok_or_else(bad)? * Decimal::ONE_HUNDRED))
}

/// A parameter that is `true` or `false`.
///
/// # Errors
/// 400 for another value.
pub(crate) fn flag(req: &ApiRequest, name: &'static str) -> Result<bool> {
    match req.query(name)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::malformed("bad_flag", format!("{name}: expected true or false"))),
    }
}
