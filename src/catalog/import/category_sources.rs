//! The categories of different sources: what becomes of a number that a category of another source has.
//!
//! # Invariants
//! - An import changes no category of another source.
//! - A category of a source has the same number in every import.

use std::collections::HashMap;

use super::ImportOptions;
use super::record::{CategoryRecord, Parent, RecordProblem, hashed_number};
use super::report::ImportReport;
use crate::catalog::CatalogId;

/// The categories of the shop, and whose they are.
#[derive(Default)]
pub(super) struct Owners {
    /// Source and name by number.
    pub of: HashMap<i64, (String, String)>,
    /// Number by string id.
    pub numbers: HashMap<String, i64>,
    /// Number in the shop by the source and its number in the files of the source, where that is another one.
    pub renumbered: HashMap<(String, i64), i64>,
}

/// The categories of the shop that the files mean by a number or a string id that is another category's, or none's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meanings {
    pub of_numbers: HashMap<i64, i64>,
    pub of_ids: HashMap<String, i64>,
}

/// The meaning of a number that must not be followed.
const NO_CATEGORY: i64 = 0;

/// Gives the records that are to be merged their source and their numbers in the shop. A record is left out if its category is another
/// source's: one of the same name is meant, of another name is another category, which gets a number of its own.
pub(super) fn assign(
    records: Vec<CategoryRecord>,
    owners: &Owners,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> (Vec<CategoryRecord>, Meanings) {
    let mut assignment = Assignment { owners, options, report, meanings: Meanings::default() };
    for ((source, number), meant) in &owners.renumbered {
        if *source == options.source {
            assignment.meanings.of_numbers.insert(*number, *meant);
        }
    }
    let assigned: Vec<_> = records.into_iter().filter_map(|record| assignment.add(record)).collect();
    let meanings = assignment.meanings;
    let meant = |parent: &CatalogId| match parent {
        CatalogId::Number(number) => meanings.of_numbers.get(number).copied(),
        CatalogId::Id(id) => meanings.of_ids.get(id).copied(),
    };
    let assigned = assigned.into_iter().map(|record| match &record.parent {
        Some(Parent::Of(parent)) => match meant(parent) {
            Some(number) => CategoryRecord { parent: Some(Parent::Of(CatalogId::Number(number))), ..record },
            None => record,
        },
        _ => record,
    });
    (assigned.collect(), meanings)
}

struct Assignment<'o, 'r> {
    owners: &'o Owners,
    options: &'o ImportOptions,
    report: &'r mut ImportReport,
    meanings: Meanings,
}

impl<'o> Assignment<'o, '_> {
    /// `None`: nothing of the record is to be merged.
    fn add(&mut self, record: CategoryRecord) -> Option<CategoryRecord> {
        let source = record.source.clone().unwrap_or_else(|| self.options.source.clone());
        let of_id = record.id.as_ref().and_then(|id| self.owners.numbers.get(id)).copied();
        let record = CategoryRecord { source: Some(source.clone()), ..record };
        let Some(number) = record.source_number.or(record.number).or(of_id) else { return Some(record) };
        if let Some(own) = self.owners.renumbered.get(&(source.clone(), number)) {
            return Some(self.renumber(record, number, *own));
        }
        let taken = [Some(record.number.unwrap_or(number)), of_id].into_iter().flatten();
        let Some((taken, owner, name)) = taken.into_iter().find_map(|taken| self.foreign(taken, &source)) else {
            return Some(record);
        };
        let label = record.id.as_ref().map_or_else(|| format!("category {number}"), |id| format!("category {id}"));
        match record.name.as_ref().or(record.fallback_name.as_ref()) {
            Some(wanted) if is_same_name(wanted, name) => {
                self.mean(&record, number, taken);
                None
            }
            None => {
                let reason = format!("is a category of another source: {}: left as it is", title(owner));
                self.report.add(RecordProblem::corrected(label, reason));
                None
            }
            Some(_) if source.is_empty() => {
                let reason = format!("its number or id is that of another category, of the source {}", title(owner));
                self.report.add(RecordProblem::rejected(label, reason));
                self.mean(&record, number, NO_CATEGORY);
                None
            }
            Some(_) => {
                let reason =
                    format!("its number is that of another category, of {}: it gets another one", title(owner));
                self.report.add(RecordProblem::corrected(label, reason));
                let own = hashed_number("category of source", &format!("{source}:{number}"));
                Some(self.renumber(record, number, own))
            }
        }
    }

    /// The number, the source and the name of a category that an import of the source must not change.
    fn foreign(&self, number: i64, source: &str) -> Option<(i64, &'o str, &'o str)> {
        let (owner, name) = self.owners.of.get(&number)?;
        let is_own = owner == source || (self.options.adopt && owner.is_empty());
        (!is_own).then_some((number, owner, name))
    }

    fn renumber(&mut self, record: CategoryRecord, number: i64, own: i64) -> CategoryRecord {
        self.mean(&record, number, own);
        CategoryRecord { number: Some(own), id: None, source_number: Some(number), ..record }
    }

    fn mean(&mut self, record: &CategoryRecord, number: i64, meant: i64) {
        if number != meant {
            self.meanings.of_numbers.insert(number, meant);
        }
        if let Some(id) = &record.id
            && self.owners.numbers.get(id) != Some(&meant)
        {
            self.meanings.of_ids.insert(id.clone(), meant);
        }
    }
}

