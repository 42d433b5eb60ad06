//! Random items, drawn in memory from cached numbers and cached cards.
//!
//! # Invariants
//! - An item that is no longer listed is not drawn: the brand's cache invalidates numbers and cards with the catalogue.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use super::item::Item;
use super::{CatalogId, store};
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::tenant::brand::Brand;
use crate::tenant::cache;
use crate::tenant::cache::fragments::Fragment;
use crate::tenant::context::RequestContext;

/// How many numbers are cached per category (or of all items) and region; a random sample where there are more.
const MAX_CANDIDATES: u64 = 32_768;

/// The largest `count` of a request.
const MAX_COUNT: u64 = 200;

/// The cache does not keep entries that are large compared with its capacity.
const CACHE_BYTES_PER_CANDIDATE: u64 = 1_024;

/// An item as lists show it.
#[derive(Debug, Clone)]
pub struct Card {
    pub item_id: i64,
    /// The item as a JSON object.
    pub json: Bytes,
    /// The language that was used.
    pub language: Language,
}

/// Distinct items in random order; the language is the requested one if any item is translated.
pub(super) async fn draw(
    cx: &RequestContext,
    category: Option<&CatalogId>,
    count: usize,
) -> Result<(Vec<Card>, Language)> {
    let mut drawn = Vec::new();
    // An item may be removed between the two reads; its change has invalidated the candidates by then, so one retry is
    // enough.
    for _ in 0..2 {
        let ids = sample(&candidates(cx, category).await?, count)?;
        drawn = cards(cx, &ids).await?;
        if drawn.len() == ids.len() {
            break;
        }
    }
    Ok(in_language(drawn))
}

/// As [`draw`]; `None` when numbers or cards are not cached.
pub(super) fn draw_from_memory(
    cx: &RequestContext,
    category: Option<&CatalogId>,
    count: usize,
) -> Result<Option<(Vec<Card>, Language)>> {
    let Some(candidates) = cached_candidates(cx, &candidates_key(cx, category)) else { return Ok(None) };
    let ids = sample(&candidates, count)?;
    Ok(cached_cards(cx, &ids).map(in_language))
}

/// Cards with the language that is used: the requested one if any item is translated.
fn in_language(cards: Vec<Card>) -> (Vec<Card>, Language) {
    let used = cards.iter().map(|card| card.language).find(|language| *language != Language::Ru);
    (cards, used.unwrap_or(Language::Ru))
}

fn candidates_key(cx: &RequestContext, category: Option<&CatalogId>) -> Vec<u8> {
    let target = match category {
        None => "ids:".to_owned(),
        Some(CatalogId::Number(number)) => format!("ids:number:{number}"),
        Some(CatalogId::Id(id)) => format!("ids:id:{id}"),
    };
    cache::key(Language::Ru, cx.region.as_deref(), &target)
}

fn cached_candidates(cx: &RequestContext, key: &[u8]) -> Option<Bytes> {
    cx.brand.cache.find_fragment(key, Instant::now()).map(|ids| ids.bytes)
}

/// The numbers of the items to draw from, 8 bytes each: at least [`MAX_COUNT`] if there are as many.
async fn candidates(cx: &RequestContext, category: Option<&CatalogId>) -> Result<Bytes> {
    let key = candidates_key(cx, category);
    if let Some(ids) = cached_candidates(cx, &key) {
        return Ok(ids);
    }
    // At most what the cache keeps, at least what any of the coalesced requests may need.
    let limit = (cx.brand.cache.capacity() / CACHE_BYTES_PER_CANDIDATE).clamp(MAX_COUNT, MAX_CANDIDATES);
    let load = async {
        let client = cx.brand.postgres().await?;
        let ids = store::candidates(&client, category, cx.region.as_deref(), limit.cast_signed()).await?;
        let bytes: Vec<u8> = ids.into_iter().flat_map(i64::to_ne_bytes).collect();
        Ok(Fragment { bytes: bytes.into(), language: Language::Ru })
    };
    Ok(cx.brand.cache.load_fragment(&key, load).await?.bytes)
}

