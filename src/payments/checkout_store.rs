//! SQL of the checkout: the snapshot that it decides on, the new payment, and the registration of its QR code.
//!
//! # Invariants
//! - A checkout costs three round trips, because the statements of a step are pipelined: begin and read the snapshot, insert and commit,
//!   save the QR code.

use std::net::IpAddr;

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::order::{Offered, Order, OrderLine};
use super::state::Status;
use super::store::{ADVISORY_LOCK, Payment, by_id, owner_lock};
use crate::config::UnitLimit;
use crate::foundation::error::{Result, ResultExt};
use crate::payments::provider::QrCode;
use crate::platform::postgres::{Executor, Transaction};

/// What a checkout depends on.
pub(super) struct CheckoutSnapshot {
    /// In the order of the requested ids; `None` for an unknown item.
    pub offered: Vec<Option<Offered>>,
    /// The owner's open payments, and the payments of this order whatever their status.
    pub payments: Vec<Payment>,
    pub at_address: OpenAtAddress,
    /// The user that the visitor has logged in as during the request.
    pub linked_owner: Option<String>,
}

/// Open payments of visitors of the client's network, without the owner's that share an item with the order.
pub(super) struct OpenAtAddress {
    pub count: i64,
    pub next_expiry: Option<Timestamp>,
}

/// Parameters of [`begin`].
pub(super) struct CheckoutQuery<'a> {
    pub brand: &'a str,
    pub owner: &'a str,
    /// Logins after this time count as logins during the request.
    pub linked_after: Timestamp,
    /// The client's network, by which open payments are limited.
    pub network: IpAddr,
    pub region: Option<&'a str>,
    /// Free orders after this time count.
    pub free_since: Timestamp,
    pub site_order_id: &'a str,
    pub item_ids: &'a [i64],
}

const OWNERS_PAYMENTS: &str = r"
    select * from payment_sheet
    where owner = $1 and not abandoned and (site_order_id = $2 or status in ('CREATED', 'WAITING'))";

const OPEN_AT_ADDRESS: &str = r"
    select count(*) as open, min(p.expires_at) as next_expiry from payment p
    where p.address = $1 and not p.abandoned and p.status in ('CREATED', 'WAITING') and p.owner like 'visitor:%'
      and not (p.owner = $2 and exists (select from payment_line l
                                        where l.payment_id = p.payment_id and l.item_id = any ($3)))";

const LINKED_OWNER: &str = "select owner from payment_owner_link where visitor = $1 and linked_at > $2";

/// Locks the owner and the network until the end of the transaction, so that neither opens another payment meanwhile, and reads the
/// snapshot. The owner's lock always comes before the network's.
pub(super) async fn begin(transaction: &Transaction, query: &CheckoutQuery<'_>) -> Result<CheckoutSnapshot> {
    let lock = transaction.prepare_cached(ADVISORY_LOCK).await?;
    let linked_owner = transaction.prepare_cached(LINKED_OWNER).await?;
    let payments = transaction.prepare_cached(OWNERS_PAYMENTS).await?;
    let offered = transaction.prepare_cached(include_str!("offered_items.sql")).await?;
    let open_at_address = transaction.prepare_cached(OPEN_AT_ADDRESS).await?;
    let CheckoutQuery { brand, owner, linked_after, network, region, free_since, site_order_id, item_ids } = query;
    let keys = [owner_lock(brand, owner), format!("brandgate:pay:{brand}:address:{network}")];
    let by_owner: [&(dyn ToSql + Sync); 1] = [&keys[0]];
    let by_network: [&(dyn ToSql + Sync); 1] = [&keys[1]];
    let by_login: [&(dyn ToSql + Sync); 2] = [owner, linked_after];
    let by_order: [&(dyn ToSql + Sync); 2] = [owner, site_order_id];
    let by_items: [&(dyn ToSql + Sync); 4] = [item_ids, owner, region, free_since];
    let by_address: [&(dyn ToSql + Sync); 3] = [network, owner, item_ids];
    // Payments before items: a payment that closes between the two statements releases its units, and they are counted.
    let (owner_locked, network_locked, linked_owner, payments, offered, open_at_address) = tokio::join!(
        transaction.execute(&lock, &by_owner),
        transaction.execute(&lock, &by_network),
        transaction.query_opt(&linked_owner, &by_login),
        transaction.query(&payments, &by_order),
        transaction.query(&offered, &by_items),
        transaction.query_one(&open_at_address, &by_address),
    );
    owner_locked?;
    network_locked?;
    let at_address = open_at_address?;
    Ok(CheckoutSnapshot {
        offered: offered?.iter().map(offered_from_row).collect::<Result<_>>()?,
        payments: payments?.iter().map(Payment::from_row).collect::<Result<_>>()?,
        at_address: OpenAtAddress { count: at_address.get("open"), next_expiry: at_address.get("next_expiry") },
        linked_owner: linked_owner?.map(|row| row.get(0)),
    })
}

