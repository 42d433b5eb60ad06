//! The tree of imported categories: resolves numbers and parents, and repairs what cannot be a tree.
//!
//! Feeds list parents after their children, refer to parents that do not exist, and contain cycles; the database
//! accepts none of these. Categories are few, so they are resolved in memory.

use std::collections::{HashMap, HashSet};

use super::record::{CategoryRecord, Parent, RecordProblem, hashed_number};
use super::report::ImportReport;
use crate::catalog::CatalogId;

/// The limit of the constraint `category_path_check`.
const MAX_DEPTH: usize = 20;

pub(super) struct ResolvedCategory {
    pub number: i64,
    pub id: String,
    /// The parent's number, 0 for the top level; `None` leaves the parent unchanged.
    pub parent: Option<i64>,
    pub record: CategoryRecord,
}

impl ResolvedCategory {
    /// Fields of a later record replace those of this one.
    fn merge(&mut self, later: CategoryRecord, parent: Option<i64>) {
        let record = &mut self.record;
        if later.parent.is_some() {
            self.parent = parent;
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
}

/// The categories of the shop before the import.
pub(super) struct Existing {
    /// Number by string id.
    pub numbers: HashMap<String, i64>,
    /// The parent's number (0 for none) by number.
    pub parents: HashMap<i64, i64>,
}

impl Existing {
    pub(super) fn is_new(&self, number: i64) -> bool {
        !self.parents.contains_key(&number)
    }

    /// The number of a record, or else that of its id in the shop, or else a hash of its id.
    fn number_of(&self, record: &CategoryRecord) -> i64 {
        let of_id = |id: &String| self.numbers.get(id).copied().unwrap_or_else(|| hashed_number("category", id));
        record.number.or_else(|| record.id.as_ref().map(of_id)).unwrap_or(0)
    }
}

/// Gives every record its number, its id and its parent's number; records that cannot have them are rejected.
pub(super) fn resolve(
    records: Vec<CategoryRecord>,
    existing: &Existing,
    report: &mut ImportReport,
) -> Vec<ResolvedCategory> {
    let mut resolver = Resolver::new(&records, existing, report);
    for record in records {
        if let Err(problem) = resolver.add(record) {
            resolver.report.add(problem);
        }
    }
    resolver.resolved
}

/// Resolves records against the shop and against each other, in the order of the files.
struct Resolver<'a> {
    existing: &'a Existing,
    /// The numbers of all categories of the shop and of the files.
    numbers: HashSet<i64>,
    /// The same by string id.
    numbers_by_id: HashMap<String, i64>,
    resolved: Vec<ResolvedCategory>,
    /// Index in `resolved` by number.
    indexes: HashMap<i64, usize>,
    report: &'a mut ImportReport,
}

impl<'a> Resolver<'a> {
    /// Needs all records in advance, because a parent may be later in the file than its children.
    fn new(records: &[CategoryRecord], existing: &'a Existing, report: &'a mut ImportReport) -> Resolver<'a> {
        let mut numbers: HashSet<i64> = existing.parents.keys().copied().collect();
        let mut numbers_by_id = existing.numbers.clone();
        for record in records {
            let number = existing.number_of(record);
            numbers.insert(number);
            if let Some(id) = &record.id {
                numbers_by_id.entry(id.clone()).or_insert(number);
            }
        }
        let resolved = Vec::with_capacity(records.len());
        Resolver { existing, numbers, numbers_by_id, resolved, indexes: HashMap::new(), report }
    }

    /// A second record of a number is merged into the first one.
    fn add(&mut self, record: CategoryRecord) -> Result<(), RecordProblem> {
        let number = self.existing.number_of(&record);
        let label = record.id.as_ref().map_or_else(|| format!("category {number}"), |id| format!("category {id}"));
        let first = self.indexes.get(&number).copied();
        let name = match first {
            None if self.existing.is_new(number) => {
                let name = record.name.or(record.fallback_name);
                Some(name.ok_or_else(|| RecordProblem::rejected(&label, "is new and has no name"))?)
            }
            _ => record.name,
        };
        let record = CategoryRecord { name, fallback_name: None, ..record };
        let owner = record.id.as_ref().and_then(|id| self.numbers_by_id.get(id));
        if let Some(owner) = owner.filter(|owner| **owner != number) {
            return Err(RecordProblem::rejected(label, format!("its id belongs to the category {owner} already")));
        }
        let parent = self.parent(&record, number, &label);
        match first {
            Some(index) => self.resolved[index].merge(record, parent),
            None => {
                self.push(ResolvedCategory { number, id: self.id(&record, number, parent), parent, record }, label)?
            }
        }
        Ok(())
    }

    /// The parent's number, 0 for the top level; `None` leaves it unchanged.
    fn parent(&mut self, record: &CategoryRecord, number: i64, label: &str) -> Option<i64> {
        let found = match &record.parent {
            None => return self.existing.is_new(number).then_some(0),
            Some(Parent::Top) => Some(0),
            Some(Parent::Of(CatalogId::Number(parent))) => self.numbers.get(parent).copied(),
            Some(Parent::Of(CatalogId::Id(id))) => self.numbers_by_id.get(id).copied(),
        };
        if found.is_none() {
            self.report.add(RecordProblem::corrected(label, "its parent does not exist: moved to the top level"));
        }
        Some(found.unwrap_or(0))
    }

