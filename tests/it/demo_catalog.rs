//! What Dexar's demonstration catalogue says, read from its source file: an account of the catalogue's rules that owes nothing to
//! the program's.

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::demo;

pub const REGIONS: [&str; 6] = ["moscow", "spb", "yerevan", "minsk", "almaty", "tbilisi"];

pub struct Source {
    categories: HashMap<u64, Value>,
    items: Vec<Value>,
}

impl Source {
    pub fn dexar() -> Source {
        let text = std::fs::read_to_string(demo("dexar/catalog.jsonl")).expect("the demonstration data");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        let (items, categories): (Vec<_>, Vec<_>) = records.partition(|record| record["itemID"].is_u64());
        let number = |category: &Value| category["categoryID"].as_u64().expect("the file numbers its categories");
        Source { categories: categories.into_iter().map(|category| (number(&category), category)).collect(), items }
    }

    /// From a category up to its top-level one.
    fn line_of(&self, category: u64) -> Vec<u64> {
        let mut line = vec![category];
        while let Some(parent) = self.categories[&line[line.len() - 1]]["parentID"].as_u64().filter(|p| *p > 0) {
            line.push(parent);
        }
        line
    }

    fn is_category_shown(&self, category: u64) -> bool {
        self.line_of(category).iter().all(|above| self.categories[above]["visible"] != false)
    }

    /// Items that a visitor may see, in the order of every list.
    pub fn shown_items(&self) -> Vec<&Value> {
        let shown = |item: &&Value| item["visible"] != false && self.is_category_shown(category_of(item));
        let mut items: Vec<&Value> = self.items.iter().filter(shown).collect();
        items.sort_by_key(|item| (-item["priority"].as_i64().unwrap_or(0), item["itemID"].as_u64()));
        items
    }

    pub fn hidden_items(&self) -> Vec<&Value> {
        let shown = self.shown_items();
        self.items.iter().filter(|item| !shown.contains(item)).collect()
    }

    pub fn shown_categories(&self) -> Vec<u64> {
        self.categories.keys().copied().filter(|number| self.is_category_shown(*number)).collect()
    }

    pub fn hidden_categories(&self) -> Vec<u64> {
        self.categories.keys().copied().filter(|number| !self.is_category_shown(*number)).collect()
    }

    pub fn category(&self, number: u64) -> &Value {
        &self.categories[&number]
    }

    /// Visits the shown categories below a parent (0: all) in the order of the tree.
    pub fn walk(&self, parent: u64, visit: &mut impl FnMut(&Value)) {
        let children = self.categories.values().filter(|category| category["parentID"] == parent);
        let mut children: Vec<&Value> = children.filter(|category| category["visible"] != false).collect();
        children.sort_by_key(|category| (-category["priority"].as_i64().unwrap_or(0), category["categoryID"].as_u64()));
        for category in children {
            visit(category);
            self.walk(category["categoryID"].as_u64().expect("a number"), visit);
        }
    }

    /// Whether a shown category stands in a region's tree: it is available there and, if it has items at all, so is one of
    /// them; and the same is true of all above it.
    pub fn is_kept(&self, category: u64, region: Option<&str>) -> bool {
        self.line_of(category).into_iter().all(|above| {
            let has_some = self.page(above, None).is_empty() || !self.page(above, region).is_empty();
            is_available(&self.categories[&above], region) && has_some
        })
    }

    /// The ids on the pages of a category in a region.
    pub fn page(&self, category: u64, region: Option<&str>) -> Vec<u64> {
        let below = |item: &&&Value| self.line_of(category_of(item)).contains(&category);
        let items = self.shown_items();
        let here = items.iter().filter(below).filter(|item| is_available(item, region));
        here.map(|item| item["itemID"].as_u64().expect("a number")).collect()
    }
}

fn category_of(item: &Value) -> u64 {
    item["categoryID"].as_u64().expect("every item of the file has one")
}

/// Whether a record's list of regions, if it has one, has this region.
pub fn is_available(record: &Value, region: Option<&str>) -> bool {
    let Some(region) = region else { return true };
    match record["regions"].as_array() {
        None => true,
        Some(list) => list.is_empty() || list.iter().any(|listed| listed == region),
    }
}

/// The `itemID`s of a list of items.
#[track_caller]
pub fn ids(list: &Value) -> Vec<u64> {
    let items = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    items.iter().map(|item| item["itemID"].as_u64().expect("itemID is a number")).collect()
}
