//! Merge of categories: writes the resolved categories of all files.

use std::collections::HashSet;

use tokio_postgres::error::DbError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use super::ImportOptions;
use super::category_sources::{self, Meanings, Owners};
use super::category_tree::{Existing, ResolvedCategory, repair_tree, resolve};
use super::record::{CategoryRecord, RecordProblem};
use super::report::{ChangeCounts, ImportReport};
use crate::foundation::error::{Error, Result};

/// Merges the categories of all files; returns what changed, and the numbers of the categories in the files.
pub(super) async fn merge(
    transaction: &Transaction<'_>,
    records: Vec<CategoryRecord>,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<(ChangeCounts, Vec<i64>)> {
    let rows = transaction.query(CATEGORIES, &[]).await?;
    let (records, meanings) = category_sources::assign(records, &owners(&rows), options, report);
    write_meanings(transaction, &meanings).await?;
    if records.is_empty() {
        return Ok((ChangeCounts::default(), Vec::new()));
    }
    let existing = Existing {
        numbers: rows.iter().map(|row| (row.get("id"), row.get("category_id"))).collect(),
        parents: rows.iter().map(|row| (row.get("category_id"), row.get("parent"))).collect(),
    };
    let resolved = repair_tree(resolve(records, &existing, report), &existing, report);
    let imported = resolved.iter().map(|category| category.number).collect();
    let (new, old): (Vec<_>, Vec<_>) = resolved.into_iter().partition(|category| existing.is_new(category.number));
    insert(transaction, &new).await.map_err(map_depth_error)?;
    merge_regions(transaction, &new, report).await?;
    let mut changed: HashSet<i64> = update(transaction, &old).await.map_err(map_depth_error)?.into_iter().collect();
    changed.extend(merge_regions(transaction, &old, report).await?);
    Ok((ChangeCounts { new: new.len() as u64, changed: changed.len() as u64, removed: 0 }, imported))
}

fn owners(rows: &[Row]) -> Owners {
    let mut owners = Owners::default();
    for row in rows {
        let (number, source): (i64, String) = (row.get("category_id"), row.get("source"));
        if let Some(source_number) = row.get("source_number") {
            owners.renumbered.insert((source.clone(), source_number), number);
        }
        owners.numbers.insert(row.get("id"), number);
        owners.of.insert(number, (source, row.get("name")));
    }
    owners
}

/// Creates the table `import_category_meaning`, which the items are resolved with: the number or the id of a category in the files, and
/// the category that it means.
async fn write_meanings(transaction: &Transaction<'_>, meanings: &Meanings) -> Result<()> {
    transaction.batch_execute(CREATE_MEANING).await?;
    let (numbers, of_numbers): (Vec<i64>, Vec<i64>) = meanings.of_numbers.iter().unzip();
    let (ids, of_ids): (Vec<&str>, Vec<i64>) = meanings.of_ids.iter().map(|(id, meant)| (id.as_str(), *meant)).unzip();
    transaction.execute(INSERT_MEANINGS, &[&numbers, &of_numbers, &ids, &of_ids]).await?;
    Ok(transaction.batch_execute("analyze import_category_meaning").await?)
}

const CATEGORIES: &str = r"
    select category_id, id, name, coalesce(parent_id, 0) as parent, source, source_number from category";

const CREATE_MEANING: &str = r"
    create temporary table import_category_meaning (number bigint unique, id text unique, category_id bigint not null)
    on commit drop";

const INSERT_MEANINGS: &str = r"
    insert into import_category_meaning (number, id, category_id)
    select n.number, null, n.category_id from unnest($1::bigint[], $2::bigint[]) n (number, category_id)
    union all
    select null, n.id, n.category_id from unnest($3::text[], $4::bigint[]) n (id, category_id)";

/// Categories that are not in the files may be below a moved one and become too deep.
fn map_depth_error(error: Error) -> Error {
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    match cause.and_then(tokio_postgres::Error::as_db_error).and_then(DbError::constraint) {
        Some("category_path_check") => {
            Error::malformed("too_deep", "The files would move categories of the shop more than 20 levels deep.")
        }
        _ => error,
    }
}

/// The columns of many categories as arrays for `unnest`.
struct Columns<'a> {
    numbers: Vec<i64>,
    ids: Vec<&'a str>,
    parents: Vec<Option<i64>>,
    names: Vec<Option<&'a str>>,
    icons: Vec<Option<&'a str>>,
    banners: Vec<Option<&'a str>>,
    projects: Vec<Option<&'a str>>,
    priorities: Vec<Option<i32>>,
    visible: Vec<Option<bool>>,
    translations: Vec<Option<&'a str>>,
    sources: Vec<Option<&'a str>>,
    source_numbers: Vec<Option<i64>>,
}

