//! What scripts and the page do at the bank: pay, decline, expire, count calls, plan trouble.
//!
//! Called by `bank::page` with everything below `/bank`. What must never happen: an answer that holds a merchant's key.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::calls::Calls;
use super::fiscal::{ReceiptStatus, ReceiptView};
use super::moment;
use super::notify::Notice;
use super::office::Office;
use super::payer::{self, Operation, Refused};
use super::problem::Style;
use super::qr::{Attempt, Kind, PaymentStatus, Qr, QrStatus};
use super::refund::{RefundStatus, RefundView};
use super::roubles::{self, Roubles};
use crate::web::{self, Answer, Asked};

/// How long `"wait":true` waits for the merchant's answers.
const WAIT: Duration = Duration::from_secs(30);
const MOST_COPIES: usize = 100;

/// A code as scripts and the page see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CodeView<'a> {
    qr_id: &'a str,
    qr_type: Kind,
    merchant: &'a str,
    merchant_title: &'a str,
    order: Option<&'a str>,
    amount: Option<Roubles>,
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
    notifications: Option<&'a [Notice]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentView {
    transaction_id: u64,
    transaction_date: String,
    amount: Roubles,
    payment_status: PaymentStatus,
}

/// The body of an operation; every field may be missing, and so may the body.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
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