fn offered_from_row(row: &Row) -> Result<Option<Offered>> {
    let Some(name) = row.try_get("name")? else { return Ok(None) };
    Ok(Some(Offered {
        name,
        price: row.try_get("price")?,
        discount: row.try_get("discount")?,
        currency: row.try_get("currency")?,
        is_listed: row.try_get("is_listed")?,
        is_in_region: row.try_get("is_in_region")?,
        available: row.try_get("available")?,
        stock: row.try_get("stock")?,
        held_by_visitors: row.try_get("held_by_visitors")?,
        free_units: row.try_get("free_units")?,
        in_cart: row.try_get("in_cart")?,
    }))
}

/// A payment to be inserted.
pub(super) struct NewPayment<'a> {
    pub owner: &'a str,
    pub bank_order_id: &'a str,
    /// The code of a payment that is completed without the provider; it becomes its `qr_id` then.
    pub own_code: Option<&'a str>,
    /// For an owner without a session: what all of them together may hold of an item.
    pub visitors_limit: Option<UnitLimit>,
    /// The client's network.
    pub network: IpAddr,
    pub order: &'a Order,
    pub lines: &'a [OrderLine],
    pub amount: Decimal,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub registering_until: Timestamp,
}

/// Inserts lines in the order of their items, so that two orders of the same items wait for each other instead of deadlocking.
const INSERT_PAYMENT: &str = r"
    with opened as (
        insert into payment (owner, site_order_id, bank_order_id, status, amount, address, site_user_id,
                             telegram_username, redirect_url, created_at, expires_at, registering_until, look_at,
                             qr_id_told)
        values ($1, $2, $3, 'CREATED', $4, $5, $6, $7, $8, $9, $10, $11, $10, $17) returning payment_id
    ), lines as (
        insert into payment_line (payment_id, item_id, position, name, list_price, price, quantity, vat)
        select o.payment_id, l.item_id, l.position, l.name, l.list_price, l.price, l.quantity,
               (select i.vat from item i where i.item_id = l.item_id)
        from opened o, unnest($12::bigint[], $13::text[], $14::numeric[], $15::numeric[], $16::integer[])
            with ordinality l (item_id, name, list_price, price, quantity, position)
        order by l.item_id
    )
    select payment_id from opened";

/// Constraints that another transaction may have violated first: the stock, what visitors hold together, and the order's id, which an
/// expired payment keeps when it is paid after all.
const CONFLICTS: [&str; 3] =
    ["payment_line_stock_check", "payment_line_visitors_check", "payment_owner_site_order_id_key"];

