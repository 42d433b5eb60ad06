//! SQL of the payments: opening one, its registration at the bank, who looks at it when.
//!
//! What becomes of a payment is written in `ledger`. Statements of one step are sent together and answered together
//! (pipelined), so that opening a payment costs three round trips: begin and read, write and commit, note the QR code.

use std::net::IpAddr;

use crate::platform::postgres::{Executor, Transaction};
use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::order::{Offered, Order, OrderLine};
use super::state::{CurrentState, Status};
use crate::foundation::error::{Error, Result};
use crate::payments::provider::raiffeisen::QrCode;

/// A payment as the database has it.
#[derive(Debug, Clone)]
pub struct Payment {
    pub id: i64,
    /// `visitor:…` or `user:…`
    pub owner: String,
    /// The shop's name for the order, and the bank's.
    pub site_order_id: String,
    pub bank_order_id: String,
    pub standing: CurrentState,
    pub amount: Decimal,
    pub redirect_url: Option<String>,
    pub created_at: Timestamp,
    pub registering_until: Option<Timestamp>,
    pub qr_id: Option<String>,
    pub payload: Option<String>,
    pub qr_url: Option<String>,
    pub qr_id_told: Option<String>,
    pub looks: i32,
    pub transaction_id: Option<i64>,
    pub transaction_date: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub to_settle: bool,
    pub remark: Option<String>,
    /// Item ids and quantities.
    pub lines: Vec<(i64, i32)>,
}

impl Payment {
    /// A row of `payment_sheet`.
    pub(super) fn read(row: &Row) -> Result<Payment> {
        let word: &str = row.try_get("status")?;
        let status = Status::of(word).ok_or_else(|| Error::internal(format!("a payment is {word:?}")))?;
        let (ids, quantities): (Vec<i64>, Vec<i32>) = (row.try_get("item_ids")?, row.try_get("quantities")?);
        Ok(Payment {
            id: row.try_get("payment_id")?,
            owner: row.try_get("owner")?,
            site_order_id: row.try_get("site_order_id")?,
            bank_order_id: row.try_get("bank_order_id")?,
            standing: CurrentState { status, holds: row.try_get("holds")?, expires_at: row.try_get("expires_at")? },
            amount: row.try_get("amount")?,
            redirect_url: row.try_get("redirect_url")?,
            created_at: row.try_get("created_at")?,
            registering_until: row.try_get("registering_until")?,
            qr_id: row.try_get("qr_id")?,
            payload: row.try_get("payload")?,
            qr_url: row.try_get("qr_url")?,
            qr_id_told: row.try_get("qr_id_told")?,
            looks: row.try_get("looks")?,
            transaction_id: row.try_get("transaction_id")?,
            transaction_date: row.try_get("transaction_date")?,
            completed_at: row.try_get("completed_at")?,
            to_settle: row.try_get("to_settle")?,
            remark: row.try_get("remark")?,
            lines: ids.into_iter().zip(quantities).collect(),
        })
    }
}

/// What must be known before a payment is opened.
pub(super) struct CheckoutSnapshot {
    /// In the order of the ids asked for.
    pub offered: Vec<Option<Offered>>,
    /// The owner's open payments, and the one of this order whatever its status.
    pub payments: Vec<Payment>,
    /// Of this address, but for the owner's that share an item with the order.
    pub open_at_address: i64,
    /// Who the owner has become during the request.
    pub joined: Option<String>,
}

/// Who asks for what.
pub(super) struct CheckoutQuery<'a> {
    pub brand: &'a str,
    pub owner: &'a str,
    /// Whoever logs in later than then does so during the request.
    pub begun_after: Timestamp,
    /// Whom the client's address stands for.
    pub subject: IpAddr,
    pub region: Option<&'a str>,
    pub site_order_id: &'a str,
    pub item_ids: &'a [i64],
}

