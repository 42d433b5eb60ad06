//! The tree of categories as the files want it: numbers given, parents found, what cannot stand put right and reported.
//!
//! Called by `merge` inside its transaction. Feeds name parents after children, parents that do not exist, and circles;
//! the database takes none of these, so they are settled here. Categories are few; they are worked on in memory.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Transaction;
use tokio_postgres::error::DbError;
use tokio_postgres::types::ToSql;

use super::record::{CategoryRecord, Parent, Reference, Rejected, hashed_number};
use super::report::{ChangeCounts, ImportReport};
use crate::foundation::error::{Error, Result};

/// `category_path_check`: how deep a tree may be.
const DEEPEST: usize = 20;

/// A category with its number, its id, and its parent's number (0 for none).
struct Resolved {
    number: i64,
    id: String,
    /// `None` leaves the parent as it is.
    parent: Option<i64>,
    record: CategoryRecord,
}

/// What the shop has already.
struct Existing {
    numbers: HashMap<String, i64>,
    parents: HashMap<i64, i64>,
}

/// Brings the files' categories into the shop; returns what changed and the numbers that the files named.
pub(super) async fn merge(
    transaction: &Transaction<'_>,
    records: Vec<CategoryRecord>,
    report: &mut ImportReport,
) -> Result<(ChangeCounts, Vec<i64>)> {
    if records.is_empty() {
        return Ok((ChangeCounts::default(), Vec::new()));
    }
    let rows = transaction.query("select category_id, id, coalesce(parent_id, 0) as parent from category", &[]).await?;
    let existing = Existing {
        numbers: rows.iter().map(|row| (row.get("id"), row.get("category_id"))).collect(),
        parents: rows.iter().map(|row| (row.get("category_id"), row.get("parent"))).collect(),
    };
    let resolved = plant(resolve(records, &existing, report), &existing, report);
    let named = resolved.iter().map(|category| category.number).collect();
    let (new, old): (Vec<_>, Vec<_>) =
        resolved.into_iter().partition(|category| !existing.parents.contains_key(&category.number));
    insert(transaction, &new).await.map_err(told_as_depth)?;
    regions(transaction, &new, report).await?;
    let mut changed: HashSet<i64> = update(transaction, &old).await.map_err(told_as_depth)?.into_iter().collect();
    changed.extend(regions(transaction, &old, report).await?);
    Ok((ChangeCounts { new: new.len() as u64, changed: changed.len() as u64, removed: 0 }, named))
}

/// What the files do not name may hang below what they move, too deep for `category_path_check`.
fn told_as_depth(error: Error) -> Error {
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    match cause.and_then(tokio_postgres::Error::as_db_error).and_then(DbError::constraint) {
        Some("category_path_check") => {
            Error::malformed("too_deep", "The files would hang categories of the shop more than 20 levels deep.")
        }
        _ => error,
    }
}

/// Gives every record its number and finds its parent's. A later record of one number adds to the earlier one.
fn resolve(records: Vec<CategoryRecord>, existing: &Existing, report: &mut ImportReport) -> Vec<Resolved> {
    let number_of_record = |record: &CategoryRecord| {
        let by_id = |id: &String| existing.numbers.get(id).copied();
        let hashed = |id: &String| hashed_number("category", id);
        record.number.or_else(|| record.id.as_ref().map(|id| by_id(id).unwrap_or_else(|| hashed(id)))).unwrap_or(0)
    };
    let mut by_id: HashMap<String, i64> = existing.numbers.clone();
    for record in &records {
        if let Some(id) = &record.id {
            by_id.entry(id.clone()).or_insert_with(|| number_of_record(record));
        }
    }
    let known: HashSet<i64> = records.iter().map(number_of_record).chain(existing.parents.keys().copied()).collect();

    let mut resolved: Vec<Resolved> = Vec::with_capacity(records.len());
    let mut places: HashMap<i64, usize> = HashMap::new();
    for mut record in records {
        let number = number_of_record(&record);
        let label = record.id.clone().map_or_else(|| format!("category {number}"), |id| format!("category {id}"));
        let is_new = !existing.parents.contains_key(&number);
        if is_new && !places.contains_key(&number) {
            record.name = record.name.or_else(|| record.fallback_name.take());
        }
        if is_new && record.name.is_none() && !places.contains_key(&number) {
            report.reject(Rejected::left_out(label, "is new and has no name"));
            continue;
        }
        if let Some(owner) = record.id.as_ref().and_then(|id| by_id.get(id)).filter(|owner| **owner != number) {
            report.reject(Rejected::left_out(label, format!("its id belongs to the category {owner} already")));
            continue;
        }
        let parent = match &record.parent {
            None if is_new => Some(0),
            None => None,
            Some(Parent::Top) => Some(0),
            Some(Parent::Of(reference)) => {
                let found = match reference {
                    Reference::Number(parent) => Some(*parent).filter(|parent| known.contains(parent)),
                    Reference::Id(id) => by_id.get(id).copied(),
                };
                if found.is_none() {
                    report.notice(Rejected::kept(label.clone(), "its parent does not exist: it stands at the top"));
                }
                Some(found.unwrap_or(0))
            }
        };
        match places.get(&number) {
            Some(&place) => overlay(&mut resolved[place], record, parent),
            None => {
                let prefix = if parent.unwrap_or(0) == 0 { "cat" } else { "sub" };
                let id = record.id.clone().unwrap_or_else(|| format!("{prefix}_{number}"));
                if is_new && by_id.insert(id.clone(), number).is_some_and(|owner| owner != number) {
                    report.reject(Rejected::left_out(label, "its id belongs to another category already"));
                    continue;
                }
                places.insert(number, resolved.len());
                resolved.push(Resolved { number, id, parent, record });
            }
        }
    }
    resolved
}

