//! The endpoints of payments (contract section 5).

use serde::Serialize;

use crate::cart;
use crate::foundation::clock::whole_seconds;
use crate::foundation::error::Result;
use crate::foundation::money::Exact;
use crate::http::rate_limit::Quota;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::{Caller, RequestCookies};
use crate::tenant::context::RequestContext;

use super::{Order, Payment, Purchase};

/// `POST /cart`: one path for two things, told apart by the body: adding an item, or paying.
pub async fn add_or_pay(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    let body = req.json_bytes().await?;
    match cart::parse_post(&body)? {
        cart::CartPost::Add { item_id, quantity } => {
            let who = Caller::from_request(&cx, &req).await?;
            cart::add(&cx, &who.owner(), item_id, quantity).await?;
            ApiResponse::message("Added to cart")
        }
        // In a box: what a payment takes is more than all the others, who add an item, should carry with them.
        cart::CartPost::Payment => Box::pin(pay(cx, &req, &body)).await,
    }
}

async fn pay(cx: RequestContext, req: &ApiRequest, body: &[u8]) -> Result<ApiResponse> {
    let order = Order::read(body)?;
    let who = Caller::from_request(&cx, req).await?;
    cx.check_rate_limit(Quota::Payments, req.headers()).await?;
    let payment = super::open(&cx, &who.owner(), &order).await?;
    ApiResponse::json(&Opened::of(&payment))
}

/// `GET /qr/payment/{id}`: how a payment stands.
pub async fn status(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let payment = super::find(&cx.brand, req.param("id")).await?;
    ApiResponse::json(&CurrentState::of(&payment))
}

/// `POST /purchase-email`: the mail about a paid order. A front end that sends no cookies names its user instead.
pub async fn purchase_email(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    let purchase = Purchase::read(&req.json().await?)?;
    let browser = RequestCookies::from_request(&cx.brand, &req);
    let owner = match browser.session.is_some() || browser.visitor.is_some() {
        true => Some(Caller::from_request(&cx, &req).await?.owner()),
        false => None,
    };
    super::send_mail(&cx, owner.as_ref(), &purchase).await?;
    ApiResponse::message("Email sent")
}

/// `POST /payments/raiffeisen/notify`: the bank says that there is news. 200 is what the bank takes for yes, and nothing else.
pub async fn notify(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    let signature = req.header("x-api-signature-sha256").unwrap_or_default().to_owned();
    let body = req.bytes().await?;
    super::handle_webhook(&cx.brand, &body, &signature).await?;
    ApiResponse::message("OK")
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
            qr_expiration_date: whole_seconds(payment.standing.expires_at),
            payload: payment.payload.as_deref().unwrap_or_default(),
            qr_url: payment.qr_url.as_deref().unwrap_or_default(),
        }
    }
}

/// The answer of `GET /qr/payment/{id}`, as the document has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CurrentState<'p> {
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

impl CurrentState<'_> {
    fn of(payment: &Payment) -> CurrentState<'_> {
        CurrentState {
            additional_info: "",
            payment_purpose: super::purpose(&payment.site_order_id),
            amount: Exact(payment.amount),
            code: "SUCCESS",
            create_date: whole_seconds(payment.created_at),
            currency: "RUB",
            order: &payment.site_order_id,
            payment_status: payment.standing.status.word(),
            qr_id: payment.qr_id.as_deref().unwrap_or_default(),
            transaction_date: payment.transaction_date.map(whole_seconds),
            transaction_id: payment.transaction_id,
            qr_expiration_date: whole_seconds(payment.standing.expires_at),
            phone_number: "",
        }
    }
}
