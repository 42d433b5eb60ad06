//! The payment provider: the operations of an acquiring bank that payments need, whichever bank it is.

mod raiffeisen;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::config::BrandConfig;
use crate::foundation::error::{Error, Result};
use crate::payments::state::{ProviderStatus, RefundStatus};
use crate::platform::http_client::HttpError;
use crate::tenant::brand::Brand;

use raiffeisen::RaiffeisenClient;
pub use raiffeisen::SIGNATURE_HEADER as WEBHOOK_SIGNATURE_HEADER;

/// A brand's account at its payment provider. Every call may be repeated safely.
pub(super) enum Provider<'b> {
    Raiffeisen(RaiffeisenClient<'b>),
}

impl<'b> Provider<'b> {
    /// # Errors
    /// 503 when the brand's configuration has no section `[bank]`.
    pub(super) fn for_brand(brand: &'b Brand) -> Result<Provider<'b>> {
        let configured = brand.config.bank.as_ref().zip(brand.provider_http.as_ref());
        let (config, http) = configured.ok_or_else(|| Error::unavailable("the brand's file has no section [bank]"))?;
        Ok(Provider::Raiffeisen(RaiffeisenClient::new(config, http)))
    }

    /// How long a call may take.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Provider::Raiffeisen(client) => client.timeout(),
        }
    }

    /// Registers a QR code for one payment of a fixed amount.
    pub(super) async fn register(&self, request: &QrCodeRequest<'_>) -> Result<QrCode, ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.register(request).await,
        }
    }

    /// Returns the status of a payment.
    ///
    /// # Errors
    /// Also when the provider's order or amount is not the requested one.
    pub(super) async fn poll(&self, request: &PollRequest<'_>) -> Result<ProviderStatus, ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.poll(request).await,
        }
    }

    /// Cancels a QR code; `false` when the provider has no such code. What became of its payment is up to
    /// [`Provider::poll`]: the code may have expired or been paid before.
    pub(super) async fn cancel(&self, qr_id: &str) -> Result<bool, ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.cancel(qr_id).await,
        }
    }

    /// Refunds a part of a payment, or all of it. The same `refund_id` is the same refund.
    pub(super) async fn refund(
        &self,
        refund_id: &str,
        order_id: &str,
        amount: Decimal,
    ) -> Result<RefundStatus, ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.refund(refund_id, order_id, amount).await,
        }
    }

    /// Returns what the provider knows of a refund; `None`: it has no such refund.
    pub(super) async fn refund_status(&self, refund_id: &str) -> Result<Option<RefundReport>, ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.refund_status(refund_id).await,
        }
    }

    /// Registers a fiscal receipt (54-FZ). A number that is registered already is left as it is.
    pub(super) async fn register_receipt(&self, receipt: &FiscalReceipt<'_>) -> Result<(), ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.register_receipt(receipt).await,
        }
    }

    /// Returns the status of a receipt; a number that the provider does not know is [`ReceiptStatus::New`].
    pub(super) async fn receipt_status(&self, kind: ReceiptKind, number: &str) -> Result<ReceiptStatus, ProviderError> {
        match self {
            Provider::Raiffeisen(client) => client.receipt_status(kind, number).await,
        }
    }

    /// Parses a notification and verifies its signature, the value of [`WEBHOOK_SIGNATURE_HEADER`].
    ///
    /// # Errors
    /// 400 for a malformed notification, 401 for one that is not signed with a key of this brand.
    pub(super) fn verify_webhook(&self, body: &[u8], signature: &str) -> Result<WebhookEvent> {
        match self {
            Provider::Raiffeisen(client) => client.verify_webhook(body, signature),
        }
    }
}

/// Sends the brand's provider a request without effects and describes the outcome. `None`: no provider is configured.
pub async fn health_check(config: &BrandConfig) -> Option<Result<String, String>> {
    match &config.bank {
        Some(bank) => Some(raiffeisen::health_check(bank).await),
        None => None,
    }
}

