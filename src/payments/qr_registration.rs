//! Registration of a payment's QR code with the provider, by one request at a time.
//!
//! # Invariants
//! - The payment records that its code is being registered, until a deadline: concurrent requests and instances, and a restart,
//!   never show two codes for one order.

use std::time::Duration;

use jiff::Timestamp;

use super::state::{CurrentState, ProviderStatus, ProviderTransaction};
use super::store::{self, Payment};
use super::{apply, checkout_store};
use crate::foundation::error::{Error, Result};
use crate::payments::poll_schedule::FIRST_POLL_DELAY;
use crate::payments::provider::{Provider, ProviderError, QrCode, QrCodeRequest};
use crate::payments::state::Status;
use crate::tenant::brand::Brand;

/// How often a waiting request checks the registration of another one.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// What a registration takes besides the provider's timeout.
const MARGIN: Duration = Duration::from_secs(1);

/// How long an instance may take to register a code before another one takes over.
pub(super) fn timeout(brand: &Brand) -> Duration {
    Provider::for_brand(brand).map_or(MARGIN, |provider| provider.timeout() + MARGIN)
}

/// Registers the QR code of a payment whose registration this request has claimed. A payment of 0 roubles is completed without one.
///
/// # Errors
/// 502 and 504 when the provider fails: registering the same order again is safe.
pub(super) async fn register(brand: &Brand, payment: Payment) -> Result<Payment> {
    if payment.amount.is_zero() {
        return apply(brand, payment.id, &ProviderStatus::Paid(ProviderTransaction::default())).await;
    }
    let purpose = super::purpose(&payment.site_order_id);
    let request = QrCodeRequest {
        order_id: &payment.bank_order_id,
        amount: payment.amount,
        purpose: &purpose,
        expires_at: payment.state.expires_at,
        redirect_url: payment.redirect_url.as_deref(),
    };
    match Provider::for_brand(brand)?.register(&request).await {
        Ok(code) => save_code(brand, payment, code).await,
        Err(error) => {
            checkout_store::release_registration(&brand.postgres().await?, payment.id, &error.to_string()).await?;
            tracing::warn!(
                brand = brand.name(),
                payment.id = payment.id,
                %error,
                "failed to register a QR code; the client may retry"
            );
            if matches!(error, ProviderError::Refused { .. }) {
                // A refusal is permanent: release the order id and the stock.
                apply(brand, payment.id, &ProviderStatus::Expired).await?;
            }
            Err(error.into())
        }
    }
}

/// Saves a registered code. A code that arrives after the order was closed or registered by another instance is cancelled and never
/// shown.
async fn save_code(brand: &Brand, payment: Payment, code: QrCode) -> Result<Payment> {
    let next_poll_at = brand.clock.now() + FIRST_POLL_DELAY;
    let saved = checkout_store::save_qr_code(&brand.postgres().await?, payment.id, &code, next_poll_at).await?;
    match saved {
        Some(status) if status.is_open() || status == Status::Completed => {
            let state = CurrentState { status, ..payment.state };
            let QrCode { qr_id, payload, qr_url } = code;
            Ok(Payment { state, qr_id: Some(qr_id), payload: Some(payload), qr_url: Some(qr_url), ..payment })
        }
        Some(_) => {
            cancel_late_code(brand, &payment, &code).await?;
            Err(Error::bank_timeout("the order was closed before its QR code was registered"))
        }
        None => {
            cancel_late_code(brand, &payment, &code).await?;
            let stored = store::by_id(&brand.postgres().await?, payment.id).await?;
            let registered = stored.filter(|payment| payment.qr_id.is_some());
            registered.ok_or_else(|| Error::bank_timeout("the order was deleted during its registration"))
        }
    }
}

async fn cancel_late_code(brand: &Brand, payment: &Payment, code: &QrCode) -> Result<()> {
    let (brand_name, qr_id) = (brand.name(), &code.qr_id);
    tracing::warn!(brand = brand_name, payment.id = payment.id, qr_id, "QR code registered too late; cancelling it");
    if let Err(error) = Provider::for_brand(brand)?.cancel(&code.qr_id).await {
        tracing::warn!(brand = brand_name, payment.id = payment.id, qr_id, %error, "failed to cancel a late QR code; it will expire");
    }
    Ok(())
}

/// What a request does that waits for the registration of another one.
#[derive(Debug)]
enum WaitStep {
    /// The code is registered.
    Done(Payment),
    Failed(Error),
    /// Another request has started or ended its registration: wait for that one.
    Restart(Payment),
    CheckAgain,
}

