//! SQL that finds the payments to cancel.

use std::net::IpAddr;

use crate::foundation::error::Result;
use crate::payments::store::Payment;
use crate::platform::postgres::Executor;

pub(super) async fn by_qr_id(client: &impl Executor, qr_id: &str) -> Result<Option<Payment>> {
    let statement = client.prepare_cached("select * from payment_sheet where qr_id = $1").await?;
    client.query_opt(&statement, &[&qr_id]).await?.as_ref().map(Payment::from_row).transpose()
}

/// Returns the open payments of a network, oldest first.
pub(super) async fn open_at(client: &impl Executor, network: IpAddr) -> Result<Vec<Payment>> {
    let statement = client
        .prepare_cached(
            r"select * from payment_sheet
              where address = $1 and status in ('CREATED', 'WAITING') and not abandoned order by payment_id",
        )
        .await?;
    client.query(&statement, &[&network]).await?.iter().map(Payment::from_row).collect()
}

/// Returns the open payments of the visitor whose cookie has this hash, oldest first.
pub(super) async fn open_of(client: &impl Executor, visitor_hash: &str) -> Result<Vec<Payment>> {
    let statement = client
        .prepare_cached(
            r"select * from payment_sheet
              where owner = 'visitor:' || $1 and status in ('CREATED', 'WAITING') and not abandoned order by payment_id",
        )
        .await?;
    client.query(&statement, &[&visitor_hash]).await?.iter().map(Payment::from_row).collect()
}
