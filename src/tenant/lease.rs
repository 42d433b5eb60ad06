//! Leases in PostgreSQL: what only one instance may do at a time, while it keeps saying that it lives.
//!
//! Used by workers. A lease is renewed at a third of its length; when that fails for its whole length, `lost` is cancelled, and
//! another instance may have it. What must never happen: two instances that both believe they hold one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::foundation::error::Result;
use crate::foundation::hex;
use crate::platform::postgres::Executor;
use crate::tenant::brand::Brand;

/// A lease that is held and renewed until it is given back, lost, or dropped.
pub struct Lease {
    brand: Arc<Brand>,
    name: &'static str,
    holder: String,
    lost: CancellationToken,
    _renewal: DropGuard,
}

impl Lease {
    /// Takes the lease when it is free or was not renewed in time; `None` while another instance has it.
    ///
    /// # Errors
    /// 503 while PostgreSQL is away.
    pub async fn take(brand: &Arc<Brand>, name: &'static str, length: Duration) -> Result<Option<Lease>> {
        let holder = hex::random_id()?;
        let begun = Instant::now();
        let client = brand.postgres().await?;
        let statement = client
            .prepare_cached(
                "insert into lease (name, holder, expires_at) \
                 values ($1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond') \
                 on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at \
                 where lease.expires_at < clock_timestamp()",
            )
            .await?;
        let taken = client.execute(&statement, &[&name, &holder, &ms(length)]).await?;
        if taken == 0 {
            return Ok(None);
        }
        let (lost, ended) = (CancellationToken::new(), CancellationToken::new());
        let renewal = renew(brand.clone(), name, holder.clone(), length, begun, lost.clone());
        let until = ended.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = renewal => {}
                () = until.cancelled() => {}
            }
        });
        Ok(Some(Lease { brand: brand.clone(), name, holder, lost, _renewal: ended.drop_guard() }))
    }

    /// Cancelled when the lease is no longer surely ours.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// For statements that must not be run by who has lost the lease: `where exists (select from lease where holder = …)`.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Lets another instance have it at once. What goes wrong here is mended by time.
    pub async fn release(self) {
        let given = async {
            let client = self.brand.postgres().await?;
            client.execute("delete from lease where name = $1 and holder = $2", &[&self.name, &self.holder]).await?;
            Ok::<_, crate::foundation::error::Error>(())
        };
        if let Err(error) = given.await {
            tracing::debug!(brand = self.brand.name(), %error, "a lease was not given back; it runs out");
        }
    }
}

/// Ends, with `lost` cancelled, when the lease is no longer surely ours.
async fn renew(
    brand: Arc<Brand>,
    name: &'static str,
    holder: String,
    length: Duration,
    taken: Instant,
    lost: CancellationToken,
) {
    let mut sure_until = taken + length;
    loop {
        tokio::time::sleep(length / 3).await;
        let begun = Instant::now();
        match tokio::time::timeout_at(sure_until, renew_once(&brand, name, &holder, length)).await {
            Ok(Ok(true)) => sure_until = begun + length,
            Ok(Ok(false)) => break,
            Ok(Err(error)) => {
                tracing::debug!(brand = brand.name(), %error, "a lease could not be renewed yet");
                if Instant::now() + length / 3 >= sure_until {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    tracing::warn!(brand = brand.name(), name, "a lease was lost");
    lost.cancel();
}

async fn renew_once(brand: &Brand, name: &'static str, holder: &str, length: Duration) -> Result<bool> {
    let client = brand.postgres().await?;
    let statement = client
        .prepare_cached(
            "update lease set expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond' \
             where name = $1 and holder = $2",
        )
        .await?;
    let renewed = client.execute(&statement, &[&name, &holder, &ms(length)]).await?;
    Ok(renewed == 1)
}

fn ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
