//! Raiffeisenbank's fiscal API: registration and status of receipts (54-FZ).

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{RaiffeisenClient, parse};
use crate::foundation::money::Exact;
use crate::payments::provider::{FiscalReceipt, ProviderError, ReceiptLine, ReceiptStatus};
use crate::platform::http_client::HttpRequest;

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
    /// `POST /api/fiscal/v1/receipts/sell` stores a receipt, `PUT /api/fiscal/v1/receipts/sell/{number}` registers it.
    pub(in crate::payments) async fn register_receipt(&self, receipt: &FiscalReceipt<'_>) -> Result<(), ProviderError> {
        let stored = self.send(HttpRequest::post(self.url("/api/fiscal/v1/receipts/sell")).json(&body(receipt))).await;
        match stored {
            Ok(_) => {}
            // Registered by an earlier attempt whose response was lost.
            Err(ProviderError::Refused { .. }) if self.is_registered(receipt.number).await => return Ok(()),
            Err(error) => return Err(error),
        }
        self.send(HttpRequest::put(self.receipt_url(receipt.number))).await.map(drop)
    }

    async fn is_registered(&self, number: &str) -> bool {
        self.receipt_status(number).await.is_ok_and(|status| status != ReceiptStatus::New)
    }

    /// `GET /api/fiscal/v1/receipts/sell/{number}`.
    pub(in crate::payments) async fn receipt_status(&self, number: &str) -> Result<ReceiptStatus, ProviderError> {
        #[derive(Deserialize)]
        struct ResponseBody {
            status: String,
        }
        let response = self.send(HttpRequest::get(self.receipt_url(number))).await?;
        Ok(match parse::<ResponseBody>(&response)?.status.as_str() {
            "NEW" => ReceiptStatus::New,
            "DONE" => ReceiptStatus::Done,
            "FAILED" => ReceiptStatus::Failed,
            // IN_PROGRESS, AWAITING
            _ => ReceiptStatus::Pending,
        })
    }

    fn receipt_url(&self, number: &str) -> String {
        self.url(&format!("/api/fiscal/v1/receipts/sell/{number}"))
    }
}

fn body<'a>(receipt: &FiscalReceipt<'a>) -> ReceiptBody<'a> {
    let item = |line: &ReceiptLine| Item {
        name: line.name.chars().take(MAX_NAME_CHARS).collect(),
        price: Exact(line.price),
        quantity: line.quantity,
        amount: Exact(line.price * Decimal::from(line.quantity)),
        payment_object: "commodity",
        measurement_unit: "шт",
        vat_type: receipt.vat,
    };
    let email = receipt.email.filter(|email| email.len() <= MAX_EMAIL_BYTES);
    ReceiptBody {
        receipt_number: receipt.number,
        client: Client { email: email.unwrap_or(receipt.fallback_email) },
        items: receipt.lines.iter().map(item).collect(),
        total: Exact(receipt.amount),
    }
}
