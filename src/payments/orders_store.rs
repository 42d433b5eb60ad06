//! SQL of the orders that a caller has placed.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::order::OrderLine;
use super::refund::Refund;
use super::state::{RefundStatus, Status};
use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::platform::postgres::Executor;

/// An order of the caller.
#[derive(Debug, Clone)]
pub struct PlacedOrder {
    /// The shop's own number, which the email names.
    pub id: i64,
    /// The front end's id.
    pub site_order_id: String,
    pub status: Status,
    /// Where the order stands with the shop: `NEW` until the shop says otherwise.
    pub fulfilment: String,
    /// Roubles.
    pub amount: Decimal,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub paid_at: Option<Timestamp>,
    /// The QR code that can be paid now.
    pub qr_id: Option<String>,
    pub lines: Vec<OrderLine>,
    /// Oldest first.
    pub refunds: Vec<Refund>,
}

/// A part of the caller's orders.
#[derive(Debug, Clone)]
pub struct OrderPage {
    /// Newest first.
    pub orders: Vec<PlacedOrder>,
    /// The number of all orders of the caller.
    pub total: i64,
    /// The requested language if any name is in it, else Russian.
    pub language: Language,
}

/// Which orders [`list`] returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrderFilter<'a> {
    pub owner: &'a str,
    /// Only the order with this id of the front end.
    pub site_order_id: Option<&'a str>,
    pub count: i64,
    pub skip: i64,
}

/// Returns orders, newest first, with items named in `language` where the catalogue has a translation.
pub(super) async fn list(
    client: &impl Executor,
    filter: OrderFilter<'_>,
    language: Language,
    now: Timestamp,
) -> Result<OrderPage> {
    let statement = client.prepare_cached(include_str!("list_orders.sql")).await?;
    let OrderFilter { owner, site_order_id, count, skip } = filter;
    let parameters: [&(dyn ToSql + Sync); 6] = [&owner, &site_order_id, &now, &language.tag(), &count, &skip];
    let rows = client.query(&statement, &parameters).await?;
    let total = rows.first().map(|row| row.try_get("total")).transpose()?.unwrap_or(0);
    let mut page = OrderPage { orders: Vec::with_capacity(rows.len()), total, language: Language::Ru };
    for row in &rows {
        let Some(id) = row.try_get("payment_id")? else { continue };
        page.orders.push(order_from_row(row, id)?);
        if row.try_get::<_, Option<bool>>("is_translated")? == Some(true) {
            page.language = language;
        }
    }
    Ok(page)
}

fn order_from_row(row: &Row, id: i64) -> Result<PlacedOrder> {
    let status: &str = row.try_get("status")?;
    Ok(PlacedOrder {
        id,
        site_order_id: row.try_get("site_order_id")?,
        status: Status::parse(status).ok_or_else(|| Error::internal(format!("unknown payment status {status:?}")))?,
        fulfilment: row.try_get("fulfilment")?,
        amount: row.try_get("amount")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        paid_at: row.try_get("paid_at")?,
        qr_id: row.try_get("qr_id")?,
        lines: lines_from_row(row)?,
        refunds: refunds_from_row(row)?,
    })
}

fn lines_from_row(row: &Row) -> Result<Vec<OrderLine>> {
    let names: Vec<String> = list_of(row, "names")?;
    let (list_prices, prices): (Vec<Decimal>, Vec<Decimal>) = (list_of(row, "list_prices")?, list_of(row, "prices")?);
    let (item_ids, quantities): (Vec<i64>, Vec<i32>) = (list_of(row, "item_ids")?, list_of(row, "quantities")?);
    let lines = names.into_iter().zip(item_ids).zip(list_prices.into_iter().zip(prices)).zip(quantities);
    let line =
        |(((name, item_id), (list_price, price)), quantity)| OrderLine { item_id, name, list_price, price, quantity };
    Ok(lines.map(line).collect())
}

fn refunds_from_row(row: &Row) -> Result<Vec<Refund>> {
    let (ids, statuses): (Vec<String>, Vec<String>) = (list_of(row, "refund_ids")?, list_of(row, "refund_statuses")?);
    let (amounts, times): (Vec<Decimal>, Vec<Timestamp>) =
        (list_of(row, "refund_amounts")?, list_of(row, "refunded_at")?);
    let (ordinals, found): (Vec<Option<i32>>, Vec<bool>) =
        (list_of(row, "refund_ordinals")?, list_of(row, "refunds_found")?);
    let mut refunds = Vec::new();
    for ((id, status), ((amount, created_at), (ordinal, found_at_bank))) in
        ids.into_iter().zip(statuses).zip(amounts.into_iter().zip(times).zip(ordinals.into_iter().zip(found)))
    {
        let status =
            RefundStatus::parse(&status).ok_or_else(|| Error::internal(format!("unknown refund status {status:?}")))?;
        refunds.push(Refund { id, ordinal, amount, status, created_at, found_at_bank });
    }
    Ok(refunds)
}

/// An array of a lateral join; empty where it found no row.
fn list_of<T>(row: &Row, column: &str) -> Result<Vec<T>>
where
    for<'r> Option<Vec<T>>: tokio_postgres::types::FromSql<'r>,
{
    Ok(row.try_get::<_, Option<Vec<T>>>(column)?.unwrap_or_default())
}
