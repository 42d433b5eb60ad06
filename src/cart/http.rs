//! Handlers of the cart.

use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::Caller;
use crate::tenant::context::RequestContext;

use super::request_body;

/// `GET /cart`: lists the lines. Sets the visitor cookie of a new visitor.
pub(crate) async fn get(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let caller = Caller::from_request(&cx, &req).await?;
    let (items, language) = super::list(&cx, &caller).await?;
    Ok(ApiResponse::json(&items)?.in_language(language))
}

/// `PATCH /cart`: sets the quantity of a line.
pub(crate) async fn patch(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let (item_id, quantity) = request_body::parse_patch(&req.json()?)?;
    let caller = Caller::from_request(&cx, &req).await?;
    super::set_quantity(&cx, &caller.owner(), item_id, quantity).await?;
    ApiResponse::message("Updated")
}

/// `DELETE /cart`: removes items.
pub(crate) async fn delete(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let item_ids = request_body::parse_delete(&req.json()?)?;
    let caller = Caller::from_request(&cx, &req).await?;
    super::remove(&cx, &caller.owner(), &item_ids).await?;
    ApiResponse::message("Removed")
}
