//! The bank's side: Raiffeisenbank's SBP API, as its documents and clients have it.
//!
//! Used by `payments`. Logical errors come as 200 with a code and as 4xx, so the code is looked at first. What must never
//! happen: an amount passes through a binary float, a key reaches a log, or an answer that was not understood is taken for yes.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::BankConfig;
use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::foundation::money::{self, Exact};
use crate::payments::state::{BankTransaction, ProviderStatus};
use crate::platform::http_client::{HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::tenant::brand::Brand;

/// The bank's word for a code that it does not have.
const NOT_FOUND: &str = "ERROR.NOT_FOUND";

/// Why the bank did not do what it was asked.
#[derive(Debug)]
pub enum ProviderError {
    /// It understood and said no: `ERROR.…`.
    Refused { code: String, message: String },
    /// Nothing came back; it may have done it all the same.
    HttpError(HttpError),
    /// Something was paid, and it is not what was asked for: a person has to look.
    OtherMoney(String),
    /// Something came back that is not the bank's API: a page of a broken gateway, half of an answer.
    Nonsense(String),
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderError::Refused { code, message } => write!(f, "the bank refused: {code} {message}"),
            ProviderError::HttpError(why) => write!(f, "the bank did not answer: {why}"),
            ProviderError::OtherMoney(what) => write!(f, "the bank was paid something else: {what}"),
            ProviderError::Nonsense(what) => write!(f, "the bank answered nonsense: {what}"),
        }
    }
}

impl std::error::Error for ProviderError {}

impl From<ProviderError> for Error {
    #[track_caller]
    fn from(fault: ProviderError) -> Error {
        match fault {
            ProviderError::HttpError(HttpError::TooLate) => Error::bank_too_late(fault),
            _ => Error::bad_gateway("The bank cannot be reached right now; please try the same order again.", fault),
        }
    }
}

/// A registered QR code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QrCode {
    pub qr_id: String,
    #[serde(default)]
    pub qr_status: String,
    pub payload: String,
    /// A picture of the code.
    pub qr_url: String,
}

/// What is registered.
pub struct Registration<'a> {
    pub order: &'a str,
    pub amount: Decimal,
    pub purpose: &'a str,
    pub expires_at: Timestamp,
    pub redirect_url: Option<&'a str>,
}

/// What the bank says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentInfo {
    pub order: String,
    pub amount: Decimal,
    pub is_paid: bool,
    pub is_in_progress: bool,
    pub transaction: BankTransaction,
}

impl PaymentInfo {
    /// Nobody has paid anything yet.
    fn none(order: &str, amount: Decimal) -> PaymentInfo {
        let transaction = BankTransaction::default();
        PaymentInfo { order: order.to_owned(), amount, is_paid: false, is_in_progress: false, transaction }
    }
}

/// Which of the bank's two words about a payment is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusEndpoint {
    /// The QR code's. Where that is not all, the payment's too.
    Code,
    /// The payment's alone.
    Money,
    Both,
}

/// A brand's account at the bank.
pub struct ProviderClient<'b> {
    config: &'b BankConfig,
    outgoing: &'b HttpClient,
}

