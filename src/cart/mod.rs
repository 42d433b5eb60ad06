//! The shopping cart of a visitor or user, stored in PostgreSQL.
//!
//! # Invariants
//!
//! A cart belongs to one [`Owner`], and no other caller can read or change it. No write sets a quantity above the stock: each
//! write checks the stock in its own statement, so concurrent writes either both succeed within it or are rejected.

mod request_body;
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

/// The largest quantity of one item in a cart.
pub(crate) const MAX_QUANTITY: i32 = 999;

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
    /// The quantity exceeds the stock, which is `left` units.
    OutOfStock {
        left: i32,
    },
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
        }
    }
}

/// Adds units of an item to the cart.
///
/// # Errors
/// 404 for an item that does not exist or is hidden, 409 with `left` above the stock, 400 for a sum above [`MAX_QUANTITY`].
pub(crate) async fn add(cx: &RequestContext, owner: &Owner, item_id: i64, quantity: i32) -> Result<()> {
    let outcome = store::add(&cx.brand.postgres().await?, owner, item_id, quantity, cx.now()).await?;
    outcome.into_result()
}

/// Sets the quantity of an item in the cart; 0 removes it.
///
/// # Errors
/// 404 when the item is not in the cart, 409 with `left` above the stock.
pub(crate) async fn set_quantity(cx: &RequestContext, owner: &Owner, item_id: i64, quantity: i32) -> Result<()> {
    let client = cx.brand.postgres().await?;
    if quantity == 0 {
        let removed = store::remove(&client, owner, &[item_id]).await?;
        return if removed == 0 { Outcome::LineNotFound.into_result() } else { Ok(()) };
    }
    let outcome = store::set_quantity(&client, owner, item_id, quantity, cx.now()).await?;
    outcome.into_result()
}

/// Removes items from the cart; ids that are not in it are ignored.
pub(crate) async fn remove(cx: &RequestContext, owner: &Owner, item_ids: &[i64]) -> Result<()> {
    store::remove(&cx.brand.postgres().await?, owner, item_ids).await?;
    Ok(())
}

/// Moves all lines of one cart into another; quantities add up within the stock. Idempotent.
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
/// hidden or sold out since is included as `out`.
pub(crate) async fn list(cx: &RequestContext, caller: &Caller) -> Result<(Vec<Item>, Language)> {
    let client = cx.brand.postgres().await?;
    let owner = &caller.owner();
    // Another tab may have added items to the visitor's cart during the login.
    if let Some(visitor) = caller.previous_visitor() {
        merge(&client, &visitor, owner, cx.now()).await?;
    }
    let lines = store::list(&client, owner).await?;
    let mut used = Language::Ru;
    let mut items = Vec::with_capacity(lines.len());
    for line in lines {
        let (item, language) = item::read_cart_line(&line.card, cx.language, line.quantity, line.is_listed)?;
        if language != Language::Ru {
            used = language;
        }
        items.push(item);
    }
    Ok((items, used))
}
