//! Receipts under 54-FZ: saved, registered, asked for (`fiscal.yml`).
//!
//! Called by `bank::api`; kept by `office`. What must never happen: a receipt that changes after its registration.

use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::calls::ReceiptType;
use super::moment;
use super::problem::Problem;
use super::roubles::{self, Roubles};

/// How long the tax office's data operator needs, so that who asks at once sees `IN_PROGRESS`.
const TAKES: Duration = Duration::from_millis(500);

/// `status` of `Response` in `fiscal.yml`; `AWAITING` is the bank's own and not simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptStatus {
    New,
    InProgress,
    Done,
    Failed,
}

impl ReceiptStatus {
    fn word(self) -> &'static str {
        match self {
            ReceiptStatus::New => "NEW",
            ReceiptStatus::InProgress => "IN_PROGRESS",
            ReceiptStatus::Done => "DONE",
            ReceiptStatus::Failed => "FAILED",
        }
    }
}

/// `Receipt` of `fiscal.yml` as it arrives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    receipt_number: Box<RawValue>,
    client: Client,
    items: Vec<WantedItem>,
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
struct WantedItem {
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
    price: Roubles,
    quantity: Roubles,
    amount: Roubles,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measurement_unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nomenclature_code: Option<String>,
    vat_type: String,
}

/// A receipt that was saved.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub merchant: String,
    pub kind: ReceiptType,
    pub number: String,
    client: Client,
    items: Vec<Item>,
    total: Roubles,
    registered: Option<Timestamp>,
    /// A script wants it to fail.
    pub fails: bool,
}

/// `Response` of `fiscal.yml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptAnswer {
    receipt_number: String,
    receipt_type: ReceiptType,
    status: ReceiptStatus,
    client: Client,
    items: Vec<Item>,
    total: Roubles,
}

/// A receipt as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    merchant: String,
    registered_at: Option<String>,
    #[serde(flatten)]
    answer: ReceiptAnswer,
}

fn wrong(reason: impl std::fmt::Display) -> Problem {
    Problem::Logical {
        status: StatusCode::BAD_REQUEST,
        code: "RECEIPT_VALIDATION_FAILED",
        message: format!("Чек не прошел валидацию. Причина: {reason}"),
    }
}

impl Receipt {
    /// Reads the body of a save.
    ///
    /// # Errors
    /// `RECEIPT_VALIDATION_FAILED`.
    pub fn read(body: &[u8], merchant: &str, kind: ReceiptType) -> Result<Receipt, Problem> {
        let wanted: Wanted = serde_json::from_slice(body).map_err(wrong)?;
        // A text by the schema, a number in the bank's own samples.
        let number = wanted.receipt_number.get();
        let number = serde_json::from_str(number).unwrap_or_else(|_| number.to_owned());
        let is_number = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=99).contains(&number.len()) || !number.bytes().all(is_number) {
            return Err(wrong("receiptNumber"));
        }
        let email = &wanted.client.email;
        let (local, domain) = email.rsplit_once('@').unwrap_or_default();
        let is_email = !local.is_empty() && domain.contains('.') && !email.contains(char::is_whitespace);
        if !is_email || email.len() > 64 {
            return Err(wrong("client.email"));
        }
        letters(wanted.client.name.as_deref(), 256, "client.name")?;
        if wanted.items.is_empty() {
            return Err(wrong("items"));
        }
        let items = wanted.items.into_iter().map(Item::read).collect::<Result<Vec<_>, _>>()?;
        let total = money(&wanted.total, 8, 2, "total")?;
        if items.iter().map(|item| item.amount.0).sum::<Decimal>() != total.0 {
            return Err(wrong("total не равен сумме позиций"));
        }
        let (merchant, client) = (merchant.to_owned(), wanted.client);
        Ok(Receipt { merchant, kind, number, client, items, total, registered: None, fails: false })
    }

    pub fn status(&self, now: Timestamp) -> ReceiptStatus {
        let Some(registered) = self.registered else { return ReceiptStatus::New };
        match Duration::try_from(now.duration_since(registered)).is_ok_and(|age| age >= TAKES) {
            false => ReceiptStatus::InProgress,
            true if self.fails => ReceiptStatus::Failed,
            true => ReceiptStatus::Done,
        }
    }

    /// Sends it to the tax office; afterwards it is frozen.
    ///
    /// # Errors
    /// `RECEIPT_STATUS_CONFLICT` for one that was sent before.
    pub fn register(&mut self, now: Timestamp) -> Result<(), Problem> {
        self.is_still_open(now)?;
        self.registered = Some(now);
        Ok(())
    }

    /// The same number saved again.
    ///
    /// # Errors
    /// `RECEIPT_STATUS_CONFLICT`.
    pub fn replace(&mut self, by: Receipt, now: Timestamp) -> Result<(), Problem> {
        self.is_still_open(now)?;
        *self = Receipt { fails: self.fails, ..by };
        Ok(())
    }

    fn is_still_open(&self, now: Timestamp) -> Result<(), Problem> {
        if self.registered.is_none() {
            return Ok(());
        }
        Err(Problem::Logical {
            status: StatusCode::CONFLICT,
            code: "RECEIPT_STATUS_CONFLICT",
            message: format!("Чек {} в статусе {}, действие невозможно", self.number, self.status(now).word()),
        })
    }

    pub fn answer(&self, now: Timestamp) -> ReceiptAnswer {
        ReceiptAnswer {
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
            registered_at: self.registered.map(moment::with_micros),
            answer: self.answer(now),
        }
    }
}

