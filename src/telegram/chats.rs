//! The queues of the bot: one per chat, so that a chat that Telegram slows down delays no other.
//!
//! # Invariants
//!
//! - The updates of a chat are handled in their order, one at a time.
//! - An update is deleted from PostgreSQL after its last message was sent: one that a killed process was handling is handled again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use super::api::Update;
use super::retry::{Backoff, pause, with_timeout};
use super::{BotAction, BotApi, BotApiError, handle_update, store};
use crate::config::TelegramConfig;
use crate::platform::postgres::is_unavailable;
use crate::tenant::brand::Brand;

/// After about eight minutes a message is dropped, so that it does not hold up all later ones of its chat.
const MAX_SEND_ATTEMPTS: u32 = 20;

/// A received update that is stored in PostgreSQL.
#[derive(Debug, Clone)]
pub(super) struct QueuedUpdate {
    pub id: i64,
    pub update: Update,
}

/// The process is to end before the update is handled.
struct Interrupted;

/// How many chats use the database at the same time.
const DATABASE_CHATS: usize = 2;

/// The queues of all chats.
pub(super) struct ChatQueues<'a> {
    brand: &'a Brand,
    config: &'a TelegramConfig,
    api: &'a BotApi,
    stop: &'a CancellationToken,
    calls: Semaphore,
    /// Chats whose update uses the database: the pool is shared with all other jobs.
    database: Semaphore,
    /// Every chat with a queue, which is not empty, is being served. The front is the update that is being handled.
    queues: Mutex<HashMap<i64, VecDeque<QueuedUpdate>>>,
    /// Receives each chat that begins to have a queue.
    started: UnboundedSender<i64>,
}

impl<'a> ChatQueues<'a> {
    /// The queues, and the receiver for [`ChatQueues::run`].
    pub(super) fn new(
        brand: &'a Brand,
        config: &'a TelegramConfig,
        api: &'a BotApi,
        stop: &'a CancellationToken,
    ) -> (ChatQueues<'a>, UnboundedReceiver<i64>) {
        let (started, receiver) = mpsc::unbounded_channel();
        let calls = Semaphore::new(config.concurrent_calls as usize);
        let database = Semaphore::new(DATABASE_CHATS);
        (ChatQueues { brand, config, api, stop, calls, database, queues: Mutex::default(), started }, receiver)
    }

    /// Adds an update to the queue of its chat.
    pub(super) fn push(&self, chat: i64, update: QueuedUpdate) {
        let mut queues = self.queues();
        let queue = queues.entry(chat).or_default();
        queue.push_back(update);
        if queue.len() == 1 {
            // Fails only when nothing is served any more.
            self.started.send(chat).ok();
        }
    }

    /// How many updates of a chat wait or are being handled.
    pub(super) fn len_of(&self, chat: i64) -> usize {
        self.queues().get(&chat).map_or(0, VecDeque::len)
    }

    /// How many updates wait or are being handled.
    pub(super) fn len(&self) -> usize {
        self.queues().values().map(VecDeque::len).sum()
    }

    /// Serves all chats concurrently until `stop`.
    pub(super) async fn run(&self, mut started: UnboundedReceiver<i64>) {
        let mut served = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(chat) = started.recv(), if !self.stop.is_cancelled() => served.push(self.serve(chat)),
                Some(()) = served.next() => {}
                () = self.stop.cancelled(), if served.is_empty() => return,
            }
        }
    }

    /// Handles the updates of a chat until its queue is empty.
    async fn serve(&self, chat: i64) {
        let mut next = self.queues().get(&chat).and_then(|queue| queue.front().cloned());
        while let Some(update) = next {
            if self.stop.is_cancelled() || self.process(update).await.is_err() {
                return;
            }
            let mut queues = self.queues();
            next = queues.get_mut(&chat).and_then(|queue| {
                queue.pop_front();
                queue.front().cloned()
            });
            if next.is_none() {
                queues.remove(&chat);
            }
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<QueuedUpdate>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about an update once, sends what follows from it, and deletes it.
    async fn process(&self, QueuedUpdate { id, update }: QueuedUpdate) -> Result<(), Interrupted> {
        for action in self.actions_for(update).await? {
            self.perform_with_retries(action).await?;
        }
        let mut backoff = Backoff::new();
        loop {
            let permit = self.database.acquire().await.expect("the semaphore is never closed");
            let delete = async {
                let client = self.brand.postgres().await?;
                store::mark_handled(&client, &self.config.bot, id).await
            };
            // Not cut short by shutdown: an update that is not deleted is handled again.
            let Err(error) = with_timeout(delete).await else { return Ok(()) };
            drop(permit);
            tracing::warn!(brand = self.brand.name(), %error, "failed to delete a handled bot update; will retry");
            self.pause(backoff.next_delay()).await?;
        }
    }

    /// Waits out an unavailable dependency; skips an update that fails otherwise, because it would fail again.
    async fn actions_for(&self, update: Update) -> Result<Vec<BotAction>, Interrupted> {
        let mut backoff = Backoff::new();
        loop {
            let permit = self.database.acquire().await.expect("the semaphore is never closed");
            let handled = handle_update(self.brand, update.clone()).await;
            drop(permit);
            match handled {
                Ok(actions) => return Ok(actions),
                Err(error) if is_unavailable(&error) => {
                    tracing::warn!(brand = self.brand.name(), %error, "failed to handle a bot update; will retry");
                    self.pause(backoff.next_delay()).await?;
                }
                Err(error) => {
                    tracing::error!(brand = self.brand.name(), %error, "failed to handle a bot update; skipped it");
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Drops an action that Telegram rejects for good: the user blocked the bot, or the message was deleted.
    async fn perform_with_retries(&self, action: BotAction) -> Result<(), Interrupted> {
        let brand = self.brand.name();
        let mut backoff = Backoff::new();
        for attempt in 1..=MAX_SEND_ATTEMPTS {
            let result = tokio::select! {
                result = self.perform(&action) => result,
                () = self.stop.cancelled() => return Err(Interrupted),
            };
            let Err(error) = result else { return Ok(()) };
            if !error.is_retryable() || attempt == MAX_SEND_ATTEMPTS {
                tracing::info!(brand, %error, attempt, "failed to send a bot message; dropped it");
                return Ok(());
            }
            tracing::warn!(brand, %error, attempt, "failed to send a bot message; will retry");
            let delay = backoff.next_delay();
            let delay = match error {
                BotApiError::Rejected { retry_after_s: Some(seconds), .. } => Duration::from_secs(seconds),
                _ => delay,
            };
            self.pause(delay).await?;
        }
        Ok(())
    }

    /// Only the call counts against the limit of concurrent calls, not the wait for the next attempt.
    async fn perform(&self, action: &BotAction) -> Result<(), BotApiError> {
        let permit = self.calls.acquire().await;
        let result = match action {
            BotAction::SendMessage { chat_id, text, buttons } => self.api.send_message(*chat_id, text, buttons).await,
            BotAction::EditMessage { chat_id, message_id, text, buttons } => {
                self.api.edit_message_text(*chat_id, *message_id, text, buttons).await
            }
            BotAction::AnswerCallbackQuery { query_id, text } => self.api.answer_callback_query(query_id, text).await,
        };
        drop(permit);
        result
    }

    async fn pause(&self, duration: Duration) -> Result<(), Interrupted> {
        pause(duration, self.stop).await;
        if self.stop.is_cancelled() { Err(Interrupted) } else { Ok(()) }
    }
}
