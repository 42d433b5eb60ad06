//! The counts that are not written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;

/// Searches of a query on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Searches {
    pub(super) all: i64,
    pub(super) found_nothing: i64,
}

/// The counts by day and query.
pub(super) type Batch = HashMap<(Date, Arc<str>), Searches>;

#[derive(Default)]
pub(super) struct PendingCounts {
    batch: Mutex<Batch>,
    /// Held while a batch is written.
    pub(super) writing: tokio::sync::Mutex<()>,
}

impl PendingCounts {
    /// Counts a search. Returns whether it was counted: it is not when there are `limit` queries already and this is another one.
    pub(super) fn add(&self, day: Date, query: &Arc<str>, found_nothing: bool, limit: u32) -> bool {
        let searches = Searches { all: 1, found_nothing: i64::from(found_nothing) };
        merge(&mut self.batch(), (day, query.clone()), searches, limit)
    }

    pub(super) fn take(&self) -> Batch {
        std::mem::take(&mut self.batch())
    }

    /// Puts back what could not be written. Returns how many searches are lost, because there are `limit` queries already.
    pub(super) fn put_back(&self, batch: Batch, limit: u32) -> u64 {
        let mut pending = self.batch();
        let lost = batch.into_iter().filter_map(|(key, searches)| {
            let is_kept = merge(&mut pending, key, searches, limit);
            (!is_kept).then(|| u64::try_from(searches.all).unwrap_or(0))
        });
        lost.sum()
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge(batch: &mut Batch, key: (Date, Arc<str>), searches: Searches, limit: u32) -> bool {
    let has_room = batch.len() < limit as usize;
    if !has_room && !batch.contains_key(&key) {
        return false;
    }
    let counted = batch.entry(key).or_default();
    counted.all += searches.all;
    counted.found_nothing += searches.found_nothing;
    true
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn queries_are_bounded_and_what_was_not_written_is_kept() {
        let (day, next) = (date(2026, 2, 27), date(2026, 2, 28));
        let (kettle, cup): (Arc<str>, Arc<str>) = ("чайник".into(), "кружка".into());
        let pending = PendingCounts::default();
        assert!(pending.add(day, &kettle, false, 2));
        assert!(pending.add(day, &kettle, true, 2));
        assert!(pending.add(next, &kettle, false, 2));
        assert!(!pending.add(next, &cup, true, 2), "a third one");
        assert!(pending.add(next, &kettle, false, 2), "known ones are still counted");
        let failed = pending.take();
        assert!(pending.take().is_empty());

        assert!(pending.add(next, &kettle, false, 2));
        assert!(pending.add(next, &cup, false, 2));
        assert_eq!(pending.put_back(failed, 2), 2, "the searches of the day before");
        let batch = pending.take();
        assert_eq!(batch[&(next, kettle)], Searches { all: 3, found_nothing: 0 });
        assert_eq!(batch[&(next, cup)], Searches { all: 1, found_nothing: 0 });
        assert_eq!(batch.len(), 2);
    }
}
