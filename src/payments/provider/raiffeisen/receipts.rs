//! Raiffeisenbank's fiscal API: registration and status of receipts (54-FZ).

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{RaiffeisenClient, parse};
use crate::foundation::money::Exact;
use crate::payments::provider::{FiscalReceipt, ProviderError, ReceiptKind, ReceiptLine, ReceiptStatus};
use crate::platform::http_client::{HttpRequest, HttpResponse};

/// Limits of the fiscal API (`fiscal.yml`).
const MAX_NAME_CHARS: usize = 128;
const MAX_EMAIL_BYTES: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptBody<'a> {
    receipt_number: &'a str,
    client: Client<'a>,
    items: Vec<Item<'a>>,
    total: Exact,
}

#[derive(Serialize)]
struct Client<'a> {
    email: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    name: String,
    price: Exact,
    quantity: i32,
    amount: Exact,
    payment_object: &'static str,
    measurement_unit: &'static str,
    vat_type: &'a str,
}

impl RaiffeisenClient<'_> {
    /// `POST /api/fiscal/v1/receipts/{kind}` stores a receipt, `PUT /api/fiscal/v1/receipts/{kind}/{number}` registers it. What an
    /// earlier attempt has registered, whose response was lost, is a conflict and counts as registered.
    pub(in crate::payments) async fn register_receipt(&self, receipt: &FiscalReceipt<'_>) -> Result<(), ProviderError> {
        let FiscalReceipt { kind, number, .. } = *receipt;
        let store = HttpRequest::post(self.receipts_url(kind)).json(&body(receipt));
        let register = || HttpRequest::put(self.receipt_url(kind, number));
        match self.send_fiscal(store).await {
            Err(error) if is_conflict(&error) && self.receipt_status(kind, number).await? != ReceiptStatus::New => {
                return Ok(());
            }
            Err(error) if !is_conflict(&error) => return Err(error),
            _ => {}
        }
        match self.send_fiscal(register()).await {
            Err(error) if is_conflict(&error) && self.receipt_status(kind, number).await? != ReceiptStatus::New => {
                Ok(())
            }
            result => result.map(drop),
        }
    }

    /// `GET /api/fiscal/v1/receipts/{kind}/{number}`.
    pub(in crate::payments) async fn receipt_status(
        &self,
        kind: ReceiptKind,
        number: &str,
    ) -> Result<ReceiptStatus, ProviderError> {
        #[derive(Deserialize)]
        struct ResponseBody {
            status: String,
        }
        let response = match self.send_fiscal(HttpRequest::get(self.receipt_url(kind, number))).await {
            Err(ProviderError::Unavailable { code, .. }) if code == NOT_FOUND => return Ok(ReceiptStatus::New),
            response => response?,
        };
        Ok(match parse::<ResponseBody>(&response)?.status.as_str() {
            "NEW" => ReceiptStatus::New,
            "DONE" => ReceiptStatus::Done,
            "FAILED" => ReceiptStatus::Failed,
            // IN_PROGRESS, AWAITING
            _ => ReceiptStatus::Pending,
        })
    }

    async fn send_fiscal(&self, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
        check_fiscal_response(self.send_unchecked(request).await?)
    }

    fn receipts_url(&self, kind: ReceiptKind) -> String {
        let kind = match kind {
            ReceiptKind::Sale => "sell",
            ReceiptKind::Refund => "refund",
        };
        self.url(&format!("/api/fiscal/v1/receipts/{kind}"))
    }

    fn receipt_url(&self, kind: ReceiptKind, number: &str) -> String {
        format!("{}/{number}", self.receipts_url(kind))
    }
}

const NOT_FOUND: &str = "RECEIPT_NOT_FOUND";

/// The code of a receipt that is registered already.
const CONFLICT: &str = "RECEIPT_STATUS_CONFLICT";

