//! Raiffeisenbank's SBP API: QR codes, payments and refunds.
//!
//! # Invariants
//! - The error code of a response decides before its HTTP status: refusals come with 200 as well as with 4xx.
//! - Amounts never pass through a binary float.

mod receipts;
#[cfg(test)]
mod tests;
mod webhook;

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{PollRequest, PollTarget, ProviderError, QrCode, QrCodeRequest, RefundReport, is_valid_id};
use crate::config::BankConfig;
use crate::foundation::hex;
use crate::foundation::money::{self, Exact};
use crate::payments::state::{ProviderStatus, ProviderTransaction, RefundStatus};
use crate::platform::http_client::{HttpClient, HttpRequest, HttpResponse};

pub use webhook::SIGNATURE_HEADER;

/// The error code for an unknown QR code.
const NOT_FOUND: &str = "ERROR.NOT_FOUND";

/// A merchant's account at the bank.
pub(crate) struct RaiffeisenClient<'b> {
    pub(super) config: &'b BankConfig,
    http: &'b HttpClient,
}

/// The endpoints to query for a payment's status. Each may learn of a payment before the other does, so routine polls alternate
/// between them at the cost of one request each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusEndpoint {
    /// `GET /api/sbp/v2/qrs/{qrId}`, and the other one when that is not conclusive.
    Qr,
    /// `GET /api/sbp/v1/qr/{qrId}/payment-info` alone.
    PaymentInfo,
    Both,
}

impl StatusEndpoint {
    fn for_target(target: Option<PollTarget>) -> StatusEndpoint {
        match target {
            None => StatusEndpoint::Both,
            Some(PollTarget { is_alternate: false }) => StatusEndpoint::Qr,
            Some(PollTarget { is_alternate: true }) => StatusEndpoint::PaymentInfo,
        }
    }
}

/// The response of `payment-info`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PaymentInfo {
    order_id: String,
    amount: Decimal,
    status: PaymentStatus,
    transaction: ProviderTransaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PaymentStatus {
    Unpaid,
    InProgress,
    Paid,
}

impl<'b> RaiffeisenClient<'b> {
    pub(super) fn new(config: &'b BankConfig, http: &'b HttpClient) -> RaiffeisenClient<'b> {
        RaiffeisenClient { config, http }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// `POST /api/sbp/v2/qrs`. Safe to repeat: a code that is never shown is never paid.
    pub(super) async fn register(&self, request: &QrCodeRequest<'_>) -> Result<QrCode, ProviderError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct RequestBody<'a> {
            qr_type: &'static str,
            sbp_merchant_id: &'a str,
            order: &'a str,
            amount: Exact,
            currency: &'static str,
            payment_details: &'a str,
            qr_expiration_date: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            redirect_url: Option<&'a str>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ResponseBody {
            qr_id: String,
            payload: String,
            qr_url: String,
        }
        let body = RequestBody {
            qr_type: "QRDynamic",
            sbp_merchant_id: &self.config.merchant_id,
            order: request.order_id,
            amount: Exact(request.amount),
            currency: "RUB",
            payment_details: request.purpose,
            qr_expiration_date: moscow_time(request.expires_at),
            redirect_url: request.redirect_url,
        };
        let response = self.send(HttpRequest::post(self.url("/api/sbp/v2/qrs")).json(&body)).await?;
        let ResponseBody { qr_id, payload, qr_url } = parse(&response)?;
        match is_valid_id(&qr_id) {
            true => Ok(QrCode { qr_id, payload, qr_url }),
            false => Err(ProviderError::InvalidResponse("malformed qrId".to_owned())),
        }
    }

    /// Queries one endpoint, and the other one too when the first is not conclusive.
    pub(super) async fn poll(&self, request: &PollRequest<'_>) -> Result<ProviderStatus, ProviderError> {
        let endpoint = StatusEndpoint::for_target(request.target);
        let qr_status = match endpoint {
            StatusEndpoint::PaymentInfo => None,
            StatusEndpoint::Qr | StatusEndpoint::Both => match self.qr_status(request.qr_id).await {
                Err(error) if is_refusal(&error, NOT_FOUND) => return Ok(ProviderStatus::Unknown),
                status => Some(status?),
            },
        };
        if endpoint == StatusEndpoint::Qr
            && let Some(status) = &qr_status
            && is_conclusive(status, request.was_in_progress)
        {
            return Ok(status.clone());
        }
        let is_paid = matches!(qr_status, Some(ProviderStatus::Paid(_)));
        let info = match self.payment_info(request.qr_id).await {
            // No payment was made yet.
            Err(ProviderError::Refused { .. }) if !is_paid => None,
            info => Some(info?),
        };
        combine(request, qr_status, info)
    }