/// Begins a transaction in which neither this owner nor this address opens another payment, and reads what must be known.
/// Whoever gets an error drops the connection, which ends the transaction.
pub(super) async fn begin(transaction: &Transaction, question: &CheckoutQuery<'_>) -> Result<CheckoutSnapshot> {
    // The owner's lock always comes before the address's.
    let lock = transaction.prepare_cached("select pg_advisory_xact_lock(hashtextextended($1, 0))").await?;
    let offered = transaction
        .prepare_cached(
            "select i.item_id, i.name, i.price, i.discount, i.currency, c.quantity as in_cart, \
                    item_left(i.quantity, i.held, i.remainings) as item_left, \
                    l.item_id is not null and (l.regions = '{}' or $3::text is null or $3 = any (l.regions)) as is_for_sale \
             from unnest($1::bigint[]) with ordinality w (item_id, position) \
             left join item i using (item_id) left join listed_item l using (item_id) \
             left join cart_line c on c.owner = $2 and c.item_id = w.item_id \
             order by w.position",
        )
        .await?;
    let payments = transaction
        .prepare_cached(
            "select * from payment_sheet \
             where owner = $1 and not abandoned and (site_order_id = $2 or status in ('CREATED', 'WAITING'))",
        )
        .await?;
    let at_address = transaction
        .prepare_cached(
            "select count(*) from payment p \
             where p.address = $1 and not p.abandoned and p.status in ('CREATED', 'WAITING') \
               and not (p.owner = $2 and exists (select from payment_line l \
                                                 where l.payment_id = p.payment_id and l.item_id = any ($3)))",
        )
        .await?;
    let joined = transaction
        .prepare_cached("select owner from payment_owner_link where visitor = $1 and linked_at > $2")
        .await?;
    let CheckoutQuery { brand, owner, begun_after, subject, region, site_order_id, item_ids } = question;
    let keys = [owner_lock(brand, owner), format!("brandgate:pay:{brand}:address:{subject}")];
    let of_owner: [&(dyn ToSql + Sync); 1] = [&keys[0]];
    let of_address: [&(dyn ToSql + Sync); 1] = [&keys[1]];
    let of_items: [&(dyn ToSql + Sync); 3] = [item_ids, owner, region];
    let of_order: [&(dyn ToSql + Sync); 2] = [owner, site_order_id];
    let where_from: [&(dyn ToSql + Sync); 3] = [subject, owner, item_ids];
    let of_visitor: [&(dyn ToSql + Sync); 2] = [owner, begun_after];
    // Payments before pieces: a payment that ends between the two statements gives its pieces back, and is not missed.
    let (first, second, joined, payments, offered, at_address) = tokio::join!(
        transaction.execute(&lock, &of_owner),
        transaction.execute(&lock, &of_address),
        transaction.query_opt(&joined, &of_visitor),
        transaction.query(&payments, &of_order),
        transaction.query(&offered, &of_items),
        transaction.query_one(&at_address, &where_from),
    );
    first?;
    second?;
    let offer = |row: Row| -> Result<Option<Offered>> {
        let Some(name) = row.try_get("name")? else { return Ok(None) };
        Ok(Some(Offered {
            name,
            price: row.try_get("price")?,
            discount: row.try_get("discount")?,
            currency: row.try_get("currency")?,
            is_for_sale: row.try_get("is_for_sale")?,
            left: row.try_get("item_left")?,
            in_cart: row.try_get("in_cart")?,
        }))
    };
    Ok(CheckoutSnapshot {
        offered: offered?.into_iter().map(offer).collect::<Result<_>>()?,
        payments: payments?.iter().map(Payment::read).collect::<Result<_>>()?,
        open_at_address: at_address?.get(0),
        joined: joined?.map(|row| row.get(0)),
    })
}

/// What keeps an owner from opening two payments at once. The key is the whole database's, so it derives from the brand.
fn owner_lock(brand: &str, owner: &str) -> String {
    format!("brandgate:pay:{brand}:{owner}")
}

/// A payment to be written.
pub(super) struct Opening<'a> {
    pub owner: &'a str,
    pub bank_order_id: &'a str,
    /// Whom the client's address stands for.
    pub subject: IpAddr,
    pub order: &'a Order,
    pub lines: &'a [OrderLine],
    pub amount: Decimal,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub registering_until: Timestamp,
}

