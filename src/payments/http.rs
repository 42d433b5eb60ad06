//! The endpoints of payments.

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

/// `POST /cart`: adds an item or opens a payment, depending on the body.
pub(crate) async fn add_or_pay(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let body = req.json_bytes()?;
    match cart::parse_post(body)? {
        cart::CartPost::Add { item_id, quantity } => {
            let caller = Caller::from_request(&cx, &req).await?;
            cart::add(&cx, &caller.owner(), item_id, quantity).await?;
            ApiResponse::message("Added to cart")
        }
        // Boxed: the future of a payment is large, and most requests add an item.
        cart::CartPost::Payment => Box::pin(pay(cx, &req, body)).await,
    }
}

async fn pay(cx: RequestContext, req: &ApiRequest, body: &[u8]) -> Result<ApiResponse> {
    let order = Order::parse(body)?;
    let caller = Caller::from_request(&cx, req).await?;
    cx.check_rate_limit(Quota::Payments, req.headers()).await?;
    let payment = super::open(&cx, &caller.owner(), &order).await?;
    ApiResponse::json(&QrCodeBody::new(&payment))
}

/// `GET /qr/payment/{id}`: the status of a payment.
pub(crate) async fn status(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let payment = super::find(&cx.brand, req.param("id")).await?;
    ApiResponse::json(&PaymentBody::new(&payment))
}

/// `POST /purchase-email`: queues the email about a paid order. A front end that sends no cookies names its user in the body.
pub(crate) async fn purchase_email(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let purchase = Purchase::parse(&req.json()?)?;
    let cookies = RequestCookies::from_request(&cx.brand, &req);
    let owner = match cookies.session.is_some() || cookies.visitor.is_some() {
        true => Some(Caller::from_request(&cx, &req).await?.owner()),
        false => None,
    };
    super::send_receipt_email(&cx, owner.as_ref(), &purchase).await?;
    ApiResponse::message("Email sent")
}

/// A notification of the payment provider about a payment. The provider repeats it until the status is 200.
pub(crate) async fn notify(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let signature = req.header(super::WEBHOOK_SIGNATURE_HEADER).unwrap_or_default().to_owned();
    let body = req.body();
    super::handle_webhook(&cx.brand, body, &signature).await?;
    ApiResponse::message("OK")
}

/// The response to an order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QrCodeBody<'p> {
    qr_id: &'p str,
    qr_status: &'static str,
    qr_expiration_date: String,
    payload: &'p str,
    qr_url: &'p str,
}

impl QrCodeBody<'_> {
    fn new(payment: &Payment) -> QrCodeBody<'_> {
        QrCodeBody {
            qr_id: payment.qr_id.as_deref().unwrap_or_default(),
            qr_status: payment.state.status.as_str(),
            qr_expiration_date: whole_seconds(payment.state.expires_at),
            payload: payment.payload.as_deref().unwrap_or_default(),
            qr_url: payment.qr_url.as_deref().unwrap_or_default(),
        }
    }
}

/// The response of `GET /qr/payment/{id}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentBody<'p> {
    additional_info: &'static str,
    payment_purpose: String,
    amount: Exact,
    /// About the request, not about the payment.
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
    /// Not known to the provider; always empty.
    phone_number: &'static str,
}

impl PaymentBody<'_> {
    fn new(payment: &Payment) -> PaymentBody<'_> {
        PaymentBody {
            additional_info: "",
            payment_purpose: super::purpose(&payment.site_order_id),
            amount: Exact(payment.amount),
            code: "SUCCESS",
            create_date: whole_seconds(payment.created_at),
            currency: "RUB",
            order: &payment.site_order_id,
            payment_status: payment.state.status.as_str(),
            qr_id: payment.qr_id.as_deref().unwrap_or_default(),
            transaction_date: payment.transaction_date.map(whole_seconds),
            transaction_id: payment.transaction_id,
            qr_expiration_date: whole_seconds(payment.state.expires_at),
            phone_number: "",
        }
    }
}