fn title(source: &str) -> &str {
    if source.is_empty() { "the brand itself" } else { source }
}

fn is_same_name(left: &str, right: &str) -> bool {
    let words = |name: &str| name.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    words(left) == words(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(number: i64, name: &str) -> CategoryRecord {
        CategoryRecord {
            number: Some(number),
            id: Some(format!("cat_{number}")),
            name: Some(name.to_owned()),
            ..CategoryRecord::default()
        }
    }

    fn owners() -> Owners {
        let of = [(1, ("", "Продукты")), (2, ("a", "Обувь")), (9, ("b", "Мебель"))];
        Owners {
            of: of.map(|(number, (source, name))| (number, (source.to_owned(), name.to_owned()))).into(),
            numbers: [("cat_1".to_owned(), 1), ("cat_2".to_owned(), 2), ("cat_9".to_owned(), 9)].into(),
            renumbered: [(("b".to_owned(), 1), 9)].into(),
        }
    }

    /// The numbers of the records that are merged, what their numbers mean, and the report.
    fn assigned(source: &str, adopt: bool, records: Vec<CategoryRecord>) -> (Vec<i64>, Vec<(i64, i64)>, String) {
        let options = ImportOptions { source: source.to_owned(), adopt, ..ImportOptions::default() };
        let mut report = ImportReport::default();
        let (records, meanings) = assign(records, &owners(), &options, &mut report);
        let numbers = records.iter().filter_map(|record| record.number).collect();
        let mut meanings: Vec<_> = meanings.of_numbers.into_iter().collect();
        meanings.sort_unstable();
        (numbers, meanings, report.to_string())
    }

    #[test]
    fn a_category_of_another_source_is_shared_by_name_and_never_changed() {
        let (numbers, meanings, report) = assigned("a", false, vec![category(1, " продукты"), category(2, "Туфли")]);
        assert_eq!((numbers, meanings.len(), report.as_str()), (vec![2], 0, ""));
        let nameless = CategoryRecord { name: None, ..category(1, "") };
        let (numbers, meanings, report) = assigned("a", false, vec![nameless]);
        assert_eq!((numbers.len(), meanings.len()), (0, 0));
        assert!(report.contains("is a category of another source: the brand itself: left as it is"), "{report}");
    }

    #[test]
    fn a_number_that_another_category_has_is_replaced_by_the_same_one_every_time() {
        let below = CategoryRecord { parent: Some(Parent::Of(CatalogId::Number(1))), ..category(70, "Щебень") };
        let options = ImportOptions { source: "a".to_owned(), ..ImportOptions::default() };
        let records = vec![below, category(1, "Бетон")];
        let (merged, meanings) = assign(records.clone(), &owners(), &options, &mut ImportReport::default());
        let own = merged[1].number.unwrap();
        assert!(own > 1 << 51);
        assert_eq!((merged[1].source_number, &merged[1].id), (Some(1), &None));
        assert_eq!(merged[0].parent, Some(Parent::Of(CatalogId::Number(own))));
        assert_eq!((meanings.of_numbers[&1], meanings.of_ids["cat_1"]), (own, own));
        assert_eq!(assign(records, &owners(), &options, &mut ImportReport::default()).1, meanings);
    }

    #[test]
    fn a_number_that_was_replaced_once_stays_replaced() {
        assert_eq!(assigned("b", false, vec![category(1, "Продукты")]).0, [9]);
        assert_eq!(assigned("b", false, vec![]).1, [(1, 9)], "also without the categories");
    }

    #[test]
    fn the_brand_itself_is_refused_a_number_and_a_source_may_adopt_its_categories() {
        let (numbers, meanings, report) = assigned("", false, vec![category(2, "Книги")]);
        assert_eq!((numbers.len(), meanings), (0, vec![(2, NO_CATEGORY)]));
        assert!(report.contains("that of another category, of the source a (category cat_2)"), "{report}");
        assert_eq!(assigned("a", true, vec![category(1, "Бетон")]).0, [1]);
    }
}