    /// `GET /api/sbp/v2/qrs/{qrId}`.
    async fn qr_status(&self, qr_id: &str) -> Result<ProviderStatus, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ResponseBody {
            qr_status: String,
        }
        let response = self.send(HttpRequest::get(self.url(&format!("/api/sbp/v2/qrs/{qr_id}")))).await?;
        Ok(parse_qr_status(&parse::<ResponseBody>(&response)?.qr_status))
    }

    /// `GET /api/sbp/v1/qr/{qrId}/payment-info`. The member `code` is about the request, never about the payment.
    async fn payment_info(&self, qr_id: &str) -> Result<PaymentInfo, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ResponseBody<'a> {
            order: String,
            #[serde(borrow)]
            amount: &'a RawValue,
            payment_status: String,
            // Informational: another type than the documented one must not hide the payment.
            transaction_id: Option<Value>,
            transaction_date: Option<String>,
        }
        let url = self.url(&format!("/api/sbp/v1/qr/{qr_id}/payment-info"));
        let response = self.send(HttpRequest::get(url)).await?;
        let body: ResponseBody<'_> = parse(&response)?;
        let amount = money::decimal_from_json(body.amount.get());
        let amount = amount.ok_or_else(|| ProviderError::InvalidResponse("amount is not a number".to_owned()))?;
        let date = body.transaction_date.and_then(|date| date.parse().ok());
        let status = match body.payment_status.as_str() {
            "SUCCESS" => PaymentStatus::Paid,
            "IN_PROGRESS" => PaymentStatus::InProgress,
            _ => PaymentStatus::Unpaid,
        };
        let transaction = ProviderTransaction { id: body.transaction_id.as_ref().and_then(Value::as_i64), date };
        Ok(PaymentInfo { order_id: body.order, amount, status, transaction })
    }

    /// `DELETE /api/sbp/v2/qrs/{qrId}`. A code that is expired, paid or cancelled already counts as cancelled.
    pub(super) async fn cancel(&self, qr_id: &str) -> Result<bool, ProviderError> {
        match self.send(HttpRequest::delete(self.url(&format!("/api/sbp/v2/qrs/{qr_id}")))).await {
            Ok(_) => Ok(true),
            Err(error) if is_refusal(&error, "ERROR.ERROR_WRONG_QR_STATUS") => Ok(true),
            Err(error) if is_refusal(&error, NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `POST /api/sbp/v1/refund`.
    pub(super) async fn refund(
        &self,
        refund_id: &str,
        order_id: &str,
        amount: Decimal,
    ) -> Result<RefundStatus, ProviderError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct RequestBody<'a> {
            amount: Exact,
            order: &'a str,
            refund_id: &'a str,
        }
        let body = RequestBody { amount: Exact(amount), order: order_id, refund_id };
        let response = self.send(HttpRequest::post(self.url("/api/sbp/v1/refund")).json(&body)).await?;
        Ok(parse_refund(&response)?.status)
    }

    /// `GET /api/sbp/v1/refund/{refundId}`.
    pub(super) async fn refund_status(&self, refund_id: &str) -> Result<Option<RefundReport>, ProviderError> {
        match self.send(HttpRequest::get(self.url(&format!("/api/sbp/v1/refund/{refund_id}")))).await {
            Err(error) if is_refusal(&error, "ERROR.REFUND_NOT_FOUND") || is_refusal(&error, NOT_FOUND) => Ok(None),
            response => parse_refund(&response?).map(Some),
        }
    }

    /// Sends a request with the merchant's key and recognizes error responses.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        check_response(self.send_unchecked(request).await?)
    }

    /// Sends a request with the merchant's key.
    pub(super) async fn send_unchecked(&self, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        let request = request.bearer(&self.config.keys[0]);
        self.http.send(request, self.config.timeout).await.map_err(ProviderError::Http)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.api_url)
    }
}

/// Queries a QR code that does not exist. Whether the key is the merchant's own is checked when the configuration is read.
pub(super) async fn health_check(config: &BankConfig) -> Result<String, String> {
    let http = HttpClient::new(None, config.ca_file.as_deref(), config.connect_timeout)?;
    let client = RaiffeisenClient::new(config, &http);
    let unknown_id = hex::random_name().map_err(|error| error.to_string())?;
    let request = HttpRequest::get(client.url(&format!("/api/sbp/v2/qrs/{unknown_id}"))).bearer(&config.keys[0]);
    let response = http.send(request, config.timeout).await;
    let response = response.map_err(|error| format!("{}: {error}", config.api_url))?;
    let status = response.status;
    if matches!(status, 401 | 403) {
        return Err(format!("{} refuses the key: replace the credential", config.api_url));
    }
    match check_response(response) {
        Err(error) if !is_refusal(&error, NOT_FOUND) => {
            Err(format!("{} answers with the unexpected status {status}: check that it is the bank's", config.api_url))
        }
        _ => Ok(format!("{} answers, the key is {}'s", config.api_url, config.merchant_id)),
    }
}

