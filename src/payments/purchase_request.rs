//! Requests for the email about a paid order: parsing, authorization and queueing.
//!
//! # Invariants
//! - Only the owner of an order, or for a day the user that its front end named, can request the email.
//! - The number of recipients of an order is limited: the endpoint is no mail relay.

use jiff::SignedDuration;
use serde_json::Value;

use super::purchase_email::{self, PaidOrder};
use crate::foundation::error::{Error, Result};
use crate::foundation::whole_number;
use crate::http::request::MAX_SAFE_INTEGER;
use crate::mail::{self, EmailDraft};
use crate::payments::history_store;
use crate::session::Owner;
use crate::tenant::context::RequestContext;

/// The maximum number of recipients of emails about one order.
const MAX_RECIPIENTS: usize = 3;

/// How long after a payment the user's id authorizes a request without cookies.
const USER_ID_VALIDITY: SignedDuration = SignedDuration::from_hours(24);

/// The body of `POST /purchase-email`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Normalized.
    pub email: String,
    pub telegram_user_id: Option<String>,
    /// Sorted.
    pub item_ids: Vec<i64>,
}

impl Purchase {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(body: &Value) -> Result<Purchase> {
        let email = body.get("email").and_then(Value::as_str).unwrap_or_default();
        let telegram_user_id = match body.get("telegramUserId") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if id.chars().count() <= 100 => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(id) => match whole_number::from_json(id).filter(|id| *id >= 0) {
                Some(id) => Some(id.to_string()),
                None => {
                    let message = "telegramUserId: expected a text of at most 100 characters";
                    return Err(Error::malformed("bad_telegram_user_id", message));
                }
            },
        };
        let items = body.get("items").and_then(Value::as_array).filter(|items| (1..=200).contains(&items.len()));
        let id = |item: &Value| {
            whole_number::from_json(item.get("itemID")?).filter(|id| (1..=MAX_SAFE_INTEGER).contains(id))
        };
        let ids = items.and_then(|items| items.iter().map(id).collect::<Option<Vec<i64>>>());
        let mut item_ids =
            ids.ok_or_else(|| Error::malformed("bad_items", "items: expected a list of {\"itemID\", …}"))?;
        item_ids.sort_unstable();
        item_ids.dedup();
        Ok(Purchase { email: mail::parse_address(email)?, telegram_user_id, item_ids })
    }

    /// The spellings of the user's id that the front end may have sent with the order: with `tg_` and without.
    fn user_ids(&self) -> Vec<String> {
        let Some(id) = &self.telegram_user_id else { return Vec::new() };
        let bare = id.strip_prefix("tg_").unwrap_or(id);
        // Only a number identifies a user; for visitors who are not logged in, a front end may send any text.
        if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_digit()) {
            return Vec::new();
        }
        vec![bare.to_owned(), format!("tg_{bare}")]
    }
}

/// Queues the email about the newest paid order of these items that has none yet, or else about the newest.
///
/// `owner` is `None` for a request without cookies: the user's id identifies the orders of [`USER_ID_VALIDITY`].
///
/// # Errors
/// 404 when the caller has no such order.
pub async fn send_receipt_email(cx: &RequestContext, owner: Option<&Owner>, purchase: &Purchase) -> Result<()> {
    let now = cx.now();
    let since = owner.is_none().then(|| now - USER_ID_VALIDITY);
    let owner = owner.map(Owner::key);
    let transaction = cx.brand.transaction().await?;
    let paid =
        history_store::lock_paid(&transaction, owner.as_deref(), &purchase.user_ids(), since, &purchase.item_ids)
            .await?;
    let subjects: Vec<String> = paid.iter().map(|payment| mail_key(payment.id)).collect();
    let recipients = mail::recipients(&transaction, &subjects).await?;
    let recipients_of = |id: i64| recipients.get(&mail_key(id)).map_or(&[][..], Vec::as_slice);
    let has_room = |id: i64| {
        let addresses = recipients_of(id);
        addresses.len() < MAX_RECIPIENTS
            || addresses.iter().any(|address| address.eq_ignore_ascii_case(&purchase.email))
    };
    let unmailed = paid.iter().find(|payment| recipients_of(payment.id).is_empty());
    let chosen = unmailed.or_else(|| paid.iter().find(|payment| has_room(payment.id)));
    let Some(payment) = chosen else {
        transaction.rollback().await?;
        return Err(Error::not_found("paid order of these items"));
    };
    let lines = history_store::lines(&transaction, payment.id, cx.language).await?;
    let paid_at = payment.completed_at.unwrap_or(now);
    let order = PaidOrder {
        number: payment.id,
        site_order_id: &payment.site_order_id,
        lines: &lines,
        amount: payment.amount,
        paid_at,
    };
    let email = purchase_email::write(&cx.brand.config, cx.language, &order);
    let draft = EmailDraft {
        subject_key: mail_key(payment.id),
        to: purchase.email.clone(),
        language: cx.language,
        subject: email.subject,
        text: email.text,
        html: email.html,
    };
    mail::queue(&transaction, &draft, now, cx.brand.config.host()).await?;
    history_store::note_receipt_email(&transaction, payment.id, &purchase.email, now).await?;
    transaction.commit().await
}

