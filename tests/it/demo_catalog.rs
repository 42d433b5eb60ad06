//! Dexar's demonstration catalogue, read from its source file: an implementation of the catalogue's rules that is
//! independent of the program.

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::demo;

pub(crate) const REGIONS: [&str; 6] = ["moscow", "spb", "yerevan", "minsk", "almaty", "tbilisi"];

pub(crate) struct Source {
    categories: HashMap<u64, Value>,
    items: Vec<Value>,
}

impl Source {
    pub(crate) fn dexar() -> Source {
        let text = std::fs::read_to_string(demo("dexar/catalog.jsonl")).expect("the demonstration data");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        let (items, categories): (Vec<_>, Vec<_>) = records.partition(|record| record["itemID"].is_u64());
        let number =
            |category: &Value| category["categoryID"].as_u64().expect("every category of the file has a number");
        Source { categories: categories.into_iter().map(|category| (number(&category), category)).collect(), items }
    }

    /// A category and its ancestors.
    fn ancestors_of(&self, category: u64) -> Vec<u64> {
        let mut ancestors = vec![category];
        while let Some(parent) =
            self.categories[&ancestors[ancestors.len() - 1]]["parentID"].as_u64().filter(|p| *p > 0)
        {
            ancestors.push(parent);
        }
        ancestors
    }

    fn is_category_shown(&self, category: u64) -> bool {
        self.ancestors_of(category).iter().all(|ancestor| self.categories[ancestor]["visible"] != false)
    }

    /// Items that visitors see, in the order of every list.
    pub(crate) fn shown_items(&self) -> Vec<&Value> {
        let shown = |item: &&Value| item["visible"] != false && self.is_category_shown(category_of(item));
        let mut items: Vec<&Value> = self.items.iter().filter(shown).collect();
        items.sort_by_key(|item| (-item["priority"].as_i64().unwrap_or(0), item["itemID"].as_u64()));
        items
    }

    pub(crate) fn hidden_items(&self) -> Vec<&Value> {
        let shown = self.shown_items();
        self.items.iter().filter(|item| !shown.contains(item)).collect()
    }

    pub(crate) fn shown_categories(&self) -> Vec<u64> {
        self.categories.keys().copied().filter(|number| self.is_category_shown(*number)).collect()
    }

    pub(crate) fn hidden_categories(&self) -> Vec<u64> {
        self.categories.keys().copied().filter(|number| !self.is_category_shown(*number)).collect()
    }

    pub(crate) fn category(&self, number: u64) -> &Value {
        &self.categories[&number]
    }

    /// Visits the shown descendants of a parent (0: all categories) in the order of the tree.
    pub(crate) fn walk(&self, parent: u64, visit: &mut impl FnMut(&Value)) {
        let children = self.categories.values().filter(|category| category["parentID"] == parent);
        let mut children: Vec<&Value> = children.filter(|category| category["visible"] != false).collect();
        children.sort_by_key(|category| (-category["priority"].as_i64().unwrap_or(0), category["categoryID"].as_u64()));
        for category in children {
            visit(category);
            self.walk(category["categoryID"].as_u64().expect("a number"), visit);
        }
    }

    /// Whether a shown category is in the tree of a region: it and its ancestors are available and have an available
    /// item or no items at all.
    pub(crate) fn is_in_tree(&self, category: u64, region: Option<&str>) -> bool {
        self.ancestors_of(category).into_iter().all(|ancestor| {
            let has_some = self.page(ancestor, None).is_empty() || !self.page(ancestor, region).is_empty();
            is_available(&self.categories[&ancestor], region) && has_some
        })
    }

    /// The item numbers of a category in a region, in order.
    pub(crate) fn page(&self, category: u64, region: Option<&str>) -> Vec<u64> {
        let below = |item: &&&Value| self.ancestors_of(category_of(item)).contains(&category);
        let items = self.shown_items();
        let available = items.iter().filter(below).filter(|item| is_available(item, region));
        available.map(|item| item["itemID"].as_u64().expect("a number")).collect()
    }
}

fn category_of(item: &Value) -> u64 {
    item["categoryID"].as_u64().expect("every item of the file has a category")
}

/// Whether a record is available in a region: it is in its list of regions, or there is none.
pub(crate) fn is_available(record: &Value, region: Option<&str>) -> bool {
    let Some(region) = region else { return true };
    match record["regions"].as_array() {
        None => true,
        Some(list) => list.is_empty() || list.iter().any(|listed| listed == region),
    }
}

/// The `itemID`s of a list of items.
#[track_caller]
pub(crate) fn ids(list: &Value) -> Vec<u64> {
    let items = list.as_array().unwrap_or_else(|| panic!("{list} is not a list"));
    items.iter().map(|item| item["itemID"].as_u64().expect("itemID is a number")).collect()
}
