//! Fiscal receipts under 54-FZ: saving, registration and status (`fiscal.yml`).
//!
//! # Invariants
//! - A registered receipt never changes.

use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::amount::{self, Amount};
use super::call::ReceiptType;
use super::error::BankError;
use super::timestamp;

/// How long a registered receipt stays `IN_PROGRESS` at the fiscal data operator.
const PROCESSING_TIME: Duration = Duration::from_millis(500);

/// `status` of `Response` in `fiscal.yml`, without `AWAITING`, which is not simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptStatus {
    New,
    InProgress,
    Done,
    Failed,
}

impl ReceiptStatus {
    fn as_str(self) -> &'static str {
        match self {
            ReceiptStatus::New => "NEW",
            ReceiptStatus::InProgress => "IN_PROGRESS",
            ReceiptStatus::Done => "DONE",
            ReceiptStatus::Failed => "FAILED",
        }
    }
}

/// `Receipt` of `fiscal.yml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptRequest {
    receipt_number: Box<RawValue>,
    client: Client,
    items: Vec<ReceiptItemRequest>,
    total: Box<RawValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Client {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptItemRequest {
    name: String,
    price: Box<RawValue>,
    quantity: Box<RawValue>,
    amount: Box<RawValue>,
    payment_object: Option<String>,
    measurement_unit: Option<String>,
    nomenclature_code: Option<String>,
    vat_type: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    price: Amount,
    quantity: Amount,
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measurement_unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nomenclature_code: Option<String>,
    vat_type: String,
}

/// A saved receipt.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub merchant: String,
    pub kind: ReceiptType,
    pub number: String,
    client: Client,
    items: Vec<Item>,
    total: Amount,
    registered_at: Option<Timestamp>,
    /// Set through `/bank/receipts`: its registration fails.
    pub forced_failure: bool,
}

/// `Response` of `fiscal.yml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptResponse {
    receipt_number: String,
    receipt_type: ReceiptType,
    status: ReceiptStatus,
    client: Client,
    items: Vec<Item>,
    total: Amount,
}

/// A receipt in `GET /bank/receipts`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    merchant: String,
    registered_at: Option<String>,
    #[serde(flatten)]
    answer: ReceiptResponse,
}

fn invalid(reason: impl std::fmt::Display) -> BankError {
    BankError::Logical {
        status: StatusCode::BAD_REQUEST,
        code: "RECEIPT_VALIDATION_FAILED",
        message: format!("Чек не прошел валидацию. Причина: {reason}"),
    }
}

impl Receipt {
    /// Parses the body that saves a receipt.
    ///
    /// # Errors
    /// `RECEIPT_VALIDATION_FAILED`.
    pub fn parse(body: &[u8], merchant: &str, kind: ReceiptType) -> Result<Receipt, BankError> {
        let request: ReceiptRequest = serde_json::from_slice(body).map_err(invalid)?;
        // A string in the schema, a number in the bank's samples.
        let number = request.receipt_number.get();
        let number = serde_json::from_str(number).unwrap_or_else(|_| number.to_owned());
        let is_number = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=99).contains(&number.len()) || !number.bytes().all(is_number) {
            return Err(invalid("receiptNumber"));
        }
        let email = &request.client.email;
        let (local, domain) = email.rsplit_once('@').unwrap_or_default();
        let is_email = !local.is_empty() && domain.contains('.') && !email.contains(char::is_whitespace);
        if !is_email || email.len() > 64 {
            return Err(invalid("client.email"));
        }
        check_length(request.client.name.as_deref(), 256, "client.name")?;
        if request.items.is_empty() {
            return Err(invalid("items"));
        }
        let items = request.items.into_iter().map(Item::parse).collect::<Result<Vec<_>, _>>()?;
        let total = decimal(&request.total, 8, 2, "total")?;
        if items.iter().map(|item| item.amount.0).sum::<Decimal>() != total.0 {
            return Err(invalid("total не равен сумме позиций"));
        }
        let (merchant, client) = (merchant.to_owned(), request.client);
        Ok(Receipt { merchant, kind, number, client, items, total, registered_at: None, forced_failure: false })
    }

    pub fn status(&self, now: Timestamp) -> ReceiptStatus {
        let Some(registered_at) = self.registered_at else { return ReceiptStatus::New };
        match Duration::try_from(now.duration_since(registered_at)).is_ok_and(|age| age >= PROCESSING_TIME) {
            false => ReceiptStatus::InProgress,
            true if self.forced_failure => ReceiptStatus::Failed,
            true => ReceiptStatus::Done,
        }
    }

    /// Registers the receipt, after which it cannot change.
    ///
    /// # Errors
    /// `RECEIPT_STATUS_CONFLICT` for a registered receipt.
    pub fn register(&mut self, now: Timestamp) -> Result<(), BankError> {
        self.check_not_registered(now)?;
        self.registered_at = Some(now);
        Ok(())
    }

    /// Replaces a receipt that is saved again under the same number.
    ///
    /// # Errors
    /// `RECEIPT_STATUS_CONFLICT` for a registered receipt.
    pub fn replace(&mut self, by: Receipt, now: Timestamp) -> Result<(), BankError> {
        self.check_not_registered(now)?;
        *self = Receipt { forced_failure: self.forced_failure, ..by };
        Ok(())
    }

    fn check_not_registered(&self, now: Timestamp) -> Result<(), BankError> {
        if self.registered_at.is_none() {
            return Ok(());
        }
        Err(BankError::Logical {
            status: StatusCode::CONFLICT,
            code: "RECEIPT_STATUS_CONFLICT",
            message: format!("Чек {} в статусе {}, действие невозможно", self.number, self.status(now).as_str()),
        })
    }

    pub fn response(&self, now: Timestamp) -> ReceiptResponse {
        ReceiptResponse {
            receipt_number: self.number.clone(),
            receipt_type: self.kind,
            status: self.status(now),
            client: self.client.clone(),
            items: self.items.clone(),
            total: self.total,
        }
    }

    pub fn view(&self, now: Timestamp) -> ReceiptView {
        ReceiptView {
            merchant: self.merchant.clone(),
            registered_at: self.registered_at.map(timestamp::format_micros),
            answer: self.response(now),
        }
    }
}