impl Item {
    fn read(item: WantedItem) -> Result<Item, Problem> {
        letters(Some(&item.name), 128, "items.name")?;
        letters(item.measurement_unit.as_deref(), 16, "items.measurementUnit")?;
        letters(item.nomenclature_code.as_deref(), 150, "items.nomenclatureCode")?;
        let price = money(&item.price, 8, 2, "items.price")?;
        let quantity = money(&item.quantity, 5, 3, "items.quantity")?;
        let amount = money(&item.amount, 8, 2, "items.amount")?;
        let product = price.0 * quantity.0;
        if product.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero) != amount.0 {
            return Err(wrong("items.amount не равен произведению цены на количество"));
        }
        let objects = ["commodity", "excise", "job", "service", "payment", "another"];
        if item.payment_object.as_deref().is_some_and(|object| !objects.contains(&object)) {
            return Err(wrong("items.paymentObject"));
        }
        // The last two are of 2026, when the rate became 22 per cent.
        let rates = ["none", "vat0", "vat10", "vat110", "vat20", "vat120", "vat22", "vat122"];
        if !rates.contains(&item.vat_type.as_str()) {
            return Err(wrong("items.vatType"));
        }
        let WantedItem { name, payment_object, measurement_unit, nomenclature_code, vat_type, .. } = item;
        Ok(Item { name, price, quantity, amount, payment_object, measurement_unit, nomenclature_code, vat_type })
    }
}

fn letters(text: Option<&str>, at_most: usize, field: &str) -> Result<(), Problem> {
    match text {
        Some(text) if text.is_empty() || text.chars().count() > at_most => Err(wrong(field)),
        _ => Ok(()),
    }
}

/// `bigDecimal (8, 2)`: at most eight digits before the point and two after it.
fn money(json: &RawValue, before: u32, after: u32, field: &str) -> Result<Roubles, Problem> {
    let limit = Decimal::from(10_i64.pow(before));
    let value = roubles::number(json).filter(|value| value.scale() <= after);
    let value = value.filter(|value| *value >= Decimal::ZERO && *value < limit);
    value.map(Roubles).ok_or_else(|| wrong(field))
}

pub fn not_found(number: &str) -> Problem {
    let message = format!("Чек с id = {number} не найден");
    Problem::Logical { status: StatusCode::NOT_FOUND, code: "RECEIPT_NOT_FOUND", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(change: impl Fn(&str) -> String) -> Result<Receipt, Problem> {
        let body = r#"{"receiptNumber":"r-1","client":{"email":"a@example.org"},"items":[{"name":"Вода","price":120.50,
            "quantity":1.5,"amount":180.75,"vatType":"vat20"}],"total":180.75}"#;
        Receipt::read(change(body).as_bytes(), "M", ReceiptType::Sell)
    }

    #[test]
    fn a_receipt_has_to_add_up() {
        assert!(outcome(str::to_owned).is_ok());
        assert!(outcome(|body| body.replace("\"r-1\"", "3000827351831")).is_ok(), "a number, as in the samples");
        for (from, to) in [
            ("180.75}", "180.76}"),
            ("\"amount\":180.75", "\"amount\":180.7"),
            ("120.50", "120.505"),
            ("120.50", "\"120.50\""),
            ("vat20", "vat19"),
            ("a@example.org", "nobody"),
            ("r-1", "r 1"),
            ("\"client\"", "\"buyer\""),
        ] {
            let refused = outcome(|body| body.replace(from, to));
            assert!(refused.is_err(), "{from} → {to}");
        }
    }

    #[test]
    fn a_registered_receipt_is_frozen() {
        let mut receipt = outcome(str::to_owned).expect("it is in order");
        receipt.replace(outcome(str::to_owned).expect("it is in order"), Timestamp::UNIX_EPOCH).expect("it is new");
        receipt.register(Timestamp::UNIX_EPOCH).expect("it is new");
        assert_eq!(receipt.status(Timestamp::UNIX_EPOCH), ReceiptStatus::InProgress);
        assert_eq!(receipt.status(Timestamp::now()), ReceiptStatus::Done);
        assert!(receipt.register(Timestamp::now()).is_err());
        assert!(receipt.replace(outcome(str::to_owned).expect("it is in order"), Timestamp::now()).is_err());
    }
}
