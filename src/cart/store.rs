//! SQL of the carts.
//!
//! # Invariants
//!
//! Each change is one statement, so that what it checks (visibility, stock) still holds when it writes.

use crate::platform::postgres::Executor;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{LotSize, MAX_LINES, MAX_QUANTITY, Outcome};
use crate::foundation::error::{ConstraintExt, Error, Result, ResultExt};
use crate::session::Owner;

/// A line of a cart with its item's row of `item_card`.
pub(super) struct CartLine {
    pub card: Row,
    pub quantity: i32,
    /// Units that the owner can buy; `None` where the stock is not counted.
    pub available: Option<i32>,
    /// Whether the item is visible, in a visible category, and available in the region.
    pub is_listed: bool,
}

/// A change of one line.
pub(super) struct LineChange<'a> {
    pub owner: &'a Owner,
    pub item_id: i64,
    /// `None`: the smallest addition that makes a quantity which is sold.
    pub quantity: Option<i32>,
    pub region: Option<&'a str>,
    pub now: Timestamp,
}

/// Adds units to a line, or inserts it.
///
/// `on conflict` locks the line before its quantity is read, so concurrent calls add up, and the sum is compared with the stock.
pub(super) async fn add(client: &impl Executor, change: &LineChange<'_>) -> Result<Outcome> {
    let statement = client.prepare_cached(include_str!("add_line.sql")).await?;
    let LineChange { owner, item_id, quantity, region, now } = change;
    let parameters: [&(dyn ToSql + Sync); 6] = [&owner.key(), item_id, quantity, now, region, &MAX_QUANTITY];
    let row = match client.query_opt(&statement, &parameters).await {
        Err(error) if error.constraint() == Some("cart_line_count_check") => return Ok(Outcome::CartFull),
        result => result?,
    };
    Ok(row.map_or(Outcome::ItemNotFound, |row| outcome(&row)))
}

/// Sets the quantity of an existing line. A quantity that is not larger than the line's is always written.
pub(super) async fn set_quantity(client: &impl Executor, change: &LineChange<'_>) -> Result<Outcome> {
    let statement = client.prepare_cached(include_str!("set_line.sql")).await?;
    let LineChange { owner, item_id, quantity, region, now } = change;
    let parameters: [&(dyn ToSql + Sync); 5] = [&owner.key(), item_id, quantity, now, region];
    let row = client.query_opt(&statement, &parameters).await?;
    Ok(row.map_or(Outcome::LineNotFound, |row| outcome(&row)))
}

/// Reads what a statement found of the item, and whether it wrote the line.
fn outcome(row: &Row) -> Outcome {
    let (written, left): (bool, i32) = (row.get("written"), row.get("available"));
    let lot_size = LotSize::new(row.get("min_quantity"), row.get("step_quantity"));
    match row.get::<_, Option<&str>>("currency") {
        _ if written => Outcome::Written,
        _ if !row.get::<_, bool>("is_in_region") => Outcome::NotInRegion,
        Some(currency) if currency != "RUB" => Outcome::CurrencyNotSupported,
        _ if left < lot_size.min => Outcome::OutOfStock { left },
        _ if row.get::<_, i32>("wanted") > left.min(MAX_QUANTITY) => match left {
            MAX_QUANTITY.. => Outcome::TooMany,
            left => Outcome::OutOfStock { left },
        },
        _ if !lot_size.sells(row.get("wanted")) => Outcome::QuantityNotSold(lot_size),
        // The line has changed meanwhile.
        _ if lot_size != LotSize::default() => Outcome::QuantityNotSold(lot_size),
        _ => Outcome::OutOfStock { left },
    }
}

/// Returns how many lines were removed.
pub(super) async fn remove(client: &impl Executor, owner: &Owner, item_ids: &[i64]) -> Result<u64> {
    let statement = client.prepare_cached(r"delete from cart_line where owner = $1 and item_id = any ($2)").await?;
    Ok(client.execute(&statement, &[&owner.key(), &item_ids]).await?)
}

