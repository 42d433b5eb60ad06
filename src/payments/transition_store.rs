//! SQL of what becomes of a payment: its status, the pieces of its lines, the effects of its completion, all in one
//! transaction.
//!
//! Used by `payments::apply` alone. Rows are locked in one order, the payment and then its items by id, so that two changes at
//! the same moment wait for each other.

use crate::platform::postgres::{Executor, Transaction};
use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use crate::foundation::error::{Error, Result};
use crate::payments::refund::Refund;
use crate::payments::state::{BankTransaction, StockMovement, Transition};
use crate::payments::store::Payment;

/// Locks a payment and its items until the end of the transaction.
pub(super) async fn lock(client: &Transaction, payment_id: i64) -> Result<Payment> {
    let lock = client.prepare_cached("select from payment where payment_id = $1 for update").await?;
    let lock_items = client
        .prepare_cached(
            "select from item where item_id in (select item_id from payment_line where payment_id = $1) \
             order by item_id for update",
        )
        .await?;
    let sheet = client.prepare_cached("select * from payment_sheet where payment_id = $1").await?;
    let parameters: [&(dyn ToSql + Sync); 1] = [&payment_id];
    let (locked, items, sheet) = tokio::join!(
        client.execute(&lock, &parameters),
        client.execute(&lock_items, &parameters),
        client.query_opt(&sheet, &parameters),
    );
    locked?;
    items?;
    Payment::read(&sheet?.ok_or_else(|| Error::not_found("payment"))?)
}

/// Moves the pieces of a payment's lines; returns whether there were too few: the money came late, or an import took away
/// what was held.
///
/// An import may have written another stock, or the item anew, since the pieces were held: no number goes below nothing.
pub(super) async fn move_stock(client: &impl Executor, payment_id: i64, stock: StockMovement) -> Result<bool> {
    let text = match stock {
        StockMovement::Untouched => return Ok(false),
        StockMovement::Release => {
            "with moved as ( \
                 update item i set held = greatest(i.held - l.quantity, 0) \
                 from payment_line l where l.payment_id = $1 and l.item_id = i.item_id \
             ) select false"
        }
        StockMovement::Take => {
            "with moved as ( \
                 update item i set held = greatest(i.held - l.quantity, 0), \
                                   quantity = case when i.quantity is not null then greatest(i.quantity - l.quantity, 0) end \
                 from payment_line l where l.payment_id = $1 and l.item_id = i.item_id \
             ) \
             select exists ( \
                 select from payment_line l left join item i using (item_id) \
                 where l.payment_id = $1 and (i.item_id is null or i.quantity < l.quantity) \
             )"
        }
        // What others hold is theirs.
        StockMovement::TakeLate => {
            "with moved as ( \
                 update item i set quantity = i.quantity - least(l.quantity, greatest(i.quantity - i.held, 0)) \
                 from payment_line l \
                 where l.payment_id = $1 and l.item_id = i.item_id and i.quantity is not null \
             ) \
             select exists ( \
                 select from payment_line l left join item i using (item_id) \
                 where l.payment_id = $1 \
                   and (i.item_id is null or item_left(i.quantity, i.held, i.remainings) < l.quantity) \
             )"
        }
    };
    let statement = client.prepare_cached(text).await?;
    Ok(client.query_one(&statement, &[&payment_id]).await?.get(0))
}

/// Writes the new status. `abandoned` frees the order's name: nobody was shown a code.
pub(super) async fn write(
    client: &impl Executor,
    payment: &Payment,
    change: Transition,
    transaction: &BankTransaction,
    look_at: Option<Timestamp>,
    now: Timestamp,
    to_settle: bool,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            "update payment \
             set status = $2, holds = holds and $3, look_at = $4, looks = 0, remark = null, \
                 completed_at = case when $2 = 'COMPLETED' then $5::timestamptz end, \
                 transaction_id = coalesce($6, transaction_id), transaction_date = coalesce($7, transaction_date), \
                 to_settle = to_settle or $8, \
                 qr_id = case when $2 = 'COMPLETED' then coalesce(qr_id, qr_id_told) else qr_id end, \
                 abandoned = abandoned or ($2 = 'EXPIRED' and qr_id is null) \
             where payment_id = $1",
        )
        .await?;
    let holds = change.stock == StockMovement::Untouched;
    let word = change.status.word();
    client
        .execute(
            &statement,
            &[&payment.id, &word, &holds, &look_at, &now, &transaction.id, &transaction.date, &to_settle],
        )
        .await?;
    Ok(())
}

/// The refunds of a payment, oldest first.
pub(super) async fn refunds(client: &impl Executor, payment_id: i64) -> Result<Vec<Refund>> {
    let statement = client
        .prepare_cached(
            "select refund_id, amount, status, created_at from refund where payment_id = $1 order by created_at",
        )
        .await?;
    let refund = |row: tokio_postgres::Row| {
        Ok(Refund {
            id: row.try_get("refund_id")?,
            amount: row.try_get("amount")?,
            status: row.try_get("status")?,
            created_at: row.try_get("created_at")?,
        })
    };
    client.query(&statement, &[&payment_id]).await?.into_iter().map(refund).collect()
}

/// Writes a refund, or what became of it.
pub(super) async fn note_refund(
    client: &impl Executor,
    payment_id: i64,
    refund: &Refund,
    now: Timestamp,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            "insert into refund (refund_id, payment_id, amount, status, created_at) values ($1, $2, $3, $4, $5) \
             on conflict (refund_id) do update set status = excluded.status",
        )
        .await?;
    client.execute(&statement, &[&refund.id, &payment_id, &refund.amount, &refund.status, &now]).await?;
    Ok(())
}

/// Queues the receipt of a completed payment; not touched before `next_try_at`.
pub(super) async fn queue_receipt(client: &impl Executor, payment: &Payment, next_try_at: Timestamp) -> Result<()> {
    let statement = client
        .prepare_cached(
            "insert into receipt (payment_id, number, next_try_at) values ($1, $2, $3) on conflict do nothing",
        )
        .await?;
    client.execute(&statement, &[&payment.id, &payment.bank_order_id, &next_try_at]).await?;
    Ok(())
}