    fn id(&self, record: &CategoryRecord, number: i64, parent: Option<i64>) -> String {
        let prefix = if parent.unwrap_or(0) == 0 { "cat" } else { "sub" };
        record.id.clone().unwrap_or_else(|| format!("{prefix}_{number}"))
    }

    fn push(&mut self, category: ResolvedCategory, label: String) -> Result<(), RecordProblem> {
        let number = category.number;
        if self.existing.is_new(number) {
            let owner = self.numbers_by_id.insert(category.id.clone(), number);
            if owner.is_some_and(|owner| owner != number) {
                return Err(RecordProblem::rejected(label, "its id belongs to another category already"));
            }
        }
        self.indexes.insert(number, self.resolved.len());
        self.resolved.push(category);
        Ok(())
    }
}

/// Moves to the top level what no tree can have: categories without their parent, in a cycle, or too deep.
pub(super) fn repair_tree(
    mut resolved: Vec<ResolvedCategory>,
    existing: &Existing,
    report: &mut ImportReport,
) -> Vec<ResolvedCategory> {
    let mut parents = existing.parents.clone();
    parents.extend(resolved.iter().map(|category| {
        let current = existing.parents.get(&category.number).copied().unwrap_or(0);
        (category.number, category.parent.unwrap_or(current))
    }));
    for (is_misplaced, reason) in [
        (is_orphan as IsMisplaced, "its parent does not exist: moved to the top level"),
        (is_in_cycle, "is below itself: moved to the top level"),
        (is_too_deep, "is more than 20 levels deep: moved to the top level"),
    ] {
        for category in &mut resolved {
            if is_misplaced(category.number, &parents) {
                report.add(RecordProblem::corrected(format!("category {}", category.id), reason));
                parents.insert(category.number, 0);
                category.parent = Some(0);
            }
        }
    }
    resolved
}

/// Whether a category cannot stay where `parents` (parent's number by number, 0 for none) puts it.
type IsMisplaced = fn(i64, &HashMap<i64, i64>) -> bool;

fn is_orphan(number: i64, parents: &HashMap<i64, i64>) -> bool {
    let parent = parents.get(&number).copied().unwrap_or(0);
    parent != 0 && !parents.contains_key(&parent)
}

/// Cycles longer than the maximal depth are found by [`is_too_deep`].
fn is_in_cycle(number: i64, parents: &HashMap<i64, i64>) -> bool {
    let mut above = parents.get(&number).copied().unwrap_or(0);
    let mut steps = 1;
    while above != 0 && above != number && steps < MAX_DEPTH {
        above = parents.get(&above).copied().unwrap_or(0);
        steps += 1;
    }
    above == number
}

fn is_too_deep(number: i64, parents: &HashMap<i64, i64>) -> bool {
    let mut above = parents.get(&number).copied().unwrap_or(0);
    let mut depth = 1;
    while above != 0 && depth < MAX_DEPTH {
        above = parents.get(&above).copied().unwrap_or(0);
        depth += 1;
    }
    above != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(number: i64, parent: i64) -> CategoryRecord {
        CategoryRecord {
            number: Some(number),
            parent: Some(Parent::Of(CatalogId::Number(parent))),
            name: Some(format!("Категория {number}")),
            ..CategoryRecord::default()
        }
    }

    fn resolve_and_repair(records: Vec<CategoryRecord>) -> (Vec<(i64, i64)>, ImportReport) {
        let existing = Existing { numbers: HashMap::new(), parents: HashMap::new() };
        let mut report = ImportReport::default();
        let resolved = resolve(records, &existing, &mut report);
        let resolved = repair_tree(resolved, &existing, &mut report);
        (resolved.iter().map(|c| (c.number, c.parent.unwrap_or(0))).collect(), report)
    }

    #[test]
    fn parents_may_come_later_and_orphans_move_to_the_top_level() {
        let top = CategoryRecord { parent: Some(Parent::Top), ..category(1, 0) };
        let (tree, report) = resolve_and_repair(vec![category(2, 1), category(3, 99), top]);
        assert_eq!(tree, [(2, 1), (3, 0), (1, 0)]);
        assert!(report.to_string().contains("its parent does not exist"), "{report}");
        assert_eq!(report.rejected(), 0);
    }

    #[test]
    fn cycles_and_deep_branches_are_cut_once() {
        let (tree, _) = resolve_and_repair(vec![category(1, 2), category(2, 3), category(3, 1), category(4, 1)]);
        assert_eq!(tree, [(1, 0), (2, 3), (3, 1), (4, 1)]);
        let chain = (1..=25).map(|n| category(n, if n == 1 { 99 } else { n - 1 })).collect();
        let (tree, _) = resolve_and_repair(chain);
        assert_eq!(tree[20], (21, 0), "the twenty-first level moves to the top");
        assert_eq!(tree[24], (25, 24));
    }

    #[test]
    fn a_category_without_a_number_gets_the_same_one_every_time() {
        let by_id = CategoryRecord { number: None, id: Some("sub_001".to_owned()), ..category(0, 0) };
        let (first, _) = resolve_and_repair(vec![by_id.clone()]);
        let (second, _) = resolve_and_repair(vec![by_id]);
        assert_eq!(first, second);
        assert!(first[0].0 > 1 << 51);
    }
}
