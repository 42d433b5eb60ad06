//! The results of a query with the items that the shop pins or buries.

use std::collections::HashMap;

use super::index::snapshot::IndexSnapshot;
use super::listing::{self, Sort};
use super::ranking::Match;
use super::rules::{Pin, Placement};

/// All results of a query; [`ResultList::page`] gives their order.
#[derive(Debug, Default)]
pub(crate) struct ResultList {
    /// Those without a place of their own, in no order.
    matches: Vec<Match>,
    /// With their places from 0, ascending.
    pinned: Vec<(usize, Match)>,
    /// In no order.
    buried: Vec<Match>,
}

impl ResultList {
    /// `pins` are in the order of their places. An item that is pinned is among the results whether or not it matches, unless it is not
    /// in the index or does not pass; one that is buried only if it matches.
    pub(crate) fn new(
        snapshot: &IndexSnapshot,
        matches: Vec<Match>,
        pins: &[Pin],
        pass: impl Fn(u32, u32) -> bool,
    ) -> ResultList {
        let mut list = ResultList { matches, ..ResultList::default() };
        let places = pins.iter().filter_map(|pin| {
            let (segment, document) = snapshot.find_item(pin.item_id)?;
            pass(segment, document).then_some(((segment, document), pin.placement))
        });
        let places: Vec<((u32, u32), Placement)> = places.collect();
        if places.is_empty() {
            return list;
        }
        let placements: HashMap<(u32, u32), Placement> = places.iter().copied().collect();
        let is_placed = |found: &mut Match| placements.contains_key(&(found.segment, found.document));
        let placed: Vec<Match> = list.matches.extract_if(.., is_placed).collect();
        let pinned: Vec<(u16, Match)> = places
            .iter()
            .filter_map(|((segment, document), placement)| {
                let Placement::Position(position) = placement else { return None };
                let found = placed.iter().find(|found| (found.segment, found.document) == (*segment, *document));
                Some((*position, found.copied().unwrap_or(Match::without_score(*segment, *document))))
            })
            .collect();
        let is_buried = |found: &&Match| placements[&(found.segment, found.document)] == Placement::Buried;
        list.buried = placed.iter().filter(is_buried).copied().collect();
        let positions: Vec<usize> = pinned.iter().map(|(position, _)| usize::from(*position)).collect();
        let places = distinct_places(&positions, list.matches.len() + pinned.len());
        list.pinned = places.into_iter().zip(pinned.into_iter().map(|(_, found)| found)).collect();
        list
    }

    pub(crate) fn len(&self) -> usize {
        self.matches.len() + self.pinned.len() + self.buried.len()
    }

    /// All results, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Match> {
        self.pinned.iter().map(|(_, found)| found).chain(&self.matches).chain(&self.buried)
    }

    /// The results from the place `skip` on, at most `count`, in their order.
    pub(crate) fn page(self, snapshot: &IndexSnapshot, sort: Option<Sort>, skip: usize, count: usize) -> Vec<Match> {
        let above = self.matches.len() + self.pinned.len();
        let (from, to) = (skip.min(above), skip.saturating_add(count).min(above));
        let pinned_before = |place: usize| self.pinned.iter().take_while(|(at, _)| *at < place).count();
        let (first, last) = (pinned_before(from), pinned_before(to));
        let matches = listing::page(snapshot, self.matches, sort, from - first, to - from - (last - first));
        let (mut matches, mut pinned) = (matches.into_iter(), self.pinned[first..last].iter().peekable());
        let mut page = Vec::with_capacity(to - from);
        for place in from..to {
            let found = match pinned.next_if(|(at, _)| *at == place) {
                Some((_, found)) => Some(*found),
                None => matches.next(),
            };
            page.extend(found);
        }
        let missing = count - page.len().min(count);
        page.extend(listing::page(snapshot, self.buried, sort, skip.saturating_sub(above), missing));
        page
    }
}

