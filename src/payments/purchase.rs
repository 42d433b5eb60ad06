//! The mail after a payment: for which order, and whether whoever asks may have it.
//!
//! Called by `payments::http`. What must never happen: somebody learns of an order that is not theirs, the shop's server sends
//! what a stranger wants to whom they want, or the answer comes before the mail is on disk.

use jiff::SignedDuration;
use serde_json::Value;

use super::receipt_email::{self, PaidOrder};
use crate::foundation::error::{Error, Result};
use crate::http::request::LARGEST_INTEGER;
use crate::mail::{self, EmailDraft};
use crate::payments::history_store;
use crate::session::Owner;
use crate::tenant::context::RequestContext;

/// The most addresses that mails about one order go to.
const MOST_ADDRESSES: usize = 3;

/// For how long after a payment its user's id is proof enough, of a front end that sends no cookies.
const CLAIM: SignedDuration = SignedDuration::from_hours(24);

/// What `POST /purchase-email` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// In the form that mail is sent to.
    pub email: String,
    pub telegram_user_id: Option<String>,
    /// Sorted.
    pub item_ids: Vec<i64>,
}

impl Purchase {
    /// # Errors
    /// 400 that names the member that is wrong.
    pub fn read(body: &Value) -> Result<Purchase> {
        let email = body.get("email").and_then(Value::as_str).unwrap_or_default();
        let telegram_user_id = match body.get("telegramUserId") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if id.len() <= 100 => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(Value::Number(id)) if id.is_u64() => Some(id.to_string()),
            Some(_) => {
                let sentence = "telegramUserId: expected a text of at most 100 characters";
                return Err(Error::malformed("bad_telegram_user_id", sentence));
            }
        };
        let items = body.get("items").and_then(Value::as_array).filter(|items| (1..=200).contains(&items.len()));
        let id = |item: &Value| item.get("itemID")?.as_i64().filter(|id| (1..=LARGEST_INTEGER).contains(id));
        let ids = items.and_then(|items| items.iter().map(id).collect::<Option<Vec<i64>>>());
        let mut item_ids =
            ids.ok_or_else(|| Error::malformed("bad_items", "items: expected a list of {\"itemID\", …}"))?;
        item_ids.sort_unstable();
        item_ids.dedup();
        Ok(Purchase { email: mail::parse_address(email)?, telegram_user_id, item_ids })
    }

    /// The ways that a front end may have written its user's id when it paid: with `tg_` and without.
    fn user_ids(&self) -> Vec<String> {
        let Some(id) = &self.telegram_user_id else { return Vec::new() };
        let bare = id.strip_prefix("tg_").unwrap_or(id);
        // Only a number names one person; a front end may write anything for somebody who is not logged in.
        if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_digit()) {
            return Vec::new();
        }
        vec![bare.to_owned(), format!("tg_{bare}")]
    }
}

/// Queues the mail about the newest paid order of these items that has none yet, else about the newest.
///
/// `owner` is `None` for a request without cookies: its user's id must do, for a day.
///
/// # Errors
/// 404 when there is no such order of the caller's.
pub async fn send_mail(cx: &RequestContext, owner: Option<&Owner>, purchase: &Purchase) -> Result<()> {
    let now = cx.now();
    let since = owner.is_none().then(|| now - CLAIM);
    let owner = owner.map(Owner::key);
    let transaction = cx.brand.transaction().await?;
    let paid =
        history_store::begin_mail(&transaction, owner.as_deref(), &purchase.user_ids(), since, &purchase.item_ids)
            .await?;
    let abouts: Vec<String> = paid.iter().map(|payment| about(payment.id)).collect();
    let recipients = mail::recipients(&transaction, &abouts).await?;
    let told = |id: i64| recipients.get(&about(id)).map_or(&[][..], Vec::as_slice);
    let has_room = |id: i64| {
        let told = told(id);
        told.len() < MOST_ADDRESSES || told.iter().any(|address| address.eq_ignore_ascii_case(&purchase.email))
    };
    let unmailed = paid.iter().find(|payment| told(payment.id).is_empty());
    let chosen = unmailed.or_else(|| paid.iter().find(|payment| has_room(payment.id)));
    let Some(payment) = chosen else {
        transaction.rollback().await?;
        return Err(Error::not_found("paid order of these items"));
    };
    let lines = history_store::lines(&transaction, payment.id, cx.language).await?;
    let paid_at = payment.completed_at.unwrap_or(now);
    let order = PaidOrder { number: &payment.site_order_id, lines: &lines, amount: payment.amount, paid_at };
    let email = receipt_email::write(&cx.brand.config, cx.language, &order);
    let draft = EmailDraft {
        subject_key: about(payment.id),
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

/// What a mail about a payment is about.
fn about(payment_id: i64) -> String {
    format!("payment:{payment_id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_read_and_what_is_wrong_is_named() {
        let good = json!({"email": "Anna@Example.com", "telegramUserId": "tg_5", "items": [{"itemID": 2}, {"itemID": 1, "name": "x"}]});
        let read = Purchase::read(&good).expect("good");
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
            let error = Purchase::read(&body).expect_err("wrong");
            assert!(error.public.starts_with(name), "{name} {value}: {}", error.public);
        }
        let number = Purchase::read(&json!({"email": "a@b.cd", "telegramUserId": 5, "items": [{"itemID": 1}]}));
        assert_eq!(number.expect("a number will do").user_ids(), ["5", "tg_5"]);
    }
}