/// Inserts a payment and its lines, which hold their units of the stock, and commits. `None`: the snapshot is out of date, and nothing
/// was inserted.
pub(super) async fn insert(transaction: Transaction, payment: &NewPayment<'_>) -> Result<Option<i64>> {
    let statement = transaction.prepare_cached(INSERT_PAYMENT).await?;
    let NewPayment { owner, bank_order_id, network, order, lines, amount, now, expires_at, .. } = payment;
    let ids: Vec<i64> = lines.iter().map(|line| line.item_id).collect();
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let list_prices: Vec<Decimal> = lines.iter().map(|line| line.list_price).collect();
    let prices: Vec<Decimal> = lines.iter().map(|line| line.price).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let parameters: [&(dyn ToSql + Sync); 17] = [
        owner,
        &order.site_order_id,
        bank_order_id,
        amount,
        network,
        &order.site_user_id,
        &order.telegram_username,
        &order.redirect_url,
        now,
        expires_at,
        &payment.registering_until,
        &ids,
        &names,
        &list_prices,
        &prices,
        &quantities,
        &payment.own_code,
    ];
    let inserted = match payment.visitors_limit {
        Some(limit) => {
            let check = transaction.prepare_cached("select check_units_held_by_visitors($1, $2, $3)").await?;
            let (units, percent) =
                (i32::try_from(limit.units).or_internal()?, i32::try_from(limit.percent).or_internal()?);
            let limits: [&(dyn ToSql + Sync); 3] = [&ids, &units, &percent];
            transaction.query_one_check_and_commit((&statement, &parameters), (&check, &limits)).await
        }
        None => transaction.query_one_and_commit(&statement, &parameters).await,
    };
    match inserted {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.constraint().is_some_and(|name| CONFLICTS.contains(&name)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes this instance the one that registers the QR code, until `registering_until`. `None`: another instance is registering it,
/// or it is registered. A deadline over a minute later than ours is that of a clock which was wrong, and has passed.
pub(super) async fn claim_registration(
    client: &impl Executor,
    payment_id: i64,
    now: Timestamp,
    expires_at: Timestamp,
    registering_until: Timestamp,
) -> Result<Option<Payment>> {
    let statement = client
        .prepare_cached(
            r"update payment set registering_until = $4, expires_at = $3, look_at = $3
              where payment_id = $1 and qr_id is null and status = 'CREATED' and not abandoned
                and (registering_until is null or registering_until < $2
                     or registering_until > $4::timestamptz + interval '1 minute')",
        )
        .await?;
    let claimed = client.execute(&statement, &[&payment_id, &now, &expires_at, &registering_until]).await?;
    if claimed == 0 { Ok(None) } else { by_id(client, payment_id).await }
}

/// Saves the registered QR code and returns the payment's status, which may have changed meanwhile. The code of a closed
/// payment is saved and polled too: it can be paid. `None`: the payment has another code.
pub(super) async fn save_qr_code(
    client: &impl Executor,
    payment_id: i64,
    code: &QrCode,
    next_poll_at: Timestamp,
) -> Result<Option<Status>> {
    let statement = client
        .prepare_cached(
            r"update payment set qr_id = $2, payload = $3, qr_url = $4, registering_until = null,
                                 remark = case when status = 'COMPLETED' or to_settle then remark end,
                                 look_at = case when status <> 'COMPLETED' then least(look_at, $5) end
              where payment_id = $1 and (qr_id is null or qr_id = $2) returning status",
        )
        .await?;
    let parameters: [&(dyn ToSql + Sync); 5] = [&payment_id, &code.qr_id, &code.payload, &code.qr_url, &next_poll_at];
    let row = client.query_opt(&statement, &parameters).await?;
    Ok(row.as_ref().and_then(|row| Status::parse(row.get(0))))
}

/// Ends a failed registration, so that any instance may claim it.
pub(super) async fn release_registration(client: &impl Executor, payment_id: i64, remark: &str) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update payment set registering_until = null, remark = case when to_settle then remark else $2 end
              where payment_id = $1 and qr_id is null",
        )
        .await?;
    client.execute(&statement, &[&payment_id, &remark]).await?;
    Ok(())
}