/// Two files of one import, or one after the other: the later word stands where it says something.
fn overlay(earlier: &mut Resolved, later: CategoryRecord, parent: Option<i64>) {
    let record = &mut earlier.record;
    if later.parent.is_some() {
        earlier.parent = parent;
    }
    record.name = later.name.or(record.name.take());
    record.icon = later.icon.or(record.icon.take());
    record.wide_banner = later.wide_banner.or(record.wide_banner.take());
    record.project_id = later.project_id.or(record.project_id.take());
    record.priority = later.priority.or(record.priority);
    record.visible = later.visible.or(record.visible);
    record.regions = later.regions.or(record.regions.take());
    record.translations = later.translations.or(record.translations.take());
}

/// Puts right what no tree can have: a parent that was left out, a circle (what closes it stands at the top), a branch that
/// is too deep.
fn plant(mut resolved: Vec<Resolved>, existing: &Existing, report: &mut ImportReport) -> Vec<Resolved> {
    let mut parents = existing.parents.clone();
    parents.extend(resolved.iter().map(|category| {
        let kept = existing.parents.get(&category.number).copied().unwrap_or(0);
        (category.number, category.parent.unwrap_or(kept))
    }));
    for (find, reason) in [
        (is_orphan as Misfit, "its parent does not exist: it stands at the top"),
        (is_in_circle, "is below itself: it stands at the top"),
        (is_too_deep, "is more than 20 levels deep: it stands at the top"),
    ] {
        for category in &mut resolved {
            if find(category.number, &parents) {
                report.notice(Rejected::kept(format!("category {}", category.id), reason));
                parents.insert(category.number, 0);
                category.parent = Some(0);
            }
        }
    }
    resolved
}

/// Whether a category cannot stay where `parents` (0 for the top) puts it.
type Misfit = fn(i64, &HashMap<i64, i64>) -> bool;

fn is_orphan(number: i64, parents: &HashMap<i64, i64>) -> bool {
    let parent = parents.get(&number).copied().unwrap_or(0);
    parent != 0 && !parents.contains_key(&parent)
}

/// Circles larger than the deepest tree are cut as too deep.
fn is_in_circle(number: i64, parents: &HashMap<i64, i64>) -> bool {
    let mut above = parents.get(&number).copied().unwrap_or(0);
    let mut steps = 1;
    while above != 0 && above != number && steps < DEEPEST {
        above = parents.get(&above).copied().unwrap_or(0);
        steps += 1;
    }
    above == number
}

fn is_too_deep(number: i64, parents: &HashMap<i64, i64>) -> bool {
    let mut above = parents.get(&number).copied().unwrap_or(0);
    let mut depth = 1;
    while above != 0 && depth < DEEPEST {
        above = parents.get(&above).copied().unwrap_or(0);
        depth += 1;
    }
    above != 0
}

/// The columns of many categories, as the arrays that `unnest` takes.
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
}

fn columns(categories: &[Resolved]) -> Columns<'_> {
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
    }
}

impl Columns<'_> {
    /// In the order in which both statements unnest them.
    fn parameters(&self) -> [&(dyn ToSql + Sync); 10] {
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
        ]
    }
}

async fn insert(transaction: &Transaction<'_>, new: &[Resolved]) -> Result<()> {
    let c = columns(new);
    transaction
        .execute(
            "insert into category (category_id, id, parent_id, name, icon, wide_banner, project_id, priority, visible, \
                                   translations) \
             select n.category_id, n.id, nullif(n.parent_id, 0), n.name, n.icon, n.wide_banner, n.project_id, \
                    coalesce(n.priority, 0), coalesce(n.visible, true), coalesce(n.translations::jsonb, '{}') \
             from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], \
                         $8::integer[], $9::boolean[], $10::text[]) \
                  n (category_id, id, parent_id, name, icon, wide_banner, project_id, priority, visible, translations)",
            &c.parameters(),
        )
        .await?;
    Ok(())
}

