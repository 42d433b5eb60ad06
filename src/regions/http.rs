//! Regions endpoint.

use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

/// `GET /regions`: all regions of the brand.
pub(crate) async fn regions(cx: RequestContext, _: ApiRequest) -> Result<ApiResponse> {
    let (regions, language) = super::list(&cx).await?;
    ApiResponse::catalogue(&regions, language, Vec::new())
}
