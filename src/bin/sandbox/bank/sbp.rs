//! The calls of the SBP API: what each does and answers.
//!
//! Called by `bank::api` with a call that was routed and counted. What must never happen: a merchant who sees another's
//! code.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::calls::{Call, ReceiptType};
use super::fiscal::{self, Receipt};
use super::moment;
use super::office::Office;
use super::payer::{self, Operation, Refused};
use super::payload;
use super::problem::Problem;
use super::qr::{PaymentStatus, Qr, QrStatus};
use super::refund::{self, Refund};
use super::register::{self, Version};
use super::roubles::{self, Roubles};
use crate::web::{self, Answer, Asked};

/// How long a registration waits for the merchant's answer to a notification that overtakes it.
const OVERTAKING: Duration = Duration::from_secs(5);

/// `qrInfov2` of `sbp.yaml`; the answer to a v2 registration has the same fields.
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

/// `qrStatus` of `sbp.yaml`: what v1 answers about a code.
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
    amount: Option<Roubles>,
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
struct DemoPayment {
    qr_id: String,
    amount: Option<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DemoPaid {
    code: &'static str,
    qr_id: String,
    payment_status: PaymentStatus,
}

/// Carries a call out. `notify_first`: the code is paid and told about before its registration is answered.
///
/// # Errors
/// The bank's refusal.
pub async fn carry_out(
    office: &Arc<Office>,
    call: &Call,
    asked: &Asked,
    notify_first: bool,
) -> Result<Answer, Problem> {
    let now = Timestamp::now();
    match call {
        Call::Register(version) => {
            is_json(&asked.headers)?;
            let ordered = register::read(&asked.body, *version, now)?;
            if office.account(&ordered.merchant).is_none() {
                let message = format!("Партнер с ID {} не зарегистрирован", ordered.merchant);
                return Err(Problem::refused("ERROR.MERCHANT_NOT_REGISTERED", message));
            }
            let (id, answer) = {
                let mut ledger = office.ledger();
                let code = ledger.register(ordered, now)?;
                (code.id.clone(), code_answer(office, code, *version))
            };
            office.changed();
            if notify_first && let Ok(attempts) = payer::operate(office, &id, &Operation::plain_payment()) {
                payer::first_attempts(attempts, OVERTAKING).await;
            }
            Ok(answer)
        }
        Call::Qr(version, id) => {
            let account = office.authorized(&asked.headers)?;
            Ok(code_answer(office, office.ledger().own_code(account, id)?, *version))
        }
        Call::PaymentInfo(id) => payment_info(office, asked, id),
        Call::Cancel(id) => {
            let account = office.authorized(&asked.headers)?;
            office.ledger().own_code(account, id)?.cancel().map_err(|status| {
                let message = format!("Невозможно изменить статус QR-кода с {} на CANCELLED", status.word());
                Problem::refused("ERROR.ERROR_WRONG_QR_STATUS", message)
            })?;
            office.changed();
            let mut empty = web::bytes(StatusCode::OK, "application/json", "");
            empty.headers_mut().remove(CONTENT_TYPE);
            Ok(empty)
        }
        Call::Refund => {
            let account = office.authorized(&asked.headers)?;
            is_json(&asked.headers)?;
            let wanted = Refund::read(&asked.body, &account.id, now)?;
            let mut ledger = office.ledger();
            // Codes are read and refunds written, both under the one lock.
            let mut refunds = std::mem::take(&mut ledger.refunds);
            let placed = refund::place(wanted, &mut refunds, ledger.codes());
            ledger.refunds = refunds;
            drop(ledger);
            office.changed();
            Ok(web::json(StatusCode::OK, &placed?.answer(now)))
        }
        Call::RefundInfo(id) => {
            let account = office.authorized(&asked.headers)?;
            let ledger = office.ledger();
            let refund = ledger.refunds.iter().find(|refund| refund.merchant == account.id && refund.id == *id);
            let message = || format!("Возврат с refundId {id} не найден");
            let refund = refund.ok_or_else(|| Problem::refused("ERROR.REFUND_NOT_FOUND", message()))?;
            Ok(web::json(StatusCode::OK, &refund.answer(now)))
        }
        Call::Callback => {
            let account = office.authorized(&asked.headers)?;
            is_json(&asked.headers)?;
            let wanted: CallbackSettings = serde_json::from_slice(&asked.body)
                .map_err(|_| Problem::invalid("Не передан обязательный параметр callbackUrl"))?;
            if wanted.callback_url.parse::<hyper::Uri>().map_or(true, |uri| uri.host().is_none()) {
                return Err(Problem::invalid("Некорректный callbackUrl"));
            }
            office.ledger().callbacks.insert(account.id.clone(), wanted.callback_url.clone());
            Ok(web::json(StatusCode::OK, &wanted))
        }
        Call::ReceiptSave(kind) => {
            let account = office.authorized(&asked.headers)?;
            is_json(&asked.headers)?;
            let receipt = Receipt::read(&asked.body, &account.id, *kind)?;
            let answer = web::json(StatusCode::OK, &receipt.answer(now));
            let mut ledger = office.ledger();
            match receipt_place(&ledger.receipts, &account.id, *kind, &receipt.number) {
                Some(place) => ledger.receipts[place].replace(receipt, now)?,
                None => ledger.receipts.push(receipt),
            }
            Ok(answer)
        }
        Call::ReceiptRegister(kind, number) | Call::ReceiptStatus(kind, number) => {
            let account = office.authorized(&asked.headers)?;
            let mut ledger = office.ledger();
            let place = receipt_place(&ledger.receipts, &account.id, *kind, number);
            let place = place.ok_or_else(|| fiscal::not_found(number))?;
            if matches!(call, Call::ReceiptRegister(..)) {
                ledger.receipts[place].register(now)?;
                office.changed();
            }
            Ok(web::json(StatusCode::OK, &ledger.receipts[place].answer(now)))
        }
        Call::Image(id) => match office.ledger().code(id) {
            Some(code) => Ok(web::bytes(StatusCode::OK, "image/png", payload::picture(&code.payload))),
            None => Err(Problem::no_such_qr()),
        },
        Call::DemoPay => demo_pay(office, &asked.body),
    }
}

/// Spring takes no body whose type it was not told.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(Problem::Spring(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    }
}

