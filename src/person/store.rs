//! SQL of the record of exports and erasures.

use jiff::Timestamp;
use tokio_postgres::types::Json;

use super::{Erasure, RecordedBy};
use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

/// Adds an entry to the record; `erasure` is what was removed.
pub(super) async fn record(
    client: &impl Executor,
    action: &str,
    recorded_by: RecordedBy<'_>,
    erasure: Option<&Erasure>,
    now: Timestamp,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"insert into person_record (action, operator, note, removed, recorded_at) values ($1, $2, $3, $4, $5)",
        )
        .await?;
    let RecordedBy { operator, note } = recorded_by;
    client.execute(&statement, &[&action, &operator, &note, &erasure.map(Json), &now]).await?;
    Ok(())
}
