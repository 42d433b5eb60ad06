//! Merges staged records into the shop, in one transaction.
//!
//! Files are merged one after another, as if each were an import of its own. Regional feeds are united: within one
//! import the first feed with an item decides its fields, a later one only adds its region, and a different price is
//! reported.
//!
//! # Invariants
//! - A column that a record does not mention is not written.
//! - A row that does not change is not rewritten.

use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::counts::{self, CountTime};
use super::record::{RecordProblem, RegionRecord};
use super::report::{ChangeCounts, ImportReport, ImportSummary};
use super::retire::{self, Scope};
use super::stage::{FileRecords, StagedRecords};
use super::{ImportOptions, ImportSource, categories, problems, reviews};
use crate::foundation::error::{Error, Result};

/// What the records of all files are merged with.
pub(super) struct MergeRules<'a> {
    pub options: &'a ImportOptions,
    /// The times of the files.
    pub times: &'a [CountTime],
    /// The share of a source's items that `--replace` may hide.
    pub max_removed_percent: u32,
}

/// Merges all files; the caller commits or rolls back. Their stock is stored, and applied later.
///
/// # Errors
/// After a conflict with another transaction ([`is_conflict`]) the merge may be attempted again, with another report.
pub(super) async fn merge(
    transaction: &Transaction<'_>,
    sources: &[ImportSource],
    staged: &StagedRecords,
    rules: &MergeRules<'_>,
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    let merged = merge_files(transaction, sources, staged, rules, report).await;
    if merged.as_ref().is_err_and(is_conflict) {
        return merged;
    }
    let reported = problems::report(transaction, report).await;
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
    rules: &MergeRules<'_>,
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    // With a long pending list the search index (GIN) takes many rows at once.
    transaction.batch_execute("set local work_mem = '64MB'; set local gin_pending_list_limit = '64MB'").await?;
    transaction.batch_execute(CREATE_IMPORT_TOUCHED).await?;
    problems::prepare(transaction).await?;
    let has_categories = !staged.categories.is_empty();
    let options = rules.options;
    if options.replace && staged.unattributed > 0 {
        let message = format!(
            "Rejected records that do not identify their item: {}; --replace might remove it.",
            staged.unattributed
        );
        return Err(Error::malformed("unattributed_records", message));
    }
    let scope = if options.replace { Some(Scope::of(transaction, &options.source, sources).await?) } else { None };
    let mut summary = ImportSummary {
        regions: merge_regions(transaction, &staged.regions, report).await?,
        ..ImportSummary::default()
    };
    let (changes, imported_categories) =
        categories::merge(transaction, staged.categories.clone(), options, report).await?;
    summary.categories = changes;
    let no_records = FileRecords::default();
    if !options.older {
        counts::check_order(transaction, &options.source, sources, rules.times).await?;
    }
    for ((file_no, source), time) in (0..).zip(sources).zip(rules.times) {
        let records = staged.files.get(file_no as usize).unwrap_or(&no_records);
        let file = File { file_no, region: source.region.as_deref(), records, time: *time };
        merge_file(transaction, &file, options, &mut summary).await?;
    }
    counts::record_times(transaction, &options.source, sources, rules.times).await?;
    if let Some(scope) = scope {
        if summary.items_read == 0 {
            let message = "The files contain no usable item: --replace would empty the shop.";
            return Err(Error::malformed("empty_import", message));
        }
        let rejected = (staged.rejected_numbers.as_slice(), staged.rejected_ids.as_slice());
        scope.retire(transaction, rejected, rules.max_removed_percent, &mut summary).await?;
        if has_categories {
            summary.categories.removed =
                retire::remove_categories(transaction, &options.source, &imported_categories).await?;
        }
    }
    summary.items.changed = transaction.query_one(COUNT_CHANGED, &[]).await?.get::<_, i64>(0) as u64;
    Ok(summary)
}

/// One file of an import.
struct File<'a> {
    file_no: i32,
    region: Option<&'a str>,
    records: &'a FileRecords,
    time: CountTime,
}

/// Merges one file's items.
async fn merge_file(
    transaction: &Transaction<'_>,
    &File { file_no, region, records, time }: &File<'_>,
    options: &ImportOptions,
    summary: &mut ImportSummary,
) -> Result<()> {
    if let Some(region) = region {
        let known = transaction.query_opt("select from region where region_id = $1", &[&region]).await?;
        if known.is_none() {
            let message = format!("There is no region {region}: import the regions first.");
            return Err(Error::malformed("unknown_region", message));
        }
    }
    transaction.batch_execute("drop table if exists import_ready cascade").await?;
    let parameters: [&(dyn ToSql + Sync); 5] = [&file_no, &region, &options.source, &options.adopt, &options.replace];
    transaction.execute(RESOLVE_ITEMS, &parameters).await?;
    transaction.batch_execute("analyze import_ready").await?;
    problems::note(transaction, file_no).await?;
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
    transaction.execute(MERGE_QUESTIONS, &[]).await?;
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

async fn merge_regions(
    transaction: &Transaction<'_>,
    records: &[RegionRecord],
    report: &mut ImportReport,
) -> Result<ChangeCounts> {
    let mut changes = ChangeCounts::default();
    for record in records {
        let values: [&(dyn ToSql + Sync); 6] =
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
/// `import_changed`: the items that were written to.
const CREATE_IMPORT_TOUCHED: &str = r"
    create temporary table import_touched (
        item_id bigint primary key, is_new boolean not null, by_feed boolean not null, price numeric(14, 2),
        quantity integer, level text, regions text[] not null
    ) on commit drop;
    create temporary table import_changed (item_id bigint not null) on commit drop";

/// How many existing items changed.
const COUNT_CHANGED: &str = r"
    select count(distinct c.item_id) from import_changed c left join import_touched t using (item_id)
    where t.is_new is not true";

const RESOLVE_ITEMS: &str = include_str!("resolve_items.sql");

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
          and (not s.known or s.was_retired or exists (select from item_region r where r.item_id = s.item_id))
        on conflict do nothing
        returning item_id
    )
    insert into import_changed select item_id from added";

const MERGE_QUESTIONS: &str = include_str!("merge_questions.sql");

const ADD_TOUCHED: &str = r"
    insert into import_touched
    select r.item_id, not r.known, $1::text is not null and r.problem is null, r.price, s.quantity, s.remainings,
           case when $1::text is null then '{}' else array[$1::text] end
    from import_ready r join import_item s using (row_no) where r.problem is null or r.known
    on conflict (item_id) do update set regions = import_touched.regions || excluded.regions";
