//! Requests for the email about a paid order: parsing, authorization and queueing.
//!
//! # Invariants
//! - Only the owner of an order can request the email, and for a day, without a session, the user that its front end named.
//! - The number of recipients of an order is limited: the endpoint is no mail relay.
//! - A request that is repeated is about the order that it was about before.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::purchase_email::{self, PaidOrder};
use crate::foundation::error::{Error, Kind, Result};
use crate::foundation::whole_number;
use crate::http::request::MAX_SAFE_INTEGER;
use crate::mail::{self, EmailDraft, QueuedEmail};
use crate::payments::history_store::{self, PaidFilter};
use crate::payments::order::{bad_site_order_id, is_site_order_id};
use crate::payments::store::Payment;
use crate::platform::postgres::Transaction;
use crate::session::Owner;
use crate::tenant::context::RequestContext;

/// The maximum number of recipients of emails about one order.
const MAX_RECIPIENTS: usize = 3;

/// How long after a payment the user's id authorizes a request without a session.
const USER_ID_VALIDITY: SignedDuration = SignedDuration::from_hours(24);

/// A request for the same items and address within this time is a repetition.
const REPETITION_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// The body of `POST /purchase-email`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Normalized.
    pub email: String,
    pub telegram_user_id: Option<String>,
    /// Sorted.
    pub item_ids: Vec<i64>,
    /// The front end's id of the order, where it names one.
    pub site_order_id: Option<String>,
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
        let site_order_id = match body.get("siteorderID") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if is_site_order_id(id) => Some(id.clone()),
            Some(_) => return Err(bad_site_order_id()),
        };
        Ok(Purchase { email: mail::parse_address(email)?, telegram_user_id, item_ids, site_order_id })
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

/// What a request for an email leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Queue the email about this paid order, unless it has been queued.
    Order(usize),
    /// The email was queued by an earlier request.
    Repetition,
    /// As many addresses as are allowed have had the email.
    RecipientLimit,
    /// The caller has no such paid order.
    NoOrder,
}

/// Queues the email about a paid order of the caller: the one that the request names, else the newest that has none yet, else the
/// newest.
///
/// `owner` is `None` for a request without cookies. Without a session, the user's id identifies the orders of [`USER_ID_VALIDITY`] too.
///
/// # Errors
/// 404 when the caller has no such order; 429 when [`MAX_RECIPIENTS`] other addresses have had the email.
pub async fn send_receipt_email(cx: &RequestContext, owner: Option<&Owner>, purchase: &Purchase) -> Result<()> {
    let now = cx.now();
    let user_ids = match owner {
        Some(Owner::User(_)) => Vec::new(),
        _ => purchase.user_ids(),
    };
    let owner = owner.map(Owner::key);
    let filter = PaidFilter {
        owner: owner.as_deref(),
        user_ids: &user_ids,
        since: now - USER_ID_VALIDITY,
        item_ids: &purchase.item_ids,
        site_order_id: purchase.site_order_id.as_deref(),
    };
    let transaction = cx.brand.transaction().await?;
    let paid = history_store::lock_paid(&transaction, filter).await?;
    let keys: Vec<String> = paid.iter().map(|payment| mail_key(payment.id)).collect();
    let emails = mail::queued(&transaction, &keys).await?;
    let error = match choose(&keys, &emails, purchase, now) {
        Choice::Order(index) => return queue_email(cx, transaction, &paid[index], &purchase.email).await,
        Choice::Repetition => return transaction.rollback().await,
        Choice::RecipientLimit => {
            let retry_after_s = u32::try_from(USER_ID_VALIDITY.as_secs()).unwrap_or(u32::MAX);
            let message =
                format!("The mail about this order went to {MAX_RECIPIENTS} addresses; it is sent to no other.");
            Error::new(Kind::TooManyRequests { retry_after_s }, "recipient_limit", message)
        }
        Choice::NoOrder => Error::not_found("paid order of these items"),
    };
    transaction.rollback().await?;
    Err(error)
}

/// Chooses among the paid orders with these mail keys, newest first, given their `emails`, oldest first.
fn choose(keys: &[String], emails: &[QueuedEmail], purchase: &Purchase, now: Timestamp) -> Choice {
    let is_same_address = |email: &QueuedEmail| email.recipient.eq_ignore_ascii_case(&purchase.email);
    let is_repetition =
        |email: &QueuedEmail| is_same_address(email) && now.duration_since(email.queued_at) < REPETITION_WINDOW;
    if purchase.site_order_id.is_none() && emails.iter().any(is_repetition) {
        return Choice::Repetition;
    }
    let emails_of = |index: usize| emails.iter().filter(move |email| email.subject_key == keys[index]);
    let unmailed = (0..keys.len()).find(|index| emails_of(*index).next().is_none());
    match unmailed.or((!keys.is_empty()).then_some(0)) {
        None => Choice::NoOrder,
        Some(index) if emails_of(index).count() < MAX_RECIPIENTS => Choice::Order(index),
        Some(index) if emails_of(index).any(is_same_address) => Choice::Order(index),
        Some(_) => Choice::RecipientLimit,
    }
}

