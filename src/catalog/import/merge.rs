//! Merges staged records into the shop, in one transaction.
//!
//! Files are merged one after another, as if each were an import of its own. Regional feeds are united: within one
//! import the first feed with an item decides its fields, a later one only adds its region, and a different price is
//! reported.
//!
//! # Invariants
//! - A column that a record does not mention is not written.
//! - A row that does not change is not rewritten.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::counts::{self, CountTime};
use super::record::{ProblemKind, RecordProblem, RegionRecord};
use super::report::{ChangeCounts, ImportReport, ImportSummary};
use super::stage::{FileRecords, StagedRecords};
use super::{ImportOptions, ImportSource, categories, reviews};
use crate::foundation::error::{Error, Result};

/// Merges all files; the caller commits or rolls back. Their stock is stored, and applied later. `times` are those of the files.
///
/// # Errors
/// A conflict with another transaction ([`is_conflict`]) leaves `report` as it is: the merge may be attempted again.
pub(super) async fn merge(
    transaction: &Transaction<'_>,
    sources: &[ImportSource],
    staged: &StagedRecords,
    options: ImportOptions,
    times: &[CountTime],
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    let mut attempt = ImportReport::collecting();
    let merged = merge_files(transaction, sources, staged, options, times, &mut attempt).await;
    if merged.as_ref().is_err_and(is_conflict) {
        return merged;
    }
    report.append(attempt);
    let reported = report_problems(transaction, report).await;
    let summary = merged?;
    reported?;
    Ok(summary)
}

/// Whether PostgreSQL ended the transaction because of another one, so that it may succeed the next time.
pub(super) fn is_conflict(error: &Error) -> bool {
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    cause.and_then(tokio_postgres::Error::code).is_some_and(|code| {
        matches!(
            *code,
            SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE | SqlState::LOCK_NOT_AVAILABLE
        )
    })
}

async fn merge_files(
    transaction: &Transaction<'_>,
    sources: &[ImportSource],
    staged: &StagedRecords,
    options: ImportOptions,
    times: &[CountTime],
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    // With a long pending list the search index (GIN) takes many rows at once.
    transaction.batch_execute("set local work_mem = '64MB'; set local gin_pending_list_limit = '64MB'").await?;
    transaction.batch_execute(CREATE_IMPORT_TOUCHED).await?;
    let has_categories = !staged.categories.is_empty();
    let (rejected_numbers, rejected_ids) = (&staged.rejected_numbers, &staged.rejected_ids);
    if options.replace && staged.unattributed > 0 {
        let message = format!(
            "{} records were rejected and do not identify their item: --replace might remove it.",
            staged.unattributed
        );
        return Err(Error::malformed("unattributed_records", message));
    }
    let mut summary = ImportSummary {
        regions: merge_regions(transaction, &staged.regions, report).await?,
        ..ImportSummary::default()
    };
    let (changes, imported_categories) = categories::merge(transaction, staged.categories.clone(), report).await?;
    summary.categories = changes;
    let no_records = FileRecords::default();
    if !options.older {
        counts::check_order(transaction, sources, times).await?;
    }
    for ((file_no, source), time) in (0..).zip(sources).zip(times) {
        let records = staged.files.get(file_no as usize).unwrap_or(&no_records);
        let file = MergedFile { file_no, region: source.region.as_deref(), records, time: *time };
        merge_file(transaction, &file, options, &mut summary).await?;
    }
    counts::record_times(transaction, sources, times).await?;
    if options.replace {
        if summary.items_read == 0 {
            let message = "The files contain no usable item: --replace would empty the shop.";
            return Err(Error::malformed("empty_import", message));
        }
        summary.items.removed = transaction.execute(REMOVE_ITEMS, &[&rejected_numbers, &rejected_ids]).await?;
        transaction.execute(REMOVE_REGIONS, &[]).await?;
        if has_categories {
            summary.categories.removed = transaction.execute(REMOVE_CATEGORIES, &[&imported_categories]).await?;
        }
    }
    summary.items.changed = transaction.query_one(COUNT_CHANGED, &[]).await?.get::<_, i64>(0) as u64;
    Ok(summary)
}

