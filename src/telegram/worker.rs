//! The bot's poller: one per bot across all instances, and no update is lost.
//!
//! A lease in PostgreSQL decides which instance polls. The offset is saved there after each update, so that the next holder
//! continues where the previous one stopped. While a dependency is unavailable, the update waits. The decision about an update
//! is made once; its messages are sent again only when the process dies between Telegram's response and the saved offset.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::api::Update;
use super::{BotAction, BotApi, BotApiError, handle_update, store};
use crate::config::TelegramConfig;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres::is_unavailable;
use crate::tenant::brand::Brand;
use crate::tenant::lease::Lease;

const LEASE: &str = "telegram-bot";

/// The name of the poller among the jobs' metrics.
const JOB: &str = "telegram";

/// Telegram keeps rejecting a second poller for this long after a 409 (Bot API server, Client.cpp).
const CONFLICT_DELAY: Duration = Duration::from_secs(3);

const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// After about eight minutes a message is dropped, so that it does not hold up all later updates.
const MAX_SEND_ATTEMPTS: u32 = 20;

const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// The rate limit of a user's messages; further ones in the window are skipped, so that no user holds up the others.
const MAX_REPLIES_PER_USER: u32 = 20;
const REPLY_WINDOW: Duration = Duration::from_secs(60);

/// Polls for the brand's bot whenever this instance holds the lease, until `shutdown`.
pub async fn run(brand: Arc<Brand>, shutdown: CancellationToken) {
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
    let mut poller =
        Poller { brand, config, api, lease: &lease, shutdown, is_verified: false, replies: HashMap::new() };
    let stopped = tokio::select! {
        stopped = poller.run() => Some(stopped),
        () = lost.cancelled() => None,
    };
    // Bounded: neither shutdown nor another instance waits for a slow PostgreSQL.
    drop(tokio::time::timeout(DATABASE_TIMEOUT, lease.release()).await);
    if stopped == Some(Stopped::Unreachable) {
        pause(config.lease, shutdown).await;
    }
}

/// Sleeps, unless shutdown begins.
async fn pause(duration: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = shutdown.cancelled() => {}
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

struct Backoff {
    next: Duration,
}

impl Backoff {
    fn new() -> Backoff {
        Backoff { next: MIN_BACKOFF }
    }

    /// The delay before the next attempt; doubles up to [`MAX_BACKOFF`].
    fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(MAX_BACKOFF);
        delay
    }
}

