//! The delivery job: sends due emails to the brand's SMTP server, with retries.
//!
//! # Invariants
//!
//! - At most one instance sends an email at a time: a lease claims it, the dialogue takes place outside of any transaction, and
//!   only the holder of the lease records the result.
//! - No email is retried forever: after `give_up_after_s` it has failed, which is logged as an error and counted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::smtp::{self, DeliveryError, Email, SmtpSession};
use super::store::{self, ClaimedEmail};
use crate::config::MailConfig;
use crate::foundation::count::counted;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::postgres::is_unavailable;
use crate::tenant::brand::Brand;

/// Between two attempts to record a result while PostgreSQL is unavailable.
const RECORD_RETRY_DELAY: Duration = Duration::from_millis(250);

/// Sends due emails over one connection for at most `timeout_ms`, and returns how many were sent; the next run continues.
///
/// # Errors
/// 503 when PostgreSQL is unavailable; no email is lost.
pub async fn send_due(brand: &Brand) -> Result<u64> {
    let Some(config) = &brand.config.mail else { return Ok(0) };
    let started_at = Instant::now();
    let mut session = None;
    let mut sent = 0;
    while started_at.elapsed() < config.timeout {
        let claimed = store::claim(&brand.postgres().await?, brand.clock.now(), config.lease).await?;
        let Some(email) = claimed else { break };
        let claimed_at = Instant::now();
        let result = deliver(brand, config, &mut session, &email).await;
        sent += u64::from(result.is_ok());
        let is_server_unavailable = matches!(result, Err(DeliveryError::ServerUnavailable(_)));
        record_result(brand, config, &email, result, claimed_at).await?;
        if is_server_unavailable {
            break;
        }
    }
    if let Some(session) = session {
        session.close().await;
    }
    Ok(sent)
}

/// Sends one email over the open session or a new one.
async fn deliver<'a>(
    brand: &Brand,
    config: &'a MailConfig,
    session: &mut Option<SmtpSession<'a>>,
    email: &ClaimedEmail,
) -> Result<(), DeliveryError> {
    let message = smtp::compose(&Email {
        from: &config.from,
        reply_to: config.reply_to.as_ref(),
        to: &email.recipient,
        message_id: &email.message_id,
        subject: &email.subject,
        date: email.queued_at,
        text: &email.text,
        html: &email.html,
    })
    .map_err(DeliveryError::Permanent)?;
    if let Some(mut open) = session.take() {
        match open.send(&message).await {
            // Servers may close a session between two emails: this one was not rejected.
            Err(DeliveryError::ServerUnavailable(_)) if !open.is_usable() => {}
            result => {
                *session = open.is_usable().then_some(open);
                return result;
            }
        }
    }
    let new = SmtpSession::open(config, brand.config.host()).await;
    let mut new = new.map_err(DeliveryError::ServerUnavailable)?;
    let result = new.send(&message).await;
    *session = new.is_usable().then_some(new);
    result
}

/// Records the result of a delivery. While PostgreSQL is unavailable this retries until the lease expires: an email that was sent
/// and is not recorded would be sent again.
async fn record_result(
    brand: &Brand,
    config: &MailConfig,
    email: &ClaimedEmail,
    result: Result<(), DeliveryError>,
    claimed_at: Instant,
) -> Result<()> {
    let now = brand.clock.now();
    let outcome = DeliveryOutcome::new(config, email, result, now)?;
    outcome.log(brand, email);
    loop {
        match outcome.save(brand, email, now).await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let brand = brand.name();
                tracing::warn!(brand, mail = email.id, "email lease expired while sending; it may be sent twice");
                return Ok(());
            }
            Err(error) if is_unavailable(&error) && claimed_at.elapsed() < config.lease => {
                tokio::time::sleep(RECORD_RETRY_DELAY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

enum DeliveryOutcome {
    Sent,
    Retry {
        at: Timestamp,
        error: String,
        /// All due emails wait for this retry.
        is_server_unavailable: bool,
    },
    Failed {
        error: String,
    },
}

impl DeliveryOutcome {
    fn new(
        config: &MailConfig,
        email: &ClaimedEmail,
        result: Result<(), DeliveryError>,
        now: Timestamp,
    ) -> Result<DeliveryOutcome> {
        let (error, is_server_unavailable) = match result {
            Ok(()) => return Ok(DeliveryOutcome::Sent),
            Err(DeliveryError::Permanent(error)) => return Ok(DeliveryOutcome::Failed { error }),
            Err(DeliveryError::Transient(error)) => (error, false),
            Err(DeliveryError::ServerUnavailable(error)) => (error, true),
        };
        let tried_for = now.duration_since(email.first_attempt_at);
        if tried_for >= to_signed(config.give_up_after) {
            let attempts = counted(email.attempts, "attempt");
            let error = format!("gave up after {} s and {attempts}: {error}", tried_for.as_secs());
            return Ok(DeliveryOutcome::Failed { error });
        }
        let at = now.checked_add(to_signed(retry_delay(config, email.attempts)?)).or_internal()?;
        Ok(DeliveryOutcome::Retry { at, error, is_server_unavailable })
    }

    fn log(&self, brand: &Brand, email: &ClaimedEmail) {
        let (brand, mail, about, attempts) = (brand.name(), email.id, &email.subject_key, email.attempts);
        match self {
            DeliveryOutcome::Sent => tracing::info!(brand, mail, about, attempts, "email delivered to the mail server"),
            DeliveryOutcome::Retry { at, error, .. } => {
                tracing::warn!(brand, mail, about, attempts, error, next_attempt_at = %at, "failed to send email; will retry");
            }
            DeliveryOutcome::Failed { error } => {
                tracing::error!(brand, mail, about, attempts, error, "failed to send email; see brandgate outbox list");
            }
        }
    }

    /// `false` when the lease has expired and the email was claimed again.
    async fn save(&self, brand: &Brand, email: &ClaimedEmail, now: Timestamp) -> Result<bool> {
        let client = brand.postgres().await?;
        match self {
            DeliveryOutcome::Sent => store::mark_sent(&client, email, now).await,
            DeliveryOutcome::Failed { error } => store::mark_not_sent(&client, email, None, error).await,
            DeliveryOutcome::Retry { at, error, is_server_unavailable } => {
                let is_holder = store::mark_not_sent(&client, email, Some(*at), error).await?;
                if *is_server_unavailable {
                    store::postpone_due(&client, now, *at, error).await?;
                }
                Ok(is_holder)
            }
        }
    }
}

/// Exponential backoff with jitter over the second half of the delay, so that emails that failed together are not retried
/// together.
fn retry_delay(config: &MailConfig, attempts: i32) -> Result<Duration> {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(20);
    let max = config.first_retry_delay.saturating_mul(1 << doublings).min(config.max_retry_delay);
    let random = getrandom::u32().map_err(|error| Error::internal(error.to_string()))?;
    Ok(max.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX)))
}

fn to_signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
