//! Handlers of questions. They are read with their item.

use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::Caller;
use crate::tenant::context::RequestContext;

use super::request_body;

/// `POST /question`: asks the shop about an item. Sets the visitor cookie of a new visitor.
pub(crate) async fn ask(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let question = request_body::question(&req.json()?)?;
    let caller = Caller::from_request(&cx, &req).await?;
    super::ask(&cx, &caller, &question).await?;
    ApiResponse::message("Question submitted")
}

/// `POST /question/vote`: votes on a question, or changes the caller's vote. Sets the visitor cookie of a new visitor.
pub(crate) async fn vote(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let vote = request_body::vote(&req.json()?)?;
    let caller = Caller::from_request(&cx, &req).await?;
    super::vote(&cx, &caller, &vote).await?;
    ApiResponse::message("Vote counted")
}