impl<'b> ProviderClient<'b> {
    /// # Errors
    /// 503 for a brand whose file names no bank.
    pub fn of(brand: &'b Brand) -> Result<ProviderClient<'b>> {
        let found = brand.config.bank.as_ref().zip(brand.to_bank.as_ref());
        let (config, outgoing) = found.ok_or_else(|| Error::unavailable("the brand's file has no [bank]"))?;
        Ok(ProviderClient { config, outgoing })
    }

    /// `POST /api/sbp/v2/qrs`: a code for one payment of a fixed amount. Safe to repeat: a code that nobody saw is not paid.
    pub async fn register(&self, registration: &Registration<'_>) -> Result<QrCode, ProviderError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
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
        let body = Body {
            qr_type: "QRDynamic",
            sbp_merchant_id: &self.config.merchant_id,
            order: registration.order,
            amount: Exact(registration.amount),
            currency: "RUB",
            payment_details: registration.purpose,
            qr_expiration_date: in_moscow(registration.expires_at),
            redirect_url: registration.redirect_url,
        };
        let answered = self.ask(HttpRequest::post(self.url("/api/sbp/v2/qrs")).json(&body)).await?;
        let code: QrCode = read(&answered)?;
        match is_plain_id(&code.qr_id) {
            true => Ok(code),
            false => Err(ProviderError::Nonsense("a qrId that is none".to_owned())),
        }
    }

    /// What the bank says of a payment. One question, but two when the code is at its end, or nobody pays it any more who did before
    /// (`was_waiting`).
    ///
    /// # Errors
    /// Also when the payment is not the one of `order` and `amount`.
    pub async fn look(
        &self,
        qr_id: &str,
        (order, amount): (&str, Decimal),
        ask: StatusEndpoint,
        was_waiting: bool,
    ) -> Result<ProviderStatus, ProviderError> {
        let status = match ask {
            StatusEndpoint::Money => None,
            StatusEndpoint::Code | StatusEndpoint::Both => match self.status(qr_id).await {
                Err(ProviderError::Refused { code, .. }) if code == NOT_FOUND => return Ok(ProviderStatus::Unknown),
                status => Some(status?),
            },
        };
        let code = status.as_deref().map(|status| match status {
            // Nobody tells yet how.
            "PAID" => ProviderStatus::Paid(BankTransaction::default()),
            "IN_PROGRESS" => ProviderStatus::InProgress,
            "EXPIRED" => ProviderStatus::Expired,
            "CANCELLED" => ProviderStatus::Cancelled,
            // NEW, and words that are newer than this program: nothing has ended.
            _ => ProviderStatus::Living,
        });
        match &code {
            Some(ProviderStatus::InProgress) if ask == StatusEndpoint::Code => return Ok(ProviderStatus::InProgress),
            Some(ProviderStatus::Living) if ask == StatusEndpoint::Code && !was_waiting => {
                return Ok(ProviderStatus::Living);
            }
            _ => {}
        }
        let is_paid = matches!(code, Some(ProviderStatus::Paid(_)));
        let info = match self.payment_info(qr_id).await {
            Ok(info) => info,
            // No payment that it could tell of.
            Err(ProviderError::Refused { .. }) if !is_paid => PaymentInfo::none(order, amount),
            Err(fault) => return Err(fault),
        };
        if info.order != order || info.amount != amount {
            let what = format!("{qr_id} is order {} over {}, not {order} over {amount}", info.order, info.amount);
            return Err(if info.is_paid || is_paid {
                ProviderError::OtherMoney(what)
            } else {
                ProviderError::Nonsense(what)
            });
        }
        Ok(match code {
            _ if info.is_paid || is_paid => ProviderStatus::Paid(info.transaction),
            _ if info.is_in_progress => ProviderStatus::InProgress,
            Some(code) => code,
            None => ProviderStatus::Unknown,
        })
    }

    /// `GET /api/sbp/v2/qrs/{qrId}`: NEW, IN_PROGRESS, CANCELLED, EXPIRED, PAID.
    async fn status(&self, qr_id: &str) -> Result<String, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            qr_status: String,
        }
        let answered = self.ask(HttpRequest::get(self.url(&format!("/api/sbp/v2/qrs/{qr_id}")))).await?;
        Ok(read::<Body>(&answered)?.qr_status)
    }

    /// `GET /api/sbp/v1/qr/{qrId}/payment-info`; its `code` is about the question, never about the payment.
    async fn payment_info(&self, qr_id: &str) -> Result<PaymentInfo, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            order: String,
            #[serde(borrow)]
            amount: &'a RawValue,
            payment_status: String,
            // Of no use but to people, so its kind is not insisted on.
            transaction_id: Option<Value>,
            transaction_date: Option<String>,
        }
        let url = self.url(&format!("/api/sbp/v1/qr/{qr_id}/payment-info"));
        let answered = self.ask(HttpRequest::get(url)).await?;
        let body: Body<'_> = read(&answered)?;
        let amount = money::decimal_from_json(body.amount.get());
        let amount = amount.ok_or_else(|| ProviderError::Nonsense("an amount that is no number".to_owned()))?;
        let date = body.transaction_date.and_then(|date| date.parse().ok());
        Ok(PaymentInfo {
            order: body.order,
            amount,
            is_paid: body.payment_status == "SUCCESS",
            is_in_progress: body.payment_status == "IN_PROGRESS",
            transaction: BankTransaction { id: body.transaction_id.as_ref().and_then(Value::as_i64), date },
        })
    }

    /// `DELETE /api/sbp/v2/qrs/{qrId}`: nobody is to pay the code any more. Whether it ended so, or otherwise before, or is being
    /// paid, is for [`ProviderClient::look`] to tell; `false` when the bank has no such code.
    pub async fn cancel(&self, qr_id: &str) -> Result<bool, ProviderError> {
        match self.ask(HttpRequest::delete(self.url(&format!("/api/sbp/v2/qrs/{qr_id}")))).await {
            Ok(_) => Ok(true),
            Err(ProviderError::Refused { code, .. }) if code == "ERROR.ERROR_WRONG_QR_STATUS" => Ok(true),
            Err(ProviderError::Refused { code, .. }) if code == NOT_FOUND => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// `POST /api/sbp/v1/refund`: COMPLETED, IN_PROGRESS or DECLINED. The same `refund_id` again is the same refund.
    pub async fn refund(&self, refund_id: &str, order: &str, amount: Decimal) -> Result<String, ProviderError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            amount: Exact,
            order: &'a str,
            refund_id: &'a str,
        }
        let body = Body { amount: Exact(amount), order, refund_id };
        read_refund(&self.ask(HttpRequest::post(self.url("/api/sbp/v1/refund")).json(&body)).await?)
    }

    /// `GET /api/sbp/v1/refund/{refundId}`.
    pub async fn refund_status(&self, refund_id: &str) -> Result<String, ProviderError> {
        read_refund(&self.ask(HttpRequest::get(self.url(&format!("/api/sbp/v1/refund/{refund_id}")))).await?)
    }

    /// Any call of the bank's: with the brand's key, within the brand's time, its refusals recognised.
    pub(in crate::payments) async fn ask(&self, asking: HttpRequest) -> Result<HttpResponse, ProviderError> {
        let asking = asking.bearer(&self.config.keys[0]);
        let answered = self.outgoing.send(asking, self.config.timeout).await.map_err(ProviderError::HttpError)?;
        judge(answered)
    }

    pub(in crate::payments) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.api_url)
    }
}

