//! What changed in a catalogue since when: the log that every remembered answer is held against before it leaves.
//!
//! Written by `cache::follow` and by whoever changed something itself, read with every hit. What must never happen: a change is
//! noted before it is committed, because an answer that is made in between would be taken for a newer one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// So many changes are kept. What is older than all of them is asked for anew.
const KEPT: usize = 4_096;

/// Which answers a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogChange {
    /// Those that show this item.
    Item(i64),
    Everything,
}

/// A place in the log; what was noted before it is known to whoever reads the database afterwards.
pub type Version = u64;

#[derive(Default)]
pub struct ChangeLog {
    /// How many changes were ever noted.
    noted: AtomicU64,
    /// The newest of them, oldest first.
    log: RwLock<VecDeque<CatalogChange>>,
}

impl ChangeLog {
    /// To be asked before the database is read for an answer.
    pub fn now(&self) -> Version {
        self.noted.load(Ordering::Acquire)
    }

    /// After the commit.
    pub fn note(&self, changes: impl IntoIterator<Item = CatalogChange>) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let before = log.len();
        log.extend(changes);
        let new = (log.len() - before) as u64;
        let surplus = log.len().saturating_sub(KEPT);
        log.drain(..surplus);
        self.noted.fetch_add(new, Ordering::Release);
    }

    /// Whether anything was noted after `since` that concerns an answer that shows these items (in ascending order); when
    /// not, the moment until which that is known.
    pub fn unchanged_until(&self, shows: &[i64], since: Version) -> Option<Version> {
        if since == self.now() {
            return Some(since);
        }
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        // Nobody notes anything while the log is read.
        let now = self.now();
        let first = now - log.len() as u64;
        let unread = usize::try_from(since.checked_sub(first)?).ok()?;
        let touched = log.range(unread..).any(|change| match change {
            CatalogChange::Everything => true,
            CatalogChange::Item(id) => shows.binary_search(id).is_ok(),
        });
        (!touched).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_what_shows_it_and_what_was_made_before_it() {
        let changes = ChangeLog::default();
        let begun = changes.now();
        assert_eq!(changes.unchanged_until(&[3, 7], begun), Some(begun));
        changes.note([CatalogChange::Item(5)]);
        let known = changes.unchanged_until(&[3, 7], begun).expect("5 is not shown");
        assert_eq!(changes.unchanged_until(&[3, 5, 7], begun), None);
        changes.note([CatalogChange::Item(7)]);
        assert_eq!(changes.unchanged_until(&[3, 7], known), None);
        assert_eq!(changes.unchanged_until(&[3, 7], changes.now()), Some(changes.now()), "made after the change");
        let begun = changes.now();
        changes.note([CatalogChange::Everything]);
        assert_eq!(changes.unchanged_until(&[], begun), None);
    }

    #[test]
    fn what_is_older_than_the_log_cannot_be_known() {
        let changes = ChangeLog::default();
        let begun = changes.now();
        changes.note((0..).take(KEPT).map(CatalogChange::Item));
        assert!(changes.unchanged_until(&[-1], begun).is_some(), "the log just holds it");
        changes.note([CatalogChange::Item(0)]);
        assert_eq!(changes.unchanged_until(&[-1], begun), None);
    }
}
