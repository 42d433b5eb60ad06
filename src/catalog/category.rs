//! The tree of categories: from flat rows to the nested JSON of contract section 3.

use std::collections::HashMap;

use postgres_types::Json;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use crate::foundation::error::Result;
use crate::foundation::language::Language;

/// A category as it lies in the database, with the counts of its own items.
pub(super) struct Node {
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
    /// Visible items, wherever they are available.
    all_items: i64,
    /// Those of them that the visitor's region has.
    available_items: i64,
    /// Whether the category itself is available in the visitor's region.
    available: bool,
}

#[derive(Debug, Deserialize)]
struct Translation {
    name: Option<String>,
}

impl Node {
    pub(super) fn read(row: &Row) -> Result<Node> {
        Ok(Node {
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
    /// Always 0: the others are `subcategories`.
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
pub struct Subcategory {
    id: String,
    name: String,
    visible: bool,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    img: Option<String>,
    /// The top-level category above.
    category_id: String,
    /// The category directly above.
    parent_id: String,
    item_count: i64,
    has_items: bool,
    subcategories: Vec<Subcategory>,
}

/// What stands below a category: counts with all descendants, and the subcategories that are kept.
#[derive(Default)]
struct Below {
    all_items: i64,
    available_items: i64,
    /// Whether any of them is named in the asked language.
    is_translated: bool,
    subcategories: Vec<Subcategory>,
}

/// Builds the tree from nodes in display order, and says which language it came out in.
///
/// A category stays when it is available and, if it has items at all, at least one of them is.
pub(super) fn tree(nodes: Vec<Node>, language: Language) -> (Vec<Category>, Language) {
    let ids: HashMap<i64, String> = nodes.iter().map(|node| (node.category_id, node.id.clone())).collect();
    let mut below: HashMap<i64, Below> = HashMap::new();
    let mut top = Vec::new();
    let mut is_translated = false;

    // From the leaves up, so that whatever stands below a category is finished before it is. The sort is stable: siblings
    // keep their display order.
    let mut nodes = nodes;
    nodes.sort_by_key(|node| std::cmp::Reverse(node.path.len()));
    for mut node in nodes {
        let mut own = below.remove(&node.category_id).unwrap_or_default();
        let all_items = own.all_items + node.all_items;
        let available_items = own.available_items + node.available_items;
        if let Some(parent) = node.parent_id {
            let above = below.entry(parent).or_default();
            above.all_items += all_items;
            above.available_items += available_items;
        }
        if !node.available || (all_items > 0 && available_items == 0) {
            continue;
        }
        if let Some(Translation { name: Some(name) }) = node.translations.remove(language.tag())
            && !name.is_empty()
        {
            node.name = name;
            own.is_translated = true;
        }
        let whole = match node.parent_id {
            None => &mut is_translated,
            Some(parent) => &mut below.entry(parent).or_default().is_translated,
        };
        *whole |= own.is_translated;
        match node.parent_id {
            None => top.push(Category {
                category_id: node.category_id,
                name: node.name,
                parent_id: 0,
                icon: node.icon.clone(),
                wide_banner: node.wide_banner,
                item_count: available_items,
                priority: node.priority,
                id: node.id,
                visible: true,
                img: node.icon,
                project_id: node.project_id,
                subcategories: own.subcategories,
            }),
            Some(parent) => {
                let id_of = |number| ids.get(number).cloned().unwrap_or_default();
                let subcategory = Subcategory {
                    id: node.id,
                    name: node.name,
                    visible: true,
                    priority: node.priority,
                    img: node.icon,
                    category_id: node.path.first().map(id_of).unwrap_or_default(),
                    parent_id: id_of(&parent),
                    item_count: available_items,
                    has_items: available_items > 0,
                    subcategories: own.subcategories,
                };
                below.entry(parent).or_default().subcategories.push(subcategory);
            }
        }
    }
    (top, if is_translated { language } else { Language::Ru })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(category_id: i64, path: &[i64], all_items: i64, available_items: i64) -> Node {
        Node {
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
    fn counts_rise_to_the_top_and_what_has_nothing_here_goes() {
        let mut translated = node(1, &[1], 1, 1);
        translated.translations.insert("en".to_owned(), Translation { name: Some("First".to_owned()) });
        let nodes = vec![
            translated,
            node(2, &[2], 3, 0), // items, none of them here
            node(3, &[3], 0, 0), // no items at all
            node(11, &[1, 11], 2, 1),
            node(111, &[1, 11, 111], 5, 4),
            node(12, &[1, 12], 7, 0),
        ];
        let (top, language) = tree(nodes, Language::En);
        assert_eq!(language, Language::En);
        let shape: Vec<_> = top.iter().map(|c| (c.category_id, c.name.as_str(), c.item_count)).collect();
        assert_eq!(shape, [(1, "First", 6), (3, "Категория 3", 0)]);
        let below: Vec<_> = top[0].subcategories.iter().map(|s| (s.id.as_str(), s.item_count, s.has_items)).collect();
        assert_eq!(below, [("cat_11", 5, true)]);
        let deepest = &top[0].subcategories[0].subcategories[0];
        assert_eq!((deepest.category_id.as_str(), deepest.parent_id.as_str()), ("cat_1", "cat_11"));
    }

    #[test]
    fn the_language_is_that_of_what_is_shown() {
        let named = |mut node: Node, name: &str| {
            node.translations.insert("en".to_owned(), Translation { name: Some(name.to_owned()) });
            node
        };
        let elsewhere = Node { available: false, ..node(2, &[2], 1, 1) };
        let nodes = vec![named(node(1, &[1], 1, 1), ""), elsewhere, named(node(21, &[2, 21], 1, 1), "Below it")];
        let (top, language) = tree(nodes, Language::En);
        assert_eq!((top.len(), top[0].name.as_str(), language), (1, "Категория 1", Language::Ru));
        let nodes = vec![node(2, &[2], 1, 1), named(node(21, &[2, 21], 1, 1), "Below it")];
        assert_eq!(tree(nodes, Language::En).1, Language::En);
    }
}
