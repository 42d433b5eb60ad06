//! Verification of Raiffeisenbank's payment notifications.
//!
//! # Invariants
//! - Members that are not signed are used only until the bank's API confirms them.
//! - Signatures are compared in constant time, over the amount as it is spelled.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::RaiffeisenClient;
use crate::config::BankConfig;
use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::foundation::money;
use crate::foundation::secret::Secret;
use crate::payments::provider::{WebhookEvent, is_valid_id};

/// The HMAC-SHA-256 of the signed values, in hexadecimal.
pub const SIGNATURE_HEADER: &str = "x-api-signature-sha256";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    amount: &'a RawValue,
    sbp_merchant_id: String,
    order: String,
    #[serde(default)]
    payment_status: Signed,
    #[serde(default)]
    transaction_date: Signed,
    qr_id: Option<String>,
}

/// A value as it is signed: a missing member as the empty text, `null` as the text `null` (as in the bank's own SDK).
#[derive(Default)]
struct Signed(String);

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Signed, D::Error> {
        let value = Option::<String>::deserialize(deserializer)?;
        Ok(Signed(value.unwrap_or_else(|| "null".to_owned())))
    }
}

impl RaiffeisenClient<'_> {
    pub(in crate::payments) fn verify_webhook(&self, body: &[u8], signature: &str) -> Result<WebhookEvent> {
        verify(body, signature, self.config)
    }
}

/// Verifies the signature, which covers five values as they are spelled in the body and not the body itself.
fn verify(body: &[u8], signature: &str, config: &BankConfig) -> Result<WebhookEvent> {
    let forged = || Error::unauthorized("bad_signature", "This notification was not signed by the shop's bank.");
    let signature = hex::decode_32(signature.trim()).ok_or_else(forged)?;
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| {
        Error::malformed("bad_notification", "Expected the bank's notification as JSON.").with_cause(error)
    })?;
    let is_own_merchant = body.sbp_merchant_id == config.merchant_id;
    let mut is_signed = false;
    // Every key and every spelling is tried, so that the duration does not depend on which one matches.
    for key in &config.keys {
        for amount in spellings(body.amount.get()) {
            is_signed |= is_signed_with(key, &amount, &body, &signature);
        }
    }
    match is_own_merchant && is_signed {
        true => Ok(WebhookEvent {
            paid: money::decimal_from_json(body.amount.get()).filter(|_| body.payment_status.0 == "SUCCESS"),
            transaction_date: body.transaction_date.0.parse().ok(),
            order_id: body.order,
            qr_id: body.qr_id.filter(|id| is_valid_id(id)),
        }),
        false => Err(forged()),
    }
}

fn is_signed_with(key: &Secret, amount: &str, body: &Body<'_>, signature: &[u8]) -> bool {
    let Body { sbp_merchant_id, order, payment_status: Signed(status), transaction_date: Signed(date), .. } = body;
    let message = format!("{amount}|{sbp_merchant_id}|{order}|{status}|{date}");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.reveal().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac.verify_slice(signature).is_ok()
}