/// A file to merge.
struct MergedFile<'a> {
    file_no: i32,
    /// The region whose feed it is.
    region: Option<&'a str>,
    records: &'a FileRecords,
    time: CountTime,
}

/// Merges one file's items.
async fn merge_file(
    transaction: &Transaction<'_>,
    file: &MergedFile<'_>,
    options: ImportOptions,
    summary: &mut ImportSummary,
) -> Result<()> {
    let MergedFile { file_no, region, records, time } = *file;
    if let Some(region) = region {
        let known = transaction.query_opt("select from region where region_id = $1", &[&region]).await?;
        if known.is_none() {
            let message = format!("There is no region {region}: import the regions first.");
            return Err(Error::malformed("unknown_region", message));
        }
    }
    transaction.batch_execute("drop table if exists import_ready cascade").await?;
    transaction.execute(RESOLVE_ITEMS, &[&file_no, &region]).await?;
    transaction.batch_execute("analyze import_ready").await?;
    transaction.execute(NOTE_DUPLICATES, &[&file_no]).await?;
    transaction.batch_execute(NOTE_PROBLEMS).await?;
    let usable = transaction.query_one(COUNT_USABLE, &[]).await?;
    let usable_items = usable.get::<_, i64>("usable") as u64;
    summary.items_read += usable_items;
    summary.unusable_files += u64::from(records.is_unusable(usable_items));
    if usable.get("any_new") {
        summary.items.new += transaction.execute(INSERT_ITEMS, &[]).await?;
    }
    if usable.get("any_known") {
        update_items(transaction).await?;
    }
    summary.reduced_counts += counts::stage(transaction, time, options.older).await?;
    transaction.execute(REPLACE_REGIONS, &[]).await?;
    if let Some(region) = region {
        transaction.execute(ADD_REGION, &[&region]).await?;
    }
    reviews::merge(transaction, &mut summary.reviews).await?;
    transaction.execute(ADD_TOUCHED, &[&region]).await?;
    Ok(())
}

/// Updates the items of the file that differ from its records.
async fn update_items(transaction: &Transaction<'_>) -> Result<()> {
    transaction.batch_execute(CREATE_IMPORT_VALUE).await?;
    transaction.batch_execute(CREATE_IMPORT_TARGET).await?;
    transaction.query_one(LOCK_ITEMS, &[]).await?;
    transaction.execute(UPDATE_ITEMS, &[]).await?;
    Ok(())
}

/// Streams the problems of records: a bad file may have as many as records.
async fn report_problems(transaction: &Transaction<'_>, report: &mut ImportReport) -> Result<()> {
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

async fn merge_regions(
    transaction: &Transaction<'_>,
    records: &[RegionRecord],
    report: &mut ImportReport,
) -> Result<ChangeCounts> {
    let mut changes = ChangeCounts::default();
    for record in records {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&record.id, &record.city, &record.country, &record.country_code, &record.timezone, &record.translations];
        if transaction.query_opt("select from region where region_id = $1", &[&record.id]).await?.is_some() {
            changes.changed += transaction.execute(UPDATE_REGION, &values).await?;
        } else if record.city.is_some() && record.country.is_some() && record.country_code.is_some() {
            changes.new += transaction.execute(INSERT_REGION, &values).await?;
        } else {
            let label = format!("region {}", record.id);
            report.add(RecordProblem::rejected(label, "is new and has no city, country or countryCode"));
        }
    }
    Ok(changes)
}

const INSERT_REGION: &str = r"
    insert into region (region_id, city, country, country_code, timezone, translations, position)
    select $1, $2::text, $3::text, $4::text, $5, coalesce($6::text::jsonb, '{}'), coalesce(max(position), 0) + 1 from region";

const UPDATE_REGION: &str = r"
    update region r
    set city = n.city, country = n.country, country_code = n.country_code, timezone = n.timezone,
        translations = n.translations
    from (select coalesce($2, city) as city, coalesce($3, country) as country, coalesce($4, country_code) as country_code,
                 coalesce($5, timezone) as timezone, import_merge_translations(translations, $6::text::jsonb) as translations
          from region where region_id = $1) n
    where r.region_id = $1
      and (r.city, r.country, r.country_code, r.timezone, r.translations)
          is distinct from (n.city, n.country, n.country_code, n.timezone, n.translations)";