/// A uniform sample of `count` distinct candidates in random order (Floyd's algorithm, then a shuffle).
fn sample(candidates: &[u8], count: usize) -> Result<Vec<i64>> {
    let (ids, _) = candidates.as_chunks::<8>();
    let count = count.min(ids.len());
    let mut random = RandomNumbers::new(2 * count)?;
    let mut indexes: Vec<usize> = Vec::with_capacity(count);
    for last in ids.len() - count..ids.len() {
        let index = random.below(last + 1);
        indexes.push(if indexes.contains(&index) { last } else { index });
    }
    for last in (1..count).rev() {
        indexes.swap(last, random.below(last + 1));
    }
    Ok(indexes.into_iter().map(|index| i64::from_ne_bytes(ids[index])).collect())
}

/// Random numbers of the operating system, read in one call.
struct RandomNumbers(std::vec::IntoIter<u64>);

impl RandomNumbers {
    fn new(count: usize) -> Result<RandomNumbers> {
        let mut bytes = vec![0; 8 * count];
        getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
        let (numbers, _) = bytes.as_chunks::<8>();
        Ok(RandomNumbers(numbers.iter().map(|number| u64::from_ne_bytes(*number)).collect::<Vec<_>>().into_iter()))
    }

    /// A number below `end`, by multiplication; with 64 random bits and a few thousand candidates the bias is
    /// negligible.
    fn below(&mut self, end: usize) -> usize {
        let number = self.0.next().expect("two numbers per item");
        usize::try_from((u128::from(number) * end as u128) >> 64).expect("it is below `end`")
    }
}

/// The cards of these items in their order, without items that are no longer listed.
async fn cards(cx: &RequestContext, ids: &[i64]) -> Result<Vec<Card>> {
    if let Some(cached) = cached_cards(cx, ids) {
        return Ok(cached);
    }
    // All of them, not only the missing ones: the others may be from before an import.
    let mut loaded = load_cards(&cx.brand, ids, cx.language).await?;
    Ok(ids.iter().filter_map(|id| loaded.remove(id)).collect())
}

fn card_key(language: Language, id: i64) -> Vec<u8> {
    cache::key(language, None, &format!("card:{id}"))
}

/// The cards of these items in their order; `None` when one is not cached.
fn cached_cards(cx: &RequestContext, ids: &[i64]) -> Option<Vec<Card>> {
    let now = Instant::now();
    let cached = ids.iter().map(|id| {
        let fragment = cx.brand.cache.find_fragment(&card_key(cx.language, *id), now)?;
        Some(Card { item_id: *id, json: fragment.bytes, language: fragment.language })
    });
    cached.collect()
}

async fn load_cards(brand: &Brand, ids: &[i64], language: Language) -> Result<HashMap<i64, Card>> {
    let started_at = brand.cache.version();
    let rows = store::cards(&brand.postgres().await?, ids).await?;
    let cards = rows.iter().map(|row| {
        let (item, used) = Item::read(row, language)?;
        let json: Bytes = serde_json::to_vec(&item).or_internal()?.into_boxed_slice().into();
        let fragment = Fragment { bytes: json.clone(), language: used };
        brand.cache.insert_fragment(&card_key(language, item.item_id), fragment, vec![item.item_id], started_at);
        Ok((item.item_id, Card { item_id: item.item_id, json, language: used }))
    });
    cards.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ids: std::ops::Range<i64>) -> Vec<u8> {
        ids.flat_map(i64::to_ne_bytes).collect()
    }

    #[test]
    fn a_sample_of_more_than_exist_is_all_of_them_once() {
        let mut drawn = sample(&bytes(0..7), 200).expect("random");
        drawn.sort_unstable();
        assert_eq!(drawn, (0..7).collect::<Vec<_>>());
        assert_eq!(sample(&[], 5).expect("random"), [0i64; 0]);
    }

    #[test]
    fn every_candidate_is_equally_likely_at_every_position() {
        const DRAWS: usize = 20_000;
        let candidates = bytes(0..10);
        let mut seen = [[0_u32; 10]; 3];
        for _ in 0..DRAWS {
            let drawn = sample(&candidates, 3).expect("random");
            for (position, id) in drawn.into_iter().enumerate() {
                seen[position][usize::try_from(id).expect("an index")] += 1;
            }
        }
        // 2,000 expected; 300 are seven standard deviations.
        assert!(seen.iter().flatten().all(|count| count.abs_diff(2_000) < 300), "{seen:?}");
    }
}