fn is_refusal(error: &ProviderError, expected: &str) -> bool {
    matches!(error, ProviderError::Refused { code, .. } if code == expected)
}

/// Whether `qrs/{qrId}` alone answers a routine poll: no final status, and no payment that may just have been declined.
fn is_conclusive(status: &ProviderStatus, was_in_progress: bool) -> bool {
    match status {
        ProviderStatus::InProgress => true,
        ProviderStatus::Active => !was_in_progress,
        _ => false,
    }
}

fn parse_qr_status(text: &str) -> ProviderStatus {
    match text {
        // The transaction is in payment-info.
        "PAID" => ProviderStatus::Paid(ProviderTransaction::default()),
        "IN_PROGRESS" => ProviderStatus::InProgress,
        "EXPIRED" => ProviderStatus::Expired,
        "CANCELLED" => ProviderStatus::Cancelled,
        // NEW, and statuses that a later version of the API may add: none of them is known to be final.
        _ => ProviderStatus::Active,
    }
}

/// Combines the responses of both endpoints: either may know of a payment first.
fn combine(
    request: &PollRequest<'_>,
    qr_status: Option<ProviderStatus>,
    info: Option<PaymentInfo>,
) -> Result<ProviderStatus, ProviderError> {
    let Some(info) = info else { return Ok(qr_status.unwrap_or(ProviderStatus::Unknown)) };
    let is_paid = info.status == PaymentStatus::Paid || matches!(qr_status, Some(ProviderStatus::Paid(_)));
    let PollRequest { qr_id, order_id, amount, .. } = request;
    if info.order_id != *order_id || info.amount != *amount {
        let mismatch = format!("{qr_id} is order {} over {}, not {order_id} over {amount}", info.order_id, info.amount);
        return Err(match is_paid {
            true => ProviderError::PaymentMismatch(mismatch),
            false => ProviderError::InvalidResponse(mismatch),
        });
    }
    Ok(match qr_status {
        _ if is_paid => ProviderStatus::Paid(info.transaction),
        _ if info.status == PaymentStatus::InProgress => ProviderStatus::InProgress,
        Some(status) => status,
        None => ProviderStatus::Unknown,
    })
}

/// The error code decides before the HTTP status, as in the bank's own SDK.
fn check_response(response: HttpResponse) -> Result<HttpResponse, ProviderError> {
    #[derive(Deserialize)]
    struct Envelope {
        code: Option<String>,
        message: Option<String>,
    }
    let envelope = serde_json::from_slice::<Envelope>(&response.body).ok();
    let code = envelope.as_ref().and_then(|envelope| envelope.code.clone()).unwrap_or_default();
    let is_error = ["ERROR.", "ORDER_"].iter().any(|prefix| code.starts_with(prefix));
    // An internal error of the bank is no refusal: the same request may succeed later.
    if is_error && code != "ERROR.INTERNAL" && response.status < 500 {
        let message = envelope.and_then(|envelope| envelope.message).unwrap_or_default();
        return Err(ProviderError::Refused { code, message });
    }
    match is_error || !(200..300).contains(&response.status) {
        true => Err(ProviderError::InvalidResponse(format!("status {} {code}", response.status))),
        false => Ok(response),
    }
}

fn parse_refund(response: &HttpResponse) -> Result<RefundReport, ProviderError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ResponseBody<'a> {
        refund_status: String,
        #[serde(borrow)]
        amount: Option<&'a RawValue>,
    }
    let body: ResponseBody<'_> = parse(response)?;
    let status = match body.refund_status.as_str() {
        "COMPLETED" => RefundStatus::Completed,
        "IN_PROGRESS" => RefundStatus::InProgress,
        "DECLINED" => RefundStatus::Declined,
        other => return Err(ProviderError::InvalidResponse(format!("unknown refund status {other}"))),
    };
    Ok(RefundReport { status, amount: body.amount.and_then(|amount| money::decimal_from_json(amount.get())) })
}

pub(super) fn parse<'a, T: Deserialize<'a>>(response: &'a HttpResponse) -> Result<T, ProviderError> {
    serde_json::from_slice(&response.body).map_err(|error| ProviderError::InvalidResponse(error.to_string()))
}

/// `2026-11-24T12:00:00+03:00`: all examples in the bank's documents are in Moscow time.
fn moscow_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::fixed(offset(3))).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
