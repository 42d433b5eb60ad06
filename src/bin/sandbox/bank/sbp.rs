//! The calls of the SBP and fiscal APIs.
//!
//! # Invariants
//! - A merchant never sees another merchant's code.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::amount::{self, Amount};
use super::call::{ApiCall, ApiVersion, ReceiptType};
use super::error::BankError;
use super::fiscal::{self, Receipt};
use super::payer::{self, OperationError, PayerOperation};
use super::qr::{PaymentStatus, Qr, QrStatus};
use super::qr_payload;
use super::refund::{self, Refund};
use super::registration;
use super::state::BankState;
use super::timestamp;
use crate::web::{self, WebRequest, WebResponse};

/// How long a registration waits for the merchant's response to the notification that precedes it.
const NOTIFY_FIRST_TIMEOUT: Duration = Duration::from_secs(5);

/// `qrInfov2` of `sbp.yaml`; the response to a v2 registration has the same fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QrInfo<'a> {
    qr_id: &'a str,
    qr_status: QrStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_expiration_date: Option<String>,
    payload: &'a str,
    qr_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<&'a str>,
}

/// `qrStatus` of `sbp.yaml`: the response of v1 about a code.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QrInfoV1<'a> {
    code: &'static str,
    qr_id: &'a str,
    payload: &'a str,
    qr_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<&'a str>,
}

/// `paymentInfo` of `sbp.yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_info: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_purpose: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Amount>,
    code: &'static str,
    create_date: String,
    currency: &'static str,
    merchant_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a str>,
    payment_status: PaymentStatus,
    qr_id: &'a str,
    sbp_merchant_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_expiration_date: Option<String>,
}

/// `callbackSettings` of `sbp.yaml`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallbackSettings {
    callback_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DemoPaymentRequest {
    qr_id: String,
    amount: Option<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DemoPaymentResponse {
    code: &'static str,
    qr_id: String,
    payment_status: PaymentStatus,
}

/// Executes a call. `notify_first`: the code is paid and the merchant notified before the response to its registration.
///
/// # Errors
/// The error that the bank would return.
pub async fn execute(
    state: &Arc<BankState>,
    call: &ApiCall,
    request: &WebRequest,
    notify_first: bool,
) -> Result<WebResponse, BankError> {
    match call {
        ApiCall::Register(version) => register(state, request, *version, notify_first).await,
        ApiCall::Qr(version, id) => {
            let account = state.authenticate(&request.headers)?;
            Ok(qr_response(state, state.data().own_code(account, id)?, *version))
        }
        ApiCall::PaymentInfo(id) => payment_info(state, request, id),
        ApiCall::Cancel(id) => cancel(state, request, id),
        ApiCall::Refund => refund(state, request),
        ApiCall::RefundInfo(id) => refund_info(state, request, id),
        ApiCall::Callback => set_callback(state, request),
        ApiCall::ReceiptSave(kind) => save_receipt(state, request, *kind),
        ApiCall::ReceiptRegister(kind, number) => register_receipt(state, request, *kind, number),
        ApiCall::ReceiptStatus(kind, number) => receipt_status(state, request, *kind, number),
        ApiCall::Image(id) => match state.data().code(id) {
            Some(code) => Ok(web::bytes(StatusCode::OK, "image/png", qr_payload::image(&code.payload))),
            None => Err(BankError::qr_not_found()),
        },
        ApiCall::DemoPay => demo_pay(state, &request.body),
    }
}

async fn register(
    state: &Arc<BankState>,
    request: &WebRequest,
    version: ApiVersion,
    notify_first: bool,
) -> Result<WebResponse, BankError> {
    require_json(&request.headers)?;
    let now = Timestamp::now();
    let registration = registration::parse(&request.body, version, now)?;
    if state.account(&registration.merchant).is_none() {
        let message = format!("Партнер с ID {} не зарегистрирован", registration.merchant);
        return Err(BankError::logical("ERROR.MERCHANT_NOT_REGISTERED", message));
    }
    let (id, response) = {
        let mut data = state.data();
        let code = data.register(registration, now)?;
        (code.id.clone(), qr_response(state, code, version))
    };
    state.publish_change();
    if notify_first && let Ok(attempts) = payer::pay_or_decline(state, &id, &PayerOperation::payment()) {
        payer::await_first_attempts(attempts, NOTIFY_FIRST_TIMEOUT).await;
    }
    Ok(response)
}

fn cancel(state: &BankState, request: &WebRequest, id: &str) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    state.data().own_code(account, id)?.cancel().map_err(|status| {
        let message = format!("Невозможно изменить статус QR-кода с {} на CANCELLED", status.as_str());
        BankError::logical("ERROR.ERROR_WRONG_QR_STATUS", message)
    })?;
    state.publish_change();
    let mut empty = web::bytes(StatusCode::OK, "application/json", "");
    empty.headers_mut().remove(CONTENT_TYPE);
    Ok(empty)
}

