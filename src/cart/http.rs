//! The cart's endpoints (contract section 4).

use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::Caller;
use crate::tenant::context::RequestContext;

use super::body;

/// `GET /cart`: hands out the visitor cookie; writes nothing.
pub async fn get(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let who = Caller::from_request(&cx, &req).await?;
    let (items, language) = super::list(&cx, &who).await?;
    Ok(ApiResponse::json(&items)?.in_language(language))
}

/// `PATCH /cart`: sets how many.
pub async fn patch(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    let (item_id, quantity) = body::patch(&req.json().await?)?;
    let who = Caller::from_request(&cx, &req).await?;
    super::set(&cx, &who.owner(), item_id, quantity).await?;
    ApiResponse::message("Updated")
}

/// `DELETE /cart`: takes items out.
pub async fn delete(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    let item_ids = body::delete(&req.json().await?)?;
    let who = Caller::from_request(&cx, &req).await?;
    super::remove(&cx, &who.owner(), &item_ids).await?;
    ApiResponse::message("Removed")
}
