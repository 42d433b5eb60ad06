//! Deletes items that imports have hidden long ago.

use std::time::Duration;

use super::import;
use crate::config::BrandConfig;
use crate::foundation::error::Result;
use crate::platform::postgres;

/// Deletes, with their reviews and stock, the items that an import with `--replace` hid longer ago than `age`, except those that
/// open payments hold. With `dry_run` nothing is deleted. Returns how many there are.
///
/// # Errors
/// An unavailable database.
pub async fn prune(brand: &BrandConfig, age: Duration, dry_run: bool) -> Result<u64> {
    let client = postgres::connect(&brand.database).await?;
    let seconds = age.as_secs_f64();
    if dry_run {
        return Ok(client.query_one(COUNT_RETIRED, &[&seconds]).await?.get::<_, i64>(0) as u64);
    }
    let statement = client.prepare(DELETE_RETIRED).await?;
    let mut total = 0;
    loop {
        let deleted = client.execute(&statement, &[&seconds, &i64::from(brand.import.stock_batch)]).await?;
        if deleted == 0 {
            break;
        }
        total += deleted;
    }
    import::delete_unused(&client, &brand.import).await?;
    Ok(total)
}

const COUNT_RETIRED: &str = r"
    select count(*) from item i
    where i.retired_at < now() - make_interval(secs => $1) and not i.visible
      and not exists (select from item_stock s where s.item_id = i.item_id and s.held > 0)";

const DELETE_RETIRED: &str = r"
    delete from item where item_id in (
        select i.item_id from item i
        where i.retired_at < now() - make_interval(secs => $1) and not i.visible
          and not exists (select from item_stock s where s.item_id = i.item_id and s.held > 0)
        order by i.item_id limit $2 for update of i skip locked)";
