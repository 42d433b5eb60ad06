//! The bot at work: one poller a bot over any number of instances, and no update lost.
//!
//! Registered in `workers`. A lease in PostgreSQL says who polls; how far the updates were handled is noted there after each
//! one, so that whoever comes next goes on at the next. An update that cannot be handled because something is away waits. What
//! it decides is decided once; its message is sent again only when we died between Telegram's yes and our note of it, which
//! nobody can tell from dying before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::api::Update;
use super::{Api, BotApiError, Say, respond, store};
use crate::config::TelegramConfig;
use crate::foundation::error::{Error, Result};
use crate::tenant::brand::Brand;
use crate::tenant::lease::Lease;

const LEASE: &str = "telegram-bot";

/// What a question for news and the handling of it are called among the workers' passes.
const PASS: &str = "telegram";

/// Telegram holds a second poller back for this long; we do not come sooner after a 409 (Bot API server, Client.cpp).
const AFTER_CONFLICT: Duration = Duration::from_secs(3);

/// Between two tries of what failed: doubled from the first to the second number.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often one message is tried before it is given up for good: about eight minutes of a Telegram that takes our questions
/// and none of our answers.
const MOST_TRIES: u32 = 20;

/// What PostgreSQL may take to answer before the poller tries again.
const DATABASE_PATIENCE: Duration = Duration::from_secs(5);

/// So many texts of one person are answered in so long; what is beyond is read and left, so that nobody holds up the others.
const ANSWERS: (u32, Duration) = (20, Duration::from_secs(60));

/// Speaks for the brand's bot whenever this instance holds the lease, until `stop`.
pub async fn run(brand: Arc<Brand>, stop: CancellationToken) {
    let Some(config) = brand.config.telegram.clone() else { return };
    let api = match Api::new(&config) {
        Ok(api) => api,
        Err(sentence) => return tracing::error!(brand = brand.name(), sentence, "the bot cannot be reached"),
    };
    brand.metrics.register_job(PASS);
    while !stop.is_cancelled() {
        match Lease::take(&brand, LEASE, config.lease).await {
            Ok(Some(lease)) => {
                let ended = stop.child_token();
                let lost = lease.lost().clone();
                let mut poller = Poller {
                    brand: &brand,
                    config: &config,
                    api: &api,
                    lease: &lease,
                    stop: &ended,
                    answered: HashMap::new(),
                };
                let gave_up = tokio::select! {
                    gave_up = poller.run() => gave_up,
                    () = lost.cancelled() => false,
                };
                // Whoever is stuck with PostgreSQL or Telegram must not hold up the end, nor another instance.
                drop(tokio::time::timeout(DATABASE_PATIENCE, lease.release()).await);
                if gave_up {
                    pause(config.lease, &stop).await;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(brand = brand.name(), %error, "the bot waits for PostgreSQL"),
        }
        pause(config.lease / 3, &stop).await;
    }
}

/// Waits, unless it is time to stop.
async fn pause(length: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = stop.cancelled() => {}
    }
}

struct Poller<'a> {
    brand: &'a Brand,
    config: &'a TelegramConfig,
    api: &'a Api,
    lease: &'a Lease,
    stop: &'a CancellationToken,
    /// How many texts of a person were answered, and since when they are counted.
    answered: HashMap<i64, (Instant, u32)>,
}

