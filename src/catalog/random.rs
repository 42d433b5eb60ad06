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
    let used = drawn.iter().map(|card| card.language).find(|language| *language != Language::Ru);
    Ok((drawn, used.unwrap_or(Language::Ru)))
}

/// The numbers of the items to draw from, 8 bytes each: at least [`MAX_COUNT`] if there are as many.
async fn candidates(cx: &RequestContext, category: Option<&CatalogId>) -> Result<Bytes> {
    let target = match category {
        None => "ids:".to_owned(),
        Some(CatalogId::Number(number)) => format!("ids:number:{number}"),
        Some(CatalogId::Id(id)) => format!("ids:id:{id}"),
    };
    let key = cache::key(Language::Ru, cx.region.as_deref(), &target);
    if let Some(ids) = cx.brand.cache.find_fragment(&key, Instant::now()) {
        return Ok(ids.bytes);
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
    let brand = &cx.brand;
    let now = Instant::now();
    let key = |id: i64| cache::key(cx.language, None, &format!("card:{id}"));
    let cached = ids.iter().map(|id| {
        let Fragment { bytes, language } = brand.cache.find_fragment(&key(*id), now)?;
        Some(Card { item_id: *id, json: bytes, language })
    });
    if let Some(cached) = cached.collect() {
        return Ok(cached);
    }
    // All of them, not only the missing ones: the others may be from before an import.
    let mut loaded = load_cards(brand, ids, cx.language, key).await?;
    Ok(ids.iter().filter_map(|id| loaded.remove(id)).collect())
}

async fn load_cards(
    brand: &Brand,
    ids: &[i64],
    language: Language,
    key: impl Fn(i64) -> Vec<u8>,
) -> Result<HashMap<i64, Card>> {
    let started_at = brand.cache.version();
    let rows = store::cards(&brand.postgres().await?, ids).await?;
    let cards = rows.iter().map(|row| {
        let (item, language) = Item::read(row, language)?;
        let json: Bytes = serde_json::to_vec(&item).or_internal()?.into_boxed_slice().into();
        let fragment = Fragment { bytes: json.clone(), language };
        brand.cache.insert_fragment(&key(item.item_id), fragment, vec![item.item_id], started_at);
        Ok((item.item_id, Card { item_id: item.item_id, json, language }))
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
