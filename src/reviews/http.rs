//! The reviews' one endpoint (contract section 6). They are read with the item.

use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::Caller;
use crate::tenant::context::RequestContext;

use super::body;

/// `POST /comment`: hands out the visitor cookie to who has no session.
pub async fn post(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    let posted = body::post(&req.json().await?)?;
    let who = Caller::from_request(&cx, &req).await?;
    super::post(&cx, &who.owner(), &posted).await?;
    ApiResponse::message("Review submitted")
}
