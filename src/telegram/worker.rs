//! The bot at work: one poller a bot over any number of instances, no update lost, none handled twice.
//!
//! Registered in `workers`. A lease in PostgreSQL says who polls; how far the updates were handled is noted there after each
//! one, so that whoever comes next goes on at the next. An update that cannot be handled because something is away waits.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::api::Update;
use super::{Api, Failure, Say, respond, store};
use crate::brand::Brand;
use crate::config::TelegramConfig;
use crate::error::Result;
use crate::lease::Lease;

const LEASE: &str = "telegram-bot";

/// Telegram holds a second poller back for this long; we do not come sooner after a 409 (Bot API server, Client.cpp).
const AFTER_CONFLICT: Duration = Duration::from_secs(3);

/// Between two tries of what failed: doubled from the first to the second number.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often one message is tried before it is given up for good.
const MOST_TRIES: u32 = 8;

/// Speaks for the brand's bot whenever this instance holds the lease, until `stop`.
pub async fn run(brand: Arc<Brand>, stop: CancellationToken) {
    let Some(config) = brand.config.telegram.clone() else { return };
    let api = match Api::new(&config) {
        Ok(api) => api,
        Err(sentence) => return tracing::error!(brand = brand.name(), sentence, "the bot cannot be reached"),
    };
    while !stop.is_cancelled() {
        match Lease::take(&brand, LEASE, config.lease).await {
            Ok(Some(lease)) => {
                let ended = stop.child_token();
                let lost = lease.lost().clone();
                let poller = Poller { brand: &brand, config: &config, api: &api, lease: &lease, stop: &ended };
                tokio::select! {
                    () = poller.run() => {}
                    () = lost.cancelled() => {}
                }
                lease.give_back().await;
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
}

impl Poller<'_> {
    /// Polls until it is time to stop. An update that has been begun is finished first.
    async fn run(&self) {
        let mut back_off = BACK_OFF.0;
        let mut introduced = false;
        while !self.stop.is_cancelled() {
            if !introduced {
                introduced = self.introduce().await;
                if !introduced {
                    pause(back_off, self.stop).await;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                    continue;
                }
            }
            match self.round().await {
                Ok(()) => back_off = BACK_OFF.0,
                Err(wait) => {
                    pause(wait.unwrap_or(back_off), self.stop).await;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    /// Whether the token is the configured bot's, and nobody else gets its news.
    async fn introduce(&self) -> bool {
        let name = self.brand.name();
        let asked = async {
            let username = self.api.username().await?;
            self.api.delete_webhook().await?;
            Ok::<_, Failure>(username)
        };
        match asked.await {
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
    async fn round(&self) -> Result<(), Option<Duration>> {
        let offset = self.offset().await.map_err(|error| self.later(&error))?;
        let news = tokio::select! {
            news = self.api.updates(offset) => news,
            () = self.stop.cancelled() => return Ok(()),
        };
        let news = news.map_err(|failure| {
            tracing::warn!(brand = self.brand.name(), %failure, "no news of the bot");
            match failure {
                Failure::Refused { code: 409, .. } => Some(AFTER_CONFLICT),
                Failure::Refused { retry_after_s: Some(seconds), .. } => Some(Duration::from_secs(seconds)),
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

    fn later(&self, error: &crate::error::Error) -> Option<Duration> {
        tracing::warn!(brand = self.brand.name(), %error, "the bot waits");
        None
    }

    async fn offset(&self) -> Result<Option<i64>> {
        let client = self.brand.db().await?;
        let next = store::next_update_id(&*client, &self.config.bot).await?;
        client.give_back();
        Ok(next)
    }

    async fn handle(&self, update: Value) -> Result<(), Option<Duration>> {
        let Some(id) = update["update_id"].as_i64() else { return Ok(()) };
        match serde_json::from_value::<Update>(update) {
            Ok(update) => {
                let says = respond(self.brand, update).await.or_else(|error| self.skip_or_wait(error))?;
                for say in says {
                    self.carry_out(say).await;
                }
            }
            Err(error) => tracing::warn!(brand = self.brand.name(), id, %error, "an update cannot be read; skipped"),
        }
        let noted = async {
            let client = self.brand.db().await?;
            let noted = store::note_progress(&*client, &self.config.bot, id + 1, self.lease.holder()).await?;
            client.give_back();
            Ok(noted)
        };
        match noted.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Some(self.config.lease)),
            Err(error) => Err(self.later(&error)),
        }
    }

    /// What is away comes back; a fault of ours would only be repeated.
    fn skip_or_wait(&self, error: crate::error::Error) -> Result<Vec<Say>, Option<Duration>> {
        if crate::db::is_away(&error) {
            return Err(self.later(&error));
        }
        tracing::error!(brand = self.brand.name(), %error, "an update could not be handled; skipped");
        Ok(Vec::new())
    }

    /// Says one thing, trying again while that may help. What Telegram refuses for good (a person who blocked the bot, a
    /// message that is gone) is no error of ours.
    async fn carry_out(&self, say: Say) {
        let mut back_off = BACK_OFF.0;
        for tried in 1..=MOST_TRIES {
            let said = match &say {
                Say::Send { chat_id, text, buttons } => self.api.send(*chat_id, text, buttons).await,
                Say::Edit { chat_id, message_id, text, buttons } => {
                    self.api.edit(*chat_id, *message_id, text, buttons).await
                }
                Say::Answer { press_id, note } => self.api.answer_press(press_id, note).await,
            };
            let Err(failure) = said else { return };
            if !failure.may_pass() || tried == MOST_TRIES {
                return tracing::info!(brand = self.brand.name(), %failure, "the bot could not say something");
            }
            tracing::warn!(brand = self.brand.name(), %failure, tried, "the bot tries to say it again");
            let wait = match failure {
                Failure::Refused { retry_after_s: Some(seconds), .. } => Duration::from_secs(seconds),
                _ => back_off,
            };
            pause(wait, self.stop).await;
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
    }
}