/// The spellings in which the bank may have signed an amount: as in the body, with two decimals, without trailing zeros, and with
/// at least one decimal (the overloads of the bank's own SDK differ).
fn spellings(literal: &str) -> Vec<String> {
    let mut spellings = vec![literal.to_owned()];
    if let Some(amount) = money::decimal_from_json(literal) {
        let shortest = amount.normalize().to_string();
        let mut two = amount;
        two.rescale(2);
        spellings.push(if two == amount { two.to_string() } else { shortest.clone() });
        spellings.push(if shortest.contains('.') { shortest.clone() } else { format!("{shortest}.0") });
        spellings.push(shortest);
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};
    use std::time::Duration;

    /// From Python: hmac.new(b"key", b"100.00|MA1|o1|SUCCESS|2026-02-28T15:01:00.000000+03:00", sha256)
    const TWO_DECIMALS: &str = "b571ef523cd992cb9b6a478fa85b90f6982d050955c886b748671d172a7895d7";
    const SHORTEST: &str = "c3133c74e8eec3435c23f1ef3f6122eba05d3aaa93e1a6b9c7e1afb5fb5de055";
    const ONE_DECIMAL: &str = "3d2a711e55b64740b85eb65fddc32b656107675a3030d8f7ec301f7b09f92285";

    fn bank(keys: &[&str]) -> BankConfig {
        BankConfig {
            api_url: "https://bank.example".to_owned(),
            merchant_id: "MA1".to_owned(),
            keys: keys.iter().map(|key| Secret::new("key", *key)).collect(),
            ca_file: None,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        }
    }

    fn body(amount: &str) -> String {
        format!(
            "{{\"amount\": {amount}, \"sbpMerchantId\":\"MA1\",\"order\":\"o1\",\"paymentStatus\":\"SUCCESS\",\
             \"transactionDate\":\"2026-02-28T15:01:00.000000+03:00\",\"qrId\":\"AD1\",\"additionalInfo\":null}}"
        )
    }

    #[test]
    fn amounts_are_accepted_in_every_spelling_that_the_bank_signs() {
        for (literal, signature) in [
            ("100.00", TWO_DECIMALS),
            ("100.00", SHORTEST),
            ("100.00", ONE_DECIMAL),
            ("100", TWO_DECIMALS),
            ("100.0", SHORTEST),
            ("100", ONE_DECIMAL),
        ] {
            let event = verify(body(literal).as_bytes(), signature, &bank(&["old", "key"])).expect(literal);
            let transaction_date = "2026-02-28T12:01:00Z".parse().ok();
            let paid = Some(rust_decimal::Decimal::ONE_HUNDRED);
            let qr_id = Some("AD1".to_owned());
            assert_eq!(event, WebhookEvent { order_id: "o1".to_owned(), qr_id, paid, transaction_date });
        }
    }

    #[test]
    fn missing_members_are_signed_as_empty_and_null_as_text() {
        // As above, over "100.00|MA1|o1|DECLINED|" and "…|null".
        const ABSENT: &str = "51a9725d92b9f251c5566cddd623378451d4d95a9cdea25a8b29c0f801cc25ee";
        const NULL: &str = "dd9ffb7bf663829b65f99096603a76a67d355a86f3419bd8d64c451c6c534906";
        let declined = r#"{"amount":100.00,"sbpMerchantId":"MA1","order":"o1","paymentStatus":"DECLINED""#;
        for (date, signature) in [("", ABSENT), (r#","transactionDate":null"#, NULL)] {
            let body = format!("{declined}{date}}}");
            let event = verify(body.as_bytes(), signature, &bank(&["key"])).expect("signed");
            let order_id = "o1".to_owned();
            assert_eq!(event, WebhookEvent { order_id, qr_id: None, paid: None, transaction_date: None });
        }
    }

    #[test]
    fn forged_and_malformed_notifications_are_refused() {
        let refused = |body: &str, signature: &str, keys: &[&str]| {
            verify(body.as_bytes(), signature, &bank(keys)).expect_err("refused").code
        };
        let good = body("100.00");
        assert_eq!(refused(&good, TWO_DECIMALS, &["other"]), "bad_signature");
        assert_eq!(refused(&body("100.01"), TWO_DECIMALS, &["key"]), "bad_signature");
        assert_eq!(refused(&good.replace("MA1", "MA2"), TWO_DECIMALS, &["key"]), "bad_signature");
        assert_eq!(refused(&good.replace("+03:00", "Z"), TWO_DECIMALS, &["key"]), "bad_signature");
        assert_eq!(refused(&good, "", &["key"]), "bad_signature");
        assert_eq!(refused(&good, &TWO_DECIMALS[..62], &["key"]), "bad_signature");
        assert_eq!(refused(&good[..40], TWO_DECIMALS, &["key"]), "bad_notification");
        assert_eq!(refused("{}", TWO_DECIMALS, &["key"]), "bad_notification");
    }

    #[test]
    fn fuzz_notifications() {
        let config = bank(&["old", "key"]);
        let seeds = [body("100.00"), body("100").replace("\"SUCCESS\"", "null"), body("1e2")];
        let words = [
            "\"order\":",
            "\"paymentStatus\":",
            "\"transactionDate\":",
            "|",
            "null",
            "100.00",
            "\"MA2\"",
            "\"o1|SUCCESS\"",
        ];
        let outcomes = fuzz(&seeds, &words, |input| {
            let forged = verify(input, TWO_DECIMALS, &config);
            let Ok(body) = serde_json::from_slice::<Body<'_>>(input) else {
                return refused(&forged.expect_err("it is no notification"));
            };
            let signed = [&body.sbp_merchant_id, &body.order, &body.payment_status.0, &body.transaction_date.0];
            if forged.is_ok() {
                // The signature of another body: every signed value is the same.
                assert_eq!(signed, ["MA1", "o1", "SUCCESS", "2026-02-28T15:01:00.000000+03:00"]);
                assert_eq!(money::decimal_from_json(body.amount.get()), Some(rust_decimal::Decimal::ONE_HUNDRED));
            }
            let message = format!("{}|{}", body.amount.get(), signed.map(String::as_str).join("|"));
            let mut mac = Hmac::<Sha256>::new_from_slice(b"key").expect("any length");
            mac.update(message.as_bytes());
            match verify(input, &hex::encode(&mac.finalize().into_bytes()), &config) {
                Ok(event) => {
                    assert_eq!((body.sbp_merchant_id.as_str(), &body.order), ("MA1", &event.order_id));
                    assert!(event.qr_id.is_none_or(|id| is_valid_id(&id)));
                    if forged.is_ok() { "accepted unchanged" } else { "accepted when signed" }.to_owned()
                }
                Err(error) => {
                    assert_ne!(body.sbp_merchant_id, "MA1", "it is signed");
                    refused(&error)
                }
            }
        });
        outcomes.assert_seen(&["accepted unchanged", "accepted when signed", "bad_signature", "bad_notification"]);
    }
}
