//! Leases in PostgreSQL, which let one instance at a time do a piece of work.
//!
//! # Invariants
//!
//! Two instances never both hold a lease. The holder renews it at a third of its length; if that fails for the whole length,
//! [`Lease::lost`] is cancelled, and another instance may take it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::platform::postgres::Executor;
use crate::tenant::brand::Brand;

/// A lease that is renewed until it is released, lost or dropped.
pub(crate) struct Lease {
    brand: Arc<Brand>,
    name: &'static str,
    holder: String,
    lost: CancellationToken,
    _renewal: DropGuard,
}

impl Lease {
    /// Takes the lease if it is free or expired; `None` while another instance holds it.
    ///
    /// # Errors
    /// 503 while PostgreSQL is unavailable.
    pub(crate) async fn take(brand: &Arc<Brand>, name: &'static str, length: Duration) -> Result<Option<Lease>> {
        let holder = hex::random_name()?;
        let started_at = Instant::now();
        let client = brand.postgres().await?;
        let statement = client
            .prepare_cached(
                r"insert into lease (name, holder, expires_at)
                values ($1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond')
                on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
                where lease.expires_at < clock_timestamp()",
            )
            .await?;
        let taken = client.execute(&statement, &[&name, &holder, &milliseconds(length)]).await?;
        if taken == 0 {
            return Ok(None);
        }
        let (lost, released) = (CancellationToken::new(), CancellationToken::new());
        let renewal = renew(brand.clone(), name, holder.clone(), length, started_at, lost.clone());
        let until = released.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = renewal => {}
                () = until.cancelled() => {}
            }
        });
        Ok(Some(Lease { brand: brand.clone(), name, holder, lost, _renewal: released.drop_guard() }))
    }

    /// Cancelled when this instance may no longer hold the lease.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// For statements that only the holder may run: `where exists (select from lease where holder = …)`.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Releases the lease, so that another instance can take it at once. After an error it expires.
    pub(crate) async fn release(self) {
        let released = async {
            let client = self.brand.postgres().await?;
            client.execute("delete from lease where name = $1 and holder = $2", &[&self.name, &self.holder]).await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = released.await {
            tracing::debug!(
                brand = self.brand.name(), lease = self.name, %error,
                "failed to release a lease; other instances wait until it expires"
            );
        }
    }
}

/// Returns, with `lost` cancelled, when this instance may no longer hold the lease.
async fn renew(
    brand: Arc<Brand>,
    name: &'static str,
    holder: String,
    length: Duration,
    taken_at: Instant,
    lost: CancellationToken,
) {
    let mut valid_until = taken_at + length;
    loop {
        tokio::time::sleep(length / 3).await;
        let started_at = Instant::now();
        match tokio::time::timeout_at(valid_until, renew_once(&brand, name, &holder, length)).await {
            Ok(Ok(true)) => valid_until = started_at + length,
            Ok(Ok(false)) => break,
            Ok(Err(error)) => {
                tracing::debug!(brand = brand.name(), lease = name, %error, "failed to renew a lease; it will be retried");
                if Instant::now() + length / 3 >= valid_until {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    tracing::warn!(brand = brand.name(), lease = name, "lease lost; another instance may take it");
    lost.cancel();
}

/// Returns whether the lease is still held.
async fn renew_once(brand: &Brand, name: &'static str, holder: &str, length: Duration) -> Result<bool> {
    let client = brand.postgres().await?;
    let statement = client
        .prepare_cached(
            r"update lease set expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond'
            where name = $1 and holder = $2",
        )
        .await?;
    let renewed = client.execute(&statement, &[&name, &holder, &milliseconds(length)]).await?;
    Ok(renewed == 1)
}

fn milliseconds(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
