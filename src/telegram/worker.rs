//! The bot's poller: one per bot across all instances, and no update is lost.
//!
//! A lease in PostgreSQL decides which instance polls. Updates are stored there together with the offset after them, and then handled
//! in the queues of their chats ([`ChatQueues`]); the next holder of the lease continues with those that are left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::api::Update;
use super::chats::{ChatQueues, QueuedUpdate};
use super::retry::{Backoff, DATABASE_TIMEOUT, MAX_BACKOFF, pause, with_timeout};
use super::{BotApi, BotApiError, store};
use crate::config::TelegramConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::failure_streak::FailureStreak;
use crate::tenant::brand::Brand;
use crate::tenant::lease::Lease;

const LEASE: &str = "telegram-bot";

/// The name of the poller among the jobs' metrics.
const JOB: &str = "telegram";

/// Telegram keeps rejecting a second poller for this long after a 409 (Bot API server, Client.cpp).
const CONFLICT_DELAY: Duration = Duration::from_secs(3);

/// The window of the limit of a user's updates.
const USER_WINDOW: Duration = Duration::from_secs(60);

/// While so many updates wait, further ones stay with Telegram.
const MAX_QUEUED: usize = 10_000;

/// Polls for the brand's bot whenever this instance holds the lease, until `shutdown`.
pub(crate) async fn run(brand: Arc<Brand>, shutdown: CancellationToken) {
    let Some(config) = brand.config.telegram.clone() else { return };
    let api = match BotApi::new(&config) {
        Ok(api) => api,
        Err(error) => {
            return tracing::error!(brand = brand.name(), error, "failed to create the Telegram client; bot disabled");
        }
    };
    brand.metrics.register_job(JOB);
    while !shutdown.is_cancelled() {
        match Lease::take(&brand, LEASE, config.lease).await {
            Ok(Some(lease)) => poll_with_lease(&brand, &config, &api, lease, &shutdown).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(brand = brand.name(), %error, "failed to take the bot's lease; will retry"),
        }
        pause(config.lease / 3, &shutdown).await;
    }
}

/// Polls until shutdown, until the lease is lost, or until Telegram is unreachable from this instance.
async fn poll_with_lease(
    brand: &Brand,
    config: &TelegramConfig,
    api: &BotApi,
    lease: Lease,
    shutdown: &CancellationToken,
) {
    let lost = lease.lost().clone();
    let stop = shutdown.child_token();
    let (chats, started) = ChatQueues::new(brand, config, api, &stop);
    let mut poller = Poller {
        brand,
        config,
        api,
        lease: &lease,
        shutdown,
        chats: &chats,
        is_verified: false,
        offset: None,
        failures: FailureStreak::default(),
        users: HashMap::new(),
    };
    let polling = async {
        let stopped = poller.run().await;
        stop.cancel();
        stopped
    };
    let stopped = tokio::select! {
        (stopped, ()) = async { tokio::join!(polling, chats.run(started)) } => Some(stopped),
        () = lost.cancelled() => None,
    };
    // Bounded: neither shutdown nor another instance waits for a slow PostgreSQL.
    drop(tokio::time::timeout(DATABASE_TIMEOUT, lease.release()).await);
    if stopped == Some(Stopped::Unreachable) {
        pause(config.lease, shutdown).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Shutdown,
    /// Another instance may reach Telegram.
    Unreachable,
}

/// Polling is to be retried: after Telegram's `retry_after` where there is one, else after the backoff's delay.
struct Retry {
    after: Option<Duration>,
}

impl Retry {
    const WITH_BACKOFF: Retry = Retry { after: None };

    fn after(delay: Duration) -> Retry {
        Retry { after: Some(delay) }
    }
}

struct Poller<'a> {
    brand: &'a Brand,
    config: &'a TelegramConfig,
    api: &'a BotApi,
    lease: &'a Lease,
    shutdown: &'a CancellationToken,
    chats: &'a ChatQueues<'a>,
    /// The token was verified, and the updates that an earlier poller left were queued.
    is_verified: bool,
    /// That of the next `getUpdates`.
    offset: Option<i64>,
    /// Of Telegram and the database.
    failures: FailureStreak,
    /// Per user: the start of the window, and the updates in it.
    users: HashMap<i64, (Instant, u32)>,
}

