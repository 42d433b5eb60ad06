//! SQL of the payments themselves: reading one, and moving a visitor's payments to a user.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::state::{CurrentState, Status};
use crate::foundation::error::{Error, Result};
use crate::platform::postgres::Executor;

/// Locks a key until the end of the transaction.
pub(super) const ADVISORY_LOCK: &str = "select pg_advisory_xact_lock(hashtextextended($1, 0))";

/// A payment, as a row of the view `payment_sheet`.
#[derive(Debug, Clone)]
pub struct Payment {
    pub id: i64,
    /// `visitor:…` or `user:…`
    pub owner: String,
    /// The front end's order id: the owner's idempotency key.
    pub site_order_id: String,
    /// The order id that the provider is given.
    pub bank_order_id: String,
    pub state: CurrentState,
    pub amount: Decimal,
    /// What the front end took the amount for; `None` for a payment of an earlier version.
    pub stated_amount: Option<Decimal>,
    pub redirect_url: Option<String>,
    pub created_at: Timestamp,
    /// Until then, the instance that registers the QR code has it to itself. `None`: no instance is registering it.
    pub registering_until: Option<Timestamp>,
    pub qr_id: Option<String>,
    pub payload: Option<String>,
    pub qr_url: Option<String>,
    /// The QR code that a notification named while `qr_id` was unknown.
    pub notified_qr_id: Option<String>,
    /// Polls since the last transition.
    pub polls: i32,
    pub transaction_id: Option<i64>,
    pub transaction_date: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// Whether the payment needs manual settlement.
    pub to_settle: bool,
    /// The last error, for the operator.
    pub remark: Option<String>,
    /// Item ids and quantities, in the order of the request.
    pub lines: Vec<(i64, i32)>,
}

impl Payment {
    /// The QR code to poll, if any is known.
    pub(super) fn known_qr_id(&self) -> Option<&str> {
        self.qr_id.as_deref().or(self.notified_qr_id.as_deref())
    }

    /// Reads a row of `payment_sheet`.
    pub(super) fn from_row(row: &Row) -> Result<Payment> {
        let status: &str = row.try_get("status")?;
        let status =
            Status::parse(status).ok_or_else(|| Error::internal(format!("unknown payment status {status:?}")))?;
        let (ids, quantities): (Vec<i64>, Vec<i32>) = (row.try_get("item_ids")?, row.try_get("quantities")?);
        let (holds_stock, expires_at) = (row.try_get("holds")?, row.try_get("expires_at")?);
        Ok(Payment {
            id: row.try_get("payment_id")?,
            owner: row.try_get("owner")?,
            site_order_id: row.try_get("site_order_id")?,
            bank_order_id: row.try_get("bank_order_id")?,
            state: CurrentState { status, holds_stock, expires_at },
            amount: row.try_get("amount")?,
            stated_amount: row.try_get("stated_amount")?,
            redirect_url: row.try_get("redirect_url")?,
            created_at: row.try_get("created_at")?,
            registering_until: row.try_get("registering_until")?,
            qr_id: row.try_get("qr_id")?,
            payload: row.try_get("payload")?,
            qr_url: row.try_get("qr_url")?,
            notified_qr_id: row.try_get("qr_id_told")?,
            polls: row.try_get("looks")?,
            transaction_id: row.try_get("transaction_id")?,
            transaction_date: row.try_get("transaction_date")?,
            completed_at: row.try_get("completed_at")?,
            to_settle: row.try_get("to_settle")?,
            remark: row.try_get("remark")?,
            lines: ids.into_iter().zip(quantities).collect(),
        })
    }
}

pub(super) async fn by_id(client: &impl Executor, payment_id: i64) -> Result<Option<Payment>> {
    let statement = client.prepare_cached("select * from payment_sheet where payment_id = $1").await?;
    client.query_opt(&statement, &[&payment_id]).await?.as_ref().map(Payment::from_row).transpose()
}

/// The advisory lock that keeps an owner from opening two payments at once. Advisory locks are shared by all brands of a
/// database, so the key names the brand.
pub(super) fn owner_lock(brand: &str, owner: &str) -> String {
    format!("brandgate:pay:{brand}:{owner}")
}

/// Moves a visitor's payments to a user, and until the end of the transaction keeps both from opening others. Orders that the
/// user has under the same id stay the visitor's.
pub(super) async fn reassign_owner(
    client: &impl Executor,
    brand: &str,
    visitor: &str,
    user: &str,
    now: Timestamp,
) -> Result<()> {
    let lock = client.prepare_cached(ADVISORY_LOCK).await?;
    let link = client
        .prepare_cached(
            r"insert into payment_owner_link (visitor, owner, linked_at) values ($1, $2, $3)
              on conflict (visitor) do update set owner = excluded.owner, linked_at = excluded.linked_at",
        )
        .await?;
    let reassign = client
        .prepare_cached(
            r"update payment p set owner = $2
              where p.owner = $1 and not exists (
                  select from payment o where o.owner = $2 and o.site_order_id = p.site_order_id and not o.abandoned
              )",
        )
        .await?;
    // A checkout takes one owner's lock only, so that taking two cannot deadlock with it.
    let keys = [owner_lock(brand, visitor), owner_lock(brand, user)];
    let [of_visitor, of_user]: [[&(dyn ToSql + Sync); 1]; 2] = [[&keys[0]], [&keys[1]]];
    let of_link: [&(dyn ToSql + Sync); 3] = [&visitor, &user, &now];
    let (visitor_locked, user_locked, linked, reassigned) = tokio::join!(
        client.execute(&lock, &of_visitor),
        client.execute(&lock, &of_user),
        client.execute(&link, &of_link),
        client.execute(&reassign, &of_link[..2]),
    );
    visitor_locked?;
    user_locked?;
    linked?;
    reassigned?;
    Ok(())
}

#[cfg(test)]
impl Payment {
    /// An open payment of one unit of item 1, registered by no instance.
    pub(super) fn example() -> Payment {
        let expires_at = Timestamp::from_second(900).expect("1970");
        Payment {
            id: 1,
            owner: "visitor:1".to_owned(),
            site_order_id: "order_1".to_owned(),
            bank_order_id: "b1".to_owned(),
            state: CurrentState { status: Status::Created, holds_stock: true, expires_at },
            amount: Decimal::from(20),
            stated_amount: None,
            redirect_url: None,
            created_at: Timestamp::UNIX_EPOCH,
            registering_until: None,
            qr_id: None,
            payload: None,
            qr_url: None,
            notified_qr_id: None,
            polls: 0,
            transaction_id: None,
            transaction_date: None,
            completed_at: None,
            to_settle: false,
            remark: None,
            lines: vec![(1, 1)],
        }
    }
}
