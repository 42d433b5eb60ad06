//! SQL of the regions.

use postgres_types::Json;

use super::{Region, Translation};
use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::platform::postgres::Executor;

/// All regions in the order of the shop, each with its translation (empty where there is none).
pub(super) async fn list(client: &impl Executor, language: Language) -> Result<Vec<(Region, Translation)>> {
    let statement = client
        .prepare_cached(
            r"select region_id, city, country, country_code, timezone, translations -> $1 as translation
              from region order by position, region_id",
        )
        .await?;
    let rows = client.query(&statement, &[&language.tag()]).await?;
    let regions = rows.iter().map(|row| {
        let region = Region {
            id: row.get("region_id"),
            city: row.get("city"),
            country: row.get("country"),
            country_code: row.get("country_code"),
            timezone: row.get("timezone"),
        };
        let translation: Option<Json<Translation>> = row.get("translation");
        (region, translation.map(|json| json.0).unwrap_or_default())
    });
    Ok(regions.collect())
}
