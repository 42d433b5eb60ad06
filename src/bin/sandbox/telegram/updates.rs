//! The updates of a bot: numbered, kept until confirmed, returned to one poller at a time.
//!
//! # Invariants
//! - Only the offset of a later call confirms an update, so that a broken connection loses none.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How far ahead of the queue an offset may be. Telegram ignores an offset further ahead.
const MAX_OFFSET_AHEAD: i64 = 10;

/// The parameters of getUpdates.
#[derive(Debug, Clone, Default)]
pub struct GetUpdates {
    /// Positive: confirms all updates before it. Negative: drops all but the last `-offset`. 0: confirms nothing.
    pub offset: i64,
    pub limit: usize,
    /// How long to wait for an update.
    pub timeout: Duration,
    /// The kinds of updates to keep from now on, all if empty; `None`: unchanged.
    pub allowed: Option<Vec<String>>,
}

/// A later getUpdates call has replaced this one.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict;

/// The queue of a bot.
pub struct Updates {
    queue: Mutex<Queue>,
    changed: watch::Sender<()>,
}

struct Queue {
    next: i64,
    pending: VecDeque<(i64, Value)>,
    allowed: Vec<String>,
    /// The number of the latest getUpdates call.
    poll: u64,
}

impl Updates {
    /// `first` is the id of the first update. It should grow across restarts, as pollers may store their offset.
    pub fn new(first: i64) -> Updates {
        let queue = Queue { next: first, pending: VecDeque::new(), allowed: Vec::new(), poll: 0 };
        Updates { queue: Mutex::new(queue), changed: watch::Sender::new(()) }
    }

    /// Adds an update of a kind (`message`, `callback_query`) and wakes the poller. Its id, or `None` if the bot does not
    /// want this kind.
    pub fn push(&self, kind: &str, content: &impl serde::Serialize) -> Option<i64> {
        let number = self.queue().push(kind, content)?;
        self.changed.send_replace(());
        Some(number)
    }

    /// Drops all updates.
    pub fn clear(&self) {
        self.queue().pending.clear();
    }