/// Returns the numbers of those that changed.
async fn update(transaction: &Transaction<'_>, old: &[Resolved]) -> Result<Vec<i64>> {
    let c = columns(old);
    let updated = transaction
        .query(
            "update category c set parent_id = n.parent_id, name = n.name, icon = n.icon, wide_banner = n.wide_banner, \
                    project_id = n.project_id, priority = n.priority, visible = n.visible, translations = n.translations \
             from ( \
                 select o.category_id, \
                        case when n.parent_id is null then o.parent_id else nullif(n.parent_id, 0) end as parent_id, \
                        coalesce(n.name, o.name) as name, coalesce(n.icon, o.icon) as icon, \
                        coalesce(n.wide_banner, o.wide_banner) as wide_banner, \
                        coalesce(n.project_id, o.project_id) as project_id, \
                        coalesce(n.priority, o.priority) as priority, coalesce(n.visible, o.visible) as visible, \
                        import_merge_translations(o.translations, n.translations::jsonb) as translations \
                 from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], \
                             $8::integer[], $9::boolean[], $10::text[]) \
                      n (category_id, id, parent_id, name, icon, wide_banner, project_id, priority, visible, translations) \
                 join category o using (category_id) \
             ) n \
             where c.category_id = n.category_id \
               and (c.parent_id, c.name, c.icon, c.wide_banner, c.project_id, c.priority, c.visible, c.translations) \
                   is distinct from \
                   (n.parent_id, n.name, n.icon, n.wide_banner, n.project_id, n.priority, n.visible, n.translations) \
             returning c.category_id",
            &c.parameters(),
        )
        .await?;
    Ok(updated.iter().map(|row| row.get(0)).collect())
}

/// Replaces the region lists that the files name; returns the numbers of the categories whose lists changed.
async fn regions(
    transaction: &Transaction<'_>,
    categories: &[Resolved],
    report: &mut ImportReport,
) -> Result<Vec<i64>> {
    let known: Vec<String> =
        transaction.query("select region_id from region", &[]).await?.iter().map(|row| row.get(0)).collect();
    let replace = transaction
        .prepare(
            "with wanted as (select unnest($2::text[]) as region_id), \
                  gone as (delete from category_region where category_id = $1 \
                           and region_id not in (select region_id from wanted) returning 1), \
                  come as (insert into category_region select $1, region_id from wanted on conflict do nothing returning 1) \
             select (select count(*) from gone) + (select count(*) from come)",
        )
        .await?;
    let mut changed = Vec::new();
    for category in categories {
        let Some(wanted) = &category.record.regions else { continue };
        if let Some(unknown) = wanted.iter().find(|region| !known.contains(region)) {
            let reason = format!("names the region {unknown}, which does not exist: its regions stay as they were");
            report.notice(Rejected::kept(format!("category {}", category.id), reason));
            continue;
        }
        let rows: i64 = transaction.query_one(&replace, &[&category.number, wanted]).await?.get(0);
        changed.extend((rows > 0).then_some(category.number));
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(number: i64, parent: i64) -> CategoryRecord {
        CategoryRecord {
            number: Some(number),
            parent: Some(Parent::Of(Reference::Number(parent))),
            name: Some(format!("Категория {number}")),
            ..CategoryRecord::default()
        }
    }

    fn planted(records: Vec<CategoryRecord>) -> (Vec<(i64, i64)>, ImportReport) {
        let existing = Existing { numbers: HashMap::new(), parents: HashMap::new() };
        let mut report = ImportReport::default();
        let resolved = plant(resolve(records, &existing, &mut report), &existing, &mut report);
        (resolved.iter().map(|c| (c.number, c.parent.unwrap_or(0))).collect(), report)
    }

    #[test]
    fn parents_may_come_later_and_orphans_stand_at_the_top() {
        let top = CategoryRecord { parent: Some(Parent::Top), ..category(1, 0) };
        let (tree, report) = planted(vec![category(2, 1), category(3, 99), top]);
        assert_eq!(tree, [(2, 1), (3, 0), (1, 0)]);
        assert!(report.to_string().contains("its parent does not exist"), "{report}");
        assert_eq!(report.rejected(), 0);
    }

    #[test]
    fn a_circle_is_cut_once_and_a_deep_branch_too() {
        let (tree, _) = planted(vec![category(1, 2), category(2, 3), category(3, 1), category(4, 1)]);
        assert_eq!(tree, [(1, 0), (2, 3), (3, 1), (4, 1)]);
        let chain = (1..=25).map(|n| category(n, if n == 1 { 99 } else { n - 1 })).collect();
        let (tree, _) = planted(chain);
        assert_eq!(tree[20], (21, 0), "the twenty-first level begins anew");
        assert_eq!(tree[24], (25, 24));
    }

    #[test]
    fn a_category_without_a_number_gets_one_that_stays() {
        let by_id = CategoryRecord { number: None, id: Some("sub_001".to_owned()), ..category(0, 0) };
        let (first, _) = planted(vec![by_id.clone()]);
        let (second, _) = planted(vec![by_id]);
        assert_eq!(first, second);
        assert!(first[0].0 > 1 << 51);
    }
}
