//! SQL of the carts. One statement a change: what it checks and what it writes cannot come apart.

use crate::platform::postgres::Executor;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::{MOST_PIECES, Outcome};
use crate::foundation::error::Result;
use crate::session::Owner;

/// A line with the item's row of `item_card`.
pub(super) struct CartLine {
    pub card: Row,
    pub quantity: i32,
    /// Whether visitors may still see the item.
    pub is_listed: bool,
}

/// Adds to a line or begins it.
///
/// `on conflict` locks the line before it looks at its quantity, so two adds at once are added up; the stock is checked
/// against the sum.
pub(super) async fn add(
    client: &impl Executor,
    owner: &Owner,
    item_id: i64,
    quantity: i32,
    now: Timestamp,
) -> Result<Outcome> {
    let statement = client
        .prepare_cached(
            "with item as ( \
                 select i.item_id, item_left(i.quantity, i.held, i.remainings) as stock \
                 from item i join listed_item using (item_id) where i.item_id = $2 \
             ), line as ( \
                 insert into cart_line (owner, item_id, quantity, added_at, changed_at) \
                 select $1, item_id, $3, $4, $4 from item where $3 <= stock \
                 on conflict (owner, item_id) do update \
                 set quantity = cart_line.quantity + excluded.quantity, changed_at = excluded.changed_at \
                 where cart_line.quantity + excluded.quantity <= least((select stock from item), $5) \
                 returning quantity \
             ) \
             select (select stock from item) as stock, exists (select from line) as written",
        )
        .await?;
    let row = match client.query_one(&statement, &[&owner.key(), &item_id, &quantity, &now, &MOST_PIECES]).await {
        // An import removed it while this statement looked at it.
        Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => return Ok(Outcome::NoItem),
        answered => answered?,
    };
    Ok(match (row.get("stock"), row.get("written")) {
        (None, _) => Outcome::NoItem,
        (Some(_), true) => Outcome::Written,
        (Some(stock), false) if stock >= MOST_PIECES => Outcome::TooMany,
        (Some(left), false) => Outcome::OutOfStock { left },
    })
}

/// Sets the quantity of a line that is there.
pub(super) async fn set(
    client: &impl Executor,
    owner: &Owner,
    item_id: i64,
    quantity: i32,
    now: Timestamp,
) -> Result<Outcome> {
    let statement = client
        .prepare_cached(
            "with item as ( \
                 select i.item_id, \
                        case when l.item_id is null then 0 else item_left(i.quantity, i.held, i.remainings) end as stock \
                 from item i left join listed_item l using (item_id) where i.item_id = $2 \
             ), line as ( \
                 update cart_line c set quantity = $3, changed_at = $4 from item \
                 where c.owner = $1 and c.item_id = item.item_id and $3 <= item.stock \
                 returning 1 \
             ) \
             select (select stock from item where exists (select from cart_line where owner = $1 and item_id = $2)) as stock, \
                    exists (select from line) as written",
        )
        .await?;
    let row = client.query_one(&statement, &[&owner.key(), &item_id, &quantity, &now]).await?;
    Ok(match (row.get("stock"), row.get("written")) {
        (_, true) => Outcome::Written,
        (None, false) => Outcome::NoLine,
        (Some(left), false) => Outcome::OutOfStock { left },
    })
}

/// Returns how many lines there were.
pub(super) async fn remove(client: &impl Executor, owner: &Owner, item_ids: &[i64]) -> Result<u64> {
    let statement = client.prepare_cached("delete from cart_line where owner = $1 and item_id = any ($2)").await?;
    Ok(client.execute(&statement, &[&owner.key(), &item_ids]).await?)
}

/// One statement, so that a line is in one cart or in the other. What was hidden or sold out since stays as it was.
pub(super) async fn merge(client: &impl Executor, from: &Owner, into: &Owner, now: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            "with moved as (delete from cart_line where owner = $1 returning item_id, quantity, added_at) \
             insert into cart_line as c (owner, item_id, quantity, added_at, changed_at) \
             select $2, m.item_id, \
                    case when s.pieces > 0 then least(m.quantity, s.pieces) else m.quantity end, m.added_at, $3 \
             from moved m join item i using (item_id), \
                  lateral (select item_left(i.quantity, i.held, i.remainings) as pieces) s \
             order by m.item_id \
             on conflict (owner, item_id) do update \
             set changed_at = excluded.changed_at, \
                 quantity = ( \
                     select case when s.pieces > 0 then least(c.quantity + excluded.quantity, s.pieces, $4) \
                                 else greatest(c.quantity, excluded.quantity) end \
                     from item i, lateral (select item_left(i.quantity, i.held, i.remainings) as pieces) s \
                     where i.item_id = c.item_id \
                 )",
        )
        .await?;
    Ok(client.execute(&statement, &[&from.key(), &into.key(), &now, &MOST_PIECES]).await?)
}

/// `items` are ids and how many were bought.
pub(super) async fn remove_bought(client: &impl Executor, owner: &str, items: &[(i64, i32)]) -> Result<()> {
    let statement = client
        .prepare_cached(
            "with bought as (select * from unnest($2::bigint[], $3::integer[]) as b (item_id, quantity)), \
             gone as ( \
                 delete from cart_line c using bought b \
                 where c.owner = $1 and c.item_id = b.item_id and c.quantity <= b.quantity \
             ) \
             update cart_line c set quantity = c.quantity - b.quantity from bought b \
             where c.owner = $1 and c.item_id = b.item_id and c.quantity > b.quantity",
        )
        .await?;
    let (ids, quantities): (Vec<i64>, Vec<i32>) = items.iter().copied().unzip();
    client.execute(&statement, &[&owner, &ids, &quantities]).await?;
    Ok(())
}

/// Whole carts of visitors, a thousand at a time.
pub(super) async fn forget(client: &impl Executor, before: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            "delete from cart_line where owner in ( \
                 select owner from cart_line c \
                 where owner like 'visitor:%' and changed_at < $1 \
                   and not exists (select from cart_line n where n.owner = c.owner and n.changed_at >= $1) \
                 limit 1000 \
             )",
        )
        .await?;
    Ok(client.execute(&statement, &[&before]).await?)
}

pub(super) async fn list(client: &impl Executor, owner: &Owner) -> Result<Vec<CartLine>> {
    let statement = client
        .prepare_cached(
            "select v.*, c.quantity as cart_quantity, l.item_id is not null as is_listed \
             from cart_line c join item_card v using (item_id) left join listed_item l using (item_id) \
             where c.owner = $1 order by c.added_at, c.item_id",
        )
        .await?;
    let rows = client.query(&statement, &[&owner.key()]).await?;
    let line = |card: Row| CartLine { quantity: card.get("cart_quantity"), is_listed: card.get("is_listed"), card };
    Ok(rows.into_iter().map(line).collect())
}