    /// Returns the pending updates, waiting for one until the timeout.
    ///
    /// # Errors
    /// A later call of the same bot started before there was an update.
    pub async fn get(&self, request: GetUpdates) -> Result<Vec<Value>, Conflict> {
        let until = Instant::now() + request.timeout;
        let mut changed = self.changed.subscribe();
        let limit = request.limit;
        let poll = self.queue().start_poll(request);
        // Wakes the call that this one replaces.
        self.changed.send_replace(());
        loop {
            changed.borrow_and_update();
            let found = self.queue().peek(poll, limit)?;
            if !found.is_empty() {
                return Ok(found);
            }
            if timeout_at(until, changed.changed()).await.is_err() {
                return Ok(found);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic while locked")
    }
}

impl Queue {
    fn push(&mut self, kind: &str, content: &impl serde::Serialize) -> Option<i64> {
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == kind) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.pending.push_back((number, json!({ "update_id": number, kind: content })));
        Some(number)
    }

    /// Applies the offset and makes this the latest call; its number.
    fn start_poll(&mut self, request: GetUpdates) -> u64 {
        let GetUpdates { offset, allowed, .. } = request;
        self.allowed = allowed.unwrap_or(std::mem::take(&mut self.allowed));
        if offset < 0 {
            let stored = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            self.pending.drain(..self.pending.len().saturating_sub(stored));
        } else if offset > 0 && offset <= self.next + MAX_OFFSET_AHEAD {
            self.pending.retain(|(number, _)| *number >= offset);
            self.next = self.next.max(offset);
        }
        self.poll += 1;
        self.poll
    }

    fn peek(&self, poll: u64, limit: usize) -> Result<Vec<Value>, Conflict> {
        match poll == self.poll {
            true => Ok(self.pending.iter().take(limit).map(|(_, update)| update.clone()).collect()),
            false => Err(Conflict),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at_offset(offset: i64) -> GetUpdates {
        GetUpdates { offset, limit: 100, ..GetUpdates::default() }
    }

    fn long_poll(offset: i64) -> GetUpdates {
        GetUpdates { timeout: Duration::from_secs(50), ..at_offset(offset) }
    }

    async fn numbers(updates: &Updates, request: GetUpdates) -> Vec<i64> {
        let found = updates.get(request).await.expect("no conflict");
        found.iter().map(|update| update["update_id"].as_i64().expect("a number")).collect()
    }

    fn three_updates() -> Updates {
        let updates = Updates::new(100);
        for text in ["a", "b", "c"] {
            updates.push("message", &json!({ "text": text }));
        }
        updates
    }

    #[tokio::test]
    async fn only_an_offset_confirms_updates() {
        let updates = three_updates();
        assert_eq!(numbers(&updates, at_offset(0)).await, [100, 101, 102]);
        assert_eq!(numbers(&updates, at_offset(0)).await, [100, 101, 102], "a response alone confirms nothing");
        assert_eq!(numbers(&updates, GetUpdates { limit: 2, ..at_offset(0) }).await, [100, 101]);
        assert_eq!(numbers(&updates, at_offset(101)).await, [101, 102]);
        assert_eq!(numbers(&updates, at_offset(100)).await, [101, 102], "confirmed updates are not returned again");
        assert_eq!(numbers(&updates, at_offset(103)).await, [0; 0]);
        assert_eq!(updates.push("message", &json!({})), Some(103));
    }

    #[tokio::test]
    async fn negative_offset_keeps_the_last_updates() {
        let updates = three_updates();
        assert_eq!(numbers(&updates, at_offset(-2)).await, [101, 102]);
        assert_eq!(numbers(&updates, at_offset(0)).await, [101, 102]);
        assert_eq!(numbers(&updates, at_offset(-9)).await, [101, 102]);
    }

    #[tokio::test]
    async fn offset_far_ahead_is_ignored() {
        assert_eq!(numbers(&three_updates(), at_offset(5_000)).await, [100, 101, 102]);
    }

    #[tokio::test]
    async fn unwanted_kinds_are_dropped() {
        let updates = Updates::new(1);
        let request = GetUpdates { allowed: Some(vec!["message".to_owned()]), ..at_offset(0) };
        assert_eq!(numbers(&updates, request).await, [0; 0]);
        assert_eq!(updates.push("callback_query", &json!({})), None);
        assert_eq!(updates.push("message", &json!({})), Some(1));
        assert_eq!(numbers(&updates, GetUpdates { allowed: Some(Vec::new()), ..at_offset(0) }).await, [1]);
        assert_eq!(updates.push("callback_query", &json!({})), Some(2), "an empty list means all kinds");
    }

    #[tokio::test]
    async fn poll_ends_with_an_update_or_a_timeout() {
        let updates = Arc::new(Updates::new(1));
        let pending_poll = tokio::spawn({
            let updates = updates.clone();
            async move { numbers(&updates, long_poll(0)).await }
        });
        tokio::task::yield_now().await;
        updates.push("message", &json!({}));
        assert_eq!(pending_poll.await.expect("the poll completes"), [1]);
        let started = Instant::now();
        let timeout = Duration::from_millis(50);
        assert_eq!(numbers(&updates, GetUpdates { timeout, ..at_offset(2) }).await, [0; 0]);
        assert!(started.elapsed() >= timeout);
    }

    #[tokio::test]
    async fn second_poll_ends_the_first() {
        let updates = Arc::new(Updates::new(1));
        let first = tokio::spawn({
            let updates = updates.clone();
            async move { updates.get(long_poll(0)).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn({
            let updates = updates.clone();
            async move { updates.get(long_poll(0)).await }
        });
        assert_eq!(first.await.expect("the poll completes"), Err(Conflict));
        updates.push("message", &json!({}));
        assert_eq!(second.await.expect("the poll completes").expect("no conflict").len(), 1);
    }

    #[tokio::test]
    async fn disconnected_poller_loses_no_update() {
        let updates = Arc::new(Updates::new(1));
        let dropped = tokio::spawn({
            let updates = updates.clone();
            async move { updates.get(long_poll(0)).await }
        });
        tokio::task::yield_now().await;
        dropped.abort();
        updates.push("message", &json!({}));
        assert_eq!(numbers(&updates, at_offset(0)).await, [1]);
    }
}
