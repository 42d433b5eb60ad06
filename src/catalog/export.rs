//! Catalogue export: writes JSON that `import` reads, hidden records included, streamed from one read-only snapshot.
//!
//! # Invariants
//! - Every field of the import is exported: an import of an export changes nothing. What was sold since is subtracted from its stock.
//! - The authors of reviews are exported as pseudonyms only.

use std::io::Write;
use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use tokio_postgres::{Client, IsolationLevel};

use crate::config::BrandConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres;

/// The layout of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// One object with `stockAsOf`, `regions`, `categories`, `items`.
    Document,
    /// JSON lines: one record per line.
    Lines,
}

/// Writes all regions, categories and items; returns the number of records.
///
/// # Errors
/// An unavailable database, or an output that cannot be written.
pub async fn export(brand: &BrandConfig, format: ExportFormat, out: &mut (impl Write + Send)) -> Result<u64> {
    let mut client: Client = postgres::connect_reading(&brand.database).await?;
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let as_of: Timestamp = transaction.query_one(STOCK_AS_OF, &[]).await?.get(0);
    match format {
        ExportFormat::Document => write!(out, "{{\n\"stockAsOf\": \"{as_of}\""),
        ExportFormat::Lines => writeln!(out, "{{\"stockAsOf\": \"{as_of}\"}}"),
    }
    .or_internal()?;
    let mut records = 0;
    let parts = [("regions", REGIONS), ("categories", CATEGORIES), ("items", ITEMS)];
    for (name, query) in parts {
        if format == ExportFormat::Document {
            write!(out, ",\n\"{name}\": [").or_internal()?;
        }
        let mut rows = pin!(transaction.query_raw(query, std::iter::empty::<&str>()).await?);
        let mut separator = "\n";
        while let Some(row) = rows.try_next().await? {
            let record: &str = row.get(0);
            match format {
                ExportFormat::Document => write!(out, "{separator}{record}"),
                ExportFormat::Lines => writeln!(out, "{record}"),
            }
            .or_internal()?;
            separator = ",\n";
            records += 1;
        }
        if format == ExportFormat::Document {
            write!(out, "\n]").or_internal()?;
        }
    }
    if format == ExportFormat::Document {
        writeln!(out, "\n}}").or_internal()?;
    }
    out.flush().or_internal()?;
    Ok(records)
}

/// The time of the snapshot, or when the oldest transaction began that may yet sell units that the snapshot contains. Such a transaction
/// takes less than ten seconds; a longer one, such as an import, sells nothing.
const STOCK_AS_OF: &str = r"
    select least(now(), min(xact_start)) from pg_stat_activity
    where usename = current_user and datname = current_database() and backend_xid is not null
      and xact_start > now() - interval '10 seconds'";

const REGIONS: &str = r"
    select jsonb_strip_nulls(jsonb_build_object(
               'id', region_id, 'city', city, 'country', country, 'countryCode', country_code, 'timezone', timezone,
               'translations', translations))::text
    from region order by position, region_id";

/// Parents before children.
const CATEGORIES: &str = r"
    select jsonb_strip_nulls(jsonb_build_object(
               'categoryID', c.category_id, 'id', c.id, 'parentID', coalesce(c.parent_id, 0), 'name', c.name,
               'icon', c.icon, 'wideBanner', c.wide_banner, 'projectId', c.project_id, 'priority', c.priority,
               'visible', c.visible, 'translations', c.translations, 'source', nullif(c.source, ''),
               'sourceNumber', c.source_number,
               'regions', array(select region_id from category_region r where r.category_id = c.category_id order by 1)
           ))::text
    from category c order by cardinality(c.path), c.category_id";

const ITEMS: &str = include_str!("export_items.sql");