/// Places from 0 for ascending positions from 1: each its own, none after the last of `count` results.
fn distinct_places(positions: &[usize], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::with_capacity(positions.len());
    for (number, position) in positions.iter().enumerate() {
        let first_free = places.last().map_or(0, |place| place + 1);
        // The others after it need a place too.
        let last_free = count - positions.len() + number;
        places.push((position - 1).max(first_free).min(last_free));
    }
    places
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::search::index::builder::{IndexedItem, SegmentBuilder};
    use crate::search::index::categories::{Categories, CategoryInput};
    use crate::search::index::snapshot::LiveSegment;

    /// Items 1 to `count`, which the shop's order lists by number.
    fn shop(count: i64) -> (IndexSnapshot, Vec<Match>) {
        let category = CategoryInput {
            category_id: 1,
            id: "cat_1".to_owned(),
            parent_id: None,
            names: Vec::new(),
            regions: Vec::new(),
        };
        let categories = Arc::new(Categories::new(vec![category]));
        let mut builder = SegmentBuilder::new(categories.clone());
        for item_id in 1..=count {
            builder.add(IndexedItem { item_id, name: "чайник".to_owned(), ..IndexedItem::default() });
        }
        let segments = vec![LiveSegment::new(Arc::new(builder.finish()))];
        let snapshot = IndexSnapshot { segments, categories, ..IndexSnapshot::default() };
        let matches = (0..u32::try_from(count).expect("few")).map(|at| Match::without_score(0, at)).collect();
        (snapshot, matches)
    }

    fn pin(item_id: i64, position: u16) -> Pin {
        Pin { item_id, placement: Placement::Position(position) }
    }

    fn bury(item_id: i64) -> Pin {
        Pin { item_id, placement: Placement::Buried }
    }

    #[test]
    fn places_are_distinct_and_within_the_results() {
        assert_eq!(distinct_places(&[1, 1, 2, 9], 20), [0, 1, 2, 8]);
        assert_eq!(distinct_places(&[5, 7, 9], 4), [1, 2, 3]);
        assert_eq!(distinct_places(&[3], 1), [0]);
        assert_eq!(distinct_places(&[], 0), Vec::<usize>::new());
    }

    #[test]
    fn every_page_size_shows_each_result_once_and_in_the_same_order() {
        let (snapshot, matches) = shop(9);
        // Item 3 does not match, 5 does not pass, 99 does not exist.
        let matches: Vec<Match> = matches.into_iter().filter(|found| found.document != 2).collect();
        let pins = [pin(7, 1), pin(3, 4), pin(4, 4), pin(5, 5), pin(99, 6), pin(9, 100), bury(1), bury(2), bury(5)];
        let list = || ResultList::new(&snapshot, matches.clone(), &pins, |_, document| document != 4);
        let ids = |matches: Vec<Match>| -> Vec<i64> {
            matches.iter().map(|found| listing::item_id(&snapshot, found)).collect()
        };
        // Item 5 is not placed, because it does not pass; as a match it stays where it is.
        let expected = [7, 5, 6, 3, 4, 8, 9, 1, 2];
        assert_eq!(list().len(), expected.len());
        assert_eq!(list().iter().count(), expected.len());
        for size in 1..=12 {
            let pages = (0..20).flat_map(|number| ids(list().page(&snapshot, None, number * size, size)));
            assert_eq!(pages.collect::<Vec<_>>(), expected, "pages of {size}");
        }
        assert_eq!(ids(list().page(&snapshot, None, 0, 0)), Vec::<i64>::new());
        assert_eq!(ids(list().page(&snapshot, None, usize::MAX, usize::MAX)), Vec::<i64>::new());
    }

    #[test]
    fn query_that_matches_nothing_shows_its_pinned_items() {
        let (snapshot, _) = shop(3);
        let list = ResultList::new(&snapshot, Vec::new(), &[pin(2, 50), bury(3)], |_, _| true);
        assert_eq!(list.len(), 1);
        let page = list.page(&snapshot, None, 0, 10);
        assert_eq!(listing::item_id(&snapshot, &page[0]), 2);
    }
}
