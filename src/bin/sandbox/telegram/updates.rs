//! What waits for a bot's getUpdates: numbered, kept until confirmed, handed to one poller at a time.
//!
//! Filled by the chats, emptied by the Bot API. What must never happen: an update is forgotten because an answer with
//! it was sent: only a later offset confirms, so a connection that breaks in the middle costs nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How far ahead of the queue an offset may be; with one further on, Telegram begins at the head.
const FURTHEST_AHEAD: i64 = 10;

/// What a getUpdates call asks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Above 0: confirms all before it. Below 0: forgets all but the last so many. 0: from the first that waits.
    pub offset: i64,
    pub limit: usize,
    /// How long to wait when there is nothing.
    pub timeout: Duration,
    /// The kinds of updates that are collected from now on, none meaning all; absent, it stays as it was.
    pub allowed: Option<Vec<String>>,
}

/// Another getUpdates call has taken over.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict;

/// A bot's queue.
pub struct Updates {
    queue: Mutex<Queue>,
    changed: watch::Sender<()>,
}

struct Queue {
    next: i64,
    waiting: VecDeque<(i64, Value)>,
    allowed: Vec<String>,
    /// The number of the newest getUpdates call.
    poll: u64,
}

impl Updates {
    /// `first` is the first update's number. It should grow from start to start of the program, because a poller may
    /// remember the offset it had reached.
    pub fn new(first: i64) -> Updates {
        let queue = Queue { next: first, waiting: VecDeque::new(), allowed: Vec::new(), poll: 0 };
        Updates { queue: Mutex::new(queue), changed: watch::Sender::new(()) }
    }

    /// Adds an update of a kind (`message`, `callback_query`) and wakes the poller. The update's number, or none when
    /// the bot does not want this kind.
    pub fn push(&self, kind: &str, content: &impl serde::Serialize) -> Option<i64> {
        let number = self.queue().push(kind, content)?;
        self.changed.send_replace(());
        Some(number)
    }

    /// Forgets all that wait.
    pub fn forget(&self) {
        self.queue().waiting.clear();
    }

