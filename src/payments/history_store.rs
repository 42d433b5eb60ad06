//! SQL that reads the history of payments: for the operator, the metrics and the emails about paid orders.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::payments::order::OrderLine;
use crate::payments::store::Payment;
use crate::payments::{PaymentCounts, PaymentFilter, Status};
use crate::platform::postgres::Executor;
use crate::telemetry::metrics::Queue;

/// Returns payments, newest first.
pub(super) async fn list(client: &impl Executor, filter: PaymentFilter<'_>) -> Result<Vec<Payment>> {
    let statement = client.prepare_cached(include_str!("list_payments.sql")).await?;
    let PaymentFilter { only_open, only_to_settle, since, site_order_id, user, item_id, status, count } = filter;
    let status = status.map(Status::as_str);
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&only_open, &only_to_settle, &since, &site_order_id, &user, &item_id, &status, &count];
    client.query(&statement, &parameters).await?.iter().map(Payment::from_row).collect()
}

/// Who placed an order, as its front end said; unverified. And where the order stands with the shop.
#[derive(Debug, Clone)]
pub struct Buyer {
    pub site_user_id: Option<String>,
    pub telegram_username: Option<String>,
    pub fulfilment: String,
}

pub(super) async fn buyer(client: &impl Executor, payment_id: i64) -> Result<Option<Buyer>> {
    let statement = client
        .prepare_cached("select site_user_id, telegram_username, fulfilment from payment where payment_id = $1")
        .await?;
    let row = client.query_opt(&statement, &[&payment_id]).await?;
    Ok(row.map(|row| Buyer {
        site_user_id: row.get("site_user_id"),
        telegram_username: row.get("telegram_username"),
        fulfilment: row.get("fulfilment"),
    }))
}

/// The payment with this number, else those of the order with this id, else the one with this order id of the provider.
pub(super) async fn ids_of(client: &impl Executor, reference: &str) -> Result<Vec<i64>> {
    let statement = client
        .prepare_cached(
            r"select payment_id from payment
              where payment_id = $2
                 or (site_order_id = $1 or bank_order_id = $1) and not exists (select from payment where payment_id = $2)
              order by payment_id",
        )
        .await?;
    let rows = client.query(&statement, &[&reference, &reference.parse::<i64>().ok()]).await?;
    Ok(rows.iter().map(|row| row.get("payment_id")).collect())
}

/// Which paid orders [`lock_paid`] returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct PaidFilter<'a> {
    /// Those of this owner.
    pub owner: Option<&'a str>,
    /// And those whose front end named one of these users, if they were completed at `since` or later.
    pub user_ids: &'a [String],
    pub since: Timestamp,
    /// Only those of exactly these items, sorted.
    pub item_ids: &'a [i64],
    /// Only the order with this id.
    pub site_order_id: Option<&'a str>,
}

/// Locks and returns paid orders, newest first.
pub(super) async fn lock_paid(client: &impl Executor, filter: PaidFilter<'_>) -> Result<Vec<Payment>> {
    let statement = client
        .prepare_cached(
            r"with paid as (
                  select payment_id from payment p
                  where status = 'COMPLETED' and ($5::text is null or site_order_id = $5)
                    and (owner = $1::text or (site_user_id = any ($2) and completed_at >= $3))
                    and $4 = (select array_agg(l.item_id order by l.item_id) from payment_line l
                              where l.payment_id = p.payment_id)
                  order by completed_at desc limit 50 for update
              )
              select s.* from payment_sheet s join paid using (payment_id) order by s.completed_at desc, s.payment_id desc",
        )
        .await?;
    let PaidFilter { owner, user_ids, since, item_ids, site_order_id } = filter;
    let parameters: [&(dyn ToSql + Sync); 5] = [&owner, &user_ids, &since, &item_ids, &site_order_id];
    client.query(&statement, &parameters).await?.iter().map(Payment::from_row).collect()
}

/// What was refunded of a payment, or is being refunded, in roubles.
pub(super) async fn refunded(client: &impl Executor, payment_id: i64) -> Result<Decimal> {
    let statement = client
        .prepare_cached(
            r"select coalesce(sum(amount), 0) as refunded from refund
              where payment_id = $1 and status in ('IN_PROGRESS', 'COMPLETED')",
        )
        .await?;
    Ok(client.query_one(&statement, &[&payment_id]).await?.try_get("refunded")?)
}

/// Returns a payment's lines in the order of the request, named in `language` where the catalogue has a translation.
pub(super) async fn lines(client: &impl Executor, payment_id: i64, language: Language) -> Result<Vec<OrderLine>> {
    let statement = client
        .prepare_cached(
            r"select l.item_id, coalesce(nullif(i.translations #>> array[$2, 'name'], ''), l.name) as name,
                     l.list_price, l.price, l.quantity
              from payment_line l left join item i using (item_id) where l.payment_id = $1 order by l.position",
        )
        .await?;
    let line = |row: Row| {
        Ok(OrderLine {
            item_id: row.try_get("item_id")?,
            name: row.try_get("name")?,
            list_price: row.try_get("list_price")?,
            price: row.try_get("price")?,
            quantity: row.try_get("quantity")?,
        })
    };
    client.query(&statement, &[&payment_id, &language.tag()]).await?.into_iter().map(line).collect()
}

/// Sets the buyer's address of a fiscal receipt that is not registered yet and has none; it is due now.
pub(super) async fn note_receipt_email(
    client: &impl Executor,
    payment_id: i64,
    email: &str,
    now: Timestamp,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update receipt set email = $2, next_try_at = $3
              where payment_id = $1 and email is null and status = 'QUEUED' and tries = 0",
        )
        .await?;
    client.execute(&statement, &[&payment_id, &email, &now]).await?;
    Ok(())
}

/// Counts the payments in each of `states`, those that need manual settlement, money without an order, and the receipts. Without
/// `registers_receipts` none of them waits: this program does not send them.
pub(super) async fn counts(
    client: &impl Executor,
    states: &[&str],
    registers_receipts: bool,
    now: Timestamp,
) -> Result<PaymentCounts> {
    let statement = client.prepare_cached(include_str!("counts.sql")).await?;
    let row = client.query_one(&statement, &[&states]).await?;
    let mut by_state: Vec<i64> = row.get("by_state");
    by_state.push(row.get("to_settle"));
    by_state.push(row.get("unknown"));
    let (waiting, oldest): (i64, Option<Timestamp>) = (row.get("waiting"), row.get("oldest"));
    let (waiting, oldest) = if registers_receipts { (waiting, oldest) } else { (0, None) };
    let oldest_s = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
    let receipts = Queue { waiting, failed: row.get("failed"), oldest_s };
    Ok(PaymentCounts { by_state, receipts })
}
