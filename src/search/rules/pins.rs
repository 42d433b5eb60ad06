//! Pinned and buried items of queries.

use std::collections::{HashMap, HashSet};

use super::pin::Pin;
pub use super::pin::{Placement, StoredPin};
use super::store::{self, PinRow, RuleLock};
use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres::Executor;
use crate::search::query::query_key::query_key;
use crate::tenant::brand::Brand;

/// A query has at most as many pinned and buried items.
pub const MAX_PINS_PER_QUERY: usize = 100;

/// The last place that an item can be pinned to.
pub const MAX_POSITION: u16 = 1_000;

/// An item to pin or bury.
#[derive(Debug, Clone)]
pub struct NewPin {
    pub query: String,
    pub item: CatalogId,
    /// `None`: the place after the last pinned item of the query.
    pub placement: Option<Placement>,
}

/// What [`add`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinOutcome {
    Placed {
        item_id: i64,
        placement: Placement,
    },
    /// The query has no word to compare.
    NoWords,
    /// The query has [`MAX_PINS_PER_QUERY`].
    TooMany,
    /// Every place up to [`MAX_POSITION`] is behind the last pinned item.
    NoPlace,
}

/// The pinned and buried items by the key of their query.
#[derive(Debug, Default)]
pub(crate) struct Pins(HashMap<String, Vec<Pin>>);

impl Pins {
    pub(crate) fn new(stored: &[(String, Pin)]) -> Pins {
        let mut pins: HashMap<String, Vec<Pin>> = HashMap::new();
        for (query, pin) in stored {
            // Keys that another version of the program stored may have other stems.
            pins.entry(query_key(query)).or_default().push(*pin);
        }
        for of_query in pins.values_mut() {
            of_query.sort_by_key(|pin| (pin.placement, pin.item_id));
            // For the same reason an item may be there twice.
            let mut seen = HashSet::new();
            of_query.retain(|pin| seen.insert(pin.item_id));
        }
        Pins(pins)
    }

    /// The items of the first of these texts that has any, by place: what was typed, then what was meant.
    pub(crate) fn of(&self, typed: &str, corrected: Option<&str>) -> &[Pin] {
        if self.0.is_empty() {
            return &[];
        }
        let found = [Some(typed), corrected].into_iter().flatten().find_map(|text| self.0.get(&query_key(text)));
        found.map_or(&[], Vec::as_slice)
    }
}

/// Pins or buries an item; one that is pinned or buried already moves.
///
/// # Errors
/// 404 for an item that does not exist.
pub async fn add(brand: &Brand, pin: &NewPin) -> Result<PinOutcome> {
    let key = query_key(&pin.query);
    if key.is_empty() {
        return Ok(PinOutcome::NoWords);
    }
    let transaction = brand.transaction().await?;
    store::lock(&transaction, brand.name(), RuleLock::Pins).await?;
    let item_id = store::item_id(&transaction, &pin.item).await?.ok_or_else(|| Error::not_found("item"))?;
    let (own, others): (Vec<PinRow>, Vec<PinRow>) =
        rows_of(&transaction, &key).await?.into_iter().partition(|row| row.pin.item_id == item_id);
    let placement = pin.placement.or_else(|| next_position(&others).map(Placement::Position));
    let refusal = match placement {
        None => Some(PinOutcome::NoPlace),
        Some(_) if others.len() >= MAX_PINS_PER_QUERY => Some(PinOutcome::TooMany),
        Some(_) => None,
    };
    let (Some(placement), None) = (placement, &refusal) else {
        transaction.rollback().await?;
        return Ok(refusal.unwrap_or(PinOutcome::NoPlace));
    };
    store::delete_pins(&transaction, own.iter().filter(|row| row.key != key)).await?;
    store::put_pin(&transaction, &key, &pin.query, Pin { item_id, placement }).await?;
    transaction.commit().await?;
    Ok(PinOutcome::Placed { item_id, placement })
}

/// The rows of the queries with this key; what other versions of the program stored may have another one.
async fn rows_of(client: &impl Executor, key: &str) -> Result<Vec<PinRow>> {
    let mut rows = store::pin_rows(client).await?;
    rows.retain(|row| query_key(&row.query) == key);
    Ok(rows)
}

fn next_position(rows: &[PinRow]) -> Option<u16> {
    let positions = rows.iter().filter_map(|row| match row.pin.placement {
        Placement::Position(position) => Some(position),
        Placement::Buried => None,
    });
    let last = positions.max().unwrap_or(0);
    (last < MAX_POSITION).then_some(last + 1)
}

/// Pinned and buried items by query and place; of one query, if it is given.
///
/// # Errors
/// An unavailable database.
pub async fn list(brand: &Brand, query: Option<&str>) -> Result<Vec<StoredPin>> {
    let mut pins = store::list_pins(&brand.postgres().await?).await?;
    if let Some(key) = query.map(query_key) {
        pins.retain(|pin| query_key(&pin.query) == key);
    }
    Ok(pins)
}

/// Pins and buries an item of the query no longer, or all of its items; returns how many there were.
///
/// # Errors
/// 404 for an item that does not exist.
pub async fn remove(brand: &Brand, query: &str, item: Option<&CatalogId>) -> Result<u64> {
    let transaction = brand.transaction().await?;
    store::lock(&transaction, brand.name(), RuleLock::Pins).await?;
    let mut rows = rows_of(&transaction, &query_key(query)).await?;
    if let Some(item) = item {
        let item_id = store::item_id(&transaction, item).await?.ok_or_else(|| Error::not_found("item"))?;
        rows.retain(|row| row.pin.item_id == item_id);
    }
    let removed = store::delete_pins(&transaction, rows.iter()).await?;
    transaction.commit().await?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(stored: &[(&str, i64, Placement)]) -> Pins {
        let pin = |(query, item_id, placement): &(&str, i64, Placement)| {
            ((*query).to_owned(), Pin { item_id: *item_id, placement: *placement })
        };
        Pins::new(&stored.iter().map(pin).collect::<Vec<_>>())
    }

    #[test]
    fn queries_share_pins_whose_words_have_the_same_stems() {
        let pins = pins(&[
            ("Чайники для дома", 3, Placement::Buried),
            ("домами чайник", 2, Placement::Position(4)),
            ("чайник дом", 1, Placement::Position(2)),
            ("чайник", 9, Placement::Position(1)),
            ("чайники", 9, Placement::Buried),
        ]);
        let ids = |typed: &str, corrected| pins.of(typed, corrected).iter().map(|pin| pin.item_id).collect::<Vec<_>>();
        assert_eq!(ids("купить чайник в дом", None), [1, 2, 3]);
        assert_eq!(ids("чайник", None), [9]);
        assert_eq!(ids("чайнк", None), Vec::<i64>::new());
        assert_eq!(ids("чайнк", Some("чайник")), [9]);
        assert_eq!(ids("чайник до 3000", None), Vec::<i64>::new());
    }

    #[test]
    fn next_place_is_after_the_last_pinned_item() {
        let pin = |placement| PinRow { key: String::new(), query: String::new(), pin: Pin { item_id: 1, placement } };
        assert_eq!(next_position(&[]), Some(1));
        assert_eq!(next_position(&[pin(Placement::Position(3)), pin(Placement::Buried)]), Some(4));
        assert_eq!(next_position(&[pin(Placement::Position(MAX_POSITION))]), None);
    }
}
