//! SQL of money without an order.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::foundation::error::{Error, Result};
use crate::payments::provider::WebhookEvent;
use crate::platform::postgres::Executor;

/// What became of money without an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownMoneyStatus {
    Open,
    Attached,
    /// The provider was asked to refund it.
    Refunding,
    Refunded,
}

impl UnknownMoneyStatus {
    const ALL: [UnknownMoneyStatus; 4] = [
        UnknownMoneyStatus::Open,
        UnknownMoneyStatus::Attached,
        UnknownMoneyStatus::Refunding,
        UnknownMoneyStatus::Refunded,
    ];

    /// The value of the column `unknown_money.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownMoneyStatus::Open => "OPEN",
            UnknownMoneyStatus::Attached => "ATTACHED",
            UnknownMoneyStatus::Refunding => "REFUNDING",
            UnknownMoneyStatus::Refunded => "REFUNDED",
        }
    }
}

/// Money that the provider has received for an order that the database does not have.
#[derive(Debug, Clone)]
pub struct UnknownMoney {
    pub id: i64,
    pub status: UnknownMoneyStatus,
    /// The order id that the provider has.
    pub bank_order_id: String,
    /// Not signed by the provider.
    pub qr_id: Option<String>,
    pub amount: Decimal,
    pub transaction_date: Option<Timestamp>,
    pub noticed_at: Timestamp,
    /// The payment that it was attached to.
    pub payment_id: Option<i64>,
    pub note: Option<String>,
}

fn money_from_row(row: &Row) -> Result<UnknownMoney> {
    let status: &str = row.try_get("status")?;
    let known = UnknownMoneyStatus::ALL.into_iter().find(|known| known.as_str() == status);
    Ok(UnknownMoney {
        id: row.try_get("unknown_id")?,
        status: known.ok_or_else(|| Error::internal(format!("unknown status of money {status:?}")))?,
        bank_order_id: row.try_get("bank_order_id")?,
        qr_id: row.try_get("qr_id")?,
        amount: row.try_get("amount")?,
        transaction_date: row.try_get("transaction_date")?,
        noticed_at: row.try_get("noticed_at")?,
        payment_id: row.try_get("payment_id")?,
        note: row.try_get("note")?,
    })
}

/// Inserts the money of a notification; `false` when it is known.
pub(super) async fn insert(
    client: &impl Executor,
    event: &WebhookEvent,
    amount: Decimal,
    now: Timestamp,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"insert into unknown_money (bank_order_id, qr_id, amount, transaction_date, noticed_at)
              select $1::text, $2::text, $3::numeric, $4::timestamptz, $5::timestamptz
              where not exists (select from unknown_money where bank_order_id = $1) on conflict do nothing",
        )
        .await?;
    let WebhookEvent { order_id, qr_id, transaction_date, .. } = event;
    Ok(client.execute(&statement, &[order_id, qr_id, &amount, transaction_date, &now]).await? == 1)
}

/// An order that the database has by now, because a failover was undone, is completed by its payment.
pub(super) async fn list(client: &impl Executor, all: bool) -> Result<Vec<UnknownMoney>> {
    let statement = client
        .prepare_cached(
            r"select u.* from unknown_money u
              where $1 or u.status in ('OPEN', 'REFUNDING')
                and not exists (select from payment p where p.bank_order_id = u.bank_order_id)
              order by u.unknown_id",
        )
        .await?;
    client.query(&statement, &[&all]).await?.iter().map(money_from_row).collect()
}

pub(super) async fn by_id(client: &impl Executor, unknown_id: i64) -> Result<Option<UnknownMoney>> {
    let statement = client.prepare_cached("select * from unknown_money where unknown_id = $1").await?;
    client.query_opt(&statement, &[&unknown_id]).await?.as_ref().map(money_from_row).transpose()
}

/// Locks money until the end of the transaction, and returns it.
pub(super) async fn lock(client: &impl Executor, unknown_id: i64) -> Result<Option<UnknownMoney>> {
    let statement = client.prepare_cached("select * from unknown_money where unknown_id = $1 for update").await?;
    client.query_opt(&statement, &[&unknown_id]).await?.as_ref().map(money_from_row).transpose()
}

/// Saves a status, and a note unless it is `None`.
pub(super) async fn save(
    client: &impl Executor,
    unknown_id: i64,
    status: UnknownMoneyStatus,
    note: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update unknown_money set status = $2, note = coalesce($3, note),
                                       closed_at = case when $2 in ('ATTACHED', 'REFUNDED') then $4::timestamptz end
              where unknown_id = $1",
        )
        .await?;
    let parameters: [&(dyn ToSql + Sync); 4] = [&unknown_id, &status.as_str(), &note, &now];
    client.execute(&statement, &parameters).await?;
    Ok(())
}

/// Gives a payment the provider's ids of the money, so that it is polled and refunded under them, and closes the money.
pub(super) async fn attach(
    client: &impl Executor,
    unknown_id: i64,
    payment_id: i64,
    note: &str,
    now: Timestamp,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"with replaced as (select bank_order_id from payment where payment_id = $2), money as (
                  update unknown_money set status = 'ATTACHED', payment_id = $2, note = $3, closed_at = $4,
                         replaced_order_id = replaced.bank_order_id
                  from replaced where unknown_id = $1 returning unknown_money.bank_order_id, qr_id
              )
              update payment p
              set bank_order_id = money.bank_order_id, qr_id = coalesce(money.qr_id, p.qr_id), qr_id_told = null, look_at = $4
              from money where p.payment_id = $2",
        )
        .await?;
    client.execute(&statement, &[&unknown_id, &payment_id, &note, &now]).await?;
    Ok(())
}

/// Returns the money that the provider was asked to refund.
pub(super) async fn refunding(client: &impl Executor) -> Result<Vec<UnknownMoney>> {
    let statement = client
        .prepare_cached("select * from unknown_money where status = 'REFUNDING' order by unknown_id limit 20")
        .await?;
    client.query(&statement, &[]).await?.iter().map(money_from_row).collect()
}
