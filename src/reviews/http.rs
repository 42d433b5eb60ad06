//! Handler of reviews. They are read with their item.

use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::Caller;
use crate::tenant::context::RequestContext;

use super::request_body;

/// `POST /comment`: writes the caller's review of an item. Sets the visitor cookie of a new visitor.
pub(crate) async fn post(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let review = request_body::parse(&req.json()?)?;
    let caller = Caller::from_request(&cx, &req).await?;
    super::write(&cx, &caller, &review).await?;
    ApiResponse::message("Review submitted")
}
