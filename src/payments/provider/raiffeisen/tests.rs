//! The bank's responses: errors, and what the two status endpoints say of a payment.

use super::*;

fn checked(status: u16, body: &str) -> Result<HttpResponse, ProviderError> {
    check_response(HttpResponse { status, body: body.to_owned().into() })
}

#[test]
fn refusals_come_with_any_status_and_internal_errors_are_no_refusals() {
    for status in [200, 400, 404] {
        let refused = checked(status, r#"{"code":"ERROR.INVALID_ORDER","message":"no"}"#);
        assert!(refused.is_err_and(|error| is_refusal(&error, "ERROR.INVALID_ORDER")), "{status}");
    }
    for (status, body) in [
        (200, r#"{"code":"ERROR.INTERNAL"}"#),
        (500, r#"{"code":"ERROR.INVALID_ORDER"}"#),
        (502, "<html>Bad Gateway</html>"),
        (401, ""),
        (404, r#"{"timestamp":"x","status":404,"error":"Not Found","path":"/api"}"#),
    ] {
        assert!(matches!(checked(status, body), Err(ProviderError::InvalidResponse(_))), "{status} {body}");
    }
    assert!(checked(200, r#"{"code":"SUCCESS","paymentStatus":"NO_INFO"}"#).is_ok());
    assert!(checked(200, "").is_ok(), "the response to a cancellation is empty");
}

#[test]
fn times_are_in_moscow_time() {
    let time = "2026-02-28T22:00:00.5Z".parse().expect("a time");
    assert_eq!(moscow_time(time), "2026-03-01T01:00:00+03:00");
}

#[test]
fn routine_polls_alternate_between_the_endpoints() {
    assert_eq!(StatusEndpoint::for_target(Some(PollTarget::new(false))), StatusEndpoint::Qr);
    assert_eq!(StatusEndpoint::for_target(Some(PollTarget::new(true))), StatusEndpoint::PaymentInfo);
    assert_eq!(StatusEndpoint::for_target(None), StatusEndpoint::Both);
}

#[test]
fn final_and_declined_statuses_need_the_second_endpoint() {
    for (status, was_in_progress, expected) in [
        ("NEW", false, true),
        ("NEW", true, false),
        ("IN_PROGRESS", false, true),
        ("PAID", false, false),
        ("EXPIRED", false, false),
        ("CANCELLED", false, false),
    ] {
        assert_eq!(is_conclusive(&parse_qr_status(status), was_in_progress), expected, "{status}");
    }
}

#[test]
fn either_endpoint_may_report_a_payment_and_another_payment_is_an_error() {
    let amount = Decimal::from(20);
    let request = PollRequest { qr_id: "AD1", order_id: "o1", amount, was_in_progress: false, target: None };
    let transaction = ProviderTransaction { id: Some(7), date: None };
    let info = |order_id: &str, status| {
        Some(PaymentInfo { order_id: order_id.to_owned(), amount, status, transaction: transaction.clone() })
    };
    let combined = |qr: Option<&str>, info| combine(&request, qr.map(parse_qr_status), info);
    let paid = ProviderStatus::Paid(transaction.clone());
    for (qr, info_status, expected) in [
        (Some("PAID"), PaymentStatus::Unpaid, paid.clone()),
        (Some("CANCELLED"), PaymentStatus::Paid, paid.clone()),
        (None, PaymentStatus::Paid, paid),
        (Some("EXPIRED"), PaymentStatus::InProgress, ProviderStatus::InProgress),
        (Some("EXPIRED"), PaymentStatus::Unpaid, ProviderStatus::Expired),
        (None, PaymentStatus::Unpaid, ProviderStatus::Unknown),
    ] {
        assert_eq!(combined(qr, info("o1", info_status)).expect("the same order"), expected, "{qr:?} {info_status:?}");
    }
    assert_eq!(combined(Some("EXPIRED"), None).expect("no payment"), ProviderStatus::Expired);
    assert_eq!(combined(None, None).expect("no payment"), ProviderStatus::Unknown);
    let other = combined(Some("NEW"), info("o2", PaymentStatus::Paid));
    assert!(matches!(other, Err(ProviderError::PaymentMismatch(_))), "{other:?}");
    let other = combined(Some("NEW"), info("o2", PaymentStatus::Unpaid));
    assert!(matches!(other, Err(ProviderError::InvalidResponse(_))), "{other:?}");
}