/// The key of the emails about a payment.
fn mail_key(payment_id: i64) -> String {
    format!("payment:{payment_id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};
    use serde_json::json;

    #[test]
    fn requests_are_parsed_and_errors_name_the_wrong_member() {
        let good = json!({"email": "Anna@Example.com", "telegramUserId": "tg_5", "items": [{"itemID": 2}, {"itemID": 1, "name": "x"}]});
        let read = Purchase::parse(&good).expect("good");
        assert_eq!((read.email.as_str(), &read.item_ids[..]), ("Anna@example.com", &[1, 2][..]));
        assert_eq!(read.user_ids(), ["5", "tg_5"]);
        for (name, value) in [
            ("email", json!("anna")),
            ("email", json!(null)),
            ("email", json!("a@b.c\r\nBcc: eve@b.c")),
            ("telegramUserId", json!([])),
            ("items", json!([])),
            ("items", json!([{"itemID": "1"}])),
            ("items", json!(null)),
        ] {
            let mut body = good.clone();
            body[name] = value.clone();
            let error = Purchase::parse(&body).expect_err("wrong");
            assert!(error.public.starts_with(name), "{name} {value}: {}", error.public);
        }
        let number = Purchase::parse(&json!({"email": "a@b.cd", "telegramUserId": 5, "items": [{"itemID": 1}]}));
        assert_eq!(number.expect("numbers are accepted").user_ids(), ["5", "tg_5"]);
    }

    #[test]
    fn fuzz_purchase_bodies() {
        let seeds = [
            r#"{"email":"Anna+x@Example.COM","telegramUserId":"tg_5","items":[{"itemID":2},{"itemID":1,"price":3}]}"#,
            r#"{"email":"anna@пример.рф","telegramUserId":42,"items":[{"itemID":9007199254740991}]}"#,
        ];
        let words =
            ["\"email\":", "\"telegramUserId\":", "tg_", "@", ".", "xn--", "<", "\\r\\n", "\\\"", "null", "[", "{}"];
        let outcomes = fuzz(&seeds, &words, |input| {
            let parsed = crate::http::request::json(input).and_then(|body| Purchase::parse(&body));
            let purchase = match parsed {
                Ok(purchase) => purchase,
                Err(error) => return refused(&error),
            };
            let email = &purchase.email;
            assert_eq!(email.matches('@').count(), 1, "{email}");
            let (user, domain) = email.split_once('@').expect("just counted");
            assert!(!user.is_empty() && domain.is_ascii() && domain.contains('.') && email.len() <= 254, "{email}");
            assert!(!email.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;:\"".contains(c)), "{email}");
            assert!(purchase.item_ids.is_sorted_by(|a, b| a < b) && purchase.item_ids.len() <= 200, "{purchase:?}");
            assert!(purchase.item_ids.iter().all(|id| (1..=MAX_SAFE_INTEGER).contains(id)), "{purchase:?}");
            for id in purchase.user_ids() {
                assert!(id.trim_start_matches("tg_").bytes().all(|b| b.is_ascii_digit()), "{id}");
            }
            let items: Vec<Value> = purchase.item_ids.iter().map(|id| json!({"itemID": id})).collect();
            let again = json!({"email": email, "telegramUserId": purchase.telegram_user_id, "items": items});
            assert_eq!(Purchase::parse(&again).expect("accepted before"), purchase, "an address is normalized once");
            "accepted".to_owned()
        });
        outcomes.assert_seen(&["accepted", "bad_json", "bad_email", "bad_items", "bad_telegram_user_id"]);
    }
}
