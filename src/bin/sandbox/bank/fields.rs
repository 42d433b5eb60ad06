//! Validation of the fields that several calls of the SBP API share.

use serde_json::value::RawValue;

use super::amount::{self, Amount};
use super::error::BankError;
use super::qr::QrType;

/// The error for a required field that is absent.
pub fn missing(field: &str) -> BankError {
    BankError::invalid(format!("Не передан обязательный параметр {field}"))
}

/// Anchored, unlike the pattern that the bank published.
fn is_order(order: &str) -> bool {
    (1..=40).contains(&order.len()) && order.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// `order`: optional only for a `QRVariable`.
///
/// # Errors
/// `ERROR.INVALID_REQUEST` or `ERROR.INVALID_ORDER`.
pub fn order(order: Option<String>, kind: QrType) -> Result<Option<String>, BankError> {
    match order {
        None if kind == QrType::Variable => Ok(None),
        None => Err(missing("order")),
        Some(order) if is_order(&order) => Ok(Some(order)),
        Some(_) => Err(BankError::logical("ERROR.INVALID_ORDER", "В номере заказа поддерживаются A-z09_-.")),
    }
}

/// `amount`: required for a `QRDynamic`.
///
/// # Errors
/// `ERROR.INVALID_REQUEST` or `ERROR.DYNAMIC_QR_WITHOUT_AMOUNT`.
pub fn amount(amount: Option<&RawValue>, kind: QrType) -> Result<Option<Amount>, BankError> {
    match amount {
        Some(literal) => {
            let parsed = amount::parse_positive(literal);
            parsed.map(Some).ok_or_else(|| BankError::invalid("Передана некорректная сумма платежа"))
        }
        None if kind == QrType::Dynamic => {
            let message = "Не передана сумма для динамического QR-кода";
            Err(BankError::logical("ERROR.DYNAMIC_QR_WITHOUT_AMOUNT", message))
        }
        None => Ok(None),
    }
}

/// # Errors
/// `ERROR.INVALID_REQUEST` when the text has more than `max_chars` characters.
pub fn check_length(text: Option<&str>, max_chars: usize, field: &str) -> Result<(), BankError> {
    match text {
        Some(text) if text.chars().count() > max_chars => {
            Err(BankError::invalid(format!("Длина {field} превышает {max_chars} символов")))
        }
        _ => Ok(()),
    }
}
