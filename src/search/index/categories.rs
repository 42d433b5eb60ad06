//! The shown categories: their tree, and the words of their names.

use std::collections::HashMap;

use crate::catalog::CatalogId;
use crate::foundation::language::Language;
use crate::search::text::fold::fold;
use crate::search::text::stem::stem;
use crate::search::text::tokens::{TokenKind, tokenize};

/// A category as it is loaded.
pub(crate) struct CategoryInput {
    pub(crate) category_id: i64,
    pub(crate) id: String,
    pub(crate) parent_id: Option<i64>,
    pub(crate) names: Vec<(Language, String)>,
    /// None: available everywhere.
    pub(crate) regions: Vec<String>,
}

pub(crate) struct CategoryEntry {
    pub(crate) category_id: i64,
    pub(crate) id: String,
    names: Vec<(Language, String)>,
    folded_names: Vec<String>,
    pub(crate) parent: Option<u32>,
    regions: Vec<String>,
    /// The words of all its names.
    pub(crate) words: Vec<String>,
    /// The stems of each of its names.
    pub(crate) stems: Vec<Vec<String>>,
}

impl CategoryEntry {
    /// The name in this language, or else the Russian one, and the language that was used.
    pub(crate) fn name(&self, language: Language) -> (&str, Language) {
        let translated = self.names.iter().find(|(of_name, _)| *of_name == language);
        let name = translated.or(self.names.first());
        name.map_or(("", Language::Ru), |(language, name)| (name.as_str(), *language))
    }

    /// Whether a name in any language starts with this folded text.
    pub(crate) fn has_name_starting_with(&self, folded: &str) -> bool {
        self.folded_names.iter().any(|name| name.starts_with(folded))
    }
}

#[derive(Default)]
pub(crate) struct Categories {
    entries: Vec<CategoryEntry>,
    positions: HashMap<i64, u32>,
    /// Categories by a stem of a name, and which of their names has it.
    by_stem: HashMap<String, Vec<(u32, u8)>>,
}

/// A tree that is deeper has a cycle.
const MAX_DEPTH: usize = 64;

impl Categories {
    pub(crate) fn new(inputs: Vec<CategoryInput>) -> Categories {
        let mut categories = Categories::default();
        for (position, input) in inputs.iter().enumerate() {
            categories.positions.insert(input.category_id, u32::try_from(position).unwrap_or(u32::MAX));
        }
        for (position, input) in inputs.into_iter().enumerate() {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            let parent = input.parent_id.and_then(|parent| categories.positions.get(&parent).copied());
            let stems: Vec<Vec<String>> = input.names.iter().map(|(_, name)| name_stems(name)).collect();
            for (number, stems) in stems.iter().enumerate() {
                for stem in stems {
                    let of_stem = categories.by_stem.entry(stem.clone()).or_default();
                    of_stem.push((position, u8::try_from(number).unwrap_or(u8::MAX)));
                }
            }
            let folded_names = input.names.iter().map(|(_, name)| fold(name)).collect();
            let words = input.names.iter().flat_map(|(_, name)| name_words(name)).collect();
            categories.entries.push(CategoryEntry {
                category_id: input.category_id,
                id: input.id,
                names: input.names,
                folded_names,
                parent,
                regions: input.regions,
                words,
                stems,
            });
        }
        categories
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, position: u32) -> &CategoryEntry {
        &self.entries[position as usize]
    }

    pub(crate) fn position(&self, category_id: i64) -> Option<u32> {
        self.positions.get(&category_id).copied()
    }

    /// The position of a category by its number or id.
    pub(crate) fn find(&self, id: &CatalogId) -> Option<u32> {
        match id {
            CatalogId::Number(number) => self.position(*number),
            CatalogId::Id(id) => self.position_of_id(id),
        }
    }

    fn position_of_id(&self, id: &str) -> Option<u32> {
        let found = self.entries.iter().position(|entry| entry.id == id)?;
        u32::try_from(found).ok()
    }

    /// The category and those above it, from below.
    pub(crate) fn path(&self, position: u32) -> impl Iterator<Item = u32> {
        let upwards = std::iter::successors(Some(position), |at| self.entries[*at as usize].parent);
        upwards.take(MAX_DEPTH)
    }

    /// Whether the category and all above it are available in this region; without a region they are.
    pub(crate) fn is_available(&self, position: u32, region: Option<&str>) -> bool {
        let Some(region) = region else { return true };
        self.path(position).all(|at| {
            let regions = &self.get(at).regions;
            regions.is_empty() || regions.iter().any(|available| available == region)
        })
    }

    /// The categories with a name that has this stem, and the number of the name.
    pub(crate) fn with_stem(&self, stem: &str) -> &[(u32, u8)] {
        self.by_stem.get(stem).map_or(&[], Vec::as_slice)
    }
}

/// The words of a category's name, without single letters.
fn name_words(name: &str) -> Vec<String> {
    let tokens = tokenize(name);
    let words = tokens.into_iter().filter(|token| token.kind != TokenKind::Glued && token.text.chars().count() > 1);
    words.map(|token| token.text).collect()
}

fn name_stems(name: &str) -> Vec<String> {
    name_words(name).iter().map(|word| stem(word).into_owned()).collect()
}