fn receipt_place(receipts: &[Receipt], merchant: &str, kind: ReceiptType, number: &str) -> Option<usize> {
    let same = |receipt: &Receipt| receipt.merchant == merchant && receipt.kind == kind && receipt.number == number;
    receipts.iter().position(same)
}

fn code_answer(office: &Office, code: &Qr, version: Version) -> Answer {
    let qr_url = office.picture_url(&code.id);
    let subscription_id = code.ordered.subscription.as_deref();
    let (qr_id, payload) = (code.id.as_str(), code.payload.as_str());
    match version {
        Version::V1 => {
            let code = "SUCCESS";
            web::json(StatusCode::OK, &QrInfoV1 { code, qr_id, payload, qr_url, subscription_id })
        }
        Version::V2 => {
            let qr_expiration_date = code.ordered.expires.map(moment::to_the_second);
            let qr_status = code.status;
            web::json(
                StatusCode::OK,
                &QrInfo { qr_id, qr_status, qr_expiration_date, payload, qr_url, subscription_id },
            )
        }
    }
}

/// `code` is about the request: it is SUCCESS whatever became of the payment.
fn payment_info(office: &Office, asked: &Asked, id: &str) -> Result<Answer, Problem> {
    let account = office.authorized(&asked.headers)?;
    let mut ledger = office.ledger();
    let code = ledger.own_code(account, id)?;
    let payment = code.decisive_payment();
    let info = PaymentInfo {
        additional_info: code.ordered.additional_info.as_deref(),
        payment_purpose: code.ordered.payment_details.as_deref(),
        amount: payment.map(|payment| payment.amount).or(code.ordered.amount),
        code: "SUCCESS",
        create_date: moment::with_micros(code.created),
        currency: "RUB",
        merchant_id: account.number,
        order: code.ordered.order.as_deref(),
        payment_status: code.payment_status(),
        qr_id: &code.id,
        sbp_merchant_id: &account.id,
        transaction_date: payment.map(|payment| moment::with_micros(payment.at)),
        transaction_id: payment.map(|payment| payment.id),
        qr_expiration_date: code.ordered.expires.map(moment::to_the_second),
    };
    Ok(web::json(StatusCode::OK, &info))
}

/// The bank's demonstration payer, as its SDK's tests call it.
fn demo_pay(office: &Arc<Office>, body: &[u8]) -> Result<Answer, Problem> {
    let wanted: DemoPayment =
        serde_json::from_slice(body).map_err(|_| Problem::invalid("Не передан обязательный параметр"))?;
    let amount = wanted.amount.as_deref().map(|amount| {
        let wrong = || Problem::invalid("Передана некорректная сумма платежа");
        roubles::sum(amount).ok_or_else(wrong)
    });
    let mut operation = Operation::plain_payment();
    operation.attempt.amount = amount.transpose()?;
    match payer::operate(office, &wanted.qr_id, &operation) {
        Ok(_) => {
            let (code, payment_status) = ("SUCCESS", PaymentStatus::Success);
            Ok(web::json(StatusCode::OK, &DemoPaid { code, qr_id: wanted.qr_id, payment_status }))
        }
        Err(Refused::Unknown) => Err(Problem::no_such_qr()),
        Err(Refused::Conflict(sentence)) => Err(Problem::refused("ERROR.ERROR_WRONG_QR_STATUS", sentence)),
    }
}
