//! SQL of a payment's transition: its status, the stock of its lines and the effects of its completion, in one transaction.
//!
//! # Invariants
//! - Rows are locked in one order, payments by id and then the stock of items by id, so that concurrent transitions do not deadlock.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use crate::foundation::error::{Error, Result};
use crate::payments::state::{ProviderTransaction, StockMovement, Transition};
use crate::payments::store::Payment;
use crate::platform::postgres::{Executor, Transaction};

/// Locks a payment and the stock of its items until the end of the transaction, and returns the payment.
///
/// # Errors
/// 404 for an unknown payment.
pub(super) async fn lock(transaction: &Transaction, payment_id: i64) -> Result<Payment> {
    let lock = transaction.prepare_cached(include_str!("lock_payment.sql")).await?;
    let lock_stock = transaction
        .prepare_cached(
            r"select from item_stock where item_id in (select item_id from payment_line where payment_id = $1)
              order by item_id for update",
        )
        .await?;
    let select = transaction.prepare_cached("select * from payment_sheet where payment_id = $1").await?;
    let parameters: [&(dyn ToSql + Sync); 1] = [&payment_id];
    let (locked, stock_locked, payment) = tokio::join!(
        transaction.execute(&lock, &parameters),
        transaction.execute(&lock_stock, &parameters),
        transaction.query_opt(&select, &parameters),
    );
    locked?;
    stock_locked?;
    Payment::from_row(&payment?.ok_or_else(|| Error::not_found("payment"))?)
}

/// Makes the open codes of the order that `payment` has paid due for polling: the worker cancels them.
pub(super) async fn make_other_codes_due(client: &impl Executor, payment: &Payment, now: Timestamp) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update payment set look_at = $4, looks = 0
              where owner = $1 and site_order_id = $2 and payment_id <> $3 and status = 'CREATED'",
        )
        .await?;
    client.execute(&statement, &[&payment.owner, &payment.site_order_id, &payment.id, &now]).await?;
    Ok(())
}

/// The units that the payment holds are no longer in stock.
const LACKS_HELD_UNITS: &str = r"
    with short as (
        update payment_line l set short = l.quantity - s.units
        from (select l.item_id, case when i.item_id is null then 0 else coalesce(s.quantity, l.quantity) end as units
              from payment_line l left join item i using (item_id) left join item_stock s using (item_id)
              where l.payment_id = $1) s
        where l.payment_id = $1 and l.item_id = s.item_id and s.units < l.quantity
        returning l.item_id
    )
    select exists (select from short)";

/// Units that other payments hold are not available.
const LACKS_UNITS: &str = r"
    with short as (
        update payment_line l set short = l.quantity - s.units
        from (select l.item_id,
                     case when i.item_id is null then 0
                          else least(item_left(s.quantity, s.held, s.level), l.quantity) end as units
              from payment_line l left join item i using (item_id) left join item_stock s using (item_id)
              where l.payment_id = $1) s
        where l.payment_id = $1 and l.item_id = s.item_id and s.units < l.quantity
        returning l.item_id
    )
    select exists (select from short)";

/// Whether the stock lacks units that a payment is about to take, which is saved with its lines: the money arrived late, or an import
/// reduced the stock or dropped the item while its units were held. Read after [`lock`] and before [`save`], which moves the stock: the
/// trigger `payment_move_stock` follows the payment's status. No quantity becomes negative.
pub(super) async fn lacks_stock(client: &impl Executor, payment_id: i64, stock: StockMovement) -> Result<bool> {
    let sql = match stock {
        StockMovement::Unchanged | StockMovement::Release => return Ok(false),
        StockMovement::Take => LACKS_HELD_UNITS,
        StockMovement::TakeLate => LACKS_UNITS,
    };
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_one(&statement, &[&payment_id]).await?.get(0))
}

/// Saves a transition, and why it needs manual action (`to_settle`). A payment that expires without a QR code is abandoned: its
/// order id may be used again.
pub(super) async fn save(
    client: &impl Executor,
    payment: &Payment,
    transition: Transition,
    transaction: &ProviderTransaction,
    next_poll_at: Option<Timestamp>,
    now: Timestamp,
    to_settle: Option<&str>,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update payment
              set status = $2, holds = holds and $3, look_at = $4, looks = 0, remark = case when to_settle then concat_ws('; ', remark, $8::text) else $8 end,
                  completed_at = case when $2 = 'COMPLETED' then $5::timestamptz end,
                  transaction_id = coalesce($6, transaction_id), transaction_date = coalesce($7, transaction_date),
                  to_settle = to_settle or $8::text is not null,
                  qr_id = case when $2 = 'COMPLETED' then coalesce(qr_id, qr_id_told) else qr_id end,
                  abandoned = abandoned or ($2 = 'EXPIRED' and qr_id is null)
              where payment_id = $1",
        )
        .await?;
    let status = transition.status.as_str();
    let keeps_stock = transition.stock == StockMovement::Unchanged;
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&payment.id, &status, &keeps_stock, &next_poll_at, &now, &transaction.id, &transaction.date, &to_settle];
    client.execute(&statement, &parameters).await?;
    Ok(())
}
