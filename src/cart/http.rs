//! The cart's endpoints (contract section 4).

use crate::foundation::error::Result;
use crate::http::request::Req;
use crate::http::response::Reply;
use crate::session::Who;
use crate::tenant::context::Cx;

use super::body;

/// `GET /cart`: hands out the visitor cookie; writes nothing.
pub async fn get(cx: Cx, req: Req) -> Result<Reply> {
    let who = Who::of(&cx, &req).await?;
    let (items, language) = super::list(&cx, &who).await?;
    Ok(Reply::json(&items)?.in_language(language))
}

/// `PATCH /cart`: sets how many.
pub async fn patch(cx: Cx, mut req: Req) -> Result<Reply> {
    let (item_id, quantity) = body::patch(&req.json().await?)?;
    let who = Who::of(&cx, &req).await?;
    super::set(&cx, &who.owner(), item_id, quantity).await?;
    Reply::message("Updated")
}

/// `DELETE /cart`: takes items out.
pub async fn delete(cx: Cx, mut req: Req) -> Result<Reply> {
    let item_ids = body::delete(&req.json().await?)?;
    let who = Who::of(&cx, &req).await?;
    super::remove(&cx, &who.owner(), &item_ids).await?;
    Reply::message("Removed")
}
