//! Random items: drawn in memory, from the ids that may be drawn and from the items that were shown before.
//!
//! Called by `catalog`. Both are kept in the brand's cache beside whole answers, under keys that no target of a request has, and
//! are right for the reasons that it gives. What must never happen: an item that is not listed is drawn because it was once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::item::{Item, QUESTIONS_IN_A_LIST};
use super::{CatalogId, store};
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::cached_response::CachedResponse;
use crate::tenant::brand::Brand;
use crate::tenant::cache::{self, Lookup};
use crate::tenant::context::RequestContext;

/// So many ids are kept of a category, or of all, in one region. Of more, these are drawn evenly each time when they are asked for anew.
const MOST_IDS: u64 = 32_768;

/// The largest `count` of a request.
const MOST_DRAWN: u64 = 200;

/// A list must fit into a small part of the cache, or it would not be kept.
const BYTES_OF_THE_CACHE_PER_ID: u64 = 1_024;

/// What the answers here are called among the routes.
const ROUTE: &str = "/randomitems";

/// Different items in random order, as JSON; the language is the asked one where any item used it.
pub async fn draw(
    cx: &RequestContext,
    category: Option<&CatalogId>,
    count: usize,
) -> Result<(Vec<Arc<CachedResponse>>, Language)> {
    let mut drawn = Vec::new();
    // An item that is gone meanwhile was drawn in vain; what hid it has made the ids known to be old.
    for _ in 0..2 {
        let ids = pick(&candidates(cx, category).await?, count)?;
        drawn = cards(cx, &ids).await?;
        if drawn.len() == ids.len() {
            break;
        }
    }
    let used = drawn.iter().map(|card| card.language()).find(|language| *language != Language::Ru);
    Ok((drawn, used.unwrap_or(Language::Ru)))
}

/// The ids that may be drawn, eight bytes each: no fewer than [`MOST_DRAWN`] if there are so many.
async fn candidates(cx: &RequestContext, category: Option<&CatalogId>) -> Result<Bytes> {
    let named = match category {
        None => "ids:".to_owned(),
        Some(CatalogId::Number(number)) => format!("ids:number:{number}"),
        Some(CatalogId::Id(id)) => format!("ids:id:{id}"),
    };
    let key = cache::key(Language::Ru, cx.region.as_deref(), &named);
    if let Lookup::Current(ids) = cx.brand.cache.find(&key, Instant::now()) {
        return Ok(ids.json().clone());
    }
    // No more than the cache would keep, and as many as anybody may want who waits for the same list.
    let most = (cx.brand.cache.capacity() / BYTES_OF_THE_CACHE_PER_ID).clamp(MOST_DRAWN, MOST_IDS);
    let make = async {
        let ids =
            store::candidates(&cx.brand.postgres().await?, category, cx.region.as_deref(), most.cast_signed()).await?;
        let bytes: Vec<u8> = ids.into_iter().flat_map(i64::to_ne_bytes).collect();
        Ok(CachedResponse::new(bytes.into(), Language::Ru, Vec::new(), ROUTE))
    };
    Ok(cx.brand.cache.fetch(&key, make).await?.json().clone())
}

/// So many different ones of them, each as likely as any other and in any order (Floyd's algorithm, then a shuffle).
fn pick(candidates: &[u8], count: usize) -> Result<Vec<i64>> {
    let (ids, _) = candidates.as_chunks::<8>();
    let count = count.min(ids.len());
    let mut random = Random::new(2 * count)?;
    let mut places: Vec<usize> = Vec::with_capacity(count);
    for last in ids.len() - count..ids.len() {
        let place = random.below(last + 1);
        places.push(if places.contains(&place) { last } else { place });
    }
    for last in (1..count).rev() {
        places.swap(last, random.below(last + 1));
    }
    Ok(places.into_iter().map(|place| i64::from_ne_bytes(ids[place])).collect())
}

/// Random numbers of the operating system, taken at once.
struct Random(std::vec::IntoIter<u64>);

impl Random {
    fn new(count: usize) -> Result<Random> {
        let mut bytes = vec![0; 8 * count];
        getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
        let (numbers, _) = bytes.as_chunks::<8>();
        Ok(Random(numbers.iter().map(|number| u64::from_ne_bytes(*number)).collect::<Vec<_>>().into_iter()))
    }

    /// Below `end`. Out of 2^64 numbers, so that none is likelier by more than one in 2^40.
    fn below(&mut self, end: usize) -> usize {
        let number = self.0.next().expect("two numbers an item");
        usize::try_from((u128::from(number) * end as u128) >> 64).expect("it is below a usize")
    }
}

/// These items as a list shows them, in their order; without what is listed no more.
async fn cards(cx: &RequestContext, ids: &[i64]) -> Result<Vec<Arc<CachedResponse>>> {
    let brand = &cx.brand;
    let now = Instant::now();
    let key = |id: i64| cache::key(cx.language, None, &format!("card:{id}"));
    let found = ids.iter().map(|id| match brand.cache.find(&key(*id), now) {
        Lookup::Current(card) => Some(card),
        _ => None,
    });
    let found: Option<Vec<_>> = found.collect();
    if let Some(found) = found {
        return Ok(found);
    }
    // All of them and not only those that are missing: what was remembered may be of the moment before an import.
    let mut made = make_cards(brand, ids, cx.language, key).await?;
    Ok(ids.iter().filter_map(|id| made.remove(id)).collect())
}

async fn make_cards(
    brand: &Brand,
    ids: &[i64],
    language: Language,
    key: impl Fn(i64) -> Vec<u8>,
) -> Result<HashMap<i64, Arc<CachedResponse>>> {
    let began_at = brand.cache.version();
    let rows = store::cards(&brand.postgres().await?, ids).await?;
    let made = rows.iter().map(|row| {
        let (item, used) = Item::read(row, language, QUESTIONS_IN_A_LIST)?;
        let json = serde_json::to_vec(&item).or_internal()?.into_boxed_slice();
        let card = Arc::new(CachedResponse::new(json.into(), used, vec![item.item_id], ROUTE));
        brand.cache.insert(&key(item.item_id), &card, began_at);
        Ok((item.item_id, card))
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ids: std::ops::Range<i64>) -> Vec<u8> {
        ids.flat_map(i64::to_ne_bytes).collect()
    }

    #[test]
    fn all_are_drawn_where_there_are_no_more_and_none_twice() {
        let mut drawn = pick(&bytes(0..7), 200).expect("random");
        drawn.sort_unstable();
        assert_eq!(drawn, (0..7).collect::<Vec<_>>());
        assert_eq!(pick(&[], 5).expect("random"), [0i64; 0]);
    }

    #[test]
    fn each_is_as_likely_as_any_other_in_every_place() {
        const DRAWS: usize = 20_000;
        let candidates = bytes(0..10);
        let mut seen = [[0_u32; 10]; 3];
        for _ in 0..DRAWS {
            let drawn = pick(&candidates, 3).expect("random");
            for (place, id) in drawn.into_iter().enumerate() {
                seen[place][usize::try_from(id).expect("an index")] += 1;
            }
        }
        // 2,000 expected; 300 are seven standard deviations.
        assert!(seen.iter().flatten().all(|count| count.abs_diff(2_000) < 300), "{seen:?}");
    }
}