/// Returns how many lines were moved.
///
/// # Errors
/// 503 when a concurrent addition fills the cart; repeating the merge succeeds.
pub(super) async fn merge(client: &impl Executor, from: &Owner, into: &Owner, now: Timestamp) -> Result<u64> {
    let statement = client.prepare_cached(include_str!("merge_carts.sql")).await?;
    let max_lines = i64::try_from(MAX_LINES).or_internal()?;
    let parameters: [&(dyn ToSql + Sync); 5] = [&from.key(), &into.key(), &now, &MAX_QUANTITY, &max_lines];
    let merged = client.execute(&statement, &parameters).await;
    merged.on_constraint("cart_line_count_check", || Error::unavailable("the cart was filled during a merge"))
}

/// Subtracts the bought quantities, as pairs of item id and quantity, from the lines of a cart. Lines are locked in the order of their
/// items, as by the merge of two carts.
pub(super) async fn remove_bought(client: &impl Executor, owner: &str, items: &[(i64, i32)]) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"with bought as (
                select b.item_id, b.quantity
                from unnest($2::bigint[], $3::integer[]) as b (item_id, quantity)
                join cart_line c on c.owner = $1 and c.item_id = b.item_id
                order by c.item_id for update of c
            ), removed as (
                delete from cart_line c using bought b
                where c.owner = $1 and c.item_id = b.item_id and c.quantity <= b.quantity
            )
            update cart_line c set quantity = c.quantity - b.quantity from bought b
            where c.owner = $1 and c.item_id = b.item_id and c.quantity > b.quantity",
        )
        .await?;
    let (ids, quantities): (Vec<i64>, Vec<i32>) = items.iter().copied().unzip();
    client.execute(&statement, &[&owner, &ids, &quantities]).await?;
    Ok(())
}

/// Deletes the carts of visitors that did not change since `before`, at most 1000 per call; returns how many lines were deleted.
pub(super) async fn delete_expired(client: &impl Executor, before: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"delete from cart_line where owner in (
                select owner from cart_line c
                where owner like 'visitor:%' and changed_at < $1
                  and not exists (select from cart_line n where n.owner = c.owner and n.changed_at >= $1)
                limit 1000
            )",
        )
        .await?;
    Ok(client.execute(&statement, &[&before]).await?)
}

/// The lines of these owners' carts as a JSON array.
pub(super) async fn personal_data(client: &impl Executor, owners: &[String]) -> Result<Box<RawValue>> {
    let statement = client
        .prepare_cached(
            r"select coalesce(jsonb_agg(jsonb_build_object(
                         'itemID', item_id, 'quantity', quantity, 'addedAt', added_at, 'changedAt', changed_at)
                     order by added_at, item_id), '[]')::text as data
              from cart_line where owner = any ($1)",
        )
        .await?;
    let row = client.query_one(&statement, &[&owners]).await?;
    RawValue::from_string(row.try_get("data")?).or_internal()
}

/// Returns how many lines were deleted.
pub(super) async fn erase(client: &impl Executor, owners: &[String]) -> Result<u64> {
    let statement = client.prepare_cached("delete from cart_line where owner = any ($1)").await?;
    Ok(client.execute(&statement, &[&owners]).await?)
}

/// The lines in the order in which they were added.
pub(super) async fn list(client: &impl Executor, owner: &Owner, region: Option<&str>) -> Result<Vec<CartLine>> {
    let statement = client.prepare_cached(include_str!("list_lines.sql")).await?;
    let rows = client.query(&statement, &[&owner.key(), &region]).await?;
    let line = |card: Row| CartLine {
        quantity: card.get("cart_quantity"),
        available: card.get("available"),
        is_listed: card.get("is_listed"),
        card,
    };
    Ok(rows.into_iter().map(line).collect())
}
