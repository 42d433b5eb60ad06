//! The problems of the records that are merged: noted in a temporary table, and reported when the merge is done.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Transaction;

use super::record::{ProblemKind, RecordProblem};
use super::report::ImportReport;
use crate::foundation::error::Result;

/// Creates the table `import_problem`: the problems of all files, in the order in which they are reported.
pub(super) async fn prepare(transaction: &Transaction<'_>) -> Result<()> {
    Ok(transaction.batch_execute(CREATE_IMPORT_PROBLEM).await?)
}

/// Notes the records of the file in `import_ready` that are rejected, incomplete or remarkable; called before they are merged.
pub(super) async fn note(transaction: &Transaction<'_>, file_no: i32) -> Result<()> {
    transaction.execute(NOTE_DUPLICATES, &[&file_no]).await?;
    for statement in [NOTE_PROBLEMS, NOTE_RENAMED, NOTE_DIFFERENT_STOCK] {
        transaction.batch_execute(statement).await?;
    }
    Ok(())
}

/// Adds the noted problems to the report. They are streamed: a bad file may have as many as records.
pub(super) async fn report(transaction: &Transaction<'_>, report: &mut ImportReport) -> Result<()> {
    let query = "select label, reason, kind from import_problem order by problem_no";
    let mut rows = pin!(transaction.query_raw(query, std::iter::empty::<&str>()).await?);
    while let Some(row) = rows.try_next().await? {
        let problem = RecordProblem::rejected(row.get::<_, &str>("label"), row.get::<_, &str>("reason"));
        let kind = match row.get("kind") {
            "incomplete" => ProblemKind::Incomplete,
            "corrected" => ProblemKind::Corrected,
            _ => ProblemKind::Rejected,
        };
        report.add(RecordProblem { kind, ..problem });
    }
    Ok(())
}

const CREATE_IMPORT_PROBLEM: &str = r"
    create temporary table import_problem (
        problem_no bigint generated always as identity, label text not null, reason text not null, kind text not null
    ) on commit drop";

/// The records of the file whose item has an earlier record in it.
const NOTE_DUPLICATES: &str = r"
    insert into import_problem (label, reason, kind)
    select coalesce(s.id, 'item ' || s.number), 'occurs twice in the file: the first one is used', 'rejected'
    from import_item s
    where s.file_no = $1 and not exists (select from import_ready r where r.row_no = s.row_no)
    order by s.row_no";

/// The records of the file that are rejected, those of which a part is left out, and those of a later feed with another price than the
/// first one.
const NOTE_PROBLEMS: &str = r"
    insert into import_problem (label, reason, kind)
    select final_id, problem, 'rejected' from import_ready where problem is not null order by row_no;
    insert into import_problem (label, reason, kind)
    select final_id, omission, 'incomplete' from import_ready where omission is not null order by row_no;
    insert into import_problem (label, reason, kind)
    select final_id || ' (' || price || ')',
           'has another price in another city: the price of the first feed is used', 'corrected'
    from import_ready
    where later_feed and problem is null and price <> first_price order by row_no";

/// The records that may be those of another product.
const NOTE_RENAMED: &str = r"
    insert into import_problem (label, reason, kind)
    select r.final_id || ' (' || i.name || ')',
           'gets a name that shares no word with its old one: is it the same item?', 'corrected'
    from import_ready r join import_item s using (row_no) join item i on i.item_id = r.item_id
    where r.known and r.problem is null and not r.later_feed and s.name <> i.name
      and not tsvector_to_array(to_tsvector('russian', s.name)) && tsvector_to_array(to_tsvector('russian', i.name))
    order by r.row_no";

/// The records of a later feed with another stock than the first one.
const NOTE_DIFFERENT_STOCK: &str = r"
    insert into import_problem (label, reason, kind)
    select r.final_id || ' (' || coalesce(s.quantity::text, s.remainings) || ')',
           'has another stock in another city: the stock of the first feed is used', 'corrected'
    from import_ready r join import_item s using (row_no) join import_touched t using (item_id)
    where r.later_feed and r.problem is null and s.has_stock
      and coalesce(s.quantity::text, s.remainings) <> coalesce(t.quantity::text, t.level)
    order by r.row_no";