impl Item {
    fn parse(item: ReceiptItemRequest) -> Result<Item, BankError> {
        check_length(Some(&item.name), 128, "items.name")?;
        check_length(item.measurement_unit.as_deref(), 16, "items.measurementUnit")?;
        check_length(item.nomenclature_code.as_deref(), 150, "items.nomenclatureCode")?;
        let price = decimal(&item.price, 8, 2, "items.price")?;
        let quantity = decimal(&item.quantity, 5, 3, "items.quantity")?;
        let amount = decimal(&item.amount, 8, 2, "items.amount")?;
        let product = price.0 * quantity.0;
        if product.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero) != amount.0 {
            return Err(invalid("items.amount не равен произведению цены на количество"));
        }
        let objects = ["commodity", "excise", "job", "service", "payment", "another"];
        if item.payment_object.as_deref().is_some_and(|object| !objects.contains(&object)) {
            return Err(invalid("items.paymentObject"));
        }
        // The last two are new in 2026, when the rate became 22 per cent.
        let rates = ["none", "vat0", "vat10", "vat110", "vat20", "vat120", "vat22", "vat122"];
        if !rates.contains(&item.vat_type.as_str()) {
            return Err(invalid("items.vatType"));
        }
        let ReceiptItemRequest { name, payment_object, measurement_unit, nomenclature_code, vat_type, .. } = item;
        Ok(Item { name, price, quantity, amount, payment_object, measurement_unit, nomenclature_code, vat_type })
    }
}

fn check_length(text: Option<&str>, max_chars: usize, field: &str) -> Result<(), BankError> {
    match text {
        Some(text) if text.is_empty() || text.chars().count() > max_chars => Err(invalid(field)),
        _ => Ok(()),
    }
}

/// `bigDecimal (8, 2)`: at most eight digits before the point and two after it.
fn decimal(json: &RawValue, integer_digits: u32, scale: u32, field: &str) -> Result<Amount, BankError> {
    let limit = Decimal::from(10_i64.pow(integer_digits));
    let value = amount::parse_number(json).filter(|value| value.scale() <= scale);
    let value = value.filter(|value| *value >= Decimal::ZERO && *value < limit);
    value.map(Amount).ok_or_else(|| invalid(field))
}

pub fn receipt_not_found(number: &str) -> BankError {
    let message = format!("Чек с id = {number} не найден");
    BankError::Logical { status: StatusCode::NOT_FOUND, code: "RECEIPT_NOT_FOUND", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(change: impl Fn(&str) -> String) -> Result<Receipt, BankError> {
        let body = r#"{"receiptNumber":"r-1","client":{"email":"a@example.org"},"items":[{"name":"Вода","price":120.50,
            "quantity":1.5,"amount":180.75,"vatType":"vat20"}],"total":180.75}"#;
        Receipt::parse(change(body).as_bytes(), "M", ReceiptType::Sell)
    }

    #[test]
    fn inconsistent_receipt_is_rejected() {
        assert!(outcome(str::to_owned).is_ok());
        assert!(outcome(|body| body.replace("\"r-1\"", "3000827351831")).is_ok(), "a number, as in the samples");
        for (from, to) in [
            ("180.75}", "180.76}"),
            ("\"amount\":180.75", "\"amount\":180.7"),
            ("120.50", "120.505"),
            ("120.50", "\"120.50\""),
            ("vat20", "vat19"),
            ("a@example.org", "no-at-sign"),
            ("r-1", "r 1"),
            ("\"client\"", "\"buyer\""),
        ] {
            let result = outcome(|body| body.replace(from, to));
            assert!(result.is_err(), "{from} → {to}");
        }
    }

    #[test]
    fn registered_receipt_cannot_change() {
        let mut receipt = outcome(str::to_owned).expect("a valid receipt");
        receipt
            .replace(outcome(str::to_owned).expect("a valid receipt"), Timestamp::UNIX_EPOCH)
            .expect("an unregistered receipt");
        receipt.register(Timestamp::UNIX_EPOCH).expect("an unregistered receipt");
        assert_eq!(receipt.status(Timestamp::UNIX_EPOCH), ReceiptStatus::InProgress);
        assert_eq!(receipt.status(Timestamp::now()), ReceiptStatus::Done);
        assert!(receipt.register(Timestamp::now()).is_err());
        assert!(receipt.replace(outcome(str::to_owned).expect("a valid receipt"), Timestamp::now()).is_err());
    }
}