impl Default for Wish {
    fn default() -> Wish {
        Wish {
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

impl Wish {
    fn operation(&self, success: bool) -> Result<Operation, Refusal> {
        let wrong = |sentence| refused(StatusCode::BAD_REQUEST, sentence);
        let amount = self.amount.as_deref().map(|amount| roubles::sum(amount).ok_or("amount is no sum of money."));
        let amount = amount.transpose().map_err(wrong)?;
        let literal = self.amount_text.clone().map(|text| {
            let json = RawValue::from_string(text).ok();
            json.filter(|json| roubles::number(json).is_some()).ok_or("amountText is no JSON number.")
        });
        let amount_text = literal.transpose().map_err(wrong)?;
        if self.copies > MOST_COPIES {
            return Err(wrong("copies: at most 100."));
        }
        let attempt = Attempt { success, amount, force: self.force, keep_status: self.keep_status };
        let delay = Duration::from_millis(self.delay_ms);
        Ok(Operation { attempt, notify: self.notify, copies: self.copies, delay, amount_text })
    }
}

#[derive(Deserialize)]
struct ErrorsWanted {
    r#as: Style,
}

/// Why a script gets nothing: `{"error":"…"}`.
struct Refusal(StatusCode, String);

fn refused(status: StatusCode, sentence: impl Into<String>) -> Refusal {
    Refusal(status, sentence.into())
}

fn body<T: DeserializeOwned>(asked: &Asked) -> Result<T, Refusal> {
    let text: &[u8] = if asked.body.trim_ascii().is_empty() { b"{}" } else { &asked.body };
    serde_json::from_slice(text).map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))
}

/// Everything below `/bank` but the page and its events.
pub async fn answer(office: &Arc<Office>, asked: &Asked) -> Answer {
    let answered = match (&asked.method, &asked.segments()[1..]) {
        (&Method::GET, ["qrs"]) => Ok(codes(office)),
        (&Method::GET, ["qrs", id]) => code(office, id),
        (&Method::POST, ["qrs", id, what]) => operate(office, asked, id, what).await,
        (&Method::GET, ["calls"]) => Ok(web::json(StatusCode::OK, &office.ledger().calls)),
        (&Method::POST, ["calls", "reset"]) => {
            let mut ledger = office.ledger();
            ledger.calls = Calls::default();
            Ok(web::json(StatusCode::OK, &ledger.calls))
        }
        (&Method::GET, ["misbehave"]) => Ok(web::json(StatusCode::OK, &office.ledger().troubles.planned())),
        (&Method::POST, ["misbehave"]) => body(asked).and_then(|wanted| {
            let mut ledger = office.ledger();
            let planned = ledger.troubles.plan(wanted).map_err(|why| refused(StatusCode::BAD_REQUEST, why))?;
            Ok(web::json(StatusCode::OK, &planned))
        }),
        (&Method::POST, ["errors"]) => body::<ErrorsWanted>(asked).map(|wanted| {
            office.ledger().style = wanted.r#as;
            web::json(StatusCode::OK, &json!({ "as": wanted.r#as }))
        }),
        (&Method::GET, ["receipts"]) => Ok(receipts(office, asked.query("all").is_some())),
        (&Method::POST, ["receipts", number, "fail"]) => fail_receipt(office, number),
        (&Method::GET, ["refunds"]) => {
            let now = Timestamp::now();
            let refunds: Vec<RefundView> = office.ledger().refunds.iter().map(|refund| refund.view(now)).collect();
            Ok(web::json(StatusCode::OK, &refunds))
        }
        (&Method::POST, ["refunds", id, what]) => decide_refund(office, id, what),
        (&Method::POST, ["reset"]) => {
            office.reset();
            Ok(web::json(StatusCode::OK, &json!({ "reset": true })))
        }
        _ => Err(refused(StatusCode::NOT_FOUND, "The bank has no such page.")),
    };
    answered.unwrap_or_else(|Refusal(status, sentence)| web::json(status, &json!({ "error": sentence })))
}

fn view<'a>(office: &'a Office, code: &'a Qr, whole: bool) -> CodeView<'a> {
    let ordered = &code.ordered;
    let payments = code.payments.iter().map(|payment| PaymentView {
        transaction_id: payment.id,
        transaction_date: moment::with_micros(payment.at),
        amount: payment.amount,
        payment_status: payment.status(),
    });
    CodeView {
        qr_id: &code.id,
        qr_type: ordered.kind,
        merchant: &ordered.merchant,
        merchant_title: office.account(&ordered.merchant).map_or("", |account| &account.title),
        order: ordered.order.as_deref(),
        amount: ordered.amount,
        currency: "RUB",
        status: code.status,
        payment_status: code.payment_status(),
        create_date: moment::with_micros(code.created),
        qr_expiration_date: ordered.expires.map(moment::to_the_second),
        payload: &code.payload,
        qr_url: office.picture_url(&code.id),
        redirect_url: ordered.redirect_url.as_deref(),
        additional_info: ordered.additional_info.as_deref(),
        payment_details: ordered.payment_details.as_deref(),
        payments: payments.collect(),
        notifications_sent: code.notices.len(),
        notifications_accepted: code.notices.iter().filter(|notice| notice.accepted).count(),
        notifications: whole.then_some(&code.notices),
    }
}

/// Newest first.
fn codes(office: &Office) -> Answer {
    let ledger = office.ledger();
    let codes: Vec<_> = ledger.codes().iter().rev().map(|code| view(office, code, false)).collect();
    web::json(StatusCode::OK, &codes)
}

fn code(office: &Office, id: &str) -> Result<Answer, Refusal> {
    match office.ledger().code(id) {
        Some(code) => Ok(web::json(StatusCode::OK, &view(office, code, true))),
        None => Err(refused(StatusCode::NOT_FOUND, "There is no such QR code.")),
    }
}

async fn operate(office: &Arc<Office>, asked: &Asked, id: &str, what: &str) -> Result<Answer, Refusal> {
    let wish: Wish = body(asked)?;
    let changed = match what {
        "pay" => payer::operate(office, id, &wish.operation(true)?),
        "decline" => payer::operate(office, id, &wish.operation(false)?),
        "notify" => payer::repeat(office, id, &wish.operation(true)?),
        "expire" => change(office, id, |code| code.expire(wish.force)),
        "progress" => change(office, id, Qr::hold),
        "cancel" => {
            change(office, id, |code| code.cancel().map_err(|status| format!("The QR code is {}.", status.word())))
        }
        _ => return Err(refused(StatusCode::NOT_FOUND, "pay, decline, notify, expire, progress, cancel.")),
    };
    match changed {
        Ok(attempts) => {
            if wish.wait {
                payer::first_attempts(attempts, WAIT).await;
            }
            code(office, id)
        }
        Err(Refused::Unknown) => code(office, id),
        Err(Refused::Conflict(sentence)) => Err(refused(StatusCode::CONFLICT, sentence)),
    }
}

fn change(
    office: &Office,
    id: &str,
    by: impl FnOnce(&mut Qr) -> Result<(), String>,
) -> Result<payer::FirstAttempts, Refused> {
    by(office.ledger().code_mut(id).ok_or(Refused::Unknown)?).map_err(Refused::Conflict)?;
    office.changed();
    Ok(Vec::new())
}

/// Oldest first; without `?all` those that were registered.
fn receipts(office: &Office, all: bool) -> Answer {
    let now = Timestamp::now();
    let ledger = office.ledger();
    let meant = ledger.receipts.iter().filter(|receipt| all || receipt.status(now) != ReceiptStatus::New);
    let receipts: Vec<ReceiptView> = meant.map(|receipt| receipt.view(now)).collect();
    web::json(StatusCode::OK, &receipts)
}

fn fail_receipt(office: &Office, number: &str) -> Result<Answer, Refusal> {
    let mut ledger = office.ledger();
    let receipt = ledger.receipts.iter_mut().find(|receipt| receipt.number == number);
    let Some(receipt) = receipt else { return Err(refused(StatusCode::NOT_FOUND, "There is no such receipt.")) };
    receipt.fails = true;
    Ok(web::json(StatusCode::OK, &receipt.view(Timestamp::now())))
}

fn decide_refund(office: &Office, id: &str, what: &str) -> Result<Answer, Refusal> {
    let decided = match what {
        "complete" => RefundStatus::Completed,
        "decline" => RefundStatus::Declined,
        "progress" => RefundStatus::InProgress,
        _ => return Err(refused(StatusCode::NOT_FOUND, "complete, decline, progress.")),
    };
    let mut ledger = office.ledger();
    let refund = ledger.refunds.iter_mut().find(|refund| refund.id == id);
    let Some(refund) = refund else { return Err(refused(StatusCode::NOT_FOUND, "There is no such refund.")) };
    refund.decided = Some(decided);
    Ok(web::json(StatusCode::OK, &refund.view(Timestamp::now())))
}