impl Poller<'_> {
    /// Polls until it is time to stop, or until Telegram could not be reached for the length of a lease: another instance may
    /// reach it (`true`).
    async fn run(&mut self) -> bool {
        let mut back_off = BACK_OFF.0;
        let mut introduced = false;
        let mut heard_at = Instant::now();
        while !self.stop.is_cancelled() {
            if heard_at.elapsed() > self.config.lease.max(self.config.poll_timeout) * 2 {
                tracing::warn!(
                    brand = self.brand.name(),
                    "the bot cannot be heard from here; another instance may try"
                );
                return true;
            }
            if !introduced {
                let begun = Instant::now();
                introduced = self.introduce().await;
                if !introduced {
                    self.brand.metrics.job_finished(PASS, false, begun.elapsed());
                    pause(back_off, self.stop).await;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                    continue;
                }
            }
            let begun = Instant::now();
            let ended = self.round().await;
            self.brand.metrics.job_finished(PASS, ended.is_ok(), begun.elapsed());
            match ended {
                Ok(()) => {
                    back_off = BACK_OFF.0;
                    heard_at = Instant::now();
                }
                Err(wait) => {
                    // Told to wait is heard.
                    heard_at = if wait.is_some() { Instant::now() } else { heard_at };
                    pause(wait.unwrap_or(back_off), self.stop).await;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                }
            }
        }
        false
    }

    /// Whether the token is the configured bot's, and nobody else gets its news.
    async fn introduce(&self) -> bool {
        let name = self.brand.name();
        let asked = async {
            let username = self.api.username().await?;
            self.api.delete_webhook().await?;
            Ok::<_, BotApiError>(username)
        };
        let asked = tokio::select! {
            asked = asked => asked,
            () = self.stop.cancelled() => return false,
        };
        match asked {
            Ok(username) if username.eq_ignore_ascii_case(&self.config.bot) => {
                tracing::info!(brand = name, bot = username, "speaking for the bot");
                true
            }
            Ok(username) => {
                tracing::error!(brand = name, token_of = username, bot = self.config.bot, "the token is another bot's");
                false
            }
            Err(failure) => {
                tracing::warn!(brand = name, %failure, "the bot could not introduce itself yet");
                false
            }
        }
    }

    /// One question for news and the handling of it. An error is how long to wait before the next, if it is known.
    async fn round(&mut self) -> Result<(), Option<Duration>> {
        let offset = self.patiently(self.offset()).await.map_err(|error| self.later(&error))?;
        let news = tokio::select! {
            news = self.api.updates(offset) => news,
            () = self.stop.cancelled() => return Ok(()),
        };
        let news = news.map_err(|failure| {
            tracing::warn!(brand = self.brand.name(), %failure, "no news of the bot");
            match failure {
                BotApiError::Refused { code: 409, .. } => Some(AFTER_CONFLICT),
                BotApiError::Refused { retry_after_s: Some(seconds), .. } => Some(Duration::from_secs(seconds)),
                _ => None,
            }
        })?;
        for update in news {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            self.handle(update).await?;
        }
        Ok(())
    }

    /// A call of the database's that neither a silent server nor the end holds up.
    async fn patiently<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            answered = tokio::time::timeout(DATABASE_PATIENCE, call) => answered.unwrap_or_else(|late| Err(Error::timeout(late))),
            () = self.stop.cancelled() => Err(Error::unavailable("it is time to stop")),
        }
    }

    fn later(&self, error: &crate::foundation::error::Error) -> Option<Duration> {
        tracing::warn!(brand = self.brand.name(), %error, "the bot waits");
        None
    }

    async fn offset(&self) -> Result<Option<i64>> {
        let next = store::next_update_id(&self.brand.postgres().await?, &self.config.bot).await?;
        Ok(next)
    }

    async fn handle(&mut self, update: Value) -> Result<(), Option<Duration>> {
        let Some(id) = update["update_id"].as_i64() else { return Ok(()) };
        match serde_json::from_value::<Update>(update) {
            Ok(update) if self.is_too_much(&update) => {}
            Ok(update) => {
                let says = respond(self.brand, update).await.or_else(|error| self.skip_or_wait(error))?;
                for say in says {
                    self.carry_out(say).await?;
                }
            }
            Err(error) => tracing::warn!(brand = self.brand.name(), id, %error, "an update cannot be read; skipped"),
        }
        let note = async {
            let noted =
                store::note_progress(&self.brand.postgres().await?, &self.config.bot, id + 1, self.lease.holder())
                    .await?;
            Ok(noted)
        };
        match tokio::time::timeout(DATABASE_PATIENCE, note).await.unwrap_or_else(|late| Err(Error::timeout(late))) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Some(self.config.lease)),
            Err(error) => Err(self.later(&error)),
        }
    }

    /// Whether a person writes more than the bot answers; presses always count.
    fn is_too_much(&mut self, update: &Update) -> bool {
        let Some(person) = update.message.as_ref().and_then(|message| message.from.as_ref()) else { return false };
        self.answered.retain(|_, (since, _)| since.elapsed() < ANSWERS.1);
        let (_, count) = self.answered.entry(person.id).or_insert((Instant::now(), 0));
        *count += 1;
        *count > ANSWERS.0
    }

    /// What is away comes back; a fault of ours would only be repeated.
    fn skip_or_wait(&self, error: crate::foundation::error::Error) -> Result<Vec<Say>, Option<Duration>> {
        if crate::platform::postgres::is_unavailable(&error) {
            return Err(self.later(&error));
        }
        tracing::error!(brand = self.brand.name(), %error, "an update could not be handled; skipped");
        Ok(Vec::new())
    }

    /// Says one thing, trying again while that may help. What Telegram refuses for good (a person who blocked the bot, a
    /// message that is gone) is no error of ours.
    ///
    /// # Errors
    /// It is time to stop before it was said: the update is not done with.
    async fn carry_out(&self, say: Say) -> Result<(), Option<Duration>> {
        let mut back_off = BACK_OFF.0;
        for tried in 1..=MOST_TRIES {
            let said = tokio::select! {
                said = self.say(&say) => said,
                () = self.stop.cancelled() => return Err(None),
            };
            let Err(failure) = said else { return Ok(()) };
            if !failure.may_pass() || tried == MOST_TRIES {
                tracing::info!(brand = self.brand.name(), %failure, "the bot could not say something");
                return Ok(());
            }
            tracing::warn!(brand = self.brand.name(), %failure, tried, "the bot tries to say it again");
            let wait = match failure {
                BotApiError::Refused { retry_after_s: Some(seconds), .. } => Duration::from_secs(seconds),
                _ => back_off,
            };
            pause(wait, self.stop).await;
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
        Ok(())
    }

    async fn say(&self, say: &Say) -> Result<(), BotApiError> {
        match say {
            Say::Send { chat_id, text, buttons } => self.api.send(*chat_id, text, buttons).await,
            Say::Edit { chat_id, message_id, text, buttons } => {
                self.api.edit(*chat_id, *message_id, text, buttons).await
            }
            Say::Answer { press_id, note } => self.api.answer_press(press_id, note).await,
        }
    }
}
