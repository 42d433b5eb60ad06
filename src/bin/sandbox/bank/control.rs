//! The control interface below `/bank`: operations of the payer, injected faults and recorded calls.
//!
//! # Invariants
//! - No merchant's key is part of a response.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::amount::{self, Amount};
use super::call::CallCounts;
use super::error::ErrorStatusStyle;
use super::fiscal::{ReceiptStatus, ReceiptView};
use super::notification::Notification;
use super::payer::{self, OperationError, PayerOperation};
use super::qr::{PaymentAttempt, PaymentStatus, Qr, QrStatus, QrType};
use super::refund::{RefundStatus, RefundView};
use super::state::BankState;
use super::timestamp;
use crate::web::{self, WebRequest, WebResponse};

/// How long `"wait":true` waits for the merchant's responses.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_COPIES: usize = 100;

/// A code in `GET /bank/qrs`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CodeView<'a> {
    qr_id: &'a str,
    qr_type: QrType,
    merchant: &'a str,
    merchant_title: &'a str,
    order: Option<&'a str>,
    amount: Option<Amount>,
    currency: &'static str,
    status: QrStatus,
    payment_status: PaymentStatus,
    create_date: String,
    qr_expiration_date: Option<String>,
    payload: &'a str,
    qr_url: String,
    redirect_url: Option<&'a str>,
    additional_info: Option<&'a str>,
    payment_details: Option<&'a str>,
    payments: Vec<PaymentView>,
    notifications_sent: usize,
    notifications_accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a [Notification]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentView {
    transaction_id: u64,
    transaction_date: String,
    amount: Amount,
    payment_status: PaymentStatus,
}

/// The body of an operation; every field is optional, and so is the body.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OperationRequest {
    notify: bool,
    copies: usize,
    delay_ms: u64,
    #[serde(rename = "amountText")]
    amount_text: Option<String>,
    force: bool,
    wait: bool,
    #[serde(rename = "keepStatus")]
    keep_status: bool,
    amount: Option<Box<RawValue>>,
}

impl Default for OperationRequest {
    fn default() -> OperationRequest {
        OperationRequest {
            notify: true,
            copies: 1,
            delay_ms: 0,
            amount_text: None,
            force: false,
            wait: false,
            keep_status: false,
            amount: None,
        }
    }
}

impl OperationRequest {
    fn operation(&self, success: bool) -> Result<PayerOperation, ControlError> {
        let invalid = |message| control_error(StatusCode::BAD_REQUEST, message);
        let amount = self
            .amount
            .as_deref()
            .map(|amount| amount::parse_positive(amount).ok_or("amount is not a positive amount of money"));
        let amount = amount.transpose().map_err(invalid)?;
        let literal = self.amount_text.clone().map(|text| {
            let json = RawValue::from_string(text).ok();
            json.filter(|json| amount::parse_number(json).is_some()).ok_or("amountText is not a JSON number")
        });
        let amount_text = literal.transpose().map_err(invalid)?;
        if self.copies > MAX_COPIES {
            return Err(invalid("copies is above 100"));
        }
        let attempt = PaymentAttempt { success, amount, force: self.force, keep_status: self.keep_status };
        let delay = Duration::from_millis(self.delay_ms);
        Ok(PayerOperation { attempt, notify: self.notify, copies: self.copies, delay, amount_text })
    }
}

#[derive(Deserialize)]
struct ErrorStyleRequest {
    r#as: ErrorStatusStyle,
}

/// A rejected request: `{"error":"…"}`.
struct ControlError(StatusCode, String);

fn control_error(status: StatusCode, message: impl Into<String>) -> ControlError {
    ControlError(status, message.into())
}

fn body<T: DeserializeOwned>(request: &WebRequest) -> Result<T, ControlError> {
    let text: &[u8] = if request.body.trim_ascii().is_empty() { b"{}" } else { &request.body };
    serde_json::from_slice(text).map_err(|error| control_error(StatusCode::BAD_REQUEST, error.to_string()))
}

