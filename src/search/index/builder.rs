//! Builds a segment from items.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::categories::Categories;
use super::columns::{Columns, ItemColumns, NameHashes};
use super::segment::{IMPACT_STEP, Segment};
use super::vocabulary::Vocabulary;
use crate::foundation::language::Language;
use crate::search::text::fold::fold;
use crate::search::text::tokens::{Token, tokenize};

/// The texts and columns of an item.
#[derive(Default, Clone)]
pub(crate) struct IndexedItem {
    pub(crate) item_id: i64,
    pub(crate) name: String,
    /// The names in other languages.
    pub(crate) translated_names: Vec<String>,
    pub(crate) brands: Vec<String>,
    pub(crate) tags: Vec<String>,
    /// Values of fields, article numbers and bar codes among them.
    pub(crate) fields: Vec<String>,
    pub(crate) descriptions: Vec<String>,
    /// Position in the table of categories.
    pub(crate) category: u32,
    pub(crate) price: i64,
    pub(crate) priority: i32,
    pub(crate) rating: u8,
    pub(crate) in_stock: bool,
    pub(crate) discounted: bool,
    pub(crate) regions: u32,
    pub(crate) tag_numbers: Vec<u32>,
}

/// Where an item has a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndexedField {
    /// The first word of the name.
    FirstWord,
    Name,
    Brand,
    Tag,
    Category,
    TranslatedName,
    /// A value of a field, or a keyword of the shop's feed.
    Value,
    Description,
    /// A category above the item's.
    CategoryAbove,
}

impl IndexedField {
    /// The words for it in explanations.
    pub(crate) fn name(self) -> &'static str {
        match self {
            IndexedField::FirstWord => "first word of the name",
            IndexedField::Name => "name",
            IndexedField::Brand => "brand",
            IndexedField::Tag => "tag",
            IndexedField::Category => "category",
            IndexedField::TranslatedName => "translated name",
            IndexedField::Value => "field or keyword",
            IndexedField::Description => "description",
            IndexedField::CategoryAbove => "category above",
        }
    }

    /// How much a word says there.
    pub(crate) fn weight(self) -> f32 {
        match self {
            IndexedField::FirstWord => 1.15,
            IndexedField::Name => 1.0,
            IndexedField::Brand => 0.8,
            IndexedField::Tag => 0.6,
            IndexedField::Category => 0.55,
            IndexedField::TranslatedName => 0.5,
            IndexedField::Value => 0.35,
            IndexedField::Description | IndexedField::CategoryAbove => 0.2,
        }
    }
}

/// The number of a quantity says less than the quantity.
const BARE_NUMBER: f32 = 0.6;

/// More words of a description say nothing new.
const MAX_DESCRIPTION_TOKENS: usize = 400;

/// Further occurrences of a word in one field add little.
const REPEATED: f32 = 0.15;

pub(crate) struct SegmentBuilder {
    categories: Arc<Categories>,
    /// The words of a category's name and of those above it, with their weights.
    category_words: HashMap<u32, Vec<(String, f32)>>,
    columns: Columns,
    words: HashMap<Box<str>, u32>,
    /// By the number of the word.
    postings: Vec<Vec<(u32, u8)>>,
    /// The words of the item that is being added, with what they say of it.
    current: HashMap<u32, f32>,
}

impl SegmentBuilder {
    pub(crate) fn new(categories: Arc<Categories>) -> SegmentBuilder {
        SegmentBuilder {
            categories,
            category_words: HashMap::new(),
            columns: Columns::default(),
            words: HashMap::new(),
            postings: Vec::new(),
            current: HashMap::new(),
        }
    }

    pub(crate) fn categories(&self) -> &Categories {
        &self.categories
    }

    pub(crate) fn add(&mut self, item: IndexedItem) {
        let document = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        self.current.clear();
        let name_tokens = tokenize(&item.name);
        let mut name_hashes: NameHashes = [name_hash(&name_tokens); Language::ALL.len()];
        for (hash, name) in name_hashes[1..].iter_mut().zip(&item.translated_names) {
            *hash = name_hash(&tokenize(name));
        }
        visit_tokens(&item, &name_tokens, |field, token| self.add_token(token, field.weight()));
        self.add_category(item.category);
        for (word, weight) in &self.current {
            let impact = (weight.min(255.0 * IMPACT_STEP) / IMPACT_STEP).round().max(1.0) as u8;
            self.postings[*word as usize].push((document, impact));
        }
        self.columns.push(ItemColumns {
            item_id: item.item_id,
            category: item.category,
            price: item.price,
            priority: item.priority,
            rating: item.rating,
            in_stock: item.in_stock,
            discounted: item.discounted,
            regions: item.regions,
            name: fold(&item.name).into(),
            name_hashes,
            name_words: u8::try_from(name_tokens.len()).unwrap_or(u8::MAX),
            tags: item.tag_numbers,
        });
    }

