//! Parsing and validation of the body that registers a QR code.

use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::ApiVersion;
use super::error::BankError;
use super::fields::{self, missing};
use super::qr::{QrType, Registration};
use super::timestamp;

/// `reqPayQR` of `sbp.yaml`, and the fields that v2 adds. The bank ignores unknown fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationRequest {
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

/// Parses a registration. The caller checks that the merchant exists and the order is not paid.
///
/// # Errors
/// The error that the bank would return.
pub(super) fn parse(body: &[u8], version: ApiVersion, now: Timestamp) -> Result<Registration, BankError> {
    let request: RegistrationRequest = serde_json::from_slice(body)
        .map_err(|error| BankError::invalid(format!("Тело запроса не соответствует формату: {error}")))?;
    let merchant = request.sbp_merchant_id.filter(|id| !id.is_empty());
    let merchant = merchant
        .ok_or_else(|| BankError::logical("ERROR.SBP_MERCHANT_ID_IS_MISSING", "SbpMerchantId партнера не указан"))?;
    let kind = match (request.qr_type.as_deref(), version) {
        (Some("QRDynamic"), _) => QrType::Dynamic,
        (Some("QRStatic"), _) => QrType::Static,
        (Some("QRVariable"), ApiVersion::V2) => QrType::Variable,
        (Some(_), _) => return Err(BankError::invalid("Неизвестный тип QR-кода")),
        (None, _) => return Err(missing("qrType")),
    };
    let amount = fields::amount(request.amount.as_deref(), kind)?;
    currency(request.currency.as_deref())?;
    fields::check_length(request.additional_info.as_deref(), 140, "additionalInfo")?;
    fields::check_length(request.payment_details.as_deref(), 185, "paymentDetails")?;
    account(request.account.as_deref())?;
    let redirect = request.redirect_url.as_deref();
    if redirect.is_some_and(|url| url.parse::<hyper::Uri>().map_or(true, |uri| uri.scheme().is_none())) {
        return Err(BankError::invalid("Некорректный redirectUrl"));
    }
    if request.subscription.as_ref().is_some_and(|request| request.subscription_purpose.is_none()) {
        return Err(missing("subscriptionPurpose"));
    }
    Ok(Registration {
        kind,
        merchant,
        order: fields::order(request.order, kind)?,
        amount,
        expires: expires(request.qr_expiration_date.as_deref(), kind, now)?,
        additional_info: request.additional_info,
        payment_details: request.payment_details,
        redirect_url: request.redirect_url,
        subscription: request.subscription.map(|request| request.id.unwrap_or_else(|| now.as_second().to_string())),
    })
}

/// Optional: `sbp.yaml` requires it in v1, and the bank's own SDK sends none.
fn currency(currency: Option<&str>) -> Result<(), BankError> {
    match currency {
        Some("RUB") | None => Ok(()),
        Some(_) => Err(BankError::invalid("Неизвестная валюта платежа")),
    }
}

/// Twenty digits, as a number or as a string: the bank's samples have both.
fn account(account: Option<&RawValue>) -> Result<(), BankError> {
    let Some(account) = account else { return Ok(()) };
    let digits = account.get().trim_matches('"');
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    let message = "Указан неверный счет. Проверьте его или удалите. Параметр является необязательным";
    Err(BankError::logical("ERROR.ACCOUNT_IS_NOT_REGISTERED", message))
}

/// A dynamic code expires after three days by default (`qrInfov2`).
fn expires(text: Option<&str>, kind: QrType, now: Timestamp) -> Result<Option<Timestamp>, BankError> {
    match text {
        Some(text) => {
            let at = timestamp::parse_expiration(text, now).filter(|at| *at >= now);
            let invalid =
                || BankError::logical("ERROR.QR_EXPIRATION_DATE_NOT_VALID", "Неверная дата истечения QR-кода");
            at.map(Some).ok_or_else(invalid)
        }
        None if kind == QrType::Dynamic => Ok(Some(now + (3 * 24).hours())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T06:31:10Z".parse().expect("a time")
    }

    /// The error code, or `SUCCESS`.
    fn outcome(version: ApiVersion, change: &[(&str, &str)]) -> &'static str {
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
        match parse(format!("{{{}}}", fields.join(",")).as_bytes(), version, now()) {
            Ok(_) => "SUCCESS",
            Err(BankError::Logical { code, .. }) => code,
            Err(BankError::Spring(_)) => "SPRING",
        }
    }

    #[test]
    fn valid_registration_is_accepted() {
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
            assert_eq!(outcome(ApiVersion::V2, change), "SUCCESS", "{change:?}");
        }
    }

    #[test]
    fn each_error_has_its_code() {
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
            assert_eq!(outcome(ApiVersion::V2, &[change]), code, "{change:?}");
        }
        assert_eq!(outcome(ApiVersion::V1, &[("currency", "")]), "SUCCESS");
        assert_eq!(outcome(ApiVersion::V1, &[("currency", "\"USD\"")]), "ERROR.INVALID_REQUEST");
        assert_eq!(outcome(ApiVersion::V1, &[("qrType", "\"QRVariable\"")]), "ERROR.INVALID_REQUEST");
    }

    #[test]
    fn dynamic_code_expires_after_three_days_by_default() {
        let body = br#"{"qrType":"QRDynamic","sbpMerchantId":"M","order":"1","amount":1}"#;
        let registration = parse(body, ApiVersion::V2, now()).expect("a valid registration");
        assert_eq!(registration.expires.map(timestamp::format_seconds).as_deref(), Some("2026-11-27T09:31:10+03:00"));
    }
}