fn refund(state: &BankState, request: &WebRequest) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    require_json(&request.headers)?;
    let now = Timestamp::now();
    let refund = Refund::parse(&request.body, &account.id, now)?;
    let mut data = state.data();
    // Taken out so that the codes can be borrowed next to them, under the same lock.
    let mut refunds = std::mem::take(&mut data.refunds);
    let accepted = refund::accept(refund, &mut refunds, data.codes());
    data.refunds = refunds;
    drop(data);
    state.publish_change();
    Ok(web::json(StatusCode::OK, &accepted?.response(now)))
}

fn refund_info(state: &BankState, request: &WebRequest, id: &str) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    let data = state.data();
    let refund = data.refunds.iter().find(|refund| refund.merchant == account.id && refund.id == id);
    let message = || format!("Возврат с refundId {id} не найден");
    let refund = refund.ok_or_else(|| BankError::logical("ERROR.REFUND_NOT_FOUND", message()))?;
    Ok(web::json(StatusCode::OK, &refund.response(Timestamp::now())))
}

fn set_callback(state: &BankState, request: &WebRequest) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    require_json(&request.headers)?;
    let settings: CallbackSettings = serde_json::from_slice(&request.body)
        .map_err(|_| BankError::invalid("Не передан обязательный параметр callbackUrl"))?;
    if settings.callback_url.parse::<hyper::Uri>().map_or(true, |uri| uri.host().is_none()) {
        return Err(BankError::invalid("Некорректный callbackUrl"));
    }
    state.data().callbacks.insert(account.id.clone(), settings.callback_url.clone());
    Ok(web::json(StatusCode::OK, &settings))
}

fn save_receipt(state: &BankState, request: &WebRequest, kind: ReceiptType) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    require_json(&request.headers)?;
    let now = Timestamp::now();
    let receipt = Receipt::parse(&request.body, &account.id, kind)?;
    let response = web::json(StatusCode::OK, &receipt.response(now));
    let mut data = state.data();
    match receipt_index(&data.receipts, &account.id, kind, &receipt.number) {
        Some(index) => data.receipts[index].replace(receipt, now)?,
        None => data.receipts.push(receipt),
    }
    Ok(response)
}

fn register_receipt(
    state: &BankState,
    request: &WebRequest,
    kind: ReceiptType,
    number: &str,
) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    let now = Timestamp::now();
    let mut data = state.data();
    let index = receipt_index(&data.receipts, &account.id, kind, number);
    let receipt = &mut data.receipts[index.ok_or_else(|| fiscal::receipt_not_found(number))?];
    receipt.register(now)?;
    state.publish_change();
    Ok(web::json(StatusCode::OK, &receipt.response(now)))
}