    fn add_token(&mut self, token: &Token, weight: f32) {
        self.add_word(&token.text, weight);
        if let Some(number) = &token.number {
            self.add_word(number, weight * BARE_NUMBER);
        }
    }

    fn add_word(&mut self, word: &str, weight: f32) {
        let number = self.word_number(word);
        let current = self.current.entry(number).or_insert(0.0);
        *current = current.max(weight) + current.min(weight) * REPEATED;
    }

    fn word_number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.words.get(word) {
            return *number;
        }
        let number = u32::try_from(self.postings.len()).unwrap_or(u32::MAX);
        self.words.insert(word.into(), number);
        self.postings.push(Vec::new());
        number
    }

    /// The words of the category's name and, with less weight, of those above it.
    fn add_category(&mut self, category: u32) {
        let words = match self.category_words.remove(&category) {
            Some(words) => words,
            None => self.words_of_path(category),
        };
        for (word, weight) in &words {
            let number = self.word_number(word);
            let current = self.current.entry(number).or_insert(0.0);
            *current = current.max(*weight);
        }
        self.category_words.insert(category, words);
    }

    fn words_of_path(&self, category: u32) -> Vec<(String, f32)> {
        let mut words = Vec::new();
        for (level, position) in self.categories.path(category).enumerate() {
            let weight = level_field(level).weight();
            words.extend(self.categories.get(position).words.iter().map(|word| (word.clone(), weight)));
        }
        words
    }

    pub(crate) fn finish(self) -> Segment {
        let mut words: Vec<(Box<str>, u32)> = self.words.into_iter().collect();
        words.sort_unstable();
        let total = self.postings.iter().map(Vec::len).sum();
        let mut offsets = Vec::with_capacity(words.len() + 1);
        let (mut documents, mut impacts) = (Vec::with_capacity(total), Vec::with_capacity(total));
        let mut sorted = Vec::with_capacity(words.len());
        for (word, number) in words {
            offsets.push(u32::try_from(documents.len()).unwrap_or(u32::MAX));
            let postings = &self.postings[number as usize];
            documents.extend(postings.iter().map(|(document, _)| *document));
            impacts.extend(postings.iter().map(|(_, impact)| *impact));
            sorted.push((word, u32::try_from(postings.len()).unwrap_or(u32::MAX)));
        }
        offsets.push(u32::try_from(documents.len()).unwrap_or(u32::MAX));
        Segment { columns: self.columns, vocabulary: Vocabulary::new(sorted), offsets, documents, impacts }
    }
}

/// The field of the words of a category's name: of the item's own category (level 0), or of one above it.
fn level_field(level: usize) -> IndexedField {
    if level == 0 { IndexedField::Category } else { IndexedField::CategoryAbove }
}

/// Visits the tokens of an item's own texts.
fn visit_tokens(item: &IndexedItem, name_tokens: &[Token], mut visit: impl FnMut(IndexedField, &Token)) {
    for (number, token) in name_tokens.iter().enumerate() {
        visit(if number == 0 { IndexedField::FirstWord } else { IndexedField::Name }, token);
    }
    for (texts, field) in [
        (&item.translated_names, IndexedField::TranslatedName),
        (&item.brands, IndexedField::Brand),
        (&item.tags, IndexedField::Tag),
        (&item.fields, IndexedField::Value),
        (&item.descriptions, IndexedField::Description),
    ] {
        for text in texts {
            for token in tokenize(text).iter().take(MAX_DESCRIPTION_TOKENS) {
                visit(field, token);
            }
        }
    }
}

/// The fields of an item that have a word which satisfies `is_meant`, the weightiest first.
pub(crate) fn fields_with(
    item: &IndexedItem,
    categories: &Categories,
    is_meant: impl Fn(&str) -> bool,
) -> Vec<IndexedField> {
    let mut fields = Vec::new();
    visit_tokens(item, &tokenize(&item.name), |field, token| {
        if is_meant(&token.text) || token.number.as_deref().is_some_and(&is_meant) {
            fields.push(field);
        }
    });
    for (level, position) in categories.path(item.category).enumerate() {
        if categories.get(position).words.iter().any(|word| is_meant(word)) {
            fields.push(level_field(level));
        }
    }
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// A hash that two texts share which have the same tokens.
pub(crate) fn name_hash(tokens: &[Token]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for token in tokens {
        token.text.hash(&mut hasher);
    }
    hasher.finish()
}
