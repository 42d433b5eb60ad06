//! The log of recent catalogue changes, against which every cached response is checked before it is served.
//!
//! # Invariants
//!
//! A change is recorded after its commit. Recorded before, it would be missed by a response that is made in between: that
//! response has a version after the change and content from before it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::Notify;

/// How many changes the log holds. Responses with an older version are not served.
const MAX_CHANGES: usize = 4_096;

/// Which responses a change affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CatalogChange {
    /// Those that contain this item.
    Item(i64),
    /// Those of searches: the shop changed its synonyms or pinned items, and no item.
    SearchRules,
    Everything,
}

/// In `catalog_change`, in place of the number of an item: [`CatalogChange::SearchRules`].
pub(super) const SEARCH_RULES_ID: i64 = 0;

/// In the item ids of a response: any change of an item affects it, such as of one that is counted or sorted without being shown.
pub(crate) const ANY_ITEM: i64 = 0;

/// A position in the log. A read of the database that starts at this version sees all changes recorded before it.
pub(crate) type Version = u64;

#[derive(Default)]
pub(crate) struct ChangeLog {
    /// How many changes were ever recorded.
    version: AtomicU64,
    /// The latest changes, oldest first.
    changes: RwLock<VecDeque<CatalogChange>>,
    recorded: Notify,
}

impl ChangeLog {
    /// The current version, to be taken before the database is read.
    pub(crate) fn version(&self) -> Version {
        self.version.load(Ordering::Acquire)
    }

    /// The changes since this version and the current version; `None` if the log no longer reaches back to it.
    pub(crate) fn since(&self, version: Version) -> Option<(Vec<CatalogChange>, Version)> {
        let log = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let current = self.version();
        let first = current - log.len() as u64;
        let unread = usize::try_from(version.checked_sub(first)?).ok()?;
        Some((log.range(unread..).copied().collect(), current))
    }

    /// Returns at the next recorded change, or at once for one since the last call returned. For one task.
    pub(crate) async fn changed(&self) {
        self.recorded.notified().await;
    }

    /// Records committed changes.
    pub(crate) fn record(&self, changes: impl IntoIterator<Item = CatalogChange>) {
        let mut log = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let length_before = log.len();
        log.extend(changes);
        let added = (log.len() - length_before) as u64;
        let surplus = log.len().saturating_sub(MAX_CHANGES);
        log.drain(..surplus);
        self.version.fetch_add(added, Ordering::Release);
        drop(log);
        if added > 0 {
            self.recorded.notify_one();
        }
    }

    /// The latest version at which a response of version `since` with these items (in ascending order) is still current;
    /// `None` if a later change affects it, or if the log no longer reaches back to `since`.
    pub(crate) fn unchanged_until(&self, item_ids: &[i64], since: Version) -> Option<Version> {
        if since == self.version() {
            return Some(since);
        }
        let log = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        // No change is recorded while the lock is held.
        let version = self.version();
        let first = version - log.len() as u64;
        let unchecked = usize::try_from(since.checked_sub(first)?).ok()?;
        let is_affected = log.range(unchecked..).any(|change| match change {
            CatalogChange::Everything => true,
            CatalogChange::SearchRules => item_ids.first() == Some(&ANY_ITEM),
            CatalogChange::Item(id) => item_ids.first() == Some(&ANY_ITEM) || item_ids.binary_search(id).is_ok(),
        });
        (!is_affected).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_affects_earlier_responses_that_contain_its_item() {
        let log = ChangeLog::default();
        let before = log.version();
        assert_eq!(log.unchanged_until(&[3, 7], before), Some(before));
        log.record([CatalogChange::Item(5)]);
        let checked = log.unchanged_until(&[3, 7], before).expect("item 5 is not in it");
        assert_eq!(log.unchanged_until(&[3, 5, 7], before), None);
        log.record([CatalogChange::Item(7)]);
        assert_eq!(log.unchanged_until(&[3, 7], checked), None);
        assert_eq!(log.unchanged_until(&[3, 7], log.version()), Some(log.version()), "made after the change");
        let before = log.version();
        log.record([CatalogChange::Item(9)]);
        assert_eq!(log.unchanged_until(&[ANY_ITEM, 3], before), None, "depends on every item");
        assert_eq!(log.since(before), Some((vec![CatalogChange::Item(9)], log.version())));
        let before = log.version();
        log.record([CatalogChange::SearchRules]);
        assert_eq!(log.unchanged_until(&[ANY_ITEM], before), None, "a search");
        assert_eq!(log.unchanged_until(&[3], before), Some(log.version()), "a list of items");
        let before = log.version();
        log.record([CatalogChange::Everything]);
        assert_eq!(log.unchanged_until(&[], before), None);
    }

    #[test]
    fn response_older_than_the_log_is_not_current() {
        let log = ChangeLog::default();
        let before = log.version();
        log.record((0..).take(MAX_CHANGES).map(CatalogChange::Item));
        assert!(log.unchanged_until(&[-1], before).is_some(), "the log is exactly full");
        log.record([CatalogChange::Item(0)]);
        assert_eq!(log.unchanged_until(&[-1], before), None);
    }
}