/// Why the provider did not do what was requested.
#[derive(Debug)]
pub enum ProviderError {
    /// The provider understood the request and rejected it with an error code.
    Refused { code: String, message: String },
    /// The provider cannot do it now, with an error code: the same request may succeed later.
    Unavailable { code: String, message: String },
    /// No response; the request may have been carried out all the same.
    Http(HttpError),
    /// The payment is not the one that was registered: needs manual settlement.
    PaymentMismatch(String),
    /// The response is not the provider's API: a gateway's error page, a truncated body.
    InvalidResponse(String),
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderError::Refused { code, message } => write!(f, "the bank refused the request: {code} {message}"),
            ProviderError::Unavailable { code, message } => write!(f, "the bank failed: {code} {message}"),
            ProviderError::Http(error) => write!(f, "no response from the bank: {error}"),
            ProviderError::PaymentMismatch(what) => write!(f, "the bank received another payment: {what}"),
            ProviderError::InvalidResponse(what) => write!(f, "invalid response from the bank: {what}"),
        }
    }
}

impl std::error::Error for ProviderError {}

impl From<ProviderError> for Error {
    #[track_caller]
    fn from(error: ProviderError) -> Error {
        match error {
            ProviderError::Http(HttpError::Timeout) => Error::bank_timeout(error),
            _ => Error::bad_gateway("The bank cannot be reached right now; please try the same order again.", error),
        }
    }
}

/// A QR code to be registered.
pub(super) struct QrCodeRequest<'a> {
    pub order_id: &'a str,
    pub amount: Decimal,
    /// Shown to the payer by the payer's bank.
    pub purpose: &'a str,
    pub expires_at: Timestamp,
    pub redirect_url: Option<&'a str>,
}

/// A registered QR code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QrCode {
    pub qr_id: String,
    pub payload: String,
    /// The address of a picture of the code.
    pub qr_url: String,
}

/// Which source of a payment's status a routine poll queries. The flag is stored with the payment and alternates with every poll; only
/// the provider knows what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PollTarget {
    is_alternate: bool,
}

impl PollTarget {
    /// From the column `payment.asked_of_money`.
    pub(super) fn new(is_alternate: bool) -> PollTarget {
        PollTarget { is_alternate }
    }
}

/// A payment to be polled.
pub(super) struct PollRequest<'a> {
    pub qr_id: &'a str,
    pub order_id: &'a str,
    pub amount: Decimal,
    /// Whether the last poll found the payer's bank processing the payment.
    pub was_in_progress: bool,
    /// `None` queries all sources.
    pub target: Option<PollTarget>,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookEvent {
    /// The order id that the provider was given. Signed.
    pub order_id: String,
    /// Not signed: used only while the payment has no QR code.
    pub qr_id: Option<String>,
    /// The amount, if it was paid. Signed.
    pub paid: Option<Decimal>,
    /// Signed.
    pub transaction_date: Option<Timestamp>,
}

/// What the provider reports of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefundReport {
    pub status: RefundStatus,
    pub amount: Option<Decimal>,
}

/// The kinds of fiscal receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiptKind {
    /// Money was received.
    Sale,
    /// Money was paid back.
    Refund,
}

/// A fiscal receipt (54-FZ) to be registered.
pub(super) struct FiscalReceipt<'a> {
    pub kind: ReceiptKind,
    pub number: &'a str,
    /// Where the buyer's copy goes.
    pub email: Option<&'a str>,
    /// Where it goes when `email` is missing or too long for the provider.
    pub fallback_email: &'a str,
    pub lines: &'a [ReceiptLine],
    pub amount: Decimal,
    /// The VAT rate of the lines that have none, as the provider names it.
    pub default_vat: &'a str,
}

/// A line of a fiscal receipt.
#[derive(Debug, Clone)]
pub(super) struct ReceiptLine {
    pub name: String,
    /// Of one unit.
    pub price: Decimal,
    pub quantity: i32,
    /// As the provider names it; `None`: the brand's default.
    pub vat: Option<String>,
}

/// The status of a receipt at the cash register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiptStatus {
    /// Not registered: stored only, or not known.
    New,
    /// Registered and not printed yet.
    Pending,
    Done,
    Failed,
}

/// Whether an id is a path segment of the provider's URLs without escaping.
pub(super) fn is_valid_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}
