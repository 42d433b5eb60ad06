//! The tree of categories: nests flat rows for the API.

use std::collections::HashMap;

use postgres_types::Json;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use crate::foundation::error::Result;
use crate::foundation::language::Language;

/// A category with the counts of its own items.
pub(super) struct CategoryRow {
    category_id: i64,
    id: String,
    parent_id: Option<i64>,
    name: String,
    icon: Option<String>,
    wide_banner: Option<String>,
    project_id: Option<String>,
    priority: i32,
    path: Vec<i64>,
    translations: HashMap<String, Translation>,
    /// Visible items, available or not.
    all_items: i64,
    /// Visible items that are available in the visitor's region.
    available_items: i64,
    /// Whether the category itself is available in the visitor's region.
    available: bool,
}

#[derive(Debug, Deserialize)]
struct Translation {
    name: Option<String>,
}

impl CategoryRow {
    pub(super) fn read(row: &Row) -> Result<CategoryRow> {
        Ok(CategoryRow {
            category_id: row.try_get("category_id")?,
            id: row.try_get("id")?,
            parent_id: row.try_get("parent_id")?,
            name: row.try_get("name")?,
            icon: row.try_get("icon")?,
            wide_banner: row.try_get("wide_banner")?,
            project_id: row.try_get("project_id")?,
            priority: row.try_get("priority")?,
            path: row.try_get("path")?,
            translations: row.try_get::<_, Json<_>>("translations")?.0,
            all_items: row.try_get("all_items")?,
            available_items: row.try_get("available_items")?,
            available: row.try_get("available")?,
        })
    }
}

/// A top-level category.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Category {
    #[serde(rename = "categoryID")]
    category_id: i64,
    name: String,
    /// Always 0; other categories are [`Subcategory`].
    #[serde(rename = "parentID")]
    parent_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wide_banner: Option<String>,
    item_count: i64,
    priority: i32,
    id: String,
    visible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    img: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<String>,
    subcategories: Vec<Subcategory>,
}

/// A category below another.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subcategory {
    id: String,
    name: String,
    visible: bool,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    img: Option<String>,
    /// The id of its top-level category.
    category_id: String,
    /// The id of its parent.
    parent_id: String,
    item_count: i64,
    has_items: bool,
    subcategories: Vec<Subcategory>,
}

/// The descendants of a category: their counts, and the subcategories that are shown.
#[derive(Default)]
struct Descendants {
    all_items: i64,
    available_items: i64,
    /// Whether any of them has a name in the requested language.
    is_translated: bool,
    subcategories: Vec<Subcategory>,
}

