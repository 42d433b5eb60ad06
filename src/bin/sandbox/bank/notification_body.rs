//! The body of a notification (`paymentNotification` in `sbp.yaml`) and its signature.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;

use super::notification::Notification;
use super::qr::{Payment, PaymentStatus, Qr};
use super::state::MerchantAccount;
use super::timestamp;

/// `paymentNotification` of `sbp.yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    transaction_id: u64,
    qr_id: &'a str,
    sbp_merchant_id: &'a str,
    merchant_id: u64,
    amount: &'a RawValue,
    currency: &'static str,
    transaction_date: &'a str,
    payment_status: PaymentStatus,
    additional_info: Option<&'a str>,
    order: Option<&'a str>,
    create_date: String,
}

/// A signed notification. `amount` is the JSON literal of the amount; the shortest one by default.
pub fn signed(
    account: &MerchantAccount,
    url: &str,
    code: &Qr,
    payment: &Payment,
    amount: Option<&RawValue>,
) -> Notification {
    let shortest = payment.amount.to_json();
    let amount = amount.unwrap_or(&shortest);
    let transaction_date = timestamp::format_micros(payment.at);
    let order = code.registration.order.as_deref();
    let body = Body {
        transaction_id: payment.id,
        qr_id: &code.id,
        sbp_merchant_id: &account.id,
        merchant_id: account.number,
        amount,
        currency: "RUB",
        transaction_date: &transaction_date,
        payment_status: payment.status(),
        additional_info: code.registration.additional_info.as_deref(),
        order,
        create_date: timestamp::format_micros(code.created),
    };
    let status = payment.status().as_str();
    let parts = [amount.get(), &account.id, order.unwrap_or_default(), status, &transaction_date];
    Notification {
        url: url.to_owned(),
        signature: signature(&account.key, parts),
        body: serde_json::to_string(&body).expect("strings and numbers serialise"),
        attempts: Vec::new(),
        accepted: false,
    }
}

/// HMAC-SHA256 of `amount|sbpMerchantId|order|paymentStatus|transactionDate` in lower-case hexadecimal (Callback in
/// `sbp.yaml`).
fn signature(key: &str, parts: [&str; 5]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(parts.join("|").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_a_reference_value() {
        let parts = ["1110.11", "MA0000000552", "1-22-333", "SUCCESS", "2019-07-11T17:45:13.109227+03:00"];
        assert_eq!(
            signature("eyJhbGciOiJIUzI1NiJ9.secret", parts),
            "32624ffac42225e1728f35e36c4a904cea56420591357962ccffae0326a72bb8"
        );
    }
}
