//! What filters, sorts and facets read of an item, one column each.

use crate::foundation::language::Language;

/// Of the name in each language; the Russian one stands for those that an item does not have.
pub(crate) type NameHashes = [u64; Language::ALL.len()];

/// The columns of a segment's items, by the position of the item in the segment.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) item_ids: Vec<i64>,
    /// Positions in the table of categories.
    pub(crate) categories: Vec<u32>,
    /// What is paid for a unit, in kopecks.
    pub(crate) prices: Vec<i64>,
    pub(crate) priorities: Vec<i32>,
    /// In tenths.
    pub(crate) ratings: Vec<u8>,
    pub(crate) in_stock: Vec<bool>,
    pub(crate) discounted: Vec<bool>,
    /// Sets of regions; 0 is everywhere.
    pub(crate) regions: Vec<u32>,
    /// The folded name, for the order by name.
    pub(crate) names: Vec<Box<str>>,
    /// Hashes of the tokens of the name in each language, to recognize a query that is the name.
    pub(crate) name_hashes: Vec<NameHashes>,
    /// How many words the name has.
    pub(crate) name_words: Vec<u8>,
    tag_offsets: Vec<u32>,
    tags: Vec<u32>,
}

/// The columns of one item.
pub(crate) struct ItemColumns {
    pub(crate) item_id: i64,
    pub(crate) category: u32,
    pub(crate) price: i64,
    pub(crate) priority: i32,
    pub(crate) rating: u8,
    pub(crate) in_stock: bool,
    pub(crate) discounted: bool,
    pub(crate) regions: u32,
    pub(crate) name: Box<str>,
    pub(crate) name_hashes: NameHashes,
    pub(crate) name_words: u8,
    pub(crate) tags: Vec<u32>,
}

impl Columns {
    pub(crate) fn len(&self) -> usize {
        self.item_ids.len()
    }

    pub(crate) fn push(&mut self, row: ItemColumns) {
        self.item_ids.push(row.item_id);
        self.categories.push(row.category);
        self.prices.push(row.price);
        self.priorities.push(row.priority);
        self.ratings.push(row.rating);
        self.in_stock.push(row.in_stock);
        self.discounted.push(row.discounted);
        self.regions.push(row.regions);
        self.names.push(row.name);
        self.name_hashes.push(row.name_hashes);
        self.name_words.push(row.name_words);
        self.tag_offsets.push(u32::try_from(self.tags.len()).unwrap_or(u32::MAX));
        self.tags.extend(row.tags);
    }

    pub(crate) fn tags(&self, position: usize) -> &[u32] {
        let start = self.tag_offsets[position] as usize;
        let end = self.tag_offsets.get(position + 1).map_or(self.tags.len(), |end| *end as usize);
        &self.tags[start..end]
    }
}
