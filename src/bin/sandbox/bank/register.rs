//! What a registration of a QR code must look like.
//!
//! Called by `sbp` for both versions of the call, before anything is stored. What must never happen: an amount, an
//! order or a time that the bank refuses and this accepts.

use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::moment;
use super::problem::Problem;
use super::qr::{Kind, Ordered};
use super::roubles::{self, Roubles};

/// The two registrations that the bank has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `POST /api/sbp/v1/qr/register`.
    V1,
    /// `POST /api/sbp/v2/qrs`.
    V2,
}

/// `reqPayQR` of `sbp.yaml`, and what v2's clients send beyond it. Fields that the bank does not know are no error
/// there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    qr_type: Option<String>,
    sbp_merchant_id: Option<String>,
    order: Option<String>,
    amount: Option<Box<RawValue>>,
    currency: Option<String>,
    qr_expiration_date: Option<String>,
    additional_info: Option<String>,
    payment_details: Option<String>,
    account: Option<Box<RawValue>>,
    redirect_url: Option<String>,
    subscription: Option<Subscription>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    id: Option<String>,
    subscription_purpose: Option<String>,
}

/// Reads a registration. Whether the merchant exists and the order was paid before is for the caller to know.
///
/// # Errors
/// The bank's refusal.
pub fn read(body: &[u8], version: Version, now: Timestamp) -> Result<Ordered, Problem> {
    let wanted: Wanted = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("Тело запроса не соответствует формату: {error}")))?;
    let merchant = wanted.sbp_merchant_id.filter(|id| !id.is_empty());
    let merchant = merchant
        .ok_or_else(|| Problem::refused("ERROR.SBP_MERCHANT_ID_IS_MISSING", "SbpMerchantId партнера не указан"))?;
    let kind = match (wanted.qr_type.as_deref(), version) {
        (Some("QRDynamic"), _) => Kind::Dynamic,
        (Some("QRStatic"), _) => Kind::Static,
        (Some("QRVariable"), Version::V2) => Kind::Variable,
        (Some(_), _) => return Err(Problem::invalid("Неизвестный тип QR-кода")),
        (None, _) => return Err(missing("qrType")),
    };
    let amount = amount(wanted.amount.as_deref(), kind)?;
    currency(wanted.currency.as_deref(), amount.is_some() && version == Version::V1)?;
    at_most(wanted.additional_info.as_deref(), 140, "additionalInfo")?;
    at_most(wanted.payment_details.as_deref(), 185, "paymentDetails")?;
    account(wanted.account.as_deref())?;
    let redirect = wanted.redirect_url.as_deref();
    if redirect.is_some_and(|url| url.parse::<hyper::Uri>().map_or(true, |uri| uri.scheme().is_none())) {
        return Err(Problem::invalid("Некорректный redirectUrl"));
    }
    if wanted.subscription.as_ref().is_some_and(|wish| wish.subscription_purpose.is_none()) {
        return Err(missing("subscriptionPurpose"));
    }
    Ok(Ordered {
        kind,
        merchant,
        order: order(wanted.order, kind)?,
        amount,
        expires: expires(wanted.qr_expiration_date.as_deref(), kind, now)?,
        additional_info: wanted.additional_info,
        payment_details: wanted.payment_details,
        redirect_url: wanted.redirect_url,
        subscription: wanted.subscription.map(|wish| wish.id.unwrap_or_else(|| now.as_second().to_string())),
    })
}

fn missing(field: &str) -> Problem {
    Problem::invalid(format!("Не передан обязательный параметр {field}"))
}

