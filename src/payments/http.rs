//! The endpoints of payments.

use serde::Serialize;

use crate::cart;
use crate::foundation::clock::whole_seconds;
use crate::foundation::error::Result;
use crate::foundation::money::Exact;
use crate::http::rate_limit::Quota;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::{Caller, Owner, RequestCookies};
use crate::tenant::context::RequestContext;

use super::{Order, Payment, PlacedOrder, Purchase, RefundStatus};

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

/// `DELETE /qr/payment/{id}`: cancels the caller's open payment.
pub(crate) async fn cancel(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let caller = Caller::from_request(&cx, &req).await?;
    let payment = super::cancel(&cx.brand, &caller.owner(), req.param("id")).await?;
    ApiResponse::json(&PaymentBody::new(&payment))
}

/// `POST /purchase-email`: queues the email about a paid order. A front end that sends no cookies names its user in the body.
pub(crate) async fn purchase_email(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let purchase = Purchase::parse(&req.json()?)?;
    let owner = known_owner(&cx, &req).await?;
    super::send_receipt_email(&cx, owner.as_ref(), &purchase).await?;
    ApiResponse::message("Email sent")
}

/// `GET /orders?count=50&skip=0`: the caller's orders, newest first.
pub(crate) async fn orders(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let (count, skip) = (req.count(50)?, req.skip()?);
    let owner = known_owner(&cx, &req).await?;
    let page = super::list_orders(&cx, owner.as_ref(), count, skip).await?;
    let orders = page.orders.iter().map(OrderBody::new).collect();
    Ok(ApiResponse::json(&OrdersBody { orders, total: page.total, count, skip })?.in_language(page.language))
}

/// `GET /orders/{id}`: one order of the caller.
pub(crate) async fn order(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let owner = known_owner(&cx, &req).await?;
    let (order, language) = super::find_order(&cx, owner.as_ref(), req.param("id")).await?;
    Ok(ApiResponse::json(&OrderBody::new(&order))?.in_language(language))
}

/// The owner that the request's cookies name; without cookies there is none, and none is issued.
async fn known_owner(cx: &RequestContext, req: &ApiRequest) -> Result<Option<Owner>> {
    let cookies = RequestCookies::from_request(&cx.brand, req);
    match cookies.session.is_some() || cookies.visitor.is_some() {
        true => Ok(Some(Caller::from_request(cx, req).await?.owner())),
        false => Ok(None),
    }
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
    /// What the shop's prices come to.
    amount: Exact,
}

impl QrCodeBody<'_> {
    fn new(payment: &Payment) -> QrCodeBody<'_> {
        QrCodeBody {
            qr_id: payment.qr_id.as_deref().unwrap_or_default(),
            qr_status: payment.state.status.as_str(),
            qr_expiration_date: whole_seconds(payment.state.expires_at),
            payload: payment.payload.as_deref().unwrap_or_default(),
            qr_url: payment.qr_url.as_deref().unwrap_or_default(),
            amount: Exact(payment.amount),
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

/// The response of `GET /orders`.
#[derive(Serialize)]
struct OrdersBody<'p> {
    orders: Vec<OrderBody<'p>>,
    total: i64,
    count: i64,
    skip: i64,
}

/// An order in the responses of `GET /orders` and `GET /orders/{id}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderBody<'p> {
    order: &'p str,
    number: i64,
    status: &'static str,
    fulfilment: &'p str,
    amount: Exact,
    currency: &'static str,
    create_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_id: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_expiration_date: Option<String>,
    items: Vec<OrderLineBody<'p>>,
    refunds: Vec<RefundBody>,
}

#[derive(Serialize)]
struct OrderLineBody<'p> {
    #[serde(rename = "itemID")]
    item_id: i64,
    name: &'p str,
    /// Of one unit, as it was paid.
    price: Exact,
    quantity: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundBody {
    amount: Exact,
    status: &'static str,
    create_date: String,
}

impl OrderBody<'_> {
    fn new(order: &PlacedOrder) -> OrderBody<'_> {
        let lines = order.lines.iter();
        let refunds = order.refunds.iter().filter(|refund| refund.status != RefundStatus::Declined);
        OrderBody {
            order: &order.site_order_id,
            number: order.id,
            status: order.status.as_str(),
            fulfilment: &order.fulfilment,
            amount: Exact(order.amount),
            currency: "RUB",
            create_date: whole_seconds(order.created_at),
            transaction_date: order.paid_at.map(whole_seconds),
            qr_id: order.qr_id.as_deref(),
            qr_expiration_date: order.qr_id.as_ref().map(|_| whole_seconds(order.expires_at)),
            items: lines
                .map(|line| OrderLineBody {
                    item_id: line.item_id,
                    name: &line.name,
                    price: Exact(line.price),
                    quantity: line.quantity,
                })
                .collect(),
            refunds: refunds
                .map(|refund| RefundBody {
                    amount: Exact(refund.amount),
                    status: match refund.status {
                        RefundStatus::Completed => "COMPLETED",
                        _ => "IN_PROGRESS",
                    },
                    create_date: whole_seconds(refund.created_at),
                })
                .collect(),
        }
    }
}