struct Poller<'a> {
    brand: &'a Brand,
    config: &'a TelegramConfig,
    api: &'a BotApi,
    lease: &'a Lease,
    shutdown: &'a CancellationToken,
    is_verified: bool,
    /// Per user: the start of the window, and the messages in it.
    replies: HashMap<i64, (Instant, u32)>,
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
                Ok(()) => {
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

    /// Verifies the token once; then polls for updates and handles them.
    async fn poll_once(&mut self) -> Result<(), Retry> {
        if !self.is_verified {
            self.verify_token().await?;
            self.is_verified = true;
        }
        for update in self.get_updates().await? {
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
            self.process(update).await?;
        }
        Ok(())
    }

    /// Checks that the token is the configured bot's, and disables a webhook that would receive its updates.
    async fn verify_token(&self) -> Result<(), Retry> {
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
                tracing::error!(brand, actual = username, expected, "the Telegram token belongs to another bot");
                Err(Retry::WITH_BACKOFF)
            }
            Err(error) => {
                tracing::warn!(brand, %error, "failed to verify the Telegram token; will retry");
                Err(Retry::WITH_BACKOFF)
            }
        }
    }

    /// Empty when shutdown begins.
    async fn get_updates(&self) -> Result<Vec<Value>, Retry> {
        let offset = self.offset().await.map_err(|error| self.retry(&error, "failed to read the bot's offset"))?;
        let updates = tokio::select! {
            updates = self.api.get_updates(offset) => updates,
            () = self.shutdown.cancelled() => return Ok(Vec::new()),
        };
        updates.map_err(|error| {
            tracing::warn!(brand = self.brand.name(), %error, "failed to poll for bot updates; will retry");
            match error {
                BotApiError::Rejected { code: 409, .. } => Retry::after(CONFLICT_DELAY),
                BotApiError::Rejected { retry_after_s: Some(seconds), .. } => {
                    Retry::after(Duration::from_secs(seconds))
                }
                _ => Retry::WITH_BACKOFF,
            }
        })
    }

    async fn offset(&self) -> Result<Option<i64>> {
        let query = async { store::next_update_id(&self.brand.postgres().await?, &self.config.bot).await };
        tokio::select! {
            offset = with_timeout(query) => offset,
            () = self.shutdown.cancelled() => Err(Error::unavailable("shutting down")),
        }
    }

    fn retry(&self, error: &Error, message: &'static str) -> Retry {
        tracing::warn!(brand = self.brand.name(), %error, "{message}; will retry");
        Retry::WITH_BACKOFF
    }

    /// Handles one update and saves the offset after it.
    async fn process(&mut self, update: Value) -> Result<(), Retry> {
        let Some(id) = update["update_id"].as_i64() else { return Ok(()) };
        match serde_json::from_value::<Update>(update) {
            Ok(update) if self.exceeds_rate_limit(&update) => {}
            Ok(update) => {
                for action in self.actions_for(update).await? {
                    self.perform_with_retries(action).await?;
                }
            }
            Err(error) => {
                tracing::warn!(brand = self.brand.name(), id, %error, "skipped a bot update that cannot be parsed");
            }
        }
        // Not cut short by shutdown: an update whose offset is lost is handled again.
        let save = async {
            let client = self.brand.postgres().await?;
            store::save_next_update_id(&client, &self.config.bot, id + 1, self.lease.holder()).await
        };
        match with_timeout(save).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Retry::after(self.config.lease)),
            Err(error) => Err(self.retry(&error, "failed to save the bot's offset")),
        }
    }

    /// Applies to messages only; pressed buttons are always handled.
    fn exceeds_rate_limit(&mut self, update: &Update) -> bool {
        let Some(user) = update.message.as_ref().and_then(|message| message.from.as_ref()) else { return false };
        self.replies.retain(|_, (since, _)| since.elapsed() < REPLY_WINDOW);
        let (_, count) = self.replies.entry(user.id).or_insert((Instant::now(), 0));
        *count += 1;
        *count > MAX_REPLIES_PER_USER
    }

    /// Waits out an unavailable dependency; skips an update that fails otherwise, because it would fail again.
    async fn actions_for(&self, update: Update) -> Result<Vec<BotAction>, Retry> {
        match handle_update(self.brand, update).await {
            Ok(actions) => Ok(actions),
            Err(error) if is_unavailable(&error) => Err(self.retry(&error, "failed to handle a bot update")),
            Err(error) => {
                tracing::error!(brand = self.brand.name(), %error, "failed to handle a bot update; skipped it");
                Ok(Vec::new())
            }
        }
    }

    /// Drops an action that Telegram rejects for good: the user blocked the bot, or the message was deleted.
    ///
    /// # Errors
    /// When shutdown begins first: the update is not handled yet.
    async fn perform_with_retries(&self, action: BotAction) -> Result<(), Retry> {
        let brand = self.brand.name();
        let mut backoff = Backoff::new();
        for attempt in 1..=MAX_SEND_ATTEMPTS {
            let result = tokio::select! {
                result = self.perform(&action) => result,
                () = self.shutdown.cancelled() => return Err(Retry::WITH_BACKOFF),
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
            pause(delay, self.shutdown).await;
        }
        Ok(())
    }

    async fn perform(&self, action: &BotAction) -> Result<(), BotApiError> {
        match action {
            BotAction::SendMessage { chat_id, text, buttons } => self.api.send_message(*chat_id, text, buttons).await,
            BotAction::EditMessage { chat_id, message_id, text, buttons } => {
                self.api.edit_message_text(*chat_id, *message_id, text, buttons).await
            }
            BotAction::AnswerCallbackQuery { query_id, text } => self.api.answer_callback_query(query_id, text).await,
        }
    }
}

async fn with_timeout<T>(query: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DATABASE_TIMEOUT, query).await.unwrap_or_else(|elapsed| Err(Error::timeout(elapsed)))
}