fn receipt_status(
    state: &BankState,
    request: &WebRequest,
    kind: ReceiptType,
    number: &str,
) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    let data = state.data();
    let index = receipt_index(&data.receipts, &account.id, kind, number);
    let receipt = &data.receipts[index.ok_or_else(|| fiscal::receipt_not_found(number))?];
    Ok(web::json(StatusCode::OK, &receipt.response(Timestamp::now())))
}

/// Spring rejects a body without the right `Content-Type`.
fn require_json(headers: &HeaderMap) -> Result<(), BankError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(BankError::Spring(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    }
}

fn receipt_index(receipts: &[Receipt], merchant: &str, kind: ReceiptType, number: &str) -> Option<usize> {
    let same = |receipt: &Receipt| receipt.merchant == merchant && receipt.kind == kind && receipt.number == number;
    receipts.iter().position(same)
}

fn qr_response(state: &BankState, code: &Qr, version: ApiVersion) -> WebResponse {
    let qr_url = state.image_url(&code.id);
    let subscription_id = code.registration.subscription.as_deref();
    let (qr_id, payload) = (code.id.as_str(), code.payload.as_str());
    match version {
        ApiVersion::V1 => {
            let code = "SUCCESS";
            web::json(StatusCode::OK, &QrInfoV1 { code, qr_id, payload, qr_url, subscription_id })
        }
        ApiVersion::V2 => {
            let qr_expiration_date = code.registration.expires.map(timestamp::format_seconds);
            let qr_status = code.status;
            web::json(
                StatusCode::OK,
                &QrInfo { qr_id, qr_status, qr_expiration_date, payload, qr_url, subscription_id },
            )
        }
    }
}

/// `code` is the result of the request: SUCCESS also for a declined payment.
fn payment_info(state: &BankState, request: &WebRequest, id: &str) -> Result<WebResponse, BankError> {
    let account = state.authenticate(&request.headers)?;
    let mut data = state.data();
    let code = data.own_code(account, id)?;
    let payment = code.decisive_payment();
    let info = PaymentInfo {
        additional_info: code.registration.additional_info.as_deref(),
        payment_purpose: code.registration.payment_details.as_deref(),
        amount: payment.map(|payment| payment.amount).or(code.registration.amount),
        code: "SUCCESS",
        create_date: timestamp::format_micros(code.created),
        currency: "RUB",
        merchant_id: account.number,
        order: code.registration.order.as_deref(),
        payment_status: code.payment_status(),
        qr_id: &code.id,
        sbp_merchant_id: &account.id,
        transaction_date: payment.map(|payment| timestamp::format_micros(payment.at)),
        transaction_id: payment.map(|payment| payment.id),
        qr_expiration_date: code.registration.expires.map(timestamp::format_seconds),
    };
    Ok(web::json(StatusCode::OK, &info))
}

/// The bank's demonstration payer, as the tests of its SDK call it.
fn demo_pay(state: &Arc<BankState>, body: &[u8]) -> Result<WebResponse, BankError> {
    let request: DemoPaymentRequest =
        serde_json::from_slice(body).map_err(|_| BankError::invalid("Не передан обязательный параметр"))?;
    let amount = request.amount.as_deref().map(|amount| {
        let invalid = || BankError::invalid("Передана некорректная сумма платежа");
        amount::parse_positive(amount).ok_or_else(invalid)
    });
    let mut operation = PayerOperation::payment();
    operation.attempt.amount = amount.transpose()?;
    match payer::pay_or_decline(state, &request.qr_id, &operation) {
        Ok(_) => {
            let (code, payment_status) = ("SUCCESS", PaymentStatus::Success);
            Ok(web::json(StatusCode::OK, &DemoPaymentResponse { code, qr_id: request.qr_id, payment_status }))
        }
        Err(OperationError::UnknownQr) => Err(BankError::qr_not_found()),
        Err(OperationError::Conflict(message)) => Err(BankError::logical("ERROR.ERROR_WRONG_QR_STATUS", message)),
    }
}
