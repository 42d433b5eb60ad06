//! The visitor's cart, in PostgreSQL, so that nothing is lost.
//!
//! Called by `cart::http`, by `auth` at login and by a worker. A cart belongs to an [`Owner`]; every change is one statement that checks visibility and stock
//! where it writes, so that two at the same moment both count or are both refused rightly. What must never happen: a
//! line above the shop's stock is written, or one visitor's cart is shown to another.

mod body;
pub use body::{Post, post as read_post};
pub mod http;
mod store;

use crate::platform::postgres::Executor;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::item::{self, Item};
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::session::{Caller, Owner};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// The most pieces of one item in a cart.
pub const MOST_PIECES: i32 = 999;

/// How long the cart of a visitor without a login is kept after its last change.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a write to a line came to; the store decides it in the statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    /// No such item, or one that is hidden.
    NoItem,
    /// The cart has no line for it.
    NoLine,
    /// More than [`MOST_PIECES`] together.
    TooMany,
    /// So many pieces are left in the shop.
    OutOfStock {
        left: i32,
    },
}

impl Outcome {
    fn into_result(self) -> Result<()> {
        match self {
            Outcome::Written => Ok(()),
            Outcome::NoItem => Err(Error::not_found("item")),
            Outcome::NoLine => Err(Error::not_found("item in the cart")),
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

/// Adds pieces to what the cart has of an item.
///
/// # Errors
/// 404 for an item that does not exist or is hidden, 409 with `left` above the stock, 400 above 999 together.
pub async fn add(cx: &RequestContext, owner: &Owner, item_id: i64, quantity: i32) -> Result<()> {
    let outcome = store::add(&cx.brand.postgres().await?, owner, item_id, quantity, cx.now()).await?;
    outcome.into_result()
}

/// Sets how many pieces of an item the cart has; 0 removes it.
///
/// # Errors
/// 404 when the item is not in the cart, 409 with `left` above the stock.
pub async fn set(cx: &RequestContext, owner: &Owner, item_id: i64, quantity: i32) -> Result<()> {
    let client = cx.brand.postgres().await?;
    if quantity == 0 {
        let removed = store::remove(&client, owner, &[item_id]).await?;
        return if removed == 0 { Outcome::NoLine.into_result() } else { Ok(()) };
    }
    let outcome = store::set(&client, owner, item_id, quantity, cx.now()).await?;
    outcome.into_result()
}

/// Takes items out; what is not in the cart is ignored.
pub async fn remove(cx: &RequestContext, owner: &Owner, item_ids: &[i64]) -> Result<()> {
    store::remove(&cx.brand.postgres().await?, owner, item_ids).await?;
    Ok(())
}

/// Moves all lines of one cart into another: quantities add up, as far as the stock allows. Doing it again does nothing.
pub async fn merge(client: &impl Executor, from: &Owner, into: &Owner, now: Timestamp) -> Result<()> {
    store::merge(client, from, into, now).await.map(drop)
}

/// Takes what was bought out of its owner's cart (`owner` as the database has it), in the transaction that completes the
/// payment; pieces beyond those that were bought stay.
pub async fn remove_bought(client: &impl Executor, owner: &str, items: &[(i64, i32)]) -> Result<()> {
    store::remove_bought(client, owner, items).await
}

/// Forgets the carts of visitors that nobody changed for [`FORGOTTEN_AFTER`]; returns how many lines went.
pub async fn forget(brand: &Brand) -> Result<u64> {
    let before = brand.clock.now().checked_sub(FORGOTTEN_AFTER).or_internal()?;
    let forgotten = store::forget(&brand.postgres().await?, before).await?;
    Ok(forgotten)
}

/// The lines in the order of their adding, at today's prices. One whose item was hidden or sold out stays, as `out`. What
/// another tab added while this one logged in is the user's too.
pub async fn list(cx: &RequestContext, who: &Caller) -> Result<(Vec<Item>, Language)> {
    let client = cx.brand.postgres().await?;
    let owner = &who.owner();
    if let Some(visitor) = who.previous_visitor() {
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
