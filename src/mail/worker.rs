//! The outbox at work: what is due is handed to the brand's SMTP server, as often as it takes.
//!
//! Registered in `workers`, on as many instances as there are. A mail is claimed by a lease, sent outside any transaction,
//! and its result written by whoever holds that very lease. What must never happen: two instances in a conversation about
//! one mail, or a mail that is tried for ever without anybody seeing it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::smtp::{self, DeliveryError, Email, SmtpSession};
use super::store::{self, Claimed};
use crate::config::MailConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::tenant::brand::Brand;

/// How often writing down a result is tried again while PostgreSQL is away.
const NOTE_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Sends what is due, over one connection, for as long as `timeout_ms` at most; the next pass goes on. Returns how many were sent.
///
/// # Errors
/// PostgreSQL is away; nothing is lost.
pub async fn send_due(brand: &Brand) -> Result<u64> {
    let Some(config) = &brand.config.mail else { return Ok(0) };
    let begun = Instant::now();
    let mut line = None;
    let mut sent = 0;
    while begun.elapsed() < config.timeout {
        let claimed = store::claim(&brand.postgres().await?, brand.clock.now(), config.lease).await?;
        let Some(mail) = claimed else { break };
        let claimed_at = Instant::now();
        let said = deliver(brand, config, &mut line, &mail).await;
        sent += u64::from(said.is_ok());
        let server_takes_nothing = matches!(said, Err(DeliveryError::Server(_)));
        note(brand, config, &mail, said, claimed_at).await?;
        if server_takes_nothing {
            break;
        }
    }
    if let Some(line) = line {
        line.close().await;
    }
    Ok(sent)
}

/// One conversation about one mail, on the line that is open or on a new one.
async fn deliver<'a>(
    brand: &Brand,
    config: &'a MailConfig,
    line: &mut Option<SmtpSession<'a>>,
    mail: &Claimed,
) -> Result<(), DeliveryError> {
    let letter = Email {
        from: &config.from,
        reply_to: config.reply_to.as_ref(),
        to: &mail.recipient,
        message_id: &mail.message_id,
        subject: &mail.subject,
        date: mail.queued_at,
        text: &mail.text,
        html: &mail.html,
    };
    let message = smtp::compose(&letter).map_err(DeliveryError::Never)?;
    if let Some(mut open) = line.take() {
        match open.hand_over(&message).await {
            // A server may end a line between two mails; nothing was said of this one yet.
            Err(DeliveryError::Server(_)) if !open.is_usable() => {}
            said => {
                *line = open.is_usable().then_some(open);
                return said;
            }
        }
    }
    let mut open = SmtpSession::open(config, brand.config.host()).await.map_err(DeliveryError::Server)?;
    let said = open.hand_over(&message).await;
    *line = open.is_usable().then_some(open);
    said
}

/// Writes down what came of it. While PostgreSQL is away this goes on until the lease ends: a mail that was sent and is not
/// written down would be sent again.
async fn note(
    brand: &Brand,
    config: &MailConfig,
    mail: &Claimed,
    said: Result<(), DeliveryError>,
    claimed_at: Instant,
) -> Result<()> {
    let now = brand.clock.now();
    let outcome = Outcome::of(config, mail, said, now)?;
    outcome.tell(brand, mail);
    loop {
        match write(brand, mail, &outcome, now).await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                tracing::warn!(brand = brand.name(), mail = mail.id, "the lease of a mail ran out while it was sent");
                return Ok(());
            }
            Err(error) if crate::platform::postgres::is_unavailable(&error) && claimed_at.elapsed() < config.lease => {
                tokio::time::sleep(NOTE_AGAIN_AFTER).await;
            }
            Err(error) => return Err(error),
        }
    }
}

enum Outcome {
    Sent,
    /// Tried again then; `all` waits with it where the server takes nothing at all.
    Later {
        until: Timestamp,
        error: String,
        all: bool,
    },
    GivenUp {
        error: String,
    },
}

impl Outcome {
    fn of(config: &MailConfig, mail: &Claimed, said: Result<(), DeliveryError>, now: Timestamp) -> Result<Outcome> {
        let (error, all) = match said {
            Ok(()) => return Ok(Outcome::Sent),
            Err(DeliveryError::Never(error)) => return Ok(Outcome::GivenUp { error }),
            Err(DeliveryError::Later(error)) => (error, false),
            Err(DeliveryError::Server(error)) => (error, true),
        };
        let tried_for = now.duration_since(mail.tried_since);
        if tried_for >= signed(config.give_up_after) {
            let error = format!("given up after {} s and {} tries: {error}", tried_for.as_secs(), mail.tries);
            return Ok(Outcome::GivenUp { error });
        }
        let until = now.checked_add(signed(delay(config, mail.tries)?)).or_internal()?;
        Ok(Outcome::Later { until, error, all })
    }

    fn tell(&self, brand: &Brand, mail: &Claimed) {
        let (brand, id, about, tries) = (brand.name(), mail.id, &mail.about, mail.tries);
        match self {
            Outcome::Sent => tracing::debug!(brand, mail = id, about, tries, "a mail was sent"),
            Outcome::Later { until, error, .. } => {
                tracing::warn!(brand, mail = id, about, tries, error, %until, "a mail is tried again later");
            }
            Outcome::GivenUp { error } => {
                tracing::error!(brand, mail = id, about, tries, error, "a mail was given up: brandgate outbox list");
            }
        }
    }
}

async fn write(brand: &Brand, mail: &Claimed, outcome: &Outcome, now: Timestamp) -> Result<bool> {
    let client = brand.postgres().await?;
    let written = match outcome {
        Outcome::Sent => store::sent(&client, mail, now).await?,
        Outcome::GivenUp { error } => store::not_sent(&client, mail, None, error).await?,
        Outcome::Later { until, error, all } => {
            let written = store::not_sent(&client, mail, Some(*until), error).await?;
            if *all {
                store::postpone_due(&client, now, *until, error).await?;
            }
            written
        }
    };
    Ok(written)
}

/// Doubled with every try up to the longest; a random part of its second half is left out, so that mails that failed
/// together do not come back together.
fn delay(config: &MailConfig, tries: i32) -> Result<Duration> {
    let doublings = u32::try_from(tries - 1).unwrap_or(0).min(20);
    let longest = config.first_retry_delay.saturating_mul(1 << doublings).min(config.max_retry_delay);
    let random = getrandom::u32().map_err(|error| Error::internal(error.to_string()))?;
    Ok(longest.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX)))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