/// Asks the bank about a code that does not exist; says how that went. That the key is the merchant's is seen when the brand's
/// file is read.
pub async fn greet(config: &BankConfig) -> Result<String, String> {
    let outgoing = HttpClient::new(None, config.ca_file.as_deref(), config.connect_timeout)?;
    let bank = ProviderClient { config, outgoing: &outgoing };
    let nobody = hex::random_name().map_err(|error| error.to_string())?;
    let asking = HttpRequest::get(bank.url(&format!("/api/sbp/v2/qrs/{nobody}"))).bearer(&config.keys[0]);
    let answered = outgoing.send(asking, config.timeout).await;
    let answered = answered.map_err(|why| format!("{}: {why}", config.api_url))?;
    match answered.status {
        401 | 403 => Err(format!("{} refuses the key: replace the credential", config.api_url)),
        status => match judge(answered) {
            Ok(_) => Ok(format!("{} answers, the key is {}'s", config.api_url, config.merchant_id)),
            Err(ProviderError::Refused { code, .. }) if code == NOT_FOUND => {
                Ok(format!("{} answers, the key is {}'s", config.api_url, config.merchant_id))
            }
            Err(_) => Err(format!("{} answers {status} to a harmless question: is it the bank?", config.api_url)),
        },
    }
}

/// The code decides, then the status (the rule of the bank's own SDK).
fn judge(answered: HttpResponse) -> Result<HttpResponse, ProviderError> {
    #[derive(Deserialize)]
    struct Envelope {
        code: Option<String>,
        message: Option<String>,
    }
    let envelope = serde_json::from_slice::<Envelope>(&answered.body).ok();
    let code = envelope.as_ref().and_then(|envelope| envelope.code.clone()).unwrap_or_default();
    let is_fault = ["ERROR.", "ORDER_"].iter().any(|prefix| code.starts_with(prefix));
    // The bank's own trouble is no refusal: the same question may succeed a little later.
    if is_fault && code != "ERROR.INTERNAL" && answered.status < 500 {
        let message = envelope.and_then(|envelope| envelope.message).unwrap_or_default();
        return Err(ProviderError::Refused { code, message });
    }
    match is_fault || !(200..300).contains(&answered.status) {
        true => Err(ProviderError::Nonsense(format!("status {} {code}", answered.status))),
        false => Ok(answered),
    }
}

fn read_refund(answered: &HttpResponse) -> Result<String, ProviderError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        refund_status: String,
    }
    match read::<Answer>(answered)?.refund_status {
        status if ["COMPLETED", "IN_PROGRESS", "DECLINED"].contains(&status.as_str()) => Ok(status),
        other => Err(ProviderError::Nonsense(format!("a refund that is {other}"))),
    }
}

fn read<'a, T: Deserialize<'a>>(answered: &'a HttpResponse) -> Result<T, ProviderError> {
    serde_json::from_slice(&answered.body).map_err(|error| ProviderError::Nonsense(error.to_string()))
}

/// Whether a text can stand in a path of the bank's as it is.
pub fn is_plain_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// `2026-11-24T12:00:00+03:00`: every sample of the bank's is Moscow time.
fn in_moscow(time: Timestamp) -> String {
    time.to_zoned(TimeZone::fixed(offset(3))).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Result<HttpResponse, ProviderError> {
        judge(HttpResponse { status, body: body.to_owned().into() })
    }

    #[test]
    fn a_refusal_comes_with_any_status_and_trouble_is_no_refusal() {
        for status in [200, 400, 404] {
            let refused = judged(status, r#"{"code":"ERROR.INVALID_ORDER","message":"no"}"#);
            assert!(
                matches!(refused, Err(ProviderError::Refused { code, .. }) if code == "ERROR.INVALID_ORDER"),
                "{status}"
            );
        }
        for (status, body) in [
            (200, r#"{"code":"ERROR.INTERNAL"}"#),
            (500, r#"{"code":"ERROR.INVALID_ORDER"}"#),
            (502, "<html>Bad Gateway</html>"),
            (401, ""),
            (404, r#"{"timestamp":"x","status":404,"error":"Not Found","path":"/api"}"#),
        ] {
            assert!(matches!(judged(status, body), Err(ProviderError::Nonsense(_))), "{status} {body}");
        }
        assert!(judged(200, r#"{"code":"SUCCESS","paymentStatus":"NO_INFO"}"#).is_ok());
        assert!(judged(200, "").is_ok(), "a cancelled code is answered with nothing");
    }

    #[test]
    fn times_are_moscows() {
        let time = "2026-02-28T22:00:00.5Z".parse().expect("a time");
        assert_eq!(in_moscow(time), "2026-03-01T01:00:00+03:00");
    }
}