/// Codes that say nothing about the receipt: the cash register's service failed, or an earlier call did not arrive.
const TEMPORARY: [&str; 6] = [
    NOT_FOUND,
    CONFLICT,
    "TOKEN_REQUEST_FAILED",
    "RECEIPT_REGISTRATION_FAILED",
    "STATUS_REQUEST_FAILED",
    "ERROR.INTERNAL",
];

fn is_conflict(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Unavailable { code, .. } if code == CONFLICT)
}

/// Recognizes error responses, whose code decides before their HTTP status: a code that is not temporary is a final refusal.
fn check_fiscal_response(response: HttpResponse) -> Result<HttpResponse, ProviderError> {
    #[derive(Deserialize)]
    struct Envelope {
        code: Option<String>,
        message: Option<String>,
    }
    let envelope = serde_json::from_slice::<Envelope>(&response.body).ok();
    let (code, message) = envelope.map_or((None, None), |envelope| (envelope.code, envelope.message));
    let message = message.unwrap_or_default();
    match code.filter(|code| !code.is_empty() && code != "SUCCESS") {
        Some(code) if TEMPORARY.contains(&code.as_str()) || response.status >= 500 => {
            Err(ProviderError::Unavailable { code, message })
        }
        Some(code) => Err(ProviderError::Refused { code, message }),
        None if (200..300).contains(&response.status) => Ok(response),
        None => Err(ProviderError::InvalidResponse(format!("status {}", response.status))),
    }
}

fn body<'a>(receipt: &'a FiscalReceipt<'a>) -> ReceiptBody<'a> {
    let item = |line: &'a ReceiptLine| Item {
        name: line.name.chars().take(MAX_NAME_CHARS).collect(),
        price: Exact(line.price),
        quantity: line.quantity,
        amount: Exact(line.price * Decimal::from(line.quantity)),
        payment_object: "commodity",
        measurement_unit: "шт",
        vat_type: line.vat.as_deref().unwrap_or(receipt.default_vat),
    };
    let email = receipt.email.filter(|email| email.len() <= MAX_EMAIL_BYTES);
    ReceiptBody {
        receipt_number: receipt.number,
        client: Client { email: email.unwrap_or(receipt.fallback_email) },
        items: receipt.lines.iter().map(item).collect(),
        total: Exact(receipt.amount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fiscal_code_is_final_or_temporary() {
        let outcome = |status: u16, body: &str| {
            let response = HttpResponse { status, body: body.to_owned().into() };
            match check_fiscal_response(response) {
                Ok(_) => "accepted",
                Err(ProviderError::Refused { .. }) => "final",
                Err(_) => "temporary",
            }
        };
        let coded = |code: &str| format!(r#"{{"code":"{code}","message":"Причина"}}"#);
        for (status, code, expected) in [
            (404, "FISCAL_CLIENT_NOT_FOUND", "final"),
            (403, "MERCHANT_NOT_FOUND", "final"),
            (403, "CREDENTIALS_NOT_FOUND", "final"),
            (400, "RECEIPT_TYPE_NOT_SUPPORTED", "final"),
            (400, "RECEIPT_VALIDATION_FAILED", "final"),
            (200, "RECEIPT_VALIDATION_FAILED", "final"),
            (400, "A_CODE_OF_TOMORROW", "final"),
            (404, "RECEIPT_NOT_FOUND", "temporary"),
            (409, "RECEIPT_STATUS_CONFLICT", "temporary"),
            (500, "TOKEN_REQUEST_FAILED", "temporary"),
            (500, "RECEIPT_REGISTRATION_FAILED", "temporary"),
            (500, "STATUS_REQUEST_FAILED", "temporary"),
            (200, "ERROR.INTERNAL", "temporary"),
            (500, "A_CODE_OF_TOMORROW", "temporary"),
        ] {
            assert_eq!(outcome(status, &coded(code)), expected, "{status} {code}");
        }
        assert_eq!(outcome(200, r#"{"status":"DONE"}"#), "accepted");
        assert_eq!(outcome(200, &coded("SUCCESS")), "accepted");
        assert_eq!(outcome(502, "<html>"), "temporary");
        assert_eq!(outcome(401, "{}"), "temporary");
    }
}
