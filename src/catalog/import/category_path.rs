//! Categories that a file names by their path ("Посуда > Чайники") instead of an id.
//!
//! # Invariants
//! - A path has the same numbers in every import and every database, whatever the case of its letters.

use std::collections::HashSet;
use std::io;

use super::record::{CategoryRecord, Parent, ReadRecord, Record, hashed_number};
use crate::catalog::CatalogId;

/// The limit of the constraint `category_path_check`.
const MAX_LEVELS: usize = 20;
const MAX_NAME_CHARS: usize = 500;

/// The paths of a file that were passed on as categories.
#[derive(Default)]
pub(super) struct CategoryPaths {
    seen: HashSet<i64>,
}

impl CategoryPaths {
    /// The category of a path; categories of the path that are new are passed to `sink`. `None` when the path names none.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn resolve(
        &mut self,
        path: &str,
        sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
    ) -> io::Result<Option<CatalogId>> {
        let mut parent: Option<i64> = None;
        let mut key = String::new();
        for name in levels(path).take(MAX_LEVELS) {
            key.push('>');
            key.push_str(&name.to_lowercase());
            let number = hashed_number("category path", &key);
            if self.seen.insert(number) {
                sink(Ok(Record::Category(CategoryRecord {
                    number: Some(number),
                    id: Some(format!("{}_{number}", if parent.is_some() { "sub" } else { "cat" })),
                    parent: Some(parent.map_or(Parent::Top, |parent| Parent::Of(CatalogId::Number(parent)))),
                    name: Some(name),
                    ..CategoryRecord::default()
                })))?;
            }
            parent = Some(number);
        }
        Ok(parent.map(CatalogId::Number))
    }
}

/// The names of the categories of a path, which are separated by `>`, `|`, `→` or ` / `.
fn levels(path: &str) -> impl Iterator<Item = String> {
    path.split(['>', '|', '→', '»'])
        .flat_map(|part| part.split(" / "))
        .map(|name| {
            let words: Vec<&str> =
                name.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
            words.join(" ").chars().take(MAX_NAME_CHARS).collect::<String>()
        })
        .filter(|name| name.contains(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_passed_on_once_from_the_top() {
        let mut paths = CategoryPaths::default();
        let mut records = Vec::new();
        let mut resolve = |path: &str| {
            let mut sink = |record: ReadRecord| {
                let Ok(Record::Category(category)) = record else { panic!("{record:?}") };
                records.push((category.name.unwrap(), category.number.unwrap(), category.parent.unwrap()));
                Ok(())
            };
            paths.resolve(path, &mut sink).unwrap()
        };
        let kettles = resolve("Посуда >  Чайники");
        assert_eq!(resolve(" посуда|ЧАЙНИКИ |"), kettles, "the same category in another spelling");
        let dishes = resolve("Посуда");
        assert_ne!(resolve("Чайники"), kettles, "a category of the same name elsewhere");
        assert_eq!((resolve(""), resolve(" > - ")), (None, None));
        let [Some(CatalogId::Number(kettles)), Some(CatalogId::Number(dishes))] = [kettles, dishes] else {
            panic!("numbers")
        };
        let expected = [
            ("Посуда".to_owned(), dishes, Parent::Top),
            ("Чайники".to_owned(), kettles, Parent::Of(CatalogId::Number(dishes))),
        ];
        assert_eq!(records[..2], expected);
        assert_eq!(records.len(), 3);
    }

    #[test]
    fn names_keep_slashes_inside_words() {
        assert_eq!(levels("Чай/кофе / Зелёный → Китай").collect::<Vec<_>>(), ["Чай/кофе", "Зелёный", "Китай"]);
        assert_eq!(levels(&"a>".repeat(100)).count(), 100);
    }
}