impl Poller<'_> {
    async fn run(&mut self) -> Stopped {
        let max_silence = self.config.lease.max(self.config.poll_timeout) * 2;
        let mut backoff = Backoff::new();
        let mut last_response_at = Instant::now();
        while !self.shutdown.is_cancelled() {
            if last_response_at.elapsed() > max_silence {
                let brand = self.brand.name();
                tracing::warn!(brand, "Telegram is unreachable; releasing the bot's lease to another instance");
                return Stopped::Unreachable;
            }
            let started_at = Instant::now();
            let result = self.poll_once().await;
            self.brand.metrics.job_finished(JOB, result.is_ok(), started_at.elapsed());
            match result {
                // A shutdown ends a poll without a response.
                Ok(()) if self.shutdown.is_cancelled() => {}
                Ok(()) => {
                    if let Some(failed_polls) = self.failures.succeeded() {
                        tracing::info!(brand = self.brand.name(), failed_polls, "polling for bot updates works again");
                    }
                    backoff = Backoff::new();
                    last_response_at = Instant::now();
                }
                Err(Retry { after }) => {
                    // A response that says when to retry is a response.
                    if after.is_some() {
                        last_response_at = Instant::now();
                    }
                    let delay = backoff.next_delay();
                    pause(after.unwrap_or(delay), self.shutdown).await;
                }
            }
        }
        Stopped::Shutdown
    }

    /// Verifies the token and queues what an earlier poller left, once; then polls for updates and queues them.
    async fn poll_once(&mut self) -> Result<(), Retry> {
        if !self.is_verified {
            self.verify_token().await?;
            let resumed = self.resume().await;
            resumed.map_err(|error| self.retry(&error, "failed to read the bot's updates"))?;
            self.is_verified = true;
        }
        if self.chats.len() >= MAX_QUEUED {
            tracing::warn!(
                brand = self.brand.name(),
                "too many bot updates wait; polling continues when some are handled"
            );
            pause(MAX_BACKOFF, self.shutdown).await;
            return Ok(());
        }
        let updates = self.get_updates().await?;
        self.receive(updates).await
    }

    /// Reads the offset, and queues the updates that are not handled yet.
    async fn resume(&mut self) -> Result<()> {
        let query = async {
            let client = self.brand.postgres().await?;
            let offset = store::next_update_id(&client, &self.config.bot).await?;
            Ok((offset, store::unhandled(&client, &self.config.bot).await?))
        };
        let (offset, unhandled) = tokio::select! {
            found = with_timeout(query) => found?,
            () = self.shutdown.cancelled() => return Err(Error::unavailable("shutting down")),
        };
        self.offset = offset;
        for (id, body) in unhandled {
            match serde_json::from_str::<Update>(&body) {
                Ok(update) => {
                    let Some(chat) = update.chat_id() else { continue };
                    self.chats.push(chat, QueuedUpdate { id, update });
                }
                Err(error) => {
                    tracing::warn!(brand = self.brand.name(), id, %error, "skipped a stored bot update that cannot be parsed");
                }
            }
        }
        Ok(())
    }

    /// Checks that the token is the configured bot's, and disables a webhook that would receive its updates.
    async fn verify_token(&mut self) -> Result<(), Retry> {
        let brand = self.brand.name();
        let verification = async {
            let username = self.api.bot_username().await?;
            self.api.delete_webhook().await?;
            Ok::<_, BotApiError>(username)
        };
        let username = tokio::select! {
            username = verification => username,
            () = self.shutdown.cancelled() => return Err(Retry::WITH_BACKOFF),
        };
        match username {
            Ok(username) if username.eq_ignore_ascii_case(&self.config.bot) => {
                tracing::info!(brand, bot = username, "polling for bot updates");
                Ok(())
            }
            Ok(username) => {
                let expected = &self.config.bot;
                if self.failures.failed(false) {
                    tracing::error!(brand, actual = username, expected, "the Telegram token belongs to another bot");
                }
                Err(Retry::WITH_BACKOFF)
            }
            Err(error) => {
                if self.failures.failed(true) {
                    tracing::warn!(brand, %error, "failed to verify the Telegram token; will retry");
                }
                Err(Retry::WITH_BACKOFF)
            }
        }
    }

    /// Empty when shutdown begins.
    async fn get_updates(&mut self) -> Result<Vec<Value>, Retry> {
        let updates = tokio::select! {
            updates = self.api.get_updates(self.offset) => updates,
            () = self.shutdown.cancelled() => return Ok(Vec::new()),
        };
        updates.map_err(|error| {
            if self.failures.failed(true) {
                tracing::warn!(brand = self.brand.name(), %error, "failed to poll for bot updates; will retry");
            }
            match error {
                BotApiError::Rejected { code: 409, .. } => Retry::after(CONFLICT_DELAY),
                BotApiError::Rejected { retry_after_s: Some(seconds), .. } => {
                    Retry::after(Duration::from_secs(seconds))
                }
                _ => Retry::WITH_BACKOFF,
            }
        })
    }

    fn retry(&mut self, error: &Error, message: &'static str) -> Retry {
        if self.failures.failed(true) {
            tracing::warn!(brand = self.brand.name(), %error, "{message}; will retry");
        }
        Retry::WITH_BACKOFF
    }

    /// Stores updates with the offset after them, and adds them to the queues of their chats.
    async fn receive(&mut self, updates: Vec<Value>) -> Result<(), Retry> {
        let now = Instant::now();
        self.users.retain(|_, (since, _)| now.duration_since(*since) < USER_WINDOW);
        let mut next = None;
        let mut admitted: Vec<(i64, QueuedUpdate)> = Vec::new();
        for update in updates {
            let Some(id) = update["update_id"].as_i64() else { continue };
            next = Some(id + 1);
            match serde_json::from_value::<Update>(update) {
                Ok(update) => {
                    let Some(chat) = update.chat_id() else { continue };
                    let waiting = admitted.iter().filter(|(other, _)| *other == chat).count();
                    if self.is_within_limits(&update, chat, waiting) {
                        admitted.push((chat, QueuedUpdate { id, update }));
                    }
                }
                Err(error) => {
                    tracing::warn!(brand = self.brand.name(), id, %error, "skipped a bot update that cannot be parsed");
                }
            }
        }
        let Some(next) = next else { return Ok(()) };
        let ids: Vec<i64> = admitted.iter().map(|(_, update)| update.id).collect();
        let bodies = admitted.iter().map(|(_, update)| serde_json::to_string(&update.update).or_internal());
        let save = async {
            let bodies = bodies.collect::<Result<Vec<String>>>()?;
            let client = self.brand.postgres().await?;
            store::receive(&client, &self.config.bot, next, &ids, &bodies, self.lease.holder()).await
        };
        // Not cut short by shutdown.
        match with_timeout(save).await {
            Ok(true) => {}
            Ok(false) => return Err(Retry::after(self.config.lease)),
            Err(error) => return Err(self.retry(&error, "failed to store bot updates")),
        }
        self.offset = Some(next);
        for (chat, update) in admitted {
            self.chats.push(chat, update);
        }
        Ok(())
    }

    /// Whether an update is answered: its user and its chat, `waiting` of whose updates are about to be queued, are within their
    /// limits. What a user exceeds is logged once a window.
    fn is_within_limits(&mut self, update: &Update, chat: i64, waiting: usize) -> bool {
        let brand = self.brand.name();
        if let Some(user) = update.user_id() {
            let (_, count) = self.users.entry(user).or_insert((Instant::now(), 0));
            *count += 1;
            let limit = self.config.updates_per_user;
            if *count > limit {
                if *count == limit + 1 {
                    tracing::warn!(
                        brand,
                        limit,
                        "a Telegram user exceeds the limit of updates; ignoring them for a minute"
                    );
                }
                return false;
            }
        }
        let is_full = self.chats.len_of(chat) + waiting >= self.config.queue_per_chat as usize;
        if is_full {
            tracing::debug!(brand, "the queue of a Telegram chat is full; ignored an update");
        }
        !is_full
    }
}