    /// Answers getUpdates: at once when something waits, else as soon as something comes, else nothing when the time is
    /// over.
    ///
    /// # Errors
    /// When a later call of the same bot began before this one had anything to return.
    pub async fn get(&self, wanted: Wanted) -> Result<Vec<Value>, Conflict> {
        let until = Instant::now() + wanted.timeout;
        let mut changed = self.changed.subscribe();
        let limit = wanted.limit;
        let mine = self.queue().begin(wanted);
        // Tells the one that hangs that it is superseded.
        self.changed.send_replace(());
        loop {
            changed.borrow_and_update();
            let found = self.queue().peek(mine, limit)?;
            if !found.is_empty() {
                return Ok(found);
            }
            if timeout_at(until, changed.changed()).await.is_err() {
                return Ok(found);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics with the queue in hand")
    }
}

impl Queue {
    fn push(&mut self, kind: &str, content: &impl serde::Serialize) -> Option<i64> {
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == kind) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, json!({ "update_id": number, kind: content })));
        Some(number)
    }

    /// Does what the offset says and makes the call the newest one; its number.
    fn begin(&mut self, wanted: Wanted) -> u64 {
        let Wanted { offset, allowed, .. } = wanted;
        self.allowed = allowed.unwrap_or(std::mem::take(&mut self.allowed));
        if offset < 0 {
            let kept = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            self.waiting.drain(..self.waiting.len().saturating_sub(kept));
        } else if offset > 0 && offset <= self.next + FURTHEST_AHEAD {
            self.waiting.retain(|(number, _)| *number >= offset);
            self.next = self.next.max(offset);
        }
        self.poll += 1;
        self.poll
    }

    fn peek(&self, poll: u64, limit: usize) -> Result<Vec<Value>, Conflict> {
        match poll == self.poll {
            true => Ok(self.waiting.iter().take(limit).map(|(_, update)| update.clone()).collect()),
            false => Err(Conflict),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn from(offset: i64) -> Wanted {
        Wanted { offset, limit: 100, ..Wanted::default() }
    }

    fn patient(offset: i64) -> Wanted {
        Wanted { timeout: Duration::from_secs(50), ..from(offset) }
    }

    async fn numbers(updates: &Updates, wanted: Wanted) -> Vec<i64> {
        let found = updates.get(wanted).await.expect("no conflict");
        found.iter().map(|update| update["update_id"].as_i64().expect("a number")).collect()
    }

    fn three() -> Updates {
        let updates = Updates::new(100);
        for text in ["a", "b", "c"] {
            updates.push("message", &json!({ "text": text }));
        }
        updates
    }

    #[tokio::test]
    async fn only_an_offset_confirms() {
        let updates = three();
        assert_eq!(numbers(&updates, from(0)).await, [100, 101, 102]);
        assert_eq!(numbers(&updates, from(0)).await, [100, 101, 102], "an answer alone confirms nothing");
        assert_eq!(numbers(&updates, Wanted { limit: 2, ..from(0) }).await, [100, 101]);
        assert_eq!(numbers(&updates, from(101)).await, [101, 102]);
        assert_eq!(numbers(&updates, from(100)).await, [101, 102], "what was confirmed does not come back");
        assert_eq!(numbers(&updates, from(103)).await, [0; 0]);
        assert_eq!(updates.push("message", &json!({})), Some(103));
    }

    #[tokio::test]
    async fn a_negative_offset_keeps_the_last_ones() {
        let updates = three();
        assert_eq!(numbers(&updates, from(-2)).await, [101, 102]);
        assert_eq!(numbers(&updates, from(0)).await, [101, 102]);
        assert_eq!(numbers(&updates, from(-9)).await, [101, 102]);
    }

    #[tokio::test]
    async fn an_offset_from_another_life_begins_at_the_head() {
        assert_eq!(numbers(&three(), from(5_000)).await, [100, 101, 102]);
    }

    #[tokio::test]
    async fn unwanted_kinds_are_not_collected() {
        let updates = Updates::new(1);
        let wanted = Wanted { allowed: Some(vec!["message".to_owned()]), ..from(0) };
        assert_eq!(numbers(&updates, wanted).await, [0; 0]);
        assert_eq!(updates.push("callback_query", &json!({})), None);
        assert_eq!(updates.push("message", &json!({})), Some(1));
        assert_eq!(numbers(&updates, Wanted { allowed: Some(Vec::new()), ..from(0) }).await, [1]);
        assert_eq!(updates.push("callback_query", &json!({})), Some(2), "an empty list means all");
    }

    #[tokio::test]
    async fn a_poll_ends_with_an_update_or_with_its_time() {
        let updates = Arc::new(Updates::new(1));
        let hanging = tokio::spawn({
            let updates = updates.clone();
            async move { numbers(&updates, patient(0)).await }
        });
        tokio::task::yield_now().await;
        updates.push("message", &json!({}));
        assert_eq!(hanging.await.expect("it ends"), [1]);
        let began = Instant::now();
        let timeout = Duration::from_millis(50);
        assert_eq!(numbers(&updates, Wanted { timeout, ..from(2) }).await, [0; 0]);
        assert!(began.elapsed() >= timeout);
    }

    #[tokio::test]
    async fn the_second_poll_ends_the_first() {
        let updates = Arc::new(Updates::new(1));
        let first = tokio::spawn({
            let updates = updates.clone();
            async move { updates.get(patient(0)).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn({
            let updates = updates.clone();
            async move { updates.get(patient(0)).await }
        });
        assert_eq!(first.await.expect("it ends"), Err(Conflict));
        updates.push("message", &json!({}));
        assert_eq!(second.await.expect("it ends").expect("no conflict").len(), 1);
    }

    #[tokio::test]
    async fn a_poller_that_goes_away_loses_nothing() {
        let updates = Arc::new(Updates::new(1));
        let gone = tokio::spawn({
            let updates = updates.clone();
            async move { updates.get(patient(0)).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        updates.push("message", &json!({}));
        assert_eq!(numbers(&updates, from(0)).await, [1]);
    }
}
