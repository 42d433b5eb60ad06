//! The whole API on one page.

use hyper::Method;

use crate::auth;
use crate::cart;
use crate::catalog::http::{categories, category_items, item, random_items};
use crate::foundation::error::Result;
use crate::http::rate_limit::Budget;
use crate::http::request::Req;
use crate::http::response::Reply;
use crate::http::router::Router;
use crate::openapi;
use crate::payments;
use crate::regions::http::regions;
use crate::reviews;
use crate::search::http::search_items;
use crate::tenant::context::Cx;

/// Every path, grouped by who calls it.
pub fn routes() -> Router<Cx> {
    Router::default()
        // anybody
        .get("/ping", ping)
        .get("/openapi.json", openapi::document)
        .remembered()
        // the storefront: the catalogue
        .get("/regions", regions)
        .remembered()
        .get("/category", categories)
        .remembered()
        .get("/category/{id}", category_items)
        .remembered()
        .get("/item/{id}", item)
        .light()
        .remembered()
        .get("/searchitems", search_items)
        .remembered()
        .get("/randomitems", random_items)
        // the storefront: what buyers say
        .write(Method::POST, "/comment", reviews::http::post)
        .within(Budget::Reviews)
        // the storefront: the visitor's cart
        .get("/cart", cart::http::get)
        .write(Method::POST, "/cart", payments::http::add_or_pay)
        .within(Budget::CartWrites)
        .write(Method::PATCH, "/cart", cart::http::patch)
        .within(Budget::CartWrites)
        .write(Method::DELETE, "/cart", cart::http::delete)
        .within(Budget::CartWrites)
        // the storefront and the bank: payments
        .get("/qr/payment/{id}", payments::http::status)
        .write(Method::POST, "/purchase-email", payments::http::purchase_email)
        .within(Budget::Payments)
        .write(Method::POST, "/payments/raiffeisen/notify", payments::http::notify)
        // the storefront: who is logged in
        .get("/auth/session", auth::http::session)
        .light()
        .write(Method::POST, "/auth/logout", auth::http::log_out)
        // logging in with Telegram: the storefront, a person's browser, the bot
        .get("/auth/telegram/start", auth::http::start_page)
        .without_head()
        .within(Budget::Logins)
        .write(Method::POST, "/auth/telegram/start", auth::http::start)
        .within(Budget::Logins)
        .get("/auth/telegram/callback", auth::http::callback)
        .without_head()
        .within(Budget::Logins)
        .write(Method::POST, "/auth/telegram/callback", auth::http::callback_post)
        .from_own_pages()
        .within(Budget::Logins)
}

/// `GET /ping`: whether the process answers. Asks nobody.
async fn ping(_: Cx, _: Req) -> Result<Reply> {
    Reply::json(&serde_json::json!({ "message": "pong" }))
}