/// Waits for the request that registers a payment, and registers it when that request fails or its deadline passes.
///
/// # Errors
/// 502 and 504 when the provider fails or refuses, for this request or the other one.
pub(super) async fn register_or_wait(brand: &Brand, mut payment: Payment) -> Result<Payment> {
    let max_wait = timeout(brand) + MARGIN;
    let mut time_left = max_wait;
    loop {
        if (is_claimable(&payment, brand.clock.now()) || time_left.is_zero())
            && let Some(claimed) = claim(brand, payment.id).await?
        {
            return register(brand, claimed).await;
        }
        let found = store::by_id(&brand.postgres().await?, payment.id).await?;
        match next_step(payment.registering_until, found, time_left.is_zero()) {
            WaitStep::Done(registered) => return Ok(registered),
            WaitStep::Failed(error) => return Err(error),
            WaitStep::Restart(changed) => {
                payment = changed;
                time_left = max_wait;
            }
            WaitStep::CheckAgain => {
                tokio::time::sleep(CHECK_INTERVAL).await;
                time_left = time_left.saturating_sub(CHECK_INTERVAL);
            }
        }
    }
}

fn is_claimable(payment: &Payment, now: Timestamp) -> bool {
    payment.registering_until.is_none_or(|deadline| deadline < now)
}

/// Claims the registration of a payment; its lifetime starts again.
async fn claim(brand: &Brand, payment_id: i64) -> Result<Option<Payment>> {
    let now = brand.clock.now();
    let (expires_at, registering_until) = (now + brand.config.payments.qr_lifetime, now + timeout(brand));
    let client = brand.postgres().await?;
    checkout_store::claim_registration(&client, payment_id, now, expires_at, registering_until).await
}

/// Decides what a waiting request does, given the payment as it is `found` and the registration that it has waited for.
fn next_step(waited_for: Option<Timestamp>, found: Option<Payment>, is_timed_out: bool) -> WaitStep {
    match found {
        Some(payment) if payment.qr_id.is_some() => WaitStep::Done(payment),
        Some(payment) if !payment.state.status.is_open() => {
            let message = "The bank gave no QR code; please try the same order again.";
            WaitStep::Failed(Error::bad_gateway(message, "the provider refused the registration of another request"))
        }
        Some(payment) if payment.registering_until.is_none() && is_timed_out => {
            WaitStep::Failed(Error::bank_timeout("the registration of another request failed"))
        }
        Some(payment) if payment.registering_until != waited_for => WaitStep::Restart(payment),
        _ if is_timed_out => {
            WaitStep::Failed(Error::bank_timeout("the registration of another request is still in progress"))
        }
        _ => WaitStep::CheckAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(second).expect("1970"))
    }

    fn registering(until: Option<Timestamp>) -> Option<Payment> {
        Some(Payment { registering_until: until, ..Payment::example() })
    }

    #[test]
    fn a_registered_code_ends_the_wait() {
        let found = Some(Payment { qr_id: Some("AD1".to_owned()), ..Payment::example() });
        let step = next_step(at(5), found, true);
        assert!(matches!(&step, WaitStep::Done(payment) if payment.qr_id.as_deref() == Some("AD1")), "{step:?}");
    }

    #[test]
    fn a_refused_registration_fails_the_waiting_request() {
        let mut found = Payment::example();
        found.state.status = Status::Expired;
        let step = next_step(at(5), Some(found), false);
        assert!(matches!(&step, WaitStep::Failed(error) if error.code == "bad_gateway"), "{step:?}");
    }

    #[test]
    fn another_registration_restarts_the_wait_unless_it_is_over() {
        for until in [at(9), None] {
            let step = next_step(at(5), registering(until), false);
            assert!(matches!(&step, WaitStep::Restart(payment) if payment.registering_until == until), "{step:?}");
        }
        let step = next_step(at(5), registering(at(9)), true);
        assert!(matches!(step, WaitStep::Restart(_)), "{step:?}");
        let step = next_step(at(5), registering(None), true);
        assert!(matches!(&step, WaitStep::Failed(error) if error.code == "bank_timeout"), "{step:?}");
    }

    #[test]
    fn an_unchanged_registration_is_checked_until_the_timeout() {
        assert!(matches!(next_step(at(5), registering(at(5)), false), WaitStep::CheckAgain));
        assert!(matches!(next_step(at(5), None, false), WaitStep::CheckAgain));
        for found in [registering(at(5)), None] {
            let step = next_step(at(5), found, true);
            assert!(matches!(&step, WaitStep::Failed(error) if error.code == "bank_timeout"), "{step:?}");
        }
    }

    #[test]
    fn a_registration_is_claimable_when_it_has_ended_or_its_deadline_has_passed() {
        let payment = |until| registering(until).expect("some");
        let now = at(5).expect("some");
        assert!(is_claimable(&payment(None), now) && is_claimable(&payment(at(4)), now));
        assert!(!is_claimable(&payment(at(5)), now) && !is_claimable(&payment(at(6)), now));
    }
}
