//! SQL of the carts.
//!
//! # Invariants
//!
//! Each change is one statement, so that what it checks (visibility, stock) still holds when it writes.

use crate::platform::postgres::Executor;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::{MAX_QUANTITY, Outcome};
use crate::foundation::error::{Result, ResultExt};
use crate::session::Owner;

/// A line of a cart with its item's row of `item_card`.
pub(super) struct CartLine {
    pub card: Row,
    pub quantity: i32,
    /// Whether the item is visible and in a visible category.
    pub is_listed: bool,
}

/// Adds units to a line, or inserts it.
///
/// `on conflict` locks the line before its quantity is read, so concurrent calls add up, and the sum is compared with the stock.
pub(super) async fn add(
    client: &impl Executor,
    owner: &Owner,
    item_id: i64,
    quantity: i32,
    now: Timestamp,
) -> Result<Outcome> {
    let statement = client
        .prepare_cached(
            r"with item as (
                select i.item_id, item_left(s.quantity, s.held, s.level) as stock
                from listed_item i left join item_stock s using (item_id) where i.item_id = $2
            ), line as (
                insert into cart_line (owner, item_id, quantity, added_at, changed_at)
                select $1, item_id, $3, $4, $4 from item where $3 <= stock
                on conflict (owner, item_id) do update
                set quantity = cart_line.quantity + excluded.quantity, changed_at = excluded.changed_at
                where cart_line.quantity + excluded.quantity <= least((select stock from item), $5)
                returning quantity
            )
            select (select stock from item) as stock, exists (select from line) as written",
        )
        .await?;
    let row = client.query_one(&statement, &[&owner.key(), &item_id, &quantity, &now, &MAX_QUANTITY]).await?;
    Ok(match (row.get("stock"), row.get("written")) {
        (None, _) => Outcome::ItemNotFound,
        (Some(_), true) => Outcome::Written,
        (Some(stock), false) if stock >= MAX_QUANTITY => Outcome::TooMany,
        (Some(left), false) => Outcome::OutOfStock { left },
    })
}

/// Sets the quantity of an existing line.
pub(super) async fn set_quantity(
    client: &impl Executor,
    owner: &Owner,
    item_id: i64,
    quantity: i32,
    now: Timestamp,
) -> Result<Outcome> {
    let statement = client
        .prepare_cached(
            r"with item as (
                select i.item_id,
                       case when l.item_id is null then 0 else item_left(s.quantity, s.held, s.level) end as stock
                from item i left join listed_item l using (item_id) left join item_stock s using (item_id)
                where i.item_id = $2
            ), line as (
                update cart_line c set quantity = $3, changed_at = $4 from item
                where c.owner = $1 and c.item_id = item.item_id and $3 <= item.stock
                returning 1
            ), existing as (
                select from cart_line where owner = $1 and item_id = $2
            )
            select (select stock from item where exists (select from existing)) as stock,
                   exists (select from line) as written",
        )
        .await?;
    let row = client.query_one(&statement, &[&owner.key(), &item_id, &quantity, &now]).await?;
    Ok(match (row.get("stock"), row.get("written")) {
        (_, true) => Outcome::Written,
        (None, false) => Outcome::LineNotFound,
        (Some(left), false) => Outcome::OutOfStock { left },
    })
}

/// Returns how many lines were removed.
pub(super) async fn remove(client: &impl Executor, owner: &Owner, item_ids: &[i64]) -> Result<u64> {
    let statement = client.prepare_cached(r"delete from cart_line where owner = $1 and item_id = any ($2)").await?;
    Ok(client.execute(&statement, &[&owner.key(), &item_ids]).await?)
}

/// Returns how many lines were moved.
pub(super) async fn merge(client: &impl Executor, from: &Owner, into: &Owner, now: Timestamp) -> Result<u64> {
    let statement = client.prepare_cached(include_str!("merge_carts.sql")).await?;
    Ok(client.execute(&statement, &[&from.key(), &into.key(), &now, &MAX_QUANTITY]).await?)
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

pub(super) async fn list(client: &impl Executor, owner: &Owner) -> Result<Vec<CartLine>> {
    let statement = client
        .prepare_cached(
            r"select v.*, c.quantity as cart_quantity, l.item_id is not null as is_listed
            from cart_line c join item_card v using (item_id) left join listed_item l using (item_id)
            where c.owner = $1 order by c.added_at, c.item_id",
        )
        .await?;
    let rows = client.query(&statement, &[&owner.key()]).await?;
    let line = |card: Row| CartLine { quantity: card.get("cart_quantity"), is_listed: card.get("is_listed"), card };
    Ok(rows.into_iter().map(line).collect())
}