fn columns(categories: &[ResolvedCategory]) -> Columns<'_> {
    let record = |f: fn(&CategoryRecord) -> Option<&str>| categories.iter().map(|c| f(&c.record)).collect();
    Columns {
        numbers: categories.iter().map(|c| c.number).collect(),
        ids: categories.iter().map(|c| c.id.as_str()).collect(),
        parents: categories.iter().map(|c| c.parent).collect(),
        names: record(|r| r.name.as_deref()),
        icons: record(|r| r.icon.as_deref()),
        banners: record(|r| r.wide_banner.as_deref()),
        projects: record(|r| r.project_id.as_deref()),
        priorities: categories.iter().map(|c| c.record.priority).collect(),
        visible: categories.iter().map(|c| c.record.visible).collect(),
        translations: record(|r| r.translations.as_deref()),
        sources: record(|r| r.source.as_deref()),
        source_numbers: categories.iter().map(|c| c.record.source_number).collect(),
    }
}

impl Columns<'_> {
    /// In the order of `unnest` in both statements.
    fn parameters(&self) -> [&(dyn ToSql + Sync); 12] {
        [
            &self.numbers,
            &self.ids,
            &self.parents,
            &self.names,
            &self.icons,
            &self.banners,
            &self.projects,
            &self.priorities,
            &self.visible,
            &self.translations,
            &self.sources,
            &self.source_numbers,
        ]
    }
}

async fn insert(transaction: &Transaction<'_>, new: &[ResolvedCategory]) -> Result<()> {
    let c = columns(new);
    transaction
        .execute(
            r"insert into category (category_id, id, parent_id, name, icon, wide_banner, project_id, priority, visible,
                                   translations, source, source_number)
             select n.category_id, n.id, nullif(n.parent_id, 0), n.name, n.icon, n.wide_banner, n.project_id,
                    coalesce(n.priority, 0), coalesce(n.visible, true), coalesce(n.translations::jsonb, '{}'),
                    coalesce(n.source, ''), n.source_number
             from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::integer[], $9::boolean[], $10::text[], $11::text[], $12::bigint[])
                  n (category_id, id, parent_id, name, icon, wide_banner, project_id, priority, visible, translations, source,
                     source_number)",
            &c.parameters(),
        )
        .await?;
    Ok(())
}

/// Returns the numbers of the categories that changed.
async fn update(transaction: &Transaction<'_>, old: &[ResolvedCategory]) -> Result<Vec<i64>> {
    let c = columns(old);
    let updated = transaction.query(include_str!("update_categories.sql"), &c.parameters()).await?;
    Ok(updated.iter().map(|row| row.get(0)).collect())
}

/// Replaces the region lists that the files contain; returns the numbers of the categories whose lists changed.
async fn merge_regions(
    transaction: &Transaction<'_>,
    categories: &[ResolvedCategory],
    report: &mut ImportReport,
) -> Result<Vec<i64>> {
    let known: Vec<String> =
        transaction.query("select region_id from region", &[]).await?.iter().map(|row| row.get(0)).collect();
    let replace = transaction
        .prepare(
            r"with wanted as (select unnest($2::text[]) as region_id),
                  removed as (delete from category_region where category_id = $1
                           and region_id not in (select region_id from wanted) returning 1),
                  added as (insert into category_region select $1, region_id from wanted on conflict do nothing returning 1)
             select (select count(*) from removed) + (select count(*) from added)",
        )
        .await?;
    let mut changed = Vec::new();
    for category in categories {
        let Some(wanted) = &category.record.regions else { continue };
        if let Some(unknown) = wanted.iter().find(|region| !known.contains(region)) {
            let reason = format!("the region {unknown} does not exist: its regions are unchanged");
            report.add(RecordProblem::corrected(format!("category {}", category.id), reason));
            continue;
        }
        let rows: i64 = transaction.query_one(&replace, &[&category.number, wanted]).await?.get(0);
        changed.extend((rows > 0).then_some(category.number));
    }
    Ok(changed)
}
