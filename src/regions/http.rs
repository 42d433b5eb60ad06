//! `GET /regions`.

use crate::app::Cx;
use crate::error::Result;
use crate::net::reply::Reply;
use crate::net::request::Req;

/// Every region of the brand, in `X-Language`.
pub async fn regions(cx: Cx, _: Req) -> Result<Reply> {
    let (regions, language) = super::list(&cx).await?;
    Reply::catalogue(&regions, language, Vec::new())
}