/// Writes the payment and its lines, which hold their pieces, and commits. `Ok(None)`: the pieces of some line are gone, and
/// nothing was written.
///
/// Lines are written in the order of their items, so that two orders of the same items wait for each other instead of ending
/// in a deadlock.
pub(super) async fn open(transaction: Transaction, opening: &Opening<'_>) -> Result<Option<i64>> {
    let statement = transaction
        .prepare_cached(
            "with opened as ( \
                 insert into payment (owner, site_order_id, bank_order_id, status, amount, address, site_user_id, \
                                      telegram_username, redirect_url, created_at, expires_at, registering_until, look_at) \
                 values ($1, $2, $3, 'CREATED', $4, $5, $6, $7, $8, $9, $10, $11, $10) returning payment_id \
             ), lines as ( \
                 insert into payment_line (payment_id, item_id, position, name, list_price, price, quantity) \
                 select o.payment_id, l.item_id, l.position, l.name, l.list_price, l.price, l.quantity \
                 from opened o, unnest($12::bigint[], $13::text[], $14::numeric[], $15::numeric[], $16::integer[]) \
                     with ordinality l (item_id, name, list_price, price, quantity, position) \
                 order by l.item_id \
             ) \
             select payment_id from opened",
        )
        .await?;
    let Opening { owner, bank_order_id, subject, order, lines, amount, now, expires_at, registering_until } = opening;
    let ids: Vec<i64> = lines.iter().map(|line| line.item_id).collect();
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let list_prices: Vec<Decimal> = lines.iter().map(|line| line.list_price).collect();
    let prices: Vec<Decimal> = lines.iter().map(|line| line.price).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let parameters: [&(dyn ToSql + Sync); 16] = [
        owner,
        &order.site_order_id,
        bank_order_id,
        amount,
        subject,
        &order.site_user_id,
        &order.telegram_username,
        &order.redirect_url,
        now,
        expires_at,
        registering_until,
        &ids,
        &names,
        &list_prices,
        &prices,
        &quantities,
    ];
    match transaction.query_one_and_commit(&statement, &parameters).await {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if constraint(&error) == Some("payment_line_stock_check") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The constraint that an error is about.
fn constraint(error: &tokio_postgres::Error) -> Option<&str> {
    error.as_db_error()?.constraint()
}

/// Makes this instance the one that registers a payment; `None` while another one does, or when it is done.
pub(super) async fn take_over(
    client: &impl Executor,
    payment_id: i64,
    now: Timestamp,
    expires_at: Timestamp,
    until: Timestamp,
) -> Result<Option<Payment>> {
    let statement = client
        .prepare_cached(
            "update payment set registering_until = $4, expires_at = $3, look_at = $3 \
             where payment_id = $1 and qr_id is null and status = 'CREATED' and not abandoned \
               and (registering_until is null or registering_until < $2)",
        )
        .await?;
    let taken = client.execute(&statement, &[&payment_id, &now, &expires_at, &until]).await?;
    if taken == 0 { Ok(None) } else { by_id(client, payment_id).await }
}

/// Notes the code that the bank registered; returns the status, which may have changed meanwhile. Also the code of a payment
/// that was closed is noted and looked at: it may be paid. `None`: the payment has another code.
pub(super) async fn note_qr(
    client: &impl Executor,
    payment_id: i64,
    code: &QrCode,
    look_at: Timestamp,
) -> Result<Option<Status>> {
    let statement = client
        .prepare_cached(
            "update payment set qr_id = $2, payload = $3, qr_url = $4, registering_until = null, remark = null, \
                                look_at = case when status <> 'COMPLETED' then least(look_at, $5) end \
             where payment_id = $1 and (qr_id is null or qr_id = $2) returning status",
        )
        .await?;
    let parameters: [&(dyn ToSql + Sync); 5] = [&payment_id, &code.qr_id, &code.payload, &code.qr_url, &look_at];
    let row = client.query_opt(&statement, &parameters).await?;
    Ok(row.as_ref().and_then(|row| Status::of(row.get(0))))
}

/// Notes that a registration came to nothing, for whoever tries next.
pub(super) async fn note_unregistered(client: &impl Executor, payment_id: i64, remark: &str) -> Result<()> {
    let statement = client
        .prepare_cached(
            "update payment set registering_until = null, remark = $2 where payment_id = $1 and qr_id is null",
        )
        .await?;
    client.execute(&statement, &[&payment_id, &remark]).await?;
    Ok(())
}

pub(super) async fn by_id(client: &impl Executor, payment_id: i64) -> Result<Option<Payment>> {
    let statement = client.prepare_cached("select * from payment_sheet where payment_id = $1").await?;
    client.query_opt(&statement, &[&payment_id]).await?.as_ref().map(Payment::read).transpose()
}

/// Gives a visitor's payments to the user that the visitor logged in as, also those that are just being opened, until the end of
/// the transaction; an order that the user has too stays the visitor's.
pub(super) async fn join(client: &impl Executor, brand: &str, from: &str, into: &str, now: Timestamp) -> Result<()> {
    let lock = client.prepare_cached("select pg_advisory_xact_lock(hashtextextended($1, 0))").await?;
    let link = client
        .prepare_cached(
            "insert into payment_owner_link (visitor, owner, linked_at) values ($1, $2, $3) \
             on conflict (visitor) do update set owner = excluded.owner, linked_at = excluded.linked_at",
        )
        .await?;
    let give = client
        .prepare_cached(
            "update payment p set owner = $2 \
             where p.owner = $1 and not exists ( \
                 select from payment o where o.owner = $2 and o.site_order_id = p.site_order_id and not o.abandoned \
             )",
        )
        .await?;
    // Neither of them opens a payment meanwhile; whoever opens one has only one of these.
    let keys = [owner_lock(brand, from), owner_lock(brand, into)];
    let [of_visitor, of_user]: [[&(dyn ToSql + Sync); 1]; 2] = [[&keys[0]], [&keys[1]]];
    let of_link: [&(dyn ToSql + Sync); 3] = [&from, &into, &now];
    let (first, second, linked, given) = tokio::join!(
        client.execute(&lock, &of_visitor),
        client.execute(&lock, &of_user),
        client.execute(&link, &of_link),
        client.execute(&give, &of_link[..2]),
    );
    first?;
    second?;
    linked?;
    given?;
    Ok(())
}
