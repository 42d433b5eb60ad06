//! The reviews' one endpoint (contract section 6). They are read with the item.

use crate::foundation::error::Result;
use crate::http::request::Req;
use crate::http::response::Reply;
use crate::session::Who;
use crate::tenant::context::Cx;

use super::body;

/// `POST /comment`: hands out the visitor cookie to who has no session.
pub async fn post(cx: Cx, mut req: Req) -> Result<Reply> {
    let posted = body::post(&req.json().await?)?;
    let who = Who::of(&cx, &req).await?;
    super::post(&cx, &who.owner(), &posted).await?;
    Reply::message("Review submitted")
}
