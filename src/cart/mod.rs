//! The shopping cart of a visitor or user, stored in PostgreSQL.
//!
//! # Invariants
//!
//! - A cart belongs to one [`Owner`], and no other caller can read or change it.
//! - No write raises a quantity above what is available to the owner: the stock less what the open payments of others hold. Each write
//!   checks it in its own statement, so concurrent writes either both succeed within it or are rejected.
//! - What can be put in can be paid: at most [`MAX_LINES`] lines, of items that are sold in RUB and available in the region.

mod lot_size;
mod request_body;
pub(crate) use lot_size::LotSize;
pub(crate) use request_body::{CartPost, parse_post};
pub(crate) mod http;
mod store;

use crate::platform::postgres::Executor;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use crate::catalog::item::{self, Item};
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::session::{Caller, Owner};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

use store::LineChange;

/// The largest quantity of one item in a cart.
pub(crate) const MAX_QUANTITY: i32 = 999;

/// The largest number of lines of a cart and of an order. The trigger of the table `cart_line` has the same limit.
pub(crate) const MAX_LINES: usize = 200;

/// How long the cart of a visitor without a session is kept after its last change.
const VISITOR_CART_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The result of a write to a line, as determined by the statement that writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    /// The item does not exist or is hidden.
    ItemNotFound,
    /// The item is not in the cart.
    LineNotFound,
    /// The sum would exceed [`MAX_QUANTITY`].
    TooMany,
    /// The quantity exceeds the `left` units that are available to the owner.
    OutOfStock {
        left: i32,
    },
    /// The item is not available in the caller's region.
    NotInRegion,
    /// The item is not sold in this quantity.
    QuantityNotSold(LotSize),
    /// The item is priced in another currency than RUB.
    CurrencyNotSupported,
    /// The cart has [`MAX_LINES`] lines of other items.
    CartFull,
}

impl Outcome {
    fn into_result(self) -> Result<()> {
        match self {
            Outcome::Written => Ok(()),
            Outcome::ItemNotFound => Err(Error::not_found("item")),
            Outcome::LineNotFound => Err(Error::not_found("item in the cart")),
            Outcome::TooMany => Err(Error::malformed("bad_quantity", "quantity: at most 999 of one item in a cart")),
            Outcome::OutOfStock { left: 0 } => {
                Err(Error::conflict("out_of_stock", "This item is sold out.").with("left", 0))
            }
            Outcome::OutOfStock { left } => {
                Err(Error::conflict("out_of_stock", format!("Only {left} of this item are left.")).with("left", left))
            }
            Outcome::NotInRegion => {
                Err(Error::conflict("not_in_region", "This item is not available in the selected region."))
            }
            Outcome::QuantityNotSold(lot_size) => Err(lot_size.error("This item")),
            Outcome::CurrencyNotSupported => {
                Err(Error::unprocessable("currency_not_supported", "Only items in RUB can be paid here."))
            }
            Outcome::CartFull => Err(Error::conflict("cart_full", format!("A cart has at most {MAX_LINES} items."))),
        }
    }
}

/// Adds units of an item to the cart; `None`: as few as the item is sold in.
///
/// # Errors
/// 404 for an item that does not exist or is hidden; 409 with `left` above what is available to the owner, for an item that is not
/// available in the region, and for a new line of a full cart; 422 for an item in another currency, and for a sum that the item is not
/// sold in; 400 for a sum above [`MAX_QUANTITY`].
pub(crate) async fn add(cx: &RequestContext, owner: &Owner, item_id: i64, quantity: Option<i32>) -> Result<()> {
    let outcome = store::add(&cx.brand.postgres().await?, &line_change(cx, owner, item_id, quantity)).await?;
    outcome.into_result()
}

/// Sets the quantity of an item in the cart; 0 removes it. A lower quantity is always accepted.
///
/// # Errors
/// 404 when the item is not in the cart; 409 and 422 as [`add`] for a higher quantity.
pub(crate) async fn set_quantity(cx: &RequestContext, owner: &Owner, item_id: i64, quantity: i32) -> Result<()> {
    let client = cx.brand.postgres().await?;
    if quantity == 0 {
        let removed = store::remove(&client, owner, &[item_id]).await?;
        return if removed == 0 { Outcome::LineNotFound.into_result() } else { Ok(()) };
    }
    let outcome = store::set_quantity(&client, &line_change(cx, owner, item_id, Some(quantity))).await?;
    outcome.into_result()
}

fn line_change<'a>(cx: &'a RequestContext, owner: &'a Owner, item_id: i64, quantity: Option<i32>) -> LineChange<'a> {
    LineChange { owner, item_id, quantity, region: cx.region.as_deref(), now: cx.now() }
}

/// Removes items from the cart; ids that are not in it are ignored.
pub(crate) async fn remove(cx: &RequestContext, owner: &Owner, item_ids: &[i64]) -> Result<()> {
    store::remove(&cx.brand.postgres().await?, owner, item_ids).await?;
    Ok(())
}

/// Moves the lines of one cart into another; quantities add up within what is available to both owners, and no line of `into` becomes
/// smaller. Lines that `into` has no room for stay. Idempotent.
///
/// # Errors
/// 503 when a concurrent addition fills the cart.
pub(crate) async fn merge(client: &impl Executor, from: &Owner, into: &Owner, now: Timestamp) -> Result<()> {
    store::merge(client, from, into, now).await.map(drop)
}

/// Subtracts what was bought from the cart of `owner` (an [`Owner::key`]), in the transaction that completes the payment.
/// Units beyond the bought quantity stay. `items` are pairs of item id and quantity.
pub(crate) async fn remove_bought(client: &impl Executor, owner: &str, items: &[(i64, i32)]) -> Result<()> {
    store::remove_bought(client, owner, items).await
}

/// Deletes the carts of visitors that have not changed for [`VISITOR_CART_LIFETIME`]; returns how many lines were deleted.
pub(crate) async fn delete_expired(brand: &Brand) -> Result<u64> {
    let before = brand.clock.now().checked_sub(VISITOR_CART_LIFETIME).or_internal()?;
    let deleted = store::delete_expired(&brand.postgres().await?, before).await?;
    Ok(deleted)
}

/// The lines of these owners' carts as a JSON array. `owners` are [`Owner::key`]s.
pub(crate) async fn personal_data(client: &impl Executor, owners: &[String]) -> Result<Box<RawValue>> {
    store::personal_data(client, owners).await
}

/// Deletes the carts of these owners; returns how many lines were deleted. `owners` are [`Owner::key`]s.
pub(crate) async fn erase(client: &impl Executor, owners: &[String]) -> Result<u64> {
    store::erase(client, owners).await
}

/// The lines in the order in which they were added, with current prices, and the language of their texts. A line whose item was
/// hidden or sold out since, or is not available in the region, is included as `out`.
pub(crate) async fn list(cx: &RequestContext, caller: &Caller) -> Result<(Vec<Item>, Language)> {
    let client = cx.brand.postgres().await?;
    let owner = &caller.owner();
    // Another tab may have added items to the visitor's cart during the login.
    if let Some(visitor) = caller.previous_visitor() {
        merge(&client, &visitor, owner, cx.now()).await?;
    }
    let lines = store::list(&client, owner, cx.region.as_deref()).await?;
    let mut used = Language::Ru;
    let mut items = Vec::with_capacity(lines.len());
    for line in lines {
        let available = if line.is_listed { line.available } else { Some(0) };
        let (item, language) = item::read_cart_line(&line.card, cx.language, line.quantity, available)?;
        if language != Language::Ru {
            used = language;
        }
        items.push(item);
    }
    Ok((items, used))
}
