//! The routes of the API: every path with its handler, caching and rate limit.

use std::sync::Arc;

use crate::auth;
use crate::cart;
use crate::catalog::http::{categories, item, random_items, random_items_from_memory};
use crate::foundation::error::Result;
use crate::http::fetch_metadata::CrossSite;
use crate::http::rate_limit::Quota;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::http::router::{Lane, Router};
use crate::openapi;
use crate::payments;
use crate::regions::http::regions;
use crate::reviews;
use crate::search;
use crate::tenant::context::RequestContext;

/// The routes, shared by all brands.
pub type SharedRoutes = Arc<Router<RequestContext>>;

/// All routes, grouped by client.
pub fn routes() -> Router<RequestContext> {
    Router::default()
        // any client
        .get("/ping", ping)
        .lane(Lane::Essential)
        .get("/openapi.json", openapi::document)
        .cached()
        // the storefront: catalogue
        .get("/regions", regions)
        .cached()
        .get("/category", categories)
        .cached()
        .get("/category/{id}", search::http::category_items)
        .cached()
        .get("/category/{id}/facets", search::http::category_facets)
        .cached()
        .get("/item/{id}", item)
        .cancellable()
        .cached()
        .get("/searchitems", search::http::search_items)
        .cached()
        .get("/suggest", search::http::suggest)
        .cached()
        .get("/randomitems", random_items)
        .memory_first(random_items_from_memory)
        // the storefront: reviews and questions
        .post("/comment", reviews::http::post)
        .rate_limit(Quota::Reviews)
        .post("/question", reviews::question::http::ask)
        .rate_limit(Quota::Reviews)
        .post("/question/vote", reviews::question::http::vote)
        .rate_limit(Quota::Reviews)
        // the storefront: cart
        .get("/cart", cart::http::get)
        .post("/cart", payments::http::add_or_pay)
        .rate_limit(Quota::CartWrites)
        .patch("/cart", cart::http::patch)
        .rate_limit(Quota::CartWrites)
        .delete("/cart", cart::http::delete)
        .rate_limit(Quota::CartWrites)
        // the storefront and the bank's webhook: payments
        .get("/qr/payment/{id}", payments::http::status)
        .lane(Lane::Essential)
        .delete("/qr/payment/{id}", payments::http::cancel)
        .rate_limit(Quota::Payments)
        .get("/orders", payments::http::orders)
        .get("/orders/{id}", payments::http::order)
        .post("/purchase-email", payments::http::purchase_email)
        .rate_limit(Quota::Payments)
        .post("/payments/raiffeisen/notify", payments::http::notify)
        .lane(Lane::Essential)
        // the storefront: session
        .get("/auth/session", auth::http::session)
        .cancellable()
        .post("/auth/logout", auth::http::log_out)
        .rate_limit(Quota::Logouts)
        // login with Telegram: the storefront, the browser, the bot
        .get("/auth/telegram/start", auth::http::start_page)
        .no_head()
        .cross_site(CrossSite::ClickedLink)
        .rate_limit(Quota::Logins)
        .post("/auth/telegram/start", auth::http::start)
        .cross_site(CrossSite::ClickedLink)
        .rate_limit(Quota::Logins)
        .get("/auth/telegram/callback", auth::http::callback)
        .no_head()
        .cross_site(CrossSite::Navigation)
        .rate_limit(Quota::Logins)
        .post("/auth/telegram/callback", auth::http::callback_post)
        .allow_own_origin()
        .cross_site(CrossSite::Navigation)
        .rate_limit(Quota::Logins)
}

/// `GET /ping`: succeeds while the process runs, whatever the state of its dependencies.
async fn ping(_: RequestContext, _: ApiRequest) -> Result<ApiResponse> {
    ApiResponse::json(&serde_json::json!({ "message": "pong" }))
}