/// Anchored, unlike the pattern that the bank published.
pub fn is_order(order: &str) -> bool {
    (1..=40).contains(&order.len()) && order.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn order(order: Option<String>, kind: Kind) -> Result<Option<String>, Problem> {
    match order {
        None if kind == Kind::Variable => Ok(None),
        None => Err(missing("order")),
        Some(order) if is_order(&order) => Ok(Some(order)),
        Some(_) => Err(Problem::refused("ERROR.INVALID_ORDER", "В номере заказа поддерживаются A-z09_-.")),
    }
}

fn amount(amount: Option<&RawValue>, kind: Kind) -> Result<Option<Roubles>, Problem> {
    match amount {
        Some(literal) => {
            let sum = roubles::sum(literal);
            sum.map(Some).ok_or_else(|| Problem::invalid("Передана некорректная сумма платежа"))
        }
        None if kind == Kind::Dynamic => {
            let message = "Не передана сумма для динамического QR-кода";
            Err(Problem::refused("ERROR.DYNAMIC_QR_WITHOUT_AMOUNT", message))
        }
        None => Ok(None),
    }
}

fn currency(currency: Option<&str>, required: bool) -> Result<(), Problem> {
    match currency {
        Some("RUB") => Ok(()),
        Some(_) => Err(Problem::invalid("Неизвестная валюта платежа")),
        None if required => Err(missing("currency")),
        None => Ok(()),
    }
}

/// # Errors
/// `ERROR.INVALID_REQUEST` when the text has more letters than the bank takes.
pub fn at_most(text: Option<&str>, letters: usize, field: &str) -> Result<(), Problem> {
    match text {
        Some(text) if text.chars().count() > letters => {
            Err(Problem::invalid(format!("Длина {field} превышает {letters} символов")))
        }
        _ => Ok(()),
    }
}

/// Twenty digits, as a number or as a text: both stand in the bank's samples.
fn account(account: Option<&RawValue>) -> Result<(), Problem> {
    let Some(account) = account else { return Ok(()) };
    let digits = account.get().trim_matches('"');
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    let message = "Указан неверный счет. Проверьте его или удалите. Параметр является необязательным";
    Err(Problem::refused("ERROR.ACCOUNT_IS_NOT_REGISTERED", message))
}

/// Three days where a dynamic code was given no time (`qrInfov2`).
fn expires(text: Option<&str>, kind: Kind, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    match text {
        Some(text) => {
            let at = moment::expiration(text, now).filter(|at| *at >= now);
            let wrong = || Problem::refused("ERROR.QR_EXPIRATION_DATE_NOT_VALID", "Неверная дата истечения QR-кода");
            at.map(Some).ok_or_else(wrong)
        }
        None if kind == Kind::Dynamic => Ok(Some(now + (3 * 24).hours())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T06:31:10Z".parse().expect("a time")
    }

    /// The code of the refusal, or `SUCCESS`.
    fn outcome(version: Version, change: &[(&str, &str)]) -> &'static str {
        let mut fields = vec![
            ("qrType", r#""QRDynamic""#),
            ("sbpMerchantId", r#""MA0000000552""#),
            ("order", r#""1-22-333""#),
            ("amount", "1110.11"),
            ("currency", r#""RUB""#),
        ];
        for (name, value) in change {
            fields.retain(|(field, _)| field != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        match read(format!("{{{}}}", fields.join(",")).as_bytes(), version, now()) {
            Ok(_) => "SUCCESS",
            Err(Problem::Logical { code, .. }) => code,
            Err(Problem::Spring(_)) => "SPRING",
        }
    }

    #[test]
    fn what_is_in_order_is_taken() {
        let long = format!("\"{}\"", "a".repeat(40));
        for change in [
            &[][..],
            &[("currency", "")],
            &[("order", &long)],
            &[("amount", "100.00")],
            &[("amount", "1e2")],
            &[("account", "40700000000000000000")],
            &[("account", "\"40700000000000000000\"")],
            &[("qrExpirationDate", "\"2026-11-24T09:31:10+03:00\"")],
            &[("qrExpirationDate", "\"+5m\"")],
            &[("redirectUrl", "\"https://example.org/?order=1\"")],
            &[("somethingElse", "1")],
            &[("qrType", "\"QRStatic\""), ("amount", ""), ("currency", "")],
            &[("qrType", "\"QRVariable\""), ("order", ""), ("amount", "")],
        ] {
            assert_eq!(outcome(Version::V2, change), "SUCCESS", "{change:?}");
        }
    }

    #[test]
    fn every_fault_has_its_code() {
        let long = format!("\"{}\"", "a".repeat(41));
        let details = format!("\"{}\"", "я".repeat(186));
        for (change, code) in [
            (("sbpMerchantId", ""), "ERROR.SBP_MERCHANT_ID_IS_MISSING"),
            (("qrType", ""), "ERROR.INVALID_REQUEST"),
            (("qrType", "\"QRSometimes\""), "ERROR.INVALID_REQUEST"),
            (("order", ""), "ERROR.INVALID_REQUEST"),
            (("order", "17"), "ERROR.INVALID_REQUEST"),
            (("order", &long), "ERROR.INVALID_ORDER"),
            (("order", "\"заказ\""), "ERROR.INVALID_ORDER"),
            (("order", "\"a b\""), "ERROR.INVALID_ORDER"),
            (("order", "\"a^b\""), "ERROR.INVALID_ORDER"),
            (("amount", ""), "ERROR.DYNAMIC_QR_WITHOUT_AMOUNT"),
            (("amount", "0"), "ERROR.INVALID_REQUEST"),
            (("amount", "-5"), "ERROR.INVALID_REQUEST"),
            (("amount", "269.97000000000003"), "ERROR.INVALID_REQUEST"),
            (("amount", "\"100\""), "ERROR.INVALID_REQUEST"),
            (("currency", "\"USD\""), "ERROR.INVALID_REQUEST"),
            (("paymentDetails", &details), "ERROR.INVALID_REQUEST"),
            (("account", "\"407\""), "ERROR.ACCOUNT_IS_NOT_REGISTERED"),
            (("redirectUrl", "\"nowhere\""), "ERROR.INVALID_REQUEST"),
            (("qrExpirationDate", "\"2026-11-24T06:31:09Z\""), "ERROR.QR_EXPIRATION_DATE_NOT_VALID"),
            (("qrExpirationDate", "\"2027-01-01T00:00:00\""), "ERROR.QR_EXPIRATION_DATE_NOT_VALID"),
            (("subscription", "{}"), "ERROR.INVALID_REQUEST"),
        ] {
            assert_eq!(outcome(Version::V2, &[change]), code, "{change:?}");
        }
        assert_eq!(outcome(Version::V1, &[("currency", "")]), "ERROR.INVALID_REQUEST");
        assert_eq!(outcome(Version::V1, &[("qrType", "\"QRVariable\"")]), "ERROR.INVALID_REQUEST");
    }

    #[test]
    fn a_dynamic_code_lives_three_days_by_default() {
        let body = br#"{"qrType":"QRDynamic","sbpMerchantId":"M","order":"1","amount":1}"#;
        let ordered = read(body, Version::V2, now()).expect("it is in order");
        assert_eq!(ordered.expires.map(moment::to_the_second).as_deref(), Some("2026-11-27T09:31:10+03:00"));
    }
}
