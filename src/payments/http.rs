//! The endpoints of payments (contract section 5).

use jiff::Timestamp;
use serde::Serialize;

use crate::app::Cx;
use crate::cart;
use crate::error::Result;
use crate::money::Exact;
use crate::net::reply::Reply;
use crate::net::request::Req;
use crate::rates::Budget;
use crate::session::Who;

use super::{Order, Payment};

/// `POST /cart`: one path for two things, told apart by the body: adding an item, or paying.
pub async fn add_or_pay(cx: Cx, mut req: Req) -> Result<Reply> {
    let who = Who::of(&cx, &req).await?;
    let body = req.json_bytes().await?;
    match cart::read_post(&body)? {
        cart::Post::Add { item_id, quantity } => {
            cart::add(&cx, &who.owner(), item_id, quantity).await?;
            Ok(Reply::message("Added to cart")?.with_cookies(who.cookie()))
        }
        cart::Post::Payment => {
            let order = Order::read(&body)?;
            cx.spend(Budget::Payments, req.headers()).await?;
            let payment = super::open(&cx, &who.owner(), &order).await?;
            Ok(Reply::json(&Opened::of(&payment))?.with_cookies(who.cookie()))
        }
    }
}

/// `GET /qr/payment/{id}`: how a payment stands.
pub async fn status(cx: Cx, req: Req) -> Result<Reply> {
    let payment = super::find(&cx.brand, req.param("id")).await?;
    Reply::json(&Standing::of(&payment))
}

/// `POST /payments/raiffeisen/notify`: the bank says that there is news. 200 is what the bank takes for yes, and nothing else.
pub async fn notify(cx: Cx, mut req: Req) -> Result<Reply> {
    let signature = req.header("x-api-signature-sha256").unwrap_or_default().to_owned();
    let body = req.bytes().await?;
    super::hear(&cx.brand, &body, &signature).await?;
    Reply::message("OK")
}

/// The answer of `POST /cart`, as the document has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opened<'p> {
    qr_id: &'p str,
    qr_status: &'static str,
    qr_expiration_date: String,
    payload: &'p str,
    qr_url: &'p str,
}

impl Opened<'_> {
    fn of(payment: &Payment) -> Opened<'_> {
        Opened {
            qr_id: payment.qr_id.as_deref().unwrap_or_default(),
            qr_status: payment.standing.status.word(),
            qr_expiration_date: seconds(payment.standing.expires_at),
            payload: payment.payload.as_deref().unwrap_or_default(),
            qr_url: payment.qr_url.as_deref().unwrap_or_default(),
        }
    }
}

/// The answer of `GET /qr/payment/{id}`, as the document has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing<'p> {
    additional_info: &'static str,
    payment_purpose: String,
    amount: Exact,
    /// About the request, never about the payment.
    code: &'static str,
    create_date: String,
    currency: &'static str,
    order: &'p str,
    payment_status: &'static str,
    qr_id: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<i64>,
    qr_expiration_date: String,
    /// The bank tells nobody's.
    phone_number: &'static str,
}

impl Standing<'_> {
    fn of(payment: &Payment) -> Standing<'_> {
        Standing {
            additional_info: "",
            payment_purpose: purpose(&payment.site_order_id),
            amount: Exact(payment.amount),
            code: "SUCCESS",
            create_date: seconds(payment.created_at),
            currency: "RUB",
            order: &payment.site_order_id,
            payment_status: payment.standing.status.word(),
            qr_id: payment.qr_id.as_deref().unwrap_or_default(),
            transaction_date: payment.transaction_date.map(seconds),
            transaction_id: payment.transaction_id,
            qr_expiration_date: seconds(payment.standing.expires_at),
            phone_number: "",
        }
    }
}

/// What the payer's bank shows.
pub(super) fn purpose(site_order_id: &str) -> String {
    format!("Order #{site_order_id}")
}

/// RFC 3339 in UTC without fractions.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