/// Queues the email about a paid order and commits.
async fn queue_email(cx: &RequestContext, transaction: Transaction, payment: &Payment, address: &str) -> Result<()> {
    let now = cx.now();
    let lines = history_store::lines(&transaction, payment.id, cx.language).await?;
    let order = PaidOrder {
        number: payment.id,
        site_order_id: &payment.site_order_id,
        lines: &lines,
        amount: payment.amount,
        refunded: history_store::refunded(&transaction, payment.id).await?,
        paid_at: payment.completed_at.unwrap_or(now),
    };
    let email = purchase_email::write(&cx.brand.config, cx.language, &order);
    let draft = EmailDraft {
        subject_key: mail_key(payment.id),
        to: address.to_owned(),
        language: cx.language,
        subject: email.subject,
        text: email.text,
        html: email.html,
    };
    mail::queue(&transaction, &draft, now, cx.brand.config.host()).await?;
    history_store::note_receipt_email(&transaction, payment.id, address, now).await?;
    transaction.commit().await
}

/// The key of the emails about a payment.
pub fn mail_key(payment_id: i64) -> String {
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
            ("siteorderID", json!("a b")),
            ("siteorderID", json!("")),
            ("siteorderID", json!(5)),
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
    fn a_repetition_is_never_about_another_order() {
        let now = Timestamp::UNIX_EPOCH;
        let keys = ["new", "old"].map(str::to_owned);
        let email = |key: &str, recipient: &str, age_mins| QueuedEmail {
            subject_key: key.to_owned(),
            recipient: recipient.to_owned(),
            queued_at: now - SignedDuration::from_mins(age_mins),
            sent_at: None,
        };
        let body = |order: Value| json!({"email": "a@b.cd", "items": [{"itemID": 1}], "siteorderID": order});
        let unnamed = Purchase::parse(&body(Value::Null)).expect("good");
        let named = Purchase::parse(&body(json!("old"))).expect("good");
        let chosen = |emails: &[QueuedEmail]| choose(&keys, emails, &unnamed, now);
        assert_eq!(chosen(&[]), Choice::Order(0));
        assert_eq!(chosen(&[email("new", "A@b.cd", 9)]), Choice::Repetition);
        assert_eq!(chosen(&[email("old", "a@b.cd", 9)]), Choice::Repetition);
        assert_eq!(chosen(&[email("new", "a@b.cd", 10)]), Choice::Order(1), "the one without an email");
        assert_eq!(chosen(&[email("new", "other@b.cd", 1)]), Choice::Order(1));
        let both = [email("old", "a@b.cd", 20), email("new", "a@b.cd", 15)];
        assert_eq!(chosen(&both), Choice::Order(0), "the newest, which has been queued");
        let others = |key: &str| ["x@b.cd", "y@b.cd", "z@b.cd"].map(|recipient| email(key, recipient, 60)).to_vec();
        let all = [others("new"), vec![email("old", "x@b.cd", 60)]].concat();
        assert_eq!(chosen(&all), Choice::RecipientLimit);
        assert_eq!(choose(&keys[1..], &all, &named, now), Choice::Order(0), "a named order has a limit of its own");
        assert_eq!(choose(&keys[1..], &[email("old", "a@b.cd", 1)], &named, now), Choice::Order(0));
        assert_eq!(choose(&[], &[], &unnamed, now), Choice::NoOrder);
    }

    #[test]
    fn fuzz_purchase_bodies() {
        let seeds = [
            r#"{"email":"Anna+x@Example.COM","telegramUserId":"tg_5","items":[{"itemID":2},{"itemID":1,"price":3}]}"#,
            r#"{"email":"anna@пример.рф","telegramUserId":42,"items":[{"itemID":9007199254740991}],"siteorderID":"o_1"}"#,
        ];
        let words = [
            "\"email\":",
            "\"telegramUserId\":",
            "\"siteorderID\":",
            "tg_",
            "@",
            ".",
            "xn--",
            "<",
            "\\r\\n",
            "\\\"",
            "null",
            "[",
            "{}",
        ];
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
            let again = json!({"email": email, "telegramUserId": purchase.telegram_user_id, "items": items,
                               "siteorderID": purchase.site_order_id});
            assert_eq!(Purchase::parse(&again).expect("accepted before"), purchase, "an address is normalized once");
            "accepted".to_owned()
        });
        outcomes.assert_seen(&[
            "accepted",
            "bad_json",
            "bad_email",
            "bad_items",
            "bad_telegram_user_id",
            "bad_order_id",
        ]);
    }
}