/// `import_touched`: the items of the files merged so far, with their price and the regions of their feeds.
/// `import_changed`: the items that were written to. `import_problem`: the problems of records, in the order in which they are reported.
const CREATE_IMPORT_TOUCHED: &str = r"
    create temporary table import_touched (
        item_id bigint primary key, is_new boolean not null, by_feed boolean not null, price numeric(14, 2),
        regions text[] not null
    ) on commit drop;
    create temporary table import_changed (item_id bigint not null) on commit drop;
    create temporary table import_problem (
        problem_no bigint generated always as identity, label text not null, reason text not null, kind text not null
    ) on commit drop";

/// How many existing items changed.
const COUNT_CHANGED: &str = r"
    select count(distinct item_id) from import_changed join import_touched using (item_id) where not is_new";

const RESOLVE_ITEMS: &str = include_str!("resolve_items.sql");

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

const COUNT_USABLE: &str = r"
    select count(*) as usable, coalesce(bool_or(known), false) as any_known,
           coalesce(bool_or(not known and not later_feed), false) as any_new
    from import_ready where problem is null";

const INSERT_ITEMS: &str = include_str!("insert_items.sql");

const CREATE_IMPORT_VALUE: &str = include_str!("create_import_value.sql");

/// The items that are to be changed.
const CREATE_IMPORT_TARGET: &str = r"
    drop table if exists import_target;
    create temporary table import_target on commit drop as select item_id from import_value where differs;
    analyze import_target;
    insert into import_changed select item_id from import_target";

/// Locks in ascending order, as the reviews do.
const LOCK_ITEMS: &str = r"
    select count(*) from (
        select from item where item_id in (select item_id from import_target) order by item_id for no key update
    ) locked";

const UPDATE_ITEMS: &str = include_str!("update_items.sql");

/// Replaces the region lists that records contain.
const REPLACE_REGIONS: &str = r"
    with listed as (
        select r.item_id, s.regions from import_ready r join import_item s using (row_no)
        where s.regions is not null and r.problem is null and not r.later_feed and not r.has_unknown_region
    ), removed as (
        delete from item_region r using listed l where r.item_id = l.item_id and r.region_id <> all (l.regions)
        returning r.item_id
    ), added as (
        insert into item_region select l.item_id, unnest(l.regions) from listed l on conflict do nothing
        returning item_id
    )
    insert into import_changed select item_id from removed union select item_id from added";

/// Makes the items of a regional feed available in its region. An item that was available everywhere stays so.
const ADD_REGION: &str = r"
    with added as (
        insert into item_region
        select s.item_id, $1 from import_ready s
        where s.problem is null
          and (not s.known or exists (select from item_region r where r.item_id = s.item_id))
        on conflict do nothing
        returning item_id
    )
    insert into import_changed select item_id from added";

const ADD_TOUCHED: &str = r"
    insert into import_touched
    select item_id, not known, $1::text is not null and problem is null, price, case when $1::text is null then '{}' else array[$1::text] end
    from import_ready where problem is null or known
    on conflict (item_id) do update set regions = import_touched.regions || excluded.regions";

/// Removes the items that are in no file; an item with a rejected record counts as being in its file.
const REMOVE_ITEMS: &str = r"
    with removed as materialized (
        select i.item_id from item i
        where not exists (select from import_touched t where t.item_id = i.item_id)
          and i.item_id <> all ($1) and i.id <> all ($2)
        order by i.item_id for update
    )
    delete from item i using removed r where i.item_id = r.item_id";

/// With `--replace` the regional feeds of one import are complete: an item leaves a region whose feed does not have it.
const REMOVE_REGIONS: &str = r"
    with removed as (
        delete from item_region r using import_touched t
        where r.item_id = t.item_id and t.by_feed and r.region_id <> all (t.regions)
        returning r.item_id
    )
    insert into import_changed select item_id from removed";

/// Removes the categories that are in no file, unless they contain an item or a category that stays.
const REMOVE_CATEGORIES: &str = r"
    delete from category c
    where c.category_id <> all ($1)
      and not exists (
          select from category d
          where d.path @> array[c.category_id]
            and (d.category_id = any ($1) or exists (select from item i where i.node_id = d.category_id
                                                                           or i.category_id = d.category_id)))";
