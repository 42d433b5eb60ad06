//! The orders that a caller has placed, paid or not.

use super::order::is_site_order_id;
use super::orders_store::{self, OrderFilter, OrderPage, PlacedOrder};
use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::session::Owner;
use crate::tenant::context::RequestContext;

/// Returns at most `count` orders of the caller after the newest `skip`. `owner` is `None` for a caller without cookies, who has none.
pub async fn list_orders(cx: &RequestContext, owner: Option<&Owner>, count: i64, skip: i64) -> Result<OrderPage> {
    let Some(owner) = owner else {
        return Ok(OrderPage { orders: Vec::new(), total: 0, language: Language::Ru });
    };
    let owner = &owner.key();
    let filter = OrderFilter { owner, site_order_id: None, count, skip };
    orders_store::list(&cx.brand.postgres().await?, filter, cx.language, cx.now()).await
}

/// Returns the caller's order with this id of the front end, and the language of its names.
///
/// # Errors
/// 404 when the caller has no such order.
pub async fn find_order(
    cx: &RequestContext,
    owner: Option<&Owner>,
    site_order_id: &str,
) -> Result<(PlacedOrder, Language)> {
    let not_found = || Error::not_found("order");
    if !is_site_order_id(site_order_id) {
        return Err(not_found());
    }
    let owner = &owner.ok_or_else(not_found)?.key();
    let filter = OrderFilter { owner, site_order_id: Some(site_order_id), count: 1, skip: 0 };
    let mut page = orders_store::list(&cx.brand.postgres().await?, filter, cx.language, cx.now()).await?;
    Ok((page.orders.pop().ok_or_else(not_found)?, page.language))
}