/// Builds the tree from rows in display order; returns the language that was used.
///
/// A category is shown if it is available and either has no items, descendants included, or at least one available
/// item.
pub(super) fn tree(rows: Vec<CategoryRow>, language: Language) -> (Vec<Category>, Language) {
    let ids: HashMap<i64, String> = rows.iter().map(|row| (row.category_id, row.id.clone())).collect();
    let mut descendants: HashMap<i64, Descendants> = HashMap::new();
    let mut top = Vec::new();
    let mut is_translated = false;

    // Bottom-up, so that the descendants of a category are complete. The sort is stable: siblings keep their display
    // order.
    let mut rows = rows;
    rows.sort_by_key(|row| std::cmp::Reverse(row.path.len()));
    for mut row in rows {
        let mut below = descendants.remove(&row.category_id).unwrap_or_default();
        let all_items = below.all_items + row.all_items;
        let available_items = below.available_items + row.available_items;
        if let Some(parent) = row.parent_id {
            let siblings = descendants.entry(parent).or_default();
            siblings.all_items += all_items;
            siblings.available_items += available_items;
        }
        if !row.available || (all_items > 0 && available_items == 0) {
            continue;
        }
        if let Some(Translation { name: Some(name) }) = row.translations.remove(language.tag())
            && !name.is_empty()
        {
            row.name = name;
            below.is_translated = true;
        }
        let is_level_translated = match row.parent_id {
            None => &mut is_translated,
            Some(parent) => &mut descendants.entry(parent).or_default().is_translated,
        };
        *is_level_translated |= below.is_translated;
        match row.parent_id {
            None => top.push(Category {
                category_id: row.category_id,
                name: row.name,
                parent_id: 0,
                icon: row.icon.clone(),
                wide_banner: row.wide_banner,
                item_count: available_items,
                priority: row.priority,
                id: row.id,
                visible: true,
                img: row.icon,
                project_id: row.project_id,
                subcategories: below.subcategories,
            }),
            Some(parent) => {
                let id_of = |number| ids.get(number).cloned().unwrap_or_default();
                let subcategory = Subcategory {
                    id: row.id,
                    name: row.name,
                    visible: true,
                    priority: row.priority,
                    img: row.icon,
                    category_id: row.path.first().map(id_of).unwrap_or_default(),
                    parent_id: id_of(&parent),
                    item_count: available_items,
                    has_items: available_items > 0,
                    subcategories: below.subcategories,
                };
                descendants.entry(parent).or_default().subcategories.push(subcategory);
            }
        }
    }
    (top, if is_translated { language } else { Language::Ru })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(category_id: i64, path: &[i64], all_items: i64, available_items: i64) -> CategoryRow {
        CategoryRow {
            category_id,
            id: format!("cat_{category_id}"),
            parent_id: path.len().checked_sub(2).map(|above| path[above]),
            name: format!("Категория {category_id}"),
            icon: None,
            wide_banner: None,
            project_id: None,
            priority: 0,
            path: path.to_owned(),
            translations: HashMap::new(),
            all_items,
            available_items,
            available: true,
        }
    }

    #[test]
    fn counts_include_descendants_and_unavailable_categories_are_left_out() {
        let mut translated = row(1, &[1], 1, 1);
        translated.translations.insert("en".to_owned(), Translation { name: Some("First".to_owned()) });
        let rows = vec![
            translated,
            row(2, &[2], 3, 0), // items, none of them available
            row(3, &[3], 0, 0), // no items at all
            row(11, &[1, 11], 2, 1),
            row(111, &[1, 11, 111], 5, 4),
            row(12, &[1, 12], 7, 0),
        ];
        let (top, language) = tree(rows, Language::En);
        assert_eq!(language, Language::En);
        let top_level: Vec<_> = top.iter().map(|c| (c.category_id, c.name.as_str(), c.item_count)).collect();
        assert_eq!(top_level, [(1, "First", 6), (3, "Категория 3", 0)]);
        let subcategories: Vec<_> =
            top[0].subcategories.iter().map(|s| (s.id.as_str(), s.item_count, s.has_items)).collect();
        assert_eq!(subcategories, [("cat_11", 5, true)]);
        let deepest = &top[0].subcategories[0].subcategories[0];
        assert_eq!((deepest.category_id.as_str(), deepest.parent_id.as_str()), ("cat_1", "cat_11"));
    }

    #[test]
    fn the_language_is_that_of_the_shown_names() {
        let named = |mut row: CategoryRow, name: &str| {
            row.translations.insert("en".to_owned(), Translation { name: Some(name.to_owned()) });
            row
        };
        let elsewhere = CategoryRow { available: false, ..row(2, &[2], 1, 1) };
        let rows = vec![named(row(1, &[1], 1, 1), ""), elsewhere, named(row(21, &[2, 21], 1, 1), "Below it")];
        let (top, language) = tree(rows, Language::En);
        assert_eq!((top.len(), top[0].name.as_str(), language), (1, "Категория 1", Language::Ru));
        let rows = vec![row(2, &[2], 1, 1), named(row(21, &[2, 21], 1, 1), "Below it")];
        assert_eq!(tree(rows, Language::En).1, Language::En);
    }
}