/// Responds to everything below `/bank` except the page and its events.
pub async fn respond(state: &Arc<BankState>, request: &WebRequest) -> WebResponse {
    let result = match (&request.method, &request.segments()[1..]) {
        (&Method::GET, ["qrs"]) => Ok(codes(state)),
        (&Method::GET, ["qrs", id]) => code(state, id),
        (&Method::POST, ["qrs", id, what]) => operate(state, request, id, what).await,
        (&Method::GET, ["calls"]) => Ok(web::json(StatusCode::OK, &state.data().calls)),
        (&Method::POST, ["calls", "reset"]) => {
            let mut data = state.data();
            data.calls = CallCounts::default();
            Ok(web::json(StatusCode::OK, &data.calls))
        }
        (&Method::GET, ["misbehave"]) => Ok(web::json(StatusCode::OK, &state.data().faults.pending())),
        (&Method::POST, ["misbehave"]) => body(request).and_then(|request| {
            let mut data = state.data();
            let pending = data.faults.inject(request).map_err(|why| control_error(StatusCode::BAD_REQUEST, why))?;
            Ok(web::json(StatusCode::OK, &pending))
        }),
        (&Method::POST, ["errors"]) => body::<ErrorStyleRequest>(request).map(|request| {
            state.data().style = request.r#as;
            web::json(StatusCode::OK, &json!({ "as": request.r#as }))
        }),
        (&Method::GET, ["receipts"]) => Ok(receipts(state, request.query("all").is_some())),
        (&Method::POST, ["receipts", number, "fail"]) => fail_receipt(state, number),
        (&Method::GET, ["refunds"]) => {
            let now = Timestamp::now();
            let refunds: Vec<RefundView> = state.data().refunds.iter().map(|refund| refund.view(now)).collect();
            Ok(web::json(StatusCode::OK, &refunds))
        }
        (&Method::POST, ["refunds", id, what]) => force_refund_status(state, id, what),
        (&Method::POST, ["reset"]) => {
            state.reset();
            Ok(web::json(StatusCode::OK, &json!({ "reset": true })))
        }
        _ => Err(control_error(StatusCode::NOT_FOUND, "not found")),
    };
    result.unwrap_or_else(|ControlError(status, message)| web::json(status, &json!({ "error": message })))
}

fn view<'a>(state: &'a BankState, code: &'a Qr, with_notifications: bool) -> CodeView<'a> {
    let registration = &code.registration;
    let payments = code.payments.iter().map(|payment| PaymentView {
        transaction_id: payment.id,
        transaction_date: timestamp::format_micros(payment.at),
        amount: payment.amount,
        payment_status: payment.status(),
    });
    CodeView {
        qr_id: &code.id,
        qr_type: registration.kind,
        merchant: &registration.merchant,
        merchant_title: state.account(&registration.merchant).map_or("", |account| &account.title),
        order: registration.order.as_deref(),
        amount: registration.amount,
        currency: "RUB",
        status: code.status,
        payment_status: code.payment_status(),
        create_date: timestamp::format_micros(code.created),
        qr_expiration_date: registration.expires.map(timestamp::format_seconds),
        payload: &code.payload,
        qr_url: state.image_url(&code.id),
        redirect_url: registration.redirect_url.as_deref(),
        additional_info: registration.additional_info.as_deref(),
        payment_details: registration.payment_details.as_deref(),
        payments: payments.collect(),
        notifications_sent: code.notifications.len(),
        notifications_accepted: code.notifications.iter().filter(|notification| notification.accepted).count(),
        notifications: with_notifications.then_some(&code.notifications),
    }
}

/// Newest first.
fn codes(state: &BankState) -> WebResponse {
    let data = state.data();
    let codes: Vec<_> = data.codes().iter().rev().map(|code| view(state, code, false)).collect();
    web::json(StatusCode::OK, &codes)
}

fn code(state: &BankState, id: &str) -> Result<WebResponse, ControlError> {
    match state.data().code(id) {
        Some(code) => Ok(web::json(StatusCode::OK, &view(state, code, true))),
        None => Err(control_error(StatusCode::NOT_FOUND, "unknown QR code")),
    }
}

async fn operate(
    state: &Arc<BankState>,
    request: &WebRequest,
    id: &str,
    what: &str,
) -> Result<WebResponse, ControlError> {
    let request: OperationRequest = body(request)?;
    let changed = match what {
        "pay" => payer::pay_or_decline(state, id, &request.operation(true)?),
        "decline" => payer::pay_or_decline(state, id, &request.operation(false)?),
        "notify" => payer::notify_again(state, id, &request.operation(true)?),
        "expire" => update(state, id, |code| code.expire(request.force)),
        "progress" => update(state, id, Qr::start_payment),
        "cancel" => {
            update(state, id, |code| code.cancel().map_err(|status| format!("The QR code is {}.", status.as_str())))
        }
        _ => {
            return Err(control_error(
                StatusCode::NOT_FOUND,
                "unknown operation; expected pay, decline, notify, expire, progress or cancel",
            ));
        }
    };
    match changed {
        Ok(attempts) => {
            if request.wait {
                payer::await_first_attempts(attempts, DELIVERY_TIMEOUT).await;
            }
            code(state, id)
        }
        Err(OperationError::UnknownQr) => code(state, id),
        Err(OperationError::Conflict(message)) => Err(control_error(StatusCode::CONFLICT, message)),
    }
}

fn update(
    state: &BankState,
    id: &str,
    change: impl FnOnce(&mut Qr) -> Result<(), String>,
) -> Result<payer::FirstAttempts, OperationError> {
    change(state.data().code_mut(id).ok_or(OperationError::UnknownQr)?).map_err(OperationError::Conflict)?;
    state.publish_change();
    Ok(Vec::new())
}

/// Oldest first; only registered ones without `?all`.
fn receipts(state: &BankState, all: bool) -> WebResponse {
    let now = Timestamp::now();
    let data = state.data();
    let selected = data.receipts.iter().filter(|receipt| all || receipt.status(now) != ReceiptStatus::New);
    let receipts: Vec<ReceiptView> = selected.map(|receipt| receipt.view(now)).collect();
    web::json(StatusCode::OK, &receipts)
}

fn fail_receipt(state: &BankState, number: &str) -> Result<WebResponse, ControlError> {
    let mut data = state.data();
    let receipt = data.receipts.iter_mut().find(|receipt| receipt.number == number);
    let Some(receipt) = receipt else { return Err(control_error(StatusCode::NOT_FOUND, "unknown receipt")) };
    receipt.forced_failure = true;
    Ok(web::json(StatusCode::OK, &receipt.view(Timestamp::now())))
}

fn force_refund_status(state: &BankState, id: &str, what: &str) -> Result<WebResponse, ControlError> {
    let forced_status = match what {
        "complete" => RefundStatus::Completed,
        "decline" => RefundStatus::Declined,
        "progress" => RefundStatus::InProgress,
        _ => {
            return Err(control_error(
                StatusCode::NOT_FOUND,
                "unknown operation; expected complete, decline or progress",
            ));
        }
    };
    let mut data = state.data();
    let refund = data.refunds.iter_mut().find(|refund| refund.id == id);
    let Some(refund) = refund else { return Err(control_error(StatusCode::NOT_FOUND, "unknown refund")) };
    refund.forced_status = Some(forced_status);
    Ok(web::json(StatusCode::OK, &refund.view(Timestamp::now())))
}
